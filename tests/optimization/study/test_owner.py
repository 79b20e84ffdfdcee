"""Whose process runs a trial, and what is known of it."""

from __future__ import annotations

import os

import optuna
import pytest
from owners import leave_to_nobody

from rllama_sb3.optimization.study import owner
from rllama_sb3.optimization.study.owner import claim, is_abandoned


@pytest.fixture
def trial() -> optuna.Trial:
    return optuna.create_study().ask()


def is_left(trial: optuna.Trial) -> bool:
    return is_abandoned(trial.study.trials[trial.number])


def test_a_trial_is_abandoned_when_its_process_is_gone(trial: optuna.Trial) -> None:
    claim(trial, 0)
    assert not is_left(trial)
    leave_to_nobody(trial)
    assert is_left(trial)


def test_a_number_that_another_process_has_got_is_not_its_process(trial: optuna.Trial) -> None:
    claim(trial, 0)
    earlier = trial.user_attrs["owner"] | {"since": "1"}
    trial.set_user_attr("owner", earlier)
    assert is_left(trial)


def test_a_process_that_the_machine_says_nothing_of_is_not_taken_for_gone(
    trial: optuna.Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(trial, 0)

    def refuse(pid: int, signal: int) -> None:
        raise PermissionError

    # As where /proc is mounted with hidepid: it is there, but neither whose nor since when.
    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(owner, "_start_of", lambda pid: None)
    assert not is_left(trial)
