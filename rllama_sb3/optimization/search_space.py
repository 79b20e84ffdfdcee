"""The search space: a mapping that mirrors the config, whose leaves say what may be suggested.

::

    search_space:
      algorithm:
        params:
          learning_rate: {suggest: float, low: 1.0e-5, high: 1.0e-2, log: true}
          gamma: {suggest: float, low: 1.0e-3, high: 0.2, log: true, transform: one_minus}
          batch_size: {suggest: categorical, choices: [64, 128, 256]}

In Python a leaf may also be a callable, ``lambda trial: trial.suggest_float("lr", 1e-5, 1e-2)``;
both forms mix. A declared parameter is called by its dotted path in Optuna, or by its ``name``.

Every path must be in the config, with the value in use today. So a misspelt key is found before
anything starts, and the first trial can be the config as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from optuna.trial import BaseTrial
from pydantic import ValidationError

from rllama_sb3.config.validation import problems_from_validation_error
from rllama_sb3.errors import NO_VALUE, ConfigError, Path, Problem, did_you_mean, format_path
from rllama_sb3.optimization.known_trial import KnownTrial, NotSuggestedError, lies_outside
from rllama_sb3.optimization.leaves import ComputedLeaf, DeclaredLeaf, Leaf, LeafConfig

SECTION: Final[Path] = ("tuning", "search_space")
_EXAMPLE: Final = "Write for example {suggest: float, low: 0.1, high: 10.0}."


@dataclass(frozen=True)
class SearchSpace:
    """What is searched, checked against the config that it belongs to.

    Attributes:
        leaves: In the order of the mapping.
        where: Path of the mapping itself, for messages.

    Example:
        >>> from optuna.trial import FixedTrial
        >>> base = {"algorithm": {"params": {"gamma": 0.99, "learning_rate": 3e-4}}}
        >>> space = build_search_space({"algorithm": {"params": {
        ...     "gamma": {"suggest": "float", "low": 0.001, "high": 0.2, "transform": "one_minus"},
        ...     "learning_rate": lambda trial: trial.suggest_float("lr", 1e-5, 1e-2, log=True),
        ... }}}, base)
        >>> space.base_values(base)
        {'algorithm.params.gamma': 0.01, 'lr': 0.0003}
        >>> space.suggest(FixedTrial({"algorithm.params.gamma": 0.1, "lr": 0.001}))
        {'algorithm': {'params': {'gamma': 0.9, 'learning_rate': 0.001}}}
    """

    leaves: tuple[Leaf, ...]
    where: Path = SECTION

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
        """Returns the fragment of the config that a trial suggests, as plain values."""
        fragment: dict[str, Any] = {}
        for leaf in self.leaves:
            _assign(fragment, leaf.path, leaf.suggest(trial))
        return fragment

    def replay(self, params: Mapping[str, Any], number: int = 0) -> dict[str, Any]:
        """Returns the fragment that a past trial suggested.

        A leaf that the objective of that trial never asked for is left out.

        Args:
            params: Optuna's parameters of that trial.
            number: Its number.
        """
        fragment: dict[str, Any] = {}
        for leaf in self.leaves:
            try:
                value = leaf.suggest(KnownTrial(params, number))
            except NotSuggestedError:
                continue
            _assign(fragment, leaf.path, value)
        return fragment

    def base_values(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the parameters for which :meth:`suggest` returns the values of ``base``.

        Warns:
            UserWarning: A value lies outside its range, which the first trial uses all the same;
                or a callable's parameter cannot be found, which the sampler then chooses.
        """
        params: dict[str, Any] = {}
        for leaf in self.leaves:
            value = _value_at(base, leaf.path)
            found = leaf.parameters_for(value)
            path = format_path((*self.where, *leaf.path))
            if found is None:
                _warn(
                    f"{path}: no parameter was found for which this callable returns the config's "
                    f"{value!r}, so the first trial differs from the config here. A declared leaf, "
                    "such as {suggest: float, low: ..., high: ...}, has no such limit."
                )
                continue
            for name, distribution in leaf.distributions().items():
                if lies_outside(found[name], distribution):
                    _warn(
                        f"{path}: the config's {value!r} lies outside the range that is searched. "
                        "The first trial uses it all the same; widen the range to search around it."
                    )
            params |= found
        return params

    def fingerprint(self) -> dict[str, Any]:
        """Returns a JSON-able description by dotted path, for telling two spaces apart.

        Of a callable it has what it asks of a trial, not what it makes of the answer.
        """
        return {format_path(leaf.path): leaf.describe() for leaf in self.leaves}

    def names(self) -> list[str]:
        """Returns Optuna's names of the parameters, as far as they can be known beforehand."""
        return list(dict.fromkeys(name for leaf in self.leaves for name in leaf.distributions()))


