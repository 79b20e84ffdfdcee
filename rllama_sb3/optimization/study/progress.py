"""How far a study is, and which of its trials it does not need.

Nobody is in charge of the processes that work on a study. Two that look at it at the same moment
may both start its last trial, or both enqueue the same one. So each looks again when its trial has
begun, and of two such trials the later one is given up.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from optuna.storages._heartbeat import is_heartbeat_enabled
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from rllama_sb3.optimization.study.attributes import (
    FAILURE,
    FIXED,
    INTERRUPTED,
    ORIGIN,
    REPEATS,
    RETRY_OF,
)
from rllama_sb3.optimization.study.owner import is_abandoned, is_of_this_machine

_TIME_TO_ENQUEUE: Final = timedelta(seconds=5)


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Attributes:
        n_finished: How many trials count: those that came to an end, not those that were cut off.
        n_running: How many are being run, as far as is known on any machine, or were cut off just
            now and are about to be enqueued again.
    """

    n_finished: int
    n_running: int


def read_progress(study: Study) -> Progress:
    """Reads the trials of a study once, which takes the longer the more are running."""
    trials = study.get_trials(deepcopy=False)
    return Progress(len(_counted(trials)), len(_alive(study, trials)) + _n_returning(trials))


def n_finished(study: Study) -> int:
    """Returns how many trials count; see :class:`Progress`."""
    return read_progress(study).n_finished


def why_needless(study: Study, trial: Trial, n_trials: int) -> dict[str, Any] | None:
    """Returns the attributes of a trial that has begun and is to be given up, if it is.

    Args:
        study: The study.
        trial: The trial.
        n_trials: How many the study is to have.
    """
    attrs = trial.user_attrs
    if trial.number < n_trials and ORIGIN not in attrs and RETRY_OF not in attrs:
        return None  # There cannot be so many before it, or another one like it.
    trials = study.get_trials(deepcopy=False)
    own = next(other for other in trials if other.number == trial.number)
    earlier = [other for other in trials if other.number < trial.number]
    key = _origin_of(own)
    twins = [other.number for other in earlier if key is not None and _origin_of(other) == key]
    if twins:
        return {REPEATS: twins[0], FAILURE: f"enqueued a second time, after trial {twins[0]}"}
    n_before = sum(other.number < own.number for other in _counted(trials))
    if n_before + len(_alive(study, earlier)) >= n_trials:
        return {INTERRUPTED: True, FAILURE: "the study had enough trials when it began"}
    return None


def _counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    # Of these another one was made, when their machine was no longer heard of. Only what failed
    # does not count: what ended in the moment in which it was given up has its value.
    repeated = {n for trial in trials for n in trial.system_attrs.get("retry_history", ())}
    return [
        trial
        for trial in trials
        if trial.state.is_finished()
        and not (trial.state == TrialState.FAIL and _is_replaced(trial, repeated))
    ]


def _is_replaced(trial: FrozenTrial, repeated: Collection[int]) -> bool:
    attrs = trial.user_attrs
    return bool(attrs.get(INTERRUPTED)) or REPEATS in attrs or trial.number in repeated


def _alive(study: Study, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    # Without heartbeats nobody knows of other machines, and waiting for them might be forever.
    knows_others = is_heartbeat_enabled(study._storage)
    return [
        trial
        for trial in trials
        if trial.state == TrialState.RUNNING
        and not is_abandoned(trial)
        and (knows_others or is_of_this_machine(trial))
    ]


def _n_returning(trials: Sequence[FrozenTrial]) -> int:
    """How many were ended by a process that has not yet enqueued them again, nor had time to."""
    now = datetime.now()
    ended = {
        trial.number: trial.datetime_complete
        for trial in trials
        if trial.state == TrialState.FAIL and trial.user_attrs.get(INTERRUPTED)
    }
    enqueued = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    # Where clocks differ by more, a new trial is begun at once instead.
    return sum(
        number not in enqueued and when is not None and abs(now - when) < _TIME_TO_ENQUEUE
        for number, when in ended.items()
    )


def _origin_of(trial: FrozenTrial) -> tuple[Any, ...] | None:
    """What only one trial of a study can have, unless it was enqueued twice."""
    attrs = trial.user_attrs
    if RETRY_OF in attrs:
        return (RETRY_OF, attrs[RETRY_OF])
    return (ORIGIN, attrs[ORIGIN], trial.system_attrs.get(FIXED)) if ORIGIN in attrs else None
