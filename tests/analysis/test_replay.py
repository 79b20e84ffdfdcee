"""Trials of the past that did not come to an end of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from tiny import tiny_experiment

from rllama_sb3.analysis.replay import config_of, replay
from rllama_sb3.errors import RllamaError
from rllama_sb3.optimization import BayesianRewardOptimizer


@pytest.fixture(autouse=True)
def _quiet_optuna() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    yield
    optuna.logging.set_verbosity(before)


def study_of(arguments: dict[str, Any], **tuning: Any) -> optuna.Study:
    config = tiny_experiment(tuning=tuning)
    study: optuna.Study = BayesianRewardOptimizer(config, **arguments).optimize()[2]
    return study


class StopAt(optuna.pruners.BasePruner):
    """Stops all but the first trial at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.number > 0 and trial.last_step == self.step


@pytest.mark.parametrize(("step", "n_seeds", "n_evaluations"), [(1, 1, 1), (2, 1, 2), (3, 2, 3)])
def test_a_pruned_trial_is_trained_to_its_end_and_had_come_to_the_same_until_then(
    step: int, n_seeds: int, n_evaluations: int
) -> None:
    study = study_of({"pruner": StopAt(step)}, seeds_per_trial=2)
    assert study.trials[1].state == optuna.trial.TrialState.PRUNED
    found = replay(study, 1)
    assert found.is_identical
    assert (found.state, found.recorded_values) == ("pruned", ())
    assert len(found.recorded) == len(found.curves) == n_seeds
    assert sum(map(len, found.recorded)) == n_evaluations
    assert [len(curve) for curve in found.curves] == [2] * n_seeds
    assert len(found.values) == 1


def test_a_trial_that_was_refused_says_why_it_was_never_trained() -> None:
    where = {"steps": "algorithm.params.n_steps"}
    fits = {"expression": "steps < 50", "where": where}
    steps = {"suggest": "categorical", "choices": [32, 64]}
    study = study_of(
        {"search_space": {"algorithm": {"params": {"n_steps": steps}}}},
        sampler="grid",
        n_trials=3,
        constraints={"short": fits},
    )
    with pytest.raises(RllamaError, match=r"trial 2 was not trained: violates short: steps < 50"):
        replay(study, 2)
    with pytest.raises(RllamaError, match="was not trained"):
        config_of(study.trials[2])


@pytest.mark.parametrize(
    ("failure", "reason"),
    [({"failure": "interrupted"}, "interrupted"), ({}, "it is still running, or its process")],
)
def test_a_trial_without_evaluations_has_nothing_to_compare_with(
    failure: dict[str, str], reason: str
) -> None:
    study = optuna.create_study()
    trial = study.ask()
    attrs = {"config": json.dumps(tiny_experiment()), "seeds": [1], **failure}
    for name, value in attrs.items():
        trial.set_user_attr(name, value)
    with pytest.raises(RllamaError, match=f"trial 0 has no evaluations to compare with: {reason}"):
        replay(study, 0)
