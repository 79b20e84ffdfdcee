"""A study that one process stops for all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from rllama_sb3.errors import RllamaError
from rllama_sb3.optimization import BayesianRewardOptimizer, open_storage
from rllama_sb3.optimization.study.progress import n_finished
from rllama_sb3.optimization.study.stop import read_stop, stop_study

SPACE = {"rate": {"suggest": "float", "low": 0.0, "high": 1.0, "name": "rate"}}


def test_what_stopped_a_study_before_stays_for_those_that_it_is_to_stop() -> None:
    one = optuna.create_study()
    stop_study(one, "trial 3 raised")
    before = read_stop(one)
    assert (before, read_stop(one, before)) == ("trial 3 raised", None)
    stop_study(one, "trial 7 raised")
    assert read_stop(one, before) == "trial 7 raised"


def test_a_search_that_joins_does_not_let_another_one_miss_that_it_was_stopped(
    tmp_path: Path,
) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"

    def joined_by_another(trial: optuna.Trial) -> float:
        if trial.number == 1:
            # A third machine has raised, and before this one sees it another search begins, which
            # has nothing to do.
            stop_study(trial.study, "trial 9 raised, and would again")
            build(storage, joined_by_another, 1).optimize()
        return trial.suggest_float("rate", 0.0, 1.0)

    with pytest.raises(RllamaError, match="trial 9 raised"):
        build(storage, joined_by_another, 5).optimize()
    assert n_finished(optuna.load_study(study_name="one", storage=open_storage(storage))) == 2


def build(
    storage: str, objective: Callable[[optuna.Trial], float], n_trials: int
) -> BayesianRewardOptimizer:
    return BayesianRewardOptimizer(
        {"rate": 0.5},
        SPACE,
        objective,
        n_trials=n_trials,
        sampler="random",
        storage=storage,
        study_name="one",
    )
