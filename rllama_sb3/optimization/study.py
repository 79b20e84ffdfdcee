"""Opens a study, or an earlier one to go on with, and says what it holds.

A study remembers the search space and the config that it was made for, and is never continued with
others: its trials would not be comparable. How many trials it is to have may change.

Any number of processes work on a study, on one machine or many. What one leaves behind when it is
killed is a trial that seems to be running still. On its own machine that is seen by asking for the
process; elsewhere by heartbeats, which Optuna keeps. Either way its parameters are tried again.

Nobody is in charge of them. Two processes that look at a study at the same moment may both start
its last trial, or both enqueue the same one. So each looks again when its trial has begun, and of
two such trials the later one is given up.
"""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import optuna
from optuna.exceptions import (
    DuplicatedStudyError,
    ExperimentalWarning,
    UpdateFinishedTrialError,
)
from optuna.storages import BaseStorage
from optuna.storages._heartbeat import is_heartbeat_enabled
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from rllama_sb3.errors import ConfigError, Path, Problem
from rllama_sb3.optimization.owner import is_abandoned, is_of_this_machine, this_process

# Attributes of trials.
FAILURE: Final = "failure"
INTERRUPTED: Final = "interrupted"
ORIGIN: Final = "origin"
RETRY_OF: Final = "retry_of"
REPEATS: Final = "repeats"

BASE_ORIGIN: Final = "base config"
# Where Optuna keeps what an enqueued trial is to try.
FIXED: Final = "fixed_params"
# Attributes of studies.
_MADE_FOR: Final = "rllama_sb3"
_MADE_BY: Final = "rllama_sb3_made_by"
_STOP: Final = "rllama_sb3_stop"
# How often a trial is tried again whose process was ended from outside.
MOST_RETRIES: Final = 2
# They say how the search begins, how long it goes on and what follows it, not what a trial is.
_FREE_KEYS: Final = ("n_trials", "n_top_configs", "n_test_seeds", "enqueue")


