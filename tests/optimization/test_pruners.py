from __future__ import annotations

import optuna
import pytest

from rllama_sb3.errors import ConfigError
from rllama_sb3.optimization import build_pruner

N_EVALUATIONS = 9
WARMUP = 3


def stopped_at(name: str, n_good: int = 9) -> int | None:
    """The step at which a hopeless trial is stopped that follows some good ones."""
    study = optuna.create_study(
        direction="maximize",
        pruner=build_pruner(name, n_evaluations=N_EVALUATIONS),
        sampler=optuna.samplers.RandomSampler(0),
    )
    for value in [*[10.0] * n_good, 0.0]:
        trial = study.ask()
        for step in range(1, N_EVALUATIONS + 1):
            trial.report(value, step)
            # Successive halving notes who came by when it is asked.
            if trial.should_prune() and value == 0.0:
                return step
        study.tell(trial, value)
    return None


@pytest.mark.parametrize("name", ["median", "halving"])
def test_a_hopeless_trial_is_stopped_right_after_the_warmup(name: str) -> None:
    assert stopped_at(name) == WARMUP


def test_hyperband_stops_no_trial_during_the_warmup() -> None:
    step = stopped_at("hyperband")
    assert step is None or step >= WARMUP


def test_the_median_wants_five_complete_trials() -> None:
    assert stopped_at("median", n_good=4) is None


def test_none_stops_nothing() -> None:
    assert stopped_at("none") is None


@pytest.mark.parametrize("name", ["median", "halving", "hyperband", "none"])
def test_pruners_need_not_know_the_number_of_evaluations(name: str) -> None:
    assert isinstance(build_pruner(name), optuna.pruners.BasePruner)


def test_an_unknown_pruner_is_told_with_a_guess() -> None:
    with pytest.raises(ConfigError, match=r"tuning\.pruner: must be one of .* mean 'median'\?"):
        build_pruner("medain")
