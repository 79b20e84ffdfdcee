"""Trains a trial of the past again, to see that it comes to the same number.

A trial is a function of its config and its seeds, so that its evaluations come out the same to the
last bit, whichever worker ran it and whatever ran beside it; on the same machine, with the same
versions. What further objectives measure is measured again too. A trial that was pruned is trained
to its end: what it had evaluated until then must agree, and what it would have come to is told. One
that diverged must diverge again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from rllama_sb3.callbacks.trial_eval import Evaluation
from rllama_sb3.config import ExperimentConfig, parse_experiment
from rllama_sb3.errors import RllamaError
from rllama_sb3.optimization.measures import Components, components_of, measure
from rllama_sb3.optimization.objective import values_of_trial
from rllama_sb3.optimization.study.attributes import CONFIG, EVALUATIONS, FAILURE, SEEDS
from rllama_sb3.optimization.study.opening import read_purpose
from rllama_sb3.optimization.study.ranking import state_of
from rllama_sb3.optimization.values import value_of_seed
from rllama_sb3.training import DivergedError, train

Curve = tuple[tuple[int, float], ...]
OnEvaluation = Callable[[Evaluation], None]


@dataclass(frozen=True)
class Replay:
    """A trial, as it was recorded and as it came out again.

    Attributes:
        number: Of the trial.
        state: How it had ended: ``complete``, ``diverged``, ``pruned`` or ``fail``.
        recorded_values: What it was worth, in each objective; empty if it came to no value.
        values: What it is worth now; empty where it diverged.
        recorded: Of each seed that it had begun, global step and mean env return of each
            evaluation.
        curves: The same now, to the end of each training.
    """

    number: int
    state: str
    recorded_values: tuple[float, ...]
    values: tuple[float, ...]
    recorded: tuple[Curve, ...]
    curves: tuple[Curve, ...]

    @property
    def is_identical(self) -> bool:
        """Whether all that was recorded came out again, to the last bit."""
        curves = zip(self.recorded, self.curves, strict=False)
        same = all(then == now[: len(then)] for then, now in curves)
        if not same or len(self.curves) < len(self.recorded):
            return False
        if self.state == "diverged":
            return not self.values
        return self.recorded_values in ((), self.values)


@dataclass
class _Again:
    """What the trainings of a trial come to this time."""

    curves: list[Curve] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    measured: dict[str, list[float]] = field(default_factory=dict)
    diverged: bool = False


def config_of(trial: FrozenTrial) -> ExperimentConfig:
    """Returns the config that a trial of the built-in objective trained.

    Raises:
        RllamaError: It is not recorded.
    """
    recorded = trial.user_attrs.get(CONFIG)
    if recorded is not None:
        return parse_experiment(json.loads(recorded))
    if FAILURE in trial.user_attrs:
        raise RllamaError(f"trial {trial.number} was not trained: {trial.user_attrs[FAILURE]}")
    raise RllamaError(
        f"the config of trial {trial.number} is not recorded: it never began, is of an "
        "objective of your own, or holds what no file can, such as a class"
    )


def replay(study: Study, number: int, *, on_evaluation: OnEvaluation | None = None) -> Replay:
    """Trains a trial again, from each seed that it had begun.

    Args:
        study: A study whose objective is the built-in one.
        number: Of the trial.
        on_evaluation: Called with each evaluation.

    Raises:
        RllamaError: Its config is not recorded, or no evaluation is.
    """
    trial = study.get_trials(deepcopy=False)[number]
    config, attrs = config_of(trial), trial.user_attrs
    recorded = tuple(
        tuple((int(step), float(mean)) for step, mean in curve)
        for curve in attrs.get(EVALUATIONS, ())
    )
    if not recorded:
        reason = attrs.get(FAILURE, "it is still running, or its process ended")
        raise RllamaError(f"trial {number} has no evaluations to compare with: {reason}")
    seeds = attrs[SEEDS][: len(recorded)]
    again = _train_again(config, seeds, _components(study, config), on_evaluation)
    values: tuple[float, ...] = ()
    if not again.diverged:
        values = values_of_trial(again.values, again.measured, config.tuning)
    state = state_of(trial)
    return Replay(
        number=number,
        state=state,
        recorded_values=tuple(trial.values or ()) if state == "complete" else (),
        values=values,
        recorded=recorded,
        curves=tuple(again.curves),
    )


def _components(study: Study, config: ExperimentConfig) -> Components:
    """What is measured is the same in all trials, so that the config of the search says it."""
    purpose = read_purpose(study)
    if not config.tuning.objectives or purpose is None:
        return {}
    return components_of(parse_experiment(purpose["base_config"]))


def _train_again(
    config: ExperimentConfig,
    seeds: Sequence[int],
    components: Components,
    on_evaluation: OnEvaluation | None,
) -> _Again:
    again = _Again(measured={name: [] for name in components})
    for seed in seeds:
        means: list[float] = []
        curve: list[tuple[int, float]] = []

        def note(evaluation: Evaluation, means: Any = means, curve: Any = curve) -> None:
            means.append(evaluation.mean)
            if math.isfinite(evaluation.mean):
                curve.append((evaluation.global_step, evaluation.mean))
            if on_evaluation is not None:
                on_evaluation(evaluation)

        try:
            model = train(config, seed=seed, on_evaluation=note).model
        except DivergedError:
            again.diverged = True
        again.diverged |= not all(map(math.isfinite, means))
        again.curves.append(tuple(curve))
        if again.diverged:
            # The trial was over with it.
            break
        again.values.append(value_of_seed(means, config.tuning.objective))
        if components:
            for name, value in measure(model, config, components, seed=seed).items():
                again.measured[name].append(value)
    return again
