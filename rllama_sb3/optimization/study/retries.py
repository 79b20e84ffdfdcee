"""What becomes of trials that were cut off: they fail, and their values are tried again.

What a process leaves behind when it is killed is a trial that seems to be running still. On its own
machine that is seen by asking for the process; elsewhere by heartbeats, which Optuna keeps.
"""

from __future__ import annotations

import warnings
from typing import Final

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from rllama_sb3.optimization.study.attributes import (
    FAILURE,
    FIXED,
    INTERRUPTED,
    ORIGIN,
    REPEATS,
    RETRY_OF,
)
from rllama_sb3.optimization.study.owner import is_abandoned

# How often a trial is tried again whose process was ended from outside.
MOST_RETRIES: Final = 2


def fail_trial(study: Study, trial: FrozenTrial, reason: str, *, interrupted: bool = False) -> bool:
    """Ends a trial whose process can no longer do it.

    Args:
        study: The study.
        trial: A running trial.
        reason: Why it failed.
        interrupted: Whether it does not count, because it is tried again.

    Returns:
        Whether that was done; another process may have been faster.
    """
    storage = study._storage
    try:
        # A trial that has ended takes no more attributes, so they come first.
        if interrupted:
            storage.set_trial_user_attr(trial._trial_id, INTERRUPTED, True)
        storage.set_trial_user_attr(trial._trial_id, FAILURE, reason)
        return storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)
    except UpdateFinishedTrialError:
        return False


def close_abandoned_trials(study: Study, reason: str, *, most_retries: int | None = None) -> None:
    """Ends the trials whose processes on this machine are gone, and enqueues them again.

    Args:
        study: The study.
        reason: Why they failed.
        most_retries: After so many in a row a trial counts as failed: it is likely to be what ends
            the process.
    """
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        if trial.state == TrialState.RUNNING and is_abandoned(trial):
            again = most_retries is None or _n_retries(trial, trials) < most_retries
            if fail_trial(study, trial, reason, interrupted=again) and again:
                _enqueue(study, trial)


def take_over_silent_trials(study: Study) -> None:
    """Fails trials that have given no sign of life, and enqueues them again; needs a database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)


def enqueue_again(study: Study) -> None:
    """Enqueues the parameters of trials that were interrupted, and of first trials that failed.

    Each at most twice in a row: what ends the process each time must not hold up the study.
    """
    trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs[RETRY_OF] for trial in trials if RETRY_OF in trial.user_attrs}
    for trial in trials:
        is_first = ORIGIN in trial.user_attrs
        failed = trial.state == TrialState.FAIL and REPEATS not in trial.user_attrs
        if not failed or not (trial.user_attrs.get(INTERRUPTED) or is_first):
            continue
        if trial.number not in retried and _n_retries(trial, trials) < MOST_RETRIES:
            _enqueue(study, trial)


def _enqueue(study: Study, trial: FrozenTrial) -> None:
    params = trial.system_attrs.get(FIXED) or trial.params
    if params:
        kept = {ORIGIN: trial.user_attrs[ORIGIN]} if ORIGIN in trial.user_attrs else {}
        study.enqueue_trial(dict(params), user_attrs={RETRY_OF: trial.number, **kept})


def _n_retries(trial: FrozenTrial, trials: list[FrozenTrial]) -> int:
    n = 0
    while RETRY_OF in trial.user_attrs:
        trial = trials[trial.user_attrs[RETRY_OF]]
        n += 1
    return n
