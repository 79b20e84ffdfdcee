"""Opens a study, or an earlier one to go on with.

A study remembers the search space and the config that it was made for, and is never continued with
others: its trials would not be comparable. How many trials it is to have may change.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection

from rllama_sb3.errors import ConfigError, Path, Problem
from rllama_sb3.optimization.study.owner import this_process

# Attributes of studies.
_MADE_FOR: Final = "rllama_sb3"
_MADE_BY: Final = "rllama_sb3_made_by"
# How long is waited for whoever made a study to say what it is for.
_SECONDS_TO_SAY: Final = 3.0
# They say how the search begins, how long it goes on and what follows it, not what a trial is.
_FREE_KEYS: Final = ("n_trials", "n_top_configs", "n_test_seeds", "enqueue", "trial_timeout")


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


def read_purpose(study: Study) -> Mapping[str, Any] | None:
    """Returns what a study was made for, as :func:`describe_purpose` says, if it says so."""
    return study.user_attrs.get(_MADE_FOR)


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
    is_maker = False
    with suppress(DuplicatedStudyError):
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            directions=[StudyDirection[direction.upper()] for direction in directions],
        )
        study.set_user_attr(_MADE_BY, this_process())
        is_maker = True
    study = optuna.load_study(study_name=name, storage=storage)
    # In this order, as the maker says what it is for before it enqueues the first trials.
    has_trials = bool(study.get_trials(deepcopy=False))
    known = None if is_maker else _wait_for_purpose(study, 0.0 if has_trials else _SECONDS_TO_SAY)
    remedy = "Choose another study name or storage for a new search, or restore the old values."
    if known is None and has_trials:
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


def crew_number(study: Study) -> int:
    """Returns a number that tells processes that propose trials apart: 0 for the study's maker."""
    own = this_process()
    return 0 if study.user_attrs.get(_MADE_BY) == own else zlib.crc32(own.encode())


def _wait_for_purpose(study: Study, seconds: float) -> Mapping[str, Any] | None:
    """Returns what a study was made for; None if whoever made it does not say so in time."""
    deadline = time.monotonic() + seconds
    while True:
        known = read_purpose(study)
        if known is not None or time.monotonic() >= deadline:
            return known
        time.sleep(0.05)


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