def build_search_space(
    space: Mapping[str, Any], base: Mapping[str, Any], *, where: Path = SECTION
) -> SearchSpace:
    """Returns the search space that a mapping describes.

    Args:
        space: The mapping; it is not changed.
        base: The config that it mirrors, with all defaults filled in.
        where: Path of ``space`` itself, for messages.

    Raises:
        ConfigError: Something in it is wrong; all problems are listed.
    """
    leaves, problems = _collect(space, base, where)
    if problems:
        raise ConfigError(*problems)
    return SearchSpace(tuple(leaves), where)


def check_search_space(
    space: Mapping[str, Any], base: Mapping[str, Any], *, where: Path = SECTION
) -> list[Problem]:
    """Returns everything that is wrong with a search space, or an empty list.

    Example:
        >>> space = {"training": {"sede": {"suggest": "int", "low": 0, "high": 9}}}
        >>> for problem in check_search_space(space, {"training": {"seed": 0}}):
        ...     print(problem)
        tuning.search_space.training.sede: must be a path of the config. Did you mean 'seed'?
    """
    return _collect(space, base, where)[1]


def _collect(
    space: Mapping[str, Any], base: Mapping[str, Any], where: Path
) -> tuple[list[Leaf], list[Problem]]:
    leaves: list[Leaf] = []
    problems: list[Problem] = []
    if not isinstance(space, Mapping):
        return [], [Problem(where, "must be a mapping that mirrors the config", space, _EXAMPLE)]
    _walk(space, base, (), leaves, problems)
    names: dict[str, Path] = {}
    for leaf in leaves:
        if isinstance(leaf, DeclaredLeaf):
            first = names.setdefault(leaf.name, leaf.path)
            if first != leaf.path:
                rule = f"must be a name of its own, but {format_path(first)} has it"
                remedy = "Give one of the two another name."
                problems.append(Problem((*leaf.path, "name"), rule, leaf.name, remedy))
    for leaf in leaves:
        if isinstance(leaf, ComputedLeaf):
            for name in leaf.distributions():
                # Callables may share a parameter among themselves: that ties their values.
                if name in names:
                    rule = f"must not ask for the parameter that {format_path(names[name])} has"
                    problems.append(Problem(leaf.path, rule, name, "Choose another name."))
    return leaves, [problem.below(where) for problem in problems]


def _walk(
    space: Mapping[str, Any],
    base: Any,
    path: Path,
    leaves: list[Leaf],
    problems: list[Problem],
) -> None:
    for key, entry in space.items():
        here = (*path, key)
        own = base[key] if isinstance(base, Mapping) and key in base else NO_VALUE
        if own is NO_VALUE:
            problems.append(_missing(here, base))
        if callable(entry):
            leaves.append(ComputedLeaf(here, entry))
            problems += _check_no_mapping(here, own)
        elif isinstance(entry, Mapping) and _is_branch(entry, own):
            if own is not NO_VALUE:
                _walk(entry, own, here, leaves, problems)
        else:
            leaf, wrong = _parse_leaf(entry, here, own)
            problems += wrong
            if leaf is not None:
                leaves.append(leaf)


def _is_branch(entry: Mapping[str, Any], own: Any) -> bool:
    """Whether a mapping leads on to leaves; below a single value it is a leaf, misspelt maybe."""
    return "suggest" not in entry and (own is NO_VALUE or isinstance(own, Mapping))


def _parse_leaf(entry: Any, path: Path, own: Any) -> tuple[DeclaredLeaf | None, list[Problem]]:
    if not isinstance(entry, Mapping):
        return None, [Problem(path, "must say what to suggest", entry, _EXAMPLE)]
    try:
        config = LeafConfig.model_validate(dict(entry))
    except ValidationError as error:
        return None, problems_from_validation_error(error, path, LeafConfig)
    problems = [problem.below(path) for problem in config.check()]
    wrong = _check_no_mapping(path, own)
    if not problems and not wrong and own is not NO_VALUE:
        unfit = config.check_base(own)
        problems += [unfit.below(path)] if unfit else []
    problems += wrong
    return (None if problems else DeclaredLeaf(path, config)), problems


def _check_no_mapping(path: Path, own: Any) -> list[Problem]:
    if not isinstance(own, Mapping):
        return []
    keys = ", ".join(map(str, own))
    rule = "must lead to a single value, but the config has a mapping there"
    return [Problem(path, rule, remedy=f"Name one of its keys: {keys}." if keys else "")]


def _missing(path: Path, base: Any) -> Problem:
    known = [str(key) for key in base] if isinstance(base, Mapping) else []
    remedy = did_you_mean(path[-1], known)
    if not remedy.startswith("Did"):
        remedy = f"Add {format_path(path)} to the config, with the value you use today."
    return Problem(path, "must be a path of the config", remedy=remedy)


def _value_at(base: Any, path: Path) -> Any:
    for key in path:
        base = base[key]
    return base


def _assign(fragment: dict[str, Any], path: Path, value: Any) -> None:
    for key in path[:-1]:
        fragment = fragment.setdefault(key, {})  # type: ignore[arg-type]
    fragment[path[-1]] = value  # type: ignore[index]


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=5)
