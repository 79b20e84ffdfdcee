"""Opens a study, or an earlier one to go on with, and says what it holds.

A study remembers the search space and the config that it was made for, and is never continued with
others: its trials would not be comparable. How many trials it is to have may change.

One process at a time works on a study. What it leaves behind when it is killed, a trial that seems
to be running still, is closed when the study is opened again, and its parameters are tried anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import optuna
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from rllama_sb3.errors import ConfigError, Path, Problem

# Attributes of trials.
FAILURE: Final = "failure"
INTERRUPTED: Final = "interrupted"
ORIGIN: Final = "origin"
RETRY_OF: Final = "retry_of"

BASE_ORIGIN: Final = "base config"
_MADE_FOR: Final = "rllama_sb3"
_MOST_RETRIES: Final = 2
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
    direction: str,
    where: Path = ("study_name",),
) -> Study:
    """Makes a study, or opens the one of that name to go on with.

    Raises:
        ConfigError: The study there was made for another search space, config or direction, or
            not by this package. It is left as it is.
    """
    try:
        storage.get_study_id_from_name(name)
    except KeyError:
        study = optuna.create_study(
            study_name=name, storage=storage, direction=StudyDirection[direction.upper()]
        )
        study.set_user_attr(_MADE_FOR, dict(purpose))
        return study
    study = optuna.load_study(study_name=name, storage=storage)
    known = study.user_attrs.get(_MADE_FOR)
    remedy = "Choose another study name or storage for a new search, or restore the old values."
    if known is None and study.get_trials(deepcopy=False):
        rule = "must be a study of this package or a new name, but another program made it"
        raise ConfigError(Problem(where, rule, name, remedy))
    if [d.name.lower() for d in study.directions] != [direction]:
        rule = f"must be a study in the direction {direction!r}"
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


def n_finished(study: Study) -> int:
    """Returns how many trials count: those that came to an end, not those that were cut off."""
    finished = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    trials = study.get_trials(deepcopy=False, states=finished)
    return sum(not trial.user_attrs.get(INTERRUPTED) for trial in trials)


def close_cut_off_trials(study: Study, storage: BaseStorage) -> None:
    """Marks trials that a killed process left running as failed, and as interrupted."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        # A trial that has ended takes no more attributes, so they come first.
        storage.set_trial_user_attr(trial._trial_id, INTERRUPTED, True)
        storage.set_trial_user_attr(trial._trial_id, FAILURE, "the process ended while it ran")
        study.tell(trial.number, state=TrialState.FAIL)


def enqueue_again(study: Study) -> None:
    """Enqueues the parameters of trials that were interrupted, and of first trials that failed.

    Each at most twice in a row: what ends the process each time must not hold up the study.
    """
    trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs[RETRY_OF] for trial in trials if RETRY_OF in trial.user_attrs}
    for trial in trials:
        is_first = ORIGIN in trial.user_attrs
        failed = trial.state == TrialState.FAIL
        if not failed or not (trial.user_attrs.get(INTERRUPTED) or is_first):
            continue
        params = trial.system_attrs.get("fixed_params") or trial.params
        if params and trial.number not in retried and _n_retries(trial, trials) < _MOST_RETRIES:
            kept = {ORIGIN: trial.user_attrs[ORIGIN]} if is_first else {}
            study.enqueue_trial(dict(params), user_attrs={RETRY_OF: trial.number, **kept})


def best_trial(study: Study) -> FrozenTrial | None:
    """Returns the complete trial with the best value, if there is one."""
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return None
    return study.best_trial


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
