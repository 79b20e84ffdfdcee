"""The trials that a study begins with: configs that somebody knows, before any is proposed.

1. the config as it stands,
2. the same without shaping, if it has any,
3. each of ``tuning.enqueue``, a list of fragments that mirror the config and say what is different,
4. what is known from another search (see :mod:`rllama_sb3.optimization.warm_start`).

They count as trials as any other. The second one has the parameters of the first, so that every
trial of a study has the same ones; that its config has no ``reward_shaping`` is said by its origin.
Samplers do not see it, as its parameters do not explain its value (see
:mod:`rllama_sb3.optimization.blind_sampler`). Pruners do: all trials are judged by the env return.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final

from optuna.study import Study
from optuna.trial import BaseTrial, FrozenTrial

from rllama_sb3.errors import NO_VALUE, ComponentError, Path, Problem, did_you_mean, format_path
from rllama_sb3.optimization.search_space import SearchSpace
from rllama_sb3.optimization.search_space.conditions import value_at
from rllama_sb3.optimization.search_space.constraints import Constraint
from rllama_sb3.optimization.search_space.judge import Judge, judging
from rllama_sb3.optimization.search_space.known_configs import complete, parameters_of
from rllama_sb3.optimization.search_space.known_trial import KnownTrial, lies_outside
from rllama_sb3.optimization.search_space.leaves import DeclaredLeaf
from rllama_sb3.optimization.study.attributes import ORIGIN

UNSHAPED_ORIGIN: Final = "shaping off"
ENQUEUE: Final[Path] = ("tuning", "enqueue")
_SHAPING: Final = "reward_shaping"


@dataclass(frozen=True)
class FirstTrial:
    """A trial that is to be run before any is proposed.

    Attributes:
        params: Optuna's parameters; the sampler chooses those that are missing.
        origin: Where it comes from.
    """

    params: Mapping[str, Any]
    origin: str


def enqueue_missing(study: Study, trials: Iterable[FirstTrial]) -> None:
    """Enqueues the first trials of a study that it does not have yet."""
    known = [
        (trial.user_attrs.get(ORIGIN), trial.system_attrs.get("fixed_params"))
        for trial in study.get_trials(deepcopy=False)
    ]
    for trial in trials:
        if (trial.origin, trial.params) not in known:
            study.enqueue_trial(dict(trial.params), user_attrs={ORIGIN: trial.origin})


def is_unshaped(trial: BaseTrial | FrozenTrial) -> bool:
    """Whether the config of a trial has no shaping, whatever its parameters say."""
    return trial.user_attrs.get(ORIGIN) == UNSHAPED_ORIGIN


def as_tried(trial: BaseTrial | FrozenTrial, config: dict[str, Any]) -> dict[str, Any]:
    """Returns the config, or fragment of it, of a trial, from what its parameters alone make."""
    if not is_unshaped(trial):
        return config
    unshaped = {key: {} if key == _SHAPING else value for key, value in config.items()}
    tuning = config.get("tuning")
    if isinstance(tuning, Mapping):
        # What is not there any more can neither be searched nor enqueued.
        space = {key: leaf for key, leaf in tuning["search_space"].items() if key != _SHAPING}
        unshaped["tuning"] = {**tuning, "search_space": space, "enqueue": []}
    return unshaped


def values_as_tried(trial: FrozenTrial, space: SearchSpace) -> dict[str, Any]:
    """Returns what took part in a trial.

    Of declared leaves it is the value of the config by its dotted path, 0.99 for a γ that is
    searched by its distance from 1; of anything else Optuna's parameter by its name.
    """
    values: dict[str, Any] = {}
    others = dict(trial.params)
    for leaf in space.leaves:
        known = {name: others.pop(name) for name in leaf.distributions() if name in others}
        if not known or (is_unshaped(trial) and leaf.path[0] == _SHAPING):
            continue
        if isinstance(leaf, DeclaredLeaf):
            values[format_path(leaf.path)] = leaf.suggest(KnownTrial(known))
        else:
            values |= known
    return values | others


def read_enqueue(
    entries: Any,
    space: SearchSpace,
    base: Mapping[str, Any],
    constraints: Sequence[Constraint] = (),
    *,
    is_experiment: bool,
) -> tuple[list[FirstTrial], list[Problem]]:
    """Returns the trials of ``tuning.enqueue``, and what is wrong with them.

    Args:
        entries: Its value.
        space: The search space; the entries differ from the base in what it searches only.
        base: The config that it belongs to.
        constraints: What must hold in it.
        is_experiment: Whether that is an experiment, of which can be known whether it can run.

    Warns:
        UserWarning: A value lies outside its range; it is tried all the same.
    """
    if not isinstance(entries, list):
        remedy = "Write one mapping for each trial, which mirrors the config."
        return [], [Problem(ENQUEUE, "must be a list", entries, remedy)]
    trials: list[FirstTrial] = []
    problems: list[Problem] = []
    with judging(base, space) if is_experiment and entries else nullcontext() as judge:
        for index, entry in enumerate(entries):
            place = (*ENQUEUE, index)
            params, wrong = _read_entry(entry, space, base, constraints, judge)
            problems += [problem.below(place) for problem in wrong]
            if not wrong:
                _warn_outside(params, space, format_path(place))
            trials.append(FirstTrial(params, format_path(place)))
    return trials, problems


def _read_entry(
    entry: Any,
    space: SearchSpace,
    base: Mapping[str, Any],
    constraints: Sequence[Constraint],
    judge: Judge | None,
) -> tuple[dict[str, Any], list[Problem]]:
    if not isinstance(entry, Mapping) or not entry:
        rule = "must be a mapping that says what differs from the config"
        return {}, [Problem((), rule, entry, "Example: algorithm: {params: {gamma: 0.98}}.")]
    paths = list(_paths_of(entry, {leaf.path for leaf in space.leaves}))
    problems = [wrong for path in paths for wrong in _check_path(path, space, base)]
    if problems:
        return {}, problems
    config = complete(space, base, entry)
    problems = [
        Problem(path, "does not apply beside the other values", value_at(entry, path), "Remove it.")
        for path in paths
        if value_at(config, path) is NO_VALUE
    ]
    params, wrong = parameters_of(space, config)
    problems += wrong
    if not problems and judge is not None:
        problems = judge.problems_of(config)
    if not problems:
        problems = [p for constraint in constraints for p in _check_constraint(constraint, config)]
    return params, problems


def _check_constraint(constraint: Constraint, config: Mapping[str, Any]) -> list[Problem]:
    try:
        reason = constraint.violation(config)
    except ComponentError as error:
        return [Problem((), f"must have values that can be compared ({error})")]
    return [Problem((), f"must not be one that {reason}")] if reason else []


def _warn_outside(params: Mapping[str, Any], space: SearchSpace, place: str) -> None:
    for leaf in space.leaves:
        for name, distribution in leaf.distributions().items():
            if name in params and lies_outside(params[name], distribution):
                text = f"{place}: the value of {format_path(leaf.path)} lies outside the range"
                text += " that is searched. It is tried all the same."
                warnings.warn(text, UserWarning, stacklevel=4)


def _paths_of(entry: Mapping[str, Any], searched: set[Path], path: Path = ()) -> Iterator[Path]:
    for key, value in entry.items():
        here = (*path, key)
        if isinstance(value, Mapping) and value and here not in searched:
            yield from _paths_of(value, searched, here)
        else:
            yield here


def _check_path(path: Path, space: SearchSpace, base: Mapping[str, Any]) -> list[Problem]:
    searched = {leaf.path for leaf in space.leaves}
    if path in searched:
        return []
    if value_at(base, path) is not NO_VALUE:
        rule = "must be searched, as trials of a study differ in nothing else"
        return [Problem(path, rule, remedy="Add it to the search space, or remove it here.")]
    remedy = did_you_mean(format_path(path), map(format_path, searched))
    return [Problem(path, "must be a path of the search space", remedy=remedy)]
