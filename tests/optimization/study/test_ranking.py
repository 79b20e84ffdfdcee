"""Which trial of a study is called the best."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import create_trial

from rllama_sb3.optimization import open_storage
from rllama_sb3.optimization.study.ranking import best_trial


@pytest.mark.parametrize(("direction", "best"), [("maximize", 1), ("minimize", 0)])
def test_of_equal_trials_the_first_is_the_best(tmp_path: Path, direction: str, best: int) -> None:
    one = optuna.create_study(
        storage=open_storage(f"sqlite:///{tmp_path}/study.db"), direction=direction
    )
    assert best_trial(one) is None
    one.add_trials([create_trial(value=value) for value in (1.0, 2.0, 2.0, 1.0)])
    found = best_trial(one)
    assert found is not None
    assert found.number == best


def test_what_breaks_a_constraint_is_not_the_best() -> None:
    one = optuna.create_study(direction="maximize")
    one.add_trials([create_trial(value=1.0), create_trial(value=2.0)])
    trial = one.ask()
    trial.set_constraint("too much energy", 1.0)
    one.tell(trial, 3.0)
    found = best_trial(one)
    assert found is not None
    assert found.number == 1
