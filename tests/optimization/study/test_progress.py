"""Which trials of a study count."""

from __future__ import annotations

import optuna
from optuna.trial import TrialState, create_trial

from rllama_sb3.optimization.study.progress import n_finished


def test_what_ended_in_the_moment_in_which_it_was_given_up_counts() -> None:
    one = optuna.create_study()
    for state in (TrialState.COMPLETE, TrialState.FAIL):
        value = 1.0 if state == TrialState.COMPLETE else None
        one.add_trial(create_trial(state=state, value=value, user_attrs={"interrupted": True}))
    assert n_finished(one) == 1
