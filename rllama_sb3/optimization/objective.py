"""The built-in objective: trains a trial's config and judges it by the env return.

What a trial is worth is said in :mod:`rllama_sb3.optimization.values`.

All trials train from the same tuning seeds, and are judged on the same episodes, so that they
differ by their configs as little else as possible (common random numbers).

A training has *diverged* when the policy holds a parameter that is not finite, or an evaluation
gave a return that is not. Its trial is then over, whatever its other seeds did, and gets the
value::

    worst - (1 + λ)·(best - worst)

over the finite evaluations of the study so far, its own included, where λ is the penalty on the
spread of seeds: worse than what any trial came to, by as much as was seen to matter. Samplers
ignore a failed trial; this they learn from. Of several objectives (see
:mod:`rllama_sb3.optimization.measures`) each gets such a value, from what the study has measured.
Where nothing finite was seen yet there is no such value, and the trial fails.

Any other error stops the search: a component that raises is a bug, and does not go away by trying
other values.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import WilcoxonPruner
from optuna.trial import BaseTrial
from stable_baselines3.common.callbacks import BaseCallback

from rllama_sb3.config.models import ExperimentConfig, TuningConfig
from rllama_sb3.config.validation import parse_experiment
from rllama_sb3.optimization.measures import (
    Components,
    directions_of,
    measure,
    worse_than_seen,
)
from rllama_sb3.optimization.study.attributes import (
    CONFIG,
    DIVERGED,
    EVALUATIONS,
    FAILURE,
    MEASURED,
    N_STEPS,
    SECONDS,
    SEED_VALUES,
    SEEDS,
)
from rllama_sb3.optimization.values import value_of_seed, value_of_trial
from rllama_sb3.rewards.schedules import build_schedule
from rllama_sb3.seeding import tuning_seed
from rllama_sb3.training import DivergedError, Evaluation, TrainResult, train

OnEvaluation = Callable[[BaseTrial, Evaluation], None]


@dataclass
class TrainingObjective:
    """Trains the config of a trial from each of its seeds; returns what they are worth together.

    Args:
        generate_config: Returns the config of a trial as plain values.
        out: Folder of the search; a trial's runs are kept in ``trials/0003`` there, or in
            ``trials/0003/seed_0`` and so on where it has several seeds.
        on_evaluation: Called with the trial and each evaluation.
        callbacks: Stable-Baselines3 callbacks for each training.
        components: By name of each further objective the component that is measured.
    """

    generate_config: Callable[[BaseTrial], Mapping[str, Any]]
    out: Path | None = None
    on_evaluation: OnEvaluation | None = None
    callbacks: Sequence[BaseCallback] = field(default_factory=tuple)
    components: Components = field(default_factory=dict)

    def __call__(self, trial: BaseTrial) -> float | tuple[float, ...]:
        """Runs the trial; returns its value, and those of further objectives if there are any.

        Raises:
            TrialPruned: The pruner stopped it.
            ConfigError: The suggested values make no config that can be run.
        """
        data = self.generate_config(trial)
        config = parse_experiment(data)
        # What no file can hold, such as a class, cannot be recorded: such a trial is not replayed.
        with suppress(TypeError):
            trial.set_user_attr(CONFIG, json.dumps({**data, "tuning": _without_space(data)}))
        run = _TrialRun(trial, config, self)
        try:
            values = run.values()
        except DivergedError as error:
            values = _values_of_divergence(trial, run.curves, config.tuning, str(error))
        return values if len(values) > 1 else values[0]


def _without_space(data: Mapping[str, Any]) -> dict[str, Any]:
    return {**data.get("tuning", {}), "search_space": {}}


class _TrialRun:
    """The trainings of one trial, and what is known of them so far."""

    def __init__(
        self, trial: BaseTrial, config: ExperimentConfig, objective: TrainingObjective
    ) -> None:
        self._trial, self._config, self._objective = trial, config, objective
        n_seeds = config.tuning.seeds_per_trial
        self._seeds = [tuning_seed(config.tuning.seed, index) for index in range(n_seeds)]
        self._min_prune_step = min_prune_step(config)
        self._started = time.perf_counter()
        self._n_steps = 0
        self.curves: list[list[tuple[int, float]]] = []
        self._values: list[float] = []
        self._measured: dict[str, list[float]] = {name: [] for name in objective.components}
        study = getattr(trial, "study", None)
        self._is_paired = study is not None and isinstance(study.pruner, WilcoxonPruner)

    def values(self) -> tuple[float, ...]:
        self._trial.set_user_attr(SEEDS, self._seeds)
        try:
            for index, seed in enumerate(self._seeds):
                self._run_seed(index, seed)
                if self._is_paired:
                    self._trial.report(self._values[-1], index)
                is_last = index == len(self._seeds) - 1
                # The last report of a training is made without asking: it is asked here.
                if not is_last and not self._measured and self._trial.should_prune():
                    raise optuna.TrialPruned(f"pruned after seed {index}")
        finally:
            self._record()
        return values_of_trial(self._values, self._measured, self._config.tuning)

    def _run_seed(self, index: int, seed: int) -> None:
        self.curves.append([])
        watch = _Watch()
        n_evaluations = self._config.evaluation.n_evaluations
        try:
            result = train(
                self._config,
                seed=seed,
                callbacks=[watch, *self._objective.callbacks],
                out=self._folder(index),
                on_evaluation=self._note,
                trial=None if self._is_paired else self._trial,
                report_offset=index * n_evaluations,
                report_value=self._value_so_far,
                min_prune_step=self._min_prune_step,
            )
        except Exception as error:
            self._n_steps += watch.n_steps
            if isinstance(error, DivergedError):
                raise DivergedError(f"seed {index} diverged: {error}") from error
            raise
        self._n_steps += result.n_steps
        if not _is_finite(result):
            raise DivergedError(f"seed {index} diverged: an evaluation gave no finite return")
        if result.pruned:
            raise optuna.TrialPruned(f"pruned at global step {result.n_steps} of seed {index}")
        self._values.append(self._value_of_seed(result.evaluations))
        self._measure(result)

    def _measure(self, result: TrainResult) -> None:
        components = self._objective.components
        if components:
            values = measure(result.model, self._config, components, seed=result.seed)
            for name, value in values.items():
                self._measured[name].append(value)

    def _value_of_seed(self, evaluations: Sequence[Evaluation]) -> float:
        means = [evaluation.mean for evaluation in evaluations]
        return value_of_seed(means, self._config.tuning.objective)

    def _value_so_far(self, evaluations: Sequence[Evaluation]) -> float:
        values = [*self._values, self._value_of_seed(evaluations)]
        return value_of_trial(values, self._config.tuning.variance_penalty)

    def _note(self, evaluation: Evaluation) -> None:
        self.curves[-1].append((evaluation.global_step, evaluation.mean))
        if self._measured or self._is_paired:
            self._record_evaluations()  # Nothing is reported that shows how far the trial is.
        if self._objective.on_evaluation is not None:
            self._objective.on_evaluation(self._trial, evaluation)

    def _folder(self, index: int) -> Path | None:
        if self._objective.out is None:
            return None
        folder = trial_folder(self._objective.out, self._trial.number)
        return folder if len(self._seeds) == 1 else folder / f"seed_{index}"

    def _record_evaluations(self) -> None:
        finite = [[p for p in curve if math.isfinite(p[1])] for curve in self.curves]
        self._trial.set_user_attr(EVALUATIONS, finite)

    def _record(self) -> None:
        self._record_evaluations()
        self._trial.set_user_attr(SEED_VALUES, self._values)
        if self._measured:
            self._trial.set_user_attr(MEASURED, self._measured)
        self._trial.set_user_attr(N_STEPS, self._n_steps)
        self._trial.set_user_attr(SECONDS, round(time.perf_counter() - self._started, 3))


def values_of_trial(
    values: Sequence[float], measured: Mapping[str, Sequence[float]], tuning: TuningConfig
) -> tuple[float, ...]:
    """Returns what the seeds of a trial make together in each objective, the env return first.

    Args:
        values: What each seed is worth by its env returns.
        measured: By name of each further objective what was measured after each seed.
        tuning: How the search is made.
    """
    penalty = tuning.variance_penalty
    further = [
        value_of_trial(seeds, penalty, direction=tuning.objectives[name].direction)
        for name, seeds in measured.items()
    ]
    return (value_of_trial(values, penalty), *further)


def trial_folder(out: Path, number: int) -> Path:
    """Returns the folder of a trial.

    Example:
        >>> trial_folder(Path("runs"), 3).as_posix()
        'runs/trials/0003'
    """
    return out / "trials" / f"{number:04d}"


def min_prune_step(config: ExperimentConfig) -> int:
    """Returns the global step before which a trial is not stopped.

    It is the one from which no weight changes any more, or the end of the training where some
    weight always does; 0 with ``tuning.prune_during_anneal``.
    """
    if config.tuning.prune_during_anneal:
        return 0
    return max(_anneal_ends(config).values(), default=0)


def never_settled(config: ExperimentConfig) -> list[str]:
    """Returns the components whose weights change to the end of the training.

    While one does the pruner is not asked, nor after the last evaluation, so that in trials of one
    seed it stops none.
    """
    n_evaluations = config.evaluation.n_evaluations
    last_asked = config.training.total_timesteps * (n_evaluations - 1) / n_evaluations
    return [name for name, end in _anneal_ends(config).items() if end > last_asked]


def _anneal_ends(config: ExperimentConfig) -> dict[str, int]:
    """Returns from which global step on the weight of each component stays as it is."""
    total = config.training.total_timesteps
    ends = {
        name: build_schedule(component.weight_schedule.model_dump(), total_timesteps=total).end_step
        for name, component in config.reward_shaping.items()
    }
    return {name: total if end is None else min(end, total) for name, end in ends.items()}


class _Watch(BaseCallback):
    """Keeps hold of the model of a training that may not come to an end."""

    def _on_step(self) -> bool:
        return True

    @property
    def n_steps(self) -> int:
        return int(self.model.num_timesteps) if hasattr(self, "model") else 0


def _values_of_divergence(
    trial: BaseTrial,
    own: Sequence[Sequence[tuple[int, float]]],
    tuning: TuningConfig,
    reason: str,
) -> tuple[float, ...]:
    trial.set_user_attr(DIVERGED, True)
    trial.set_user_attr(FAILURE, reason)
    study = getattr(trial, "study", None)
    past = study.get_trials(deepcopy=False) if study is not None else []
    curves = [*own, *(curve for other in past for curve in other.user_attrs.get(EVALUATIONS, ()))]
    seen = [[value for curve in curves for _, value in curve]]
    measured = [other.user_attrs.get(MEASURED, {}) for other in past]
    seen += [[v for values in measured for v in values.get(name, ())] for name in tuning.objectives]
    values = []
    for numbers, direction in zip(seen, directions_of(tuning.objectives), strict=True):
        finite = [number for number in numbers if math.isfinite(number)]
        known = worse_than_seen(finite, direction, tuning.variance_penalty) if finite else math.nan
        values.append(known)
    return tuple(values)


def _is_finite(result: TrainResult) -> bool:
    return all(math.isfinite(evaluation.mean) for evaluation in result.evaluations)
