"""The loop in which one process runs the trials of a study."""

from __future__ import annotations

import optuna
import pytest

from rllama_sb3.optimization import trial_loop
from rllama_sb3.optimization.trial_loop import TrialLoop


def test_a_trial_that_raises_has_ended_before_the_study_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Who sees that the study is stopped ends the process that raised, perhaps at once.
    seen = []
    monkeypatch.setattr(
        trial_loop, "stop_study", lambda study, reason: seen.append((study.trials, reason))
    )
    study = optuna.create_study()
    with pytest.raises(ZeroDivisionError):
        TrialLoop(lambda trial: 1 / 0, 3).run(study)
    (((trial,), reason),) = seen
    assert trial.state == optuna.trial.TrialState.FAIL
    assert trial.user_attrs["failure"] == "ZeroDivisionError: division by zero"
    assert reason.startswith("trial 0 raised, and would again:\nTraceback")
