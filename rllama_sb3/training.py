"""Trains what an experiment describes, and judges it by the env return on the way.

The folder that a run leaves behind is described in :mod:`rllama_sb3.run_folder`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from rllama_sb3.algorithms import (
    bootstraps_truncated,
    build_algorithm,
    check_algorithm,
    check_algorithm_fits,
    check_algorithm_sees_reward,
    discount_factor,
)
from rllama_sb3.callbacks import (
    EnvReturnCallback,
    Evaluation,
    RewardShapingCallback,
    TrialEvalCallback,
)
from rllama_sb3.config.models import ExperimentConfig
from rllama_sb3.config.validation import parse_experiment
from rllama_sb3.envs.factory import build_env, build_vec_env, check_env_config, choose_shaping
from rllama_sb3.envs.processes import describe_end
from rllama_sb3.errors import ConfigError, Problem, RllamaError, first_line
from rllama_sb3.rewards.build import check_reward_shaping
from rllama_sb3.rewards.schedules import build_schedule
from rllama_sb3.run_folder import RunFolder
from rllama_sb3.seeding import evaluation_seed

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

__all__ = [
    "DivergedError",
    "Evaluation",
    "TrainResult",
    "build_algorithm",
    "check_runnable",
    "torch_threads",
    "train",
    "weights_move",
]


class DivergedError(RllamaError):
    """A policy is no longer made of finite numbers, as of a learning rate that is far too high."""


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What came out of a training.

    Attributes:
        model: The trained Stable-Baselines3 algorithm.
        env_return: Mean env return of the last evaluation, which judged this very model; NaN
            when the training was pruned before its first evaluation.
        evaluations: All evaluations, in order.
        n_steps: Environment steps taken, summed over environments.
        seconds: Wall-clock time of the training, evaluations included.
        seed: The seed it was trained with.
        out: The folder of the run, if there is one.
        pruned: Whether Optuna's pruner stopped it; the objective then raises ``TrialPruned``.
    """

    model: BaseAlgorithm = field(repr=False)
    env_return: float
    evaluations: tuple[Evaluation, ...] = field(repr=False)
    n_steps: int
    seconds: float
    seed: int
    out: Path | None = None
    pruned: bool = False


def train(
    config: ExperimentConfig | Mapping[str, Any],
    *,
    seed: int | None = None,
    callbacks: Sequence[BaseCallback] = (),
    out: Path | str | None = None,
    on_evaluation: Callable[[Evaluation], None] | None = None,
    trial: BaseTrial | None = None,
    report_offset: int = 0,
    report_value: Callable[[Sequence[Evaluation]], float] | None = None,
    min_prune_step: int = 0,
) -> TrainResult:
    """Trains one agent from one seed.

    The same config and seed give the same result to the last bit on the same machine, as long as
    nothing else in the process draws random numbers meanwhile: Stable-Baselines3 seeds those of
    the process, so that trainings side by side belong into processes of their own.

    Args:
        config: The experiment; a mapping is checked as a file would be.
        seed: Instead of ``training.seed``; in [0, 2**31).
        callbacks: Further callbacks, such as a progress display. They are called after the
            evaluation that is due at a step.
        out: A new or empty folder for config, model, evaluations and logs; nothing is written
            to disk without it.
        on_evaluation: Called with each evaluation once it is on disk.
        trial: An Optuna trial to report evaluations to, and to be pruned by.
        report_offset: As in :class:`~rllama_sb3.callbacks.TrialEvalCallback`.
        report_value: As in :class:`~rllama_sb3.callbacks.TrialEvalCallback`.
        min_prune_step: As in :class:`~rllama_sb3.callbacks.TrialEvalCallback`.

    Raises:
        ConfigError: Something in the config is wrong, or ``out`` cannot be used. All problems are
            listed, and nothing has started.
        ComponentError: A reward component failed.
        DivergedError: The policy has become a thing of infinities, or of what is not a number.
        KeyboardInterrupt: After the model so far was saved to ``out``.
    """
    config = _with_seed(config, seed)
    problems = check_runnable(config)
    if problems:
        raise ConfigError(*problems)
    folder = None if out is None else RunFolder(out, config)
    with ExitStack() as stack:
        stack.enter_context(torch_threads(config.training.torch_threads))
        model = _build_model(config, folder, stack)

        def save(evaluation: Evaluation) -> None:
            if folder is not None:
                folder.save_evaluation(evaluation, model)
            if on_evaluation is not None:
                on_evaluation(evaluation)

        eval_envs = _build_eval_envs(config, stack)
        judge = TrialEvalCallback(
            eval_envs,
            trial,
            n_eval_episodes=config.evaluation.n_episodes,
            n_evaluations=config.evaluation.n_evaluations,
            deterministic=config.evaluation.deterministic,
            seed=evaluation_seed(config.training.seed),
            report_offset=report_offset,
            report_value=report_value,
            min_prune_step=min_prune_step,
            on_evaluation=save,
        )
        teller = RewardShapingCallback() if config.reward_shaping else EnvReturnCallback()
        started = time.perf_counter()
        with _recorded(folder, model, judge), _divergence_told(model):
            _learn(model, config, [teller, judge, *callbacks], eval_envs)
        return TrainResult(
            model=model,
            env_return=_last_mean(judge),
            evaluations=tuple(judge.evaluations),
            n_steps=model.num_timesteps,
            seconds=time.perf_counter() - started,
            seed=config.training.seed,
            out=None if folder is None else folder.path,
            pruned=judge.pruned,
        )


