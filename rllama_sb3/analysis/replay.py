"""Trains a trial of the past again, to see that it comes to the same number.

A trial is a function of its config and its seeds, so that its evaluations come out the same to the
last bit, whichever worker ran it and whatever ran beside it; on the same machine, with the same
versions. A trial that was pruned is trained to its end: what it had evaluated until then must
agree, and what it would have come to is told.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from rllama_sb3.callbacks.trial_eval import Evaluation
from rllama_sb3.config import ExperimentConfig, parse_experiment
from rllama_sb3.errors import RllamaError
from rllama_sb3.optimization.objective import CONFIG, EVALUATIONS, SEEDS
from rllama_sb3.optimization.study import main_value
from rllama_sb3.optimization.values import value_of_seed, value_of_trial
from rllama_sb3.training import train

Curve = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Replay:
    """A trial, as it was recorded and as it came out again.

    Attributes:
        number: Of the trial.
        state: How it had ended: ``complete``, ``pruned`` or ``fail``.
        recorded_value: What it was worth, if it came to a value.
        value: What it is worth now.
        recorded: Of each seed that it had begun, global step and mean env return of each
            evaluation.
        curves: The same now, to the end of each training.
    """

    number: int
    state: str
    recorded_value: float | None
    value: float
    recorded: tuple[Curve, ...]
    curves: tuple[Curve, ...]

    @property
    def is_identical(self) -> bool:
        """Whether all that was recorded came out again, to the last bit."""
        curves = zip(self.recorded, self.curves, strict=True)
        same = all(then == now[: len(then)] for then, now in curves)
        return same and (self.recorded_value is None or self.recorded_value == self.value)


def config_of(trial: FrozenTrial) -> ExperimentConfig:
    """Returns the config that a trial of the built-in objective trained.

    Raises:
        RllamaError: It is not recorded.
    """
    recorded = trial.user_attrs.get(CONFIG)
    if recorded is None:
        raise RllamaError(
            f"the config of trial {trial.number} is not recorded: it never began, is of an "
            "objective of your own, or holds what no file can, such as a class"
        )
    return parse_experiment(json.loads(recorded))


def replay(
    trial: FrozenTrial, *, on_evaluation: Callable[[Evaluation], None] | None = None
) -> Replay:
    """Trains a trial again, from each seed that it had begun.

    Args:
        trial: One of a study whose objective is the built-in one.
        on_evaluation: Called with each evaluation.

    Raises:
        RllamaError: Its config is not recorded, or no evaluation is.
    """
    config = config_of(trial)
    attrs: Mapping[str, Any] = trial.user_attrs
    recorded = tuple(
        tuple((int(step), float(mean)) for step, mean in curve) for curve in attrs[EVALUATIONS]
    )
    if not recorded:
        raise RllamaError(f"trial {trial.number} was never evaluated")
    curves = []
    for seed in attrs[SEEDS][: len(recorded)]:
        result = train(config, seed=seed, on_evaluation=on_evaluation)
        curves.append(tuple((e.global_step, e.mean) for e in result.evaluations))
    objective, penalty = config.tuning.objective, config.tuning.variance_penalty
    values = [value_of_seed([mean for _, mean in curve], objective) for curve in curves]
    return Replay(
        number=trial.number,
        state=trial.state.name.lower(),
        recorded_value=_finite(trial),
        value=value_of_trial(values, penalty),
        recorded=recorded,
        curves=tuple(curves),
    )


def _finite(trial: FrozenTrial) -> float | None:
    value = main_value(trial)
    if trial.state.name != "COMPLETE" or value is None or not math.isfinite(value):
        return None
    return value
