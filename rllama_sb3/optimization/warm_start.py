"""What another search has found, tried first in this one.

The source is a file such as ``best.yaml``, whose values are tried, or another study: its best
trials are. A study is named by its storage, ``sqlite:///runs.db#name``, or by the folder of its
results; the name may be left out where the storage has one study.

Taken over are the *configs* that were tried, at the paths that this search searches. So it does not
matter what the other search searched there and what it kept fixed. Where a value cannot be taken
over, the config's own is tried, or the default of what was chosen.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial

from rllama_sb3.config.loading import read_yaml
from rllama_sb3.errors import NO_VALUE, ConfigError, Path, Problem, did_you_mean, format_path
from rllama_sb3.optimization.first_trials import FirstTrial, is_unshaped
from rllama_sb3.optimization.search_space import SearchSpace
from rllama_sb3.optimization.search_space.conditions import all_hold, remove, same_value, value_at
from rllama_sb3.optimization.search_space.defaults import default_at
from rllama_sb3.optimization.search_space.dependencies import without_constants
from rllama_sb3.optimization.search_space.known_configs import complete, parameter_for
from rllama_sb3.optimization.search_space.leaf_config import LeafConfig
from rllama_sb3.optimization.search_space.leaves import ComputedLeaf, DeclaredLeaf, Leaf
from rllama_sb3.optimization.storage import open_storage
from rllama_sb3.optimization.storage.url import is_same_storage, shown_path
from rllama_sb3.optimization.study.opening import read_purpose
from rllama_sb3.optimization.study.ranking import valued_trials

_WHERE: Final[Path] = ("warm_start",)
# The best of a search are much alike; a few say where to look.
_N_BEST: Final = 5
_EXAMPLE: Final = "Name a best.yaml, a folder of results, or a study as sqlite:///study.db#name."
_MOST_TOLD: Final = 8


@dataclass(frozen=True)
class _Found:
    """A config that another search has tried.

    Attributes:
        config: The config, without what only callables of that search could say.
        origin: Where it is from, in words.
        space: That search's leaves, as :meth:`SearchSpace.fingerprint` describes them.
        params: Optuna's parameters.
    """

    config: Mapping[str, Any]
    origin: str
    space: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)


def warm_start_trials(
    source: str,
    space: SearchSpace,
    base: Mapping[str, Any],
    *,
    storage: Any = None,
    study_name: str = "",
) -> list[FirstTrial]:
    """Returns the trials to begin with, the best first, no two with the same parameters.

    At most 5 trials of a study are taken.

    Args:
        source: A YAML file, a folder of results, or the URL of a storage with ``#`` and the name
            of the study.
        space: What is searched here.
        base: The config that it belongs to.
        storage: Where the trials will be, which is no source for them.
        study_name: The study that they will be of.

    Raises:
        ConfigError: The source is none of these, or has nothing that can be tried here.

    Warns:
        UserWarning: A trial will differ from what it was taken from; says in what.
    """
    trials: list[FirstTrial] = []
    for found in _read(source, storage, study_name):
        params = _take_over(found, space, base)
        if params and all(params != trial.params for trial in trials):
            trials.append(FirstTrial(params, f"warm start from {found.origin}"))
    if not trials:
        rule = "must have a config that was tried, with a value that is searched here"
        raise ConfigError(Problem(_WHERE, rule, remedy="Name another one, or start without it."))
    return trials


def _read(source: str, own_storage: Any, own_name: str) -> Iterator[_Found]:
    if "://" not in source and FilePath(source).suffix in (".yaml", ".yml"):
        yield _Found(read_yaml(source).data, FilePath(source).name)
        return
    url, name = _split_source(source)
    if "://" not in source:
        database = FilePath(source) / "study.db"
        if not database.is_file():
            rule = "must be a search to start from"
            raise ConfigError(Problem(_WHERE, rule, shown_path(source), _EXAMPLE))
        url, name = f"sqlite:///{database}", ""
    study = _load(url, name)
    is_own = isinstance(own_storage, str) and is_same_storage(url, own_storage)
    if study.study_name == own_name and is_own:
        rule = "must be another study than the one to start"
        raise ConfigError(Problem(_WHERE, rule, study.study_name))
    purpose = read_purpose(study)
    if purpose is None:
        rule = "must be a study of this package, which says what its parameters mean"
        raise ConfigError(Problem(_WHERE, rule, study.study_name, _EXAMPLE))
    for trial in _best(study)[:_N_BEST]:
        config = _config_of(trial, purpose["search_space"], purpose["base_config"])
        origin = f"trial {trial.number} of {study.study_name}"
        yield _Found(config, origin, purpose["search_space"], trial.params)


def _load(url: str, name: str) -> Study:
    storage = open_storage(url, may_make=False)
    names = optuna.get_all_study_names(storage)
    if name and name not in names:
        remedy = did_you_mean(name, names)
        raise ConfigError(Problem(_WHERE, "must be a study of its storage", name, remedy))
    if not name and len(names) != 1:
        remedy = f"Add # and one of: {', '.join(names)}." if names else "There is none."
        raise ConfigError(Problem(_WHERE, "must name one study of its storage", remedy=remedy))
    return optuna.load_study(study_name=name or names[0], storage=storage)


def _split_source(source: str) -> tuple[str, str]:
    """Returns the URL of a storage, and the name of the study after it."""
    # A # in front of the @ belongs to a password that was not encoded.
    credentials = re.match(r"[\w+.-]*://(?:[^/@]*@)?", source)
    begin = credentials.end() if credentials else 0
    place, _, name = source[begin:].partition("#")
    return source[:begin] + place, name


def _best(study: Study) -> list[FrozenTrial]:
    # The parameters of the unshaped one are the base's, and not what it was worth.
    return [trial for trial in valued_trials(study) if not is_unshaped(trial)]


def _config_of(
    trial: FrozenTrial, described: Mapping[str, Any], base: Mapping[str, Any]
) -> dict[str, Any]:
    leaves: list[Leaf] = []
    unknown: list[Path] = []
    for place, entry in described.items():
        dotted, index = _split(place)
        if "callable" in entry:
            unknown.append(dotted)
        else:
            config = LeafConfig.model_validate(entry)
            leaves.append(DeclaredLeaf(dotted, config, config.conditions(), index))
    space = SearchSpace(tuple(without_constants(leaf, leaves) for leaf in leaves))
    merged = space.merge(base, space.replay(trial.params, trial.number))
    for path in unknown:
        remove(merged, path)
    return merged


def _split(place: str) -> tuple[Path, int | None]:
    """Returns the path and the index of an alternative of ``"a.b[1]"``."""
    match = re.fullmatch(r"(.*?)(?:\[(\d+)\])?", place)
    assert match is not None  # Anything matches.
    return tuple(match[1].split(".")), None if match[2] is None else int(match[2])


def _take_over(found: _Found, space: SearchSpace, base: Mapping[str, Any]) -> dict[str, Any]:
    """Returns parameters for a config of another search; none where nothing of it is searched."""
    params: dict[str, Any] = {}
    n_taken = 0
    for leaf in space.leaves:
        config = complete(space, base, space.replay(params))
        if not all_hold(leaf.when, config):
            continue
        taken = _parameters_at(leaf, found)
        n_taken += taken is not None
        if taken is None:
            taken = parameter_for(leaf, value_at(config, leaf.path))
        params |= taken or {}  # Where even that is unknown, the sampler will choose.
    if n_taken == 0:
        return {}
    _tell_differences(found, complete(space, base, space.replay(params)))
    return params


def _parameters_at(leaf: Leaf, found: _Found) -> dict[str, Any] | None:
    if isinstance(leaf, ComputedLeaf):
        same = found.space.get(format_path(leaf.place)) == leaf.describe()
        params = {n: found.params[n] for n in leaf.distributions() if n in found.params}
        if same and params:
            return params
    value = value_at(found.config, leaf.path)
    if value is NO_VALUE:
        value = default_at(found.config, leaf.path)
    return parameter_for(leaf, value)


def _tell_differences(found: _Found, config: Mapping[str, Any]) -> None:
    """Warns of all that a trial has not as the config that it was taken from."""
    told = [
        f"{format_path(path)} is {'left out' if mine is NO_VALUE else repr(mine)}, not {theirs!r}"
        for path, theirs in _values(found.config)
        if not same_value(mine := value_at(config, path), theirs)
    ]
    if len(told) > _MOST_TOLD:
        told = [*told[:_MOST_TOLD], f"{len(told) - _MOST_TOLD} more"]
    if told:
        text = f"the trial taken from {found.origin} differs from it: {'; '.join(told)}"
        warnings.warn(f"{text}.", UserWarning, stacklevel=5)


def _values(config: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for key, value in config.items():
        here = (*path, key)
        # Those say how a search goes, and from which seeds; not what is tried.
        if here == ("tuning",) or here == ("training", "seed"):
            continue
        if isinstance(value, Mapping):
            yield from _values(value, here)
        else:
            yield here, value