def check_runnable(config: ExperimentConfig) -> list[Problem]:
    """Returns everything that keeps a config from being trained, or an empty list.

    Builds the environment and the components once, but no networks.
    """
    total_timesteps = config.training.total_timesteps
    problems = check_env_config(config.env)
    env_is_fine = not problems
    unsound: list[Problem] = []
    if config.reward_shaping:
        components = config.to_dict()["reward_shaping"]
        unsound = check_reward_shaping(components, total_timesteps=total_timesteps)
        problems += unsound
    wrong = check_algorithm(config.algorithm)
    problems += wrong
    if env_is_fine and not wrong:
        env = build_env(config.env)
        problems += check_algorithm_fits(config.algorithm, env, config.env.n_envs)
        env.close()
    if config.reward_shaping and not wrong:
        moving = not unsound and weights_move(config)
        problems += check_algorithm_sees_reward(config.algorithm, weights_move=moving)
    return problems


def weights_move(config: ExperimentConfig) -> bool:
    """Returns whether the weight of a component changes over the training of a sound config."""
    total_timesteps = config.training.total_timesteps
    schedules = (
        build_schedule(component.weight_schedule.model_dump(), total_timesteps=total_timesteps)
        for component in config.reward_shaping.values()
    )
    return not all(schedule.is_constant for schedule in schedules)


def _with_seed(config: ExperimentConfig | Mapping[str, Any], seed: int | None) -> ExperimentConfig:
    if isinstance(config, ExperimentConfig) and seed is None:
        return config
    data = config.to_dict() if isinstance(config, ExperimentConfig) else dict(config)
    if seed is not None and isinstance(data.get("training"), Mapping):
        data["training"] = {**data["training"], "seed": seed}
    return parse_experiment(data)


def _build_model(
    config: ExperimentConfig, folder: RunFolder | None, stack: ExitStack
) -> BaseAlgorithm:
    reward_shaping = config.to_dict()["reward_shaping"]
    venv = build_vec_env(
        config.env,
        n_envs=config.env.n_envs,
        seed=config.training.seed,
        reward_shaping=reward_shaping,
        gamma=discount_factor(config.algorithm),
        total_timesteps=config.training.total_timesteps,
        vec_env=config.env.vec_env,
        shaping=choose_shaping(config.env, reward_shaping),
        bootstrap_truncated=bootstraps_truncated(config.algorithm),
    )
    stack.callback(_close, venv)
    return build_algorithm(
        config.algorithm,
        venv,
        seed=config.training.seed,
        tensorboard_log=None if folder is None else folder.tensorboard,
    )


def _build_eval_envs(config: ExperimentConfig, stack: ExitStack) -> VecEnv:
    # The original reward judges, so the evaluation environments have no shaper.
    venv = build_vec_env(
        config.env,
        n_envs=min(config.evaluation.n_envs, config.evaluation.n_episodes),
        seed=evaluation_seed(config.training.seed),
        gamma=discount_factor(config.algorithm),
        vec_env=config.env.vec_env,
        shaping=choose_shaping(config.env, config.to_dict()["reward_shaping"]),
        training=False,
    )
    stack.callback(_close, venv)
    return venv


def _learn(
    model: BaseAlgorithm,
    config: ExperimentConfig,
    callbacks: Sequence[BaseCallback],
    eval_envs: VecEnv,
) -> None:
    try:
        model.learn(config.training.total_timesteps, callback=list(callbacks))
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:
        if config.env.vec_env != "subproc":
            raise
        venvs = [venv for venv in (model.get_env(), eval_envs) if venv is not None]
        raise describe_end(venvs) from error


@contextmanager
def _divergence_told(model: BaseAlgorithm) -> Iterator[None]:
    """Calls a training diverged whose policy is, whatever that led to."""
    try:
        yield
    except Exception as error:
        if _is_finite(model):
            raise
        said = first_line(error).rstrip(":")
        reason = f"{_diverged(model)} ({type(error).__name__}: {said})"
        raise DivergedError(reason) from error
    if not _is_finite(model):
        raise DivergedError(_diverged(model))


def _is_finite(model: BaseAlgorithm) -> bool:
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.policy.parameters())


def _diverged(model: BaseAlgorithm) -> str:
    return f"by global step {model.num_timesteps} the policy has parameters that are not finite"


def _last_mean(judge: TrialEvalCallback) -> float:
    return judge.evaluations[-1].mean if judge.evaluations else float("nan")


@contextmanager
def _recorded(
    folder: RunFolder | None, model: BaseAlgorithm, judge: TrialEvalCallback
) -> Iterator[None]:
    """Keeps the folder of a run true to what happens to it."""
    if folder is None:
        yield
        return
    folder.start()
    try:
        yield
    except KeyboardInterrupt:
        folder.save_model(model)
        folder.finish("interrupted", global_step=model.num_timesteps)
        raise
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        folder.finish("failed", global_step=model.num_timesteps, reason=reason)
        raise
    else:
        folder.save_model(model)
        folder.finish(
            "finished",
            global_step=model.num_timesteps,
            env_return=_last_mean(judge),
            pruned=judge.pruned,
        )
    finally:
        model.logger.close()


@contextmanager
def torch_threads(n_threads: int) -> Iterator[None]:
    """Lets torch use so many threads in the block: results differ between counts."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _close(venv: VecEnv) -> None:
    # Ctrl-C and errors end the worker processes too: nobody may be left to say goodbye to.
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        venv.close()
