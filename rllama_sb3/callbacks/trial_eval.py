"""Judges a training by the env return while it runs, and lets an Optuna pruner stop it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.vec_env import VecEnv

from rllama_sb3.callbacks.env_return import (
    EnvReturnHook,
    EvaluationResult,
    check_env_return_is_known,
    frozen_normalization,
    judged_as_trained,
)
from rllama_sb3.envs.shaped_envs import begin_training, is_shaped
from rllama_sb3.errors import ConfigError, Problem
from rllama_sb3.rewards.weights import Learner

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation(EvaluationResult):
    """One evaluation during a training.

    Attributes:
        index: Which evaluation of the run it is, from 1. With ``n_evaluations`` set, equal
            indices of two runs stand for equal shares of their training.
        global_step: Environment steps that the policy was trained for.
    """

    index: int
    global_step: int


class TrialEvalCallback(EvalCallback):
    """An ``EvalCallback`` that counts the env return, and reports it to an Optuna trial.

    The return is the original environment's wherever ``Monitor`` stands, with shaped and with
    plain evaluation environments, and without any ``Monitor``. Evaluation leaves no trace in the
    training: its environments and their weight schedules are its own, ``VecNormalize`` learns
    nothing from its episodes, and with ``deterministic=True`` the trained parameters are the same
    to the last bit as without it.

    To the trial goes, under step ``report_offset + index``, the mean env return, or what
    ``report_value`` makes of the evaluations so far. With ``n_evaluations`` and an offset of
    ``seed_index * n_evaluations``, steps are unique within a trial (Optuna ignores a repeated
    one) and equal steps of two trials have had equal training. A value that is NaN is not reported,
    for Optuna would not store it: it stands in :attr:`evaluations` for the objective to judge.
    Nothing is reported to a study with several objectives, which Optuna refuses.

    Args:
        eval_env: What to evaluate in; not the training environment.
        trial: The Optuna trial, or ``None`` to evaluate only.
        n_eval_episodes: Episodes of each evaluation.
        eval_freq: Calls of the callback, one for each step of all environments together, from one
            evaluation to the next. Not used with ``n_evaluations``.
        n_evaluations: Evaluate this many times instead, evenly over the global steps of ``learn``.
            The last one follows the last gradient update, and so judges the model that ``learn``
            leaves behind.
        deterministic: Whether to take the policy's most likely action.
        seed: Seeds ``eval_env`` before each evaluation, so that all start from the same states.
        report_offset: Added to the index of an evaluation to make the step of its report.
        report_value: Returns what is reported after an evaluation, from all so far; the mean env
            return of the latest by default.
        min_prune_step: Global step before which pruning is not asked for, such as that at which
            the last weight schedule has finished its anneal.
        on_evaluation: Called with each :class:`Evaluation`.
        callback_on_new_best: As in ``EvalCallback``.
        callback_after_eval: As in ``EvalCallback``.
        log_path: As in ``EvalCallback``.
        best_model_save_path: As in ``EvalCallback``.
        verbose: As in ``EvalCallback``, but silent by default.

    Attributes:
        evaluations: Every :class:`Evaluation` so far.
        pruned: Whether the trial was told to stop. Training then ends; whoever called ``learn``
            raises ``optuna.TrialPruned``. The last of ``n_evaluations`` is reported without
            asking: nothing is left to save.

    Raises:
        ConfigError: An argument is out of range, or the env return cannot be known.
    """

    def __init__(
        self,
        eval_env: gym.Env[Any, Any] | VecEnv,
        trial: BaseTrial | None = None,
        *,
        n_eval_episodes: int = 20,
        eval_freq: int = 10_000,
        n_evaluations: int | None = None,
        deterministic: bool = True,
        seed: int | None = None,
        report_offset: int = 0,
        report_value: Callable[[Sequence[Evaluation]], float] | None = None,
        min_prune_step: int = 0,
        on_evaluation: Callable[[Evaluation], None] | None = None,
        callback_on_new_best: BaseCallback | None = None,
        callback_after_eval: BaseCallback | None = None,
        log_path: str | None = None,
        best_model_save_path: str | None = None,
        verbose: int = 0,
    ) -> None:
        _check_counts(
            n_eval_episodes=n_eval_episodes,
            eval_freq=eval_freq,
            n_evaluations=1 if n_evaluations is None else n_evaluations,
        )
        super().__init__(
            eval_env,
            callback_on_new_best=callback_on_new_best,
            callback_after_eval=callback_after_eval,
            n_eval_episodes=n_eval_episodes,
            # The parent evaluates whenever it is asked to: this class decides when that is.
            eval_freq=1,
            log_path=log_path,
            best_model_save_path=best_model_save_path,
            deterministic=deterministic,
            verbose=verbose,
            warn=False,
        )
        check_env_return_is_known(self.eval_env)
        self.trial = trial
        self.seed = seed
        self.report_offset = report_offset
        self.report_value = _latest_mean if report_value is None else report_value
        self.min_prune_step = min_prune_step
        self.evaluations: list[Evaluation] = []
        self.pruned = False
        self._calls_between = eval_freq
        self._n_evaluations = n_evaluations
        self._on_evaluation = on_evaluation
        self._hook = EnvReturnHook()
        self._last_index = self._index_at_start = 0
        self._is_training = False

    def _init_callback(self) -> None:
        super()._init_callback()
        if self.eval_env.unwrapped is self.training_env.unwrapped:
            rule = "must not be the training environment, whose episodes it would cut off"
            raise ConfigError(Problem(("eval_env",), rule, remedy="Build a second one."))

    def _on_training_start(self) -> None:
        super()._on_training_start()
        self._is_training = True
        # Another learn() counts on: Optuna ignores a step that was reported before.
        self._index_at_start = self._last_index
        if is_shaped(self.eval_env):
            # Shaped evaluation environments have a clock of their own, but γ is the model's.
            learner = Learner(gamma=getattr(self.model, "gamma", None))
            begin_training(self.eval_env, self.model.num_timesteps, learner)

    def _on_step(self) -> bool:
        if self.pruned:
            return False  # ARS goes on after a callback has said no
        index = self._due_index()
        return index is None or (self._evaluate(index) and not self._is_told_to_stop())

    def _on_training_end(self) -> None:
        # Some trainers, rl_zoo3 among them, say twice that training has ended.
        if self._is_training and self._n_evaluations is not None and not self.pruned:
            finished = self.num_timesteps >= self.model._total_timesteps
            last = self._index_at_start + self._n_evaluations
            self._evaluate(last if finished else self._last_index + 1)
        self._is_training = False

    def _due_index(self) -> int | None:
        """The index of the evaluation to be made now, if one is."""
        if self._n_evaluations is None:
            due = self.n_calls % self._calls_between == 0
            return self._last_index + 1 if due else None
        start = self.model._num_timesteps_at_start
        n_steps = self.model._total_timesteps - start
        done = (self.num_timesteps - start) * self._n_evaluations // n_steps
        index = self._index_at_start + done
        # The last evaluation waits for the last update, and belongs to _on_training_end.
        is_due = self._last_index < index and done < self._n_evaluations
        return index if is_due else None

    def _evaluate(self, index: int) -> bool:
        self._last_index = index
        self._hook = EnvReturnHook()
        if self.seed is not None:
            self.eval_env.seed(self.seed)
        trained = self.model
        self.model = judged_as_trained(trained, self.eval_env)
        try:
            with frozen_normalization(self.eval_env):
                goes_on = super()._on_step()
        finally:
            self.model = trained
        result = self._hook.result()
        evaluation = Evaluation(
            env_returns=result.env_returns,
            lengths=result.lengths,
            index=index,
            global_step=self.num_timesteps,
        )
        self.evaluations.append(evaluation)
        self._report(evaluation)
        if self._on_evaluation is not None:
            self._on_evaluation(evaluation)
        return goes_on

    def _log_success_callback(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        super()._log_success_callback(locals_, globals_)
        self._hook(locals_, globals_)

    def _report(self, evaluation: Evaluation) -> None:
        value = self.report_value(self.evaluations)
        if self.trial is not None and not math.isnan(value) and not self._has_many_objectives():
            self.trial.report(value, self.report_offset + evaluation.index)

    def _is_told_to_stop(self) -> bool:
        if (
            self.trial is not None
            and self.num_timesteps >= self.min_prune_step
            and not self._has_many_objectives()
        ):
            # A pruner may answer with a truth value of NumPy, which JSON cannot write.
            self.pruned = bool(self.trial.should_prune())
        return self.pruned

    def _has_many_objectives(self) -> bool:
        # A trial that is made by hand, such as FixedTrial, belongs to no study.
        study = getattr(self.trial, "study", None)
        return study is not None and len(study.directions) > 1


def _latest_mean(evaluations: Sequence[Evaluation]) -> float:
    return evaluations[-1].mean


def _check_counts(**counts: int) -> None:
    problems = [
        Problem((name,), "must be a whole number of at least 1", count)
        for name, count in counts.items()
        if isinstance(count, bool) or not isinstance(count, int) or count < 1
    ]
    if problems:
        raise ConfigError(*problems)