def describe_purpose(fingerprint: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a study is made for, as JSON-able data that equals itself in a later process.

    Args:
        fingerprint: Of the search space.
        base: The config.
    """
    config = dict(base)
    if isinstance(config.get("tuning"), Mapping):
        config["tuning"] = {
            key: value
            for key, value in config["tuning"].items()
            if key not in (*_FREE_KEYS, "search_space")
        }
    return {"search_space": dict(fingerprint), "base_config": _to_json(config)}


def open_study(
    storage: BaseStorage,
    name: str,
    purpose: Mapping[str, Any],
    *,
    directions: Sequence[str],
    where: Path = ("study_name",),
) -> Study:
    """Makes a study, or opens the one of that name to go on with.

    Raises:
        ConfigError: The study there was made for another search space, config or direction, or
            not by this package. It is left as it is.
    """
    # Whether it exists is not asked before: another process may be making it at this moment.
    with suppress(DuplicatedStudyError):
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            directions=[StudyDirection[direction.upper()] for direction in directions],
        )
        study.set_user_attr(_MADE_BY, this_process())
    study = optuna.load_study(study_name=name, storage=storage)
    known = study.user_attrs.get(_MADE_FOR)
    remedy = "Choose another study name or storage for a new search, or restore the old values."
    if known is None and study.get_trials(deepcopy=False):
        rule = "must be a study of this package or a new name, but another program made it"
        raise ConfigError(Problem(where, rule, name, remedy))
    if [d.name.lower() for d in study.directions] != list(directions):
        rule = f"must be a study in the direction {', '.join(map(repr, directions))}"
        raise ConfigError(Problem(where, rule, name, remedy))
    if known is None:
        study.set_user_attr(_MADE_FOR, dict(purpose))
        return study
    # Through JSON, as the stored one went, so that tuples equal lists.
    problems = [
        Problem(path, f"must be {old!r}, as the study {name!r} has it", new, remedy)
        for path, old, new in _differences(known, json.loads(json.dumps(purpose)))
    ]
    if problems:
        raise ConfigError(*problems)
    return study


def read_purpose(study: Study) -> Mapping[str, Any] | None:
    """Returns what a study was made for, as :func:`describe_purpose` says, if it says so."""
    return study.user_attrs.get(_MADE_FOR)


def crew_number(study: Study) -> int:
    """Returns a number that tells processes that propose trials apart: 0 for the study's maker."""
    own = this_process()
    return 0 if study.user_attrs.get(_MADE_BY) == own else zlib.crc32(own.encode())


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Attributes:
        n_finished: How many trials count: those that came to an end, not those that were cut off.
        n_running: How many are being run, as far as is known on any machine.
    """

    n_finished: int
    n_running: int


def read_progress(study: Study) -> Progress:
    """Reads the trials of a study once, which takes the longer the more are running."""
    trials = study.get_trials(deepcopy=False)
    return Progress(len(_counted(trials)), len(_alive(study, trials)))


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
    # Of these another one was made, when their machine was no longer heard of.
    repeated = {n for trial in trials for n in trial.system_attrs.get("retry_history", ())}
    return [
        trial
        for trial in trials
        if trial.state.is_finished()
        and not trial.user_attrs.get(INTERRUPTED)
        and REPEATS not in trial.user_attrs
        and trial.number not in repeated
    ]


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


def _origin_of(trial: FrozenTrial) -> tuple[Any, ...] | None:
    """What only one trial of a study can have, unless it was enqueued twice."""
    attrs = trial.user_attrs
    if RETRY_OF in attrs:
        return (RETRY_OF, attrs[RETRY_OF])
    return (ORIGIN, attrs[ORIGIN], trial.system_attrs.get(FIXED)) if ORIGIN in attrs else None


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


def stop_study(study: Study, reason: str) -> None:
    """Tells every worker of a study, wherever it runs, to start no more trials."""
    study.set_user_attr(_STOP, reason)


def read_stop(study: Study) -> str | None:
    """Returns why a study was stopped, if it was."""
    return study.user_attrs.get(_STOP) or None


def clear_stop(study: Study) -> None:
    """Lets a stopped study go on."""
    if read_stop(study) is not None:
        study.set_user_attr(_STOP, "")


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


def best_trial(study: Study) -> FrozenTrial | None:
    """Returns the complete trial with the best value, if there is one.

    Of several objectives it is the trial of the Pareto front with the best of the first, which is
    the env return.
    """
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return None
    if len(study.directions) == 1:
        return study.best_trial
    return next(iter(pareto_front(study)), None)


def pareto_front(study: Study) -> list[FrozenTrial]:
    """Returns the complete trials that no other one beats in all objectives, the best first.

    The order is that of the first objective. With one objective these are the best trials.
    """
    sign = -1.0 if study.directions[0] == StudyDirection.MAXIMIZE else 1.0
    return sorted(study.best_trials, key=lambda trial: sign * trial.values[0])


def main_value(trial: FrozenTrial) -> float | None:
    """Returns the value of a trial, of several the first, if it came to one."""
    return trial.values[0] if trial.values else None


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


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[Path, Any, Any]]:
    """Yields path, old and new value of everything that differs, by the paths of the config."""
    for key in dict.fromkeys([*old["search_space"], *new["search_space"]]):
        was, now = (side["search_space"].get(key, "nothing") for side in (old, new))
        if was != now:
            yield ("tuning", "search_space", *key.split(".")), was, now
    yield from _config_differences(old["base_config"], new["base_config"], ())


def _config_differences(old: Any, new: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            was, now = (side.get(key, "nothing") for side in (old, new))
            yield from _config_differences(was, now, (*path, key))
    elif old != new:
        yield path, old, new


def _to_json(value: Any) -> Any:
    """Returns what JSON can say of a value; of other objects their kind, not where they lie."""
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _to_json(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)  # JSON has no NaN, which would not equal itself either
    if value is None or isinstance(value, str | bool | int | float):
        return value
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"<{kind.__module__}.{kind.__qualname__}>"
