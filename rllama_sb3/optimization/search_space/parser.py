"""From the mapping that describes a search space to its leaves, or to all that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from rllama_sb3.config.merging import merge_configs
from rllama_sb3.config.validation import problems_from_validation_error
from rllama_sb3.errors import NO_VALUE, Path, Problem, did_you_mean, format_path
from rllama_sb3.optimization.search_space.conditions import all_hold, assign, value_at
from rllama_sb3.optimization.search_space.defaults import default_at, known_keys
from rllama_sb3.optimization.search_space.dependencies import (
    check_all_apply,
    check_conditions,
    in_order,
    without_constants,
)
from rllama_sb3.optimization.search_space.leaf_config import LeafConfig
from rllama_sb3.optimization.search_space.leaves import ComputedLeaf, DeclaredLeaf, Leaf
from rllama_sb3.optimization.search_space.stock_expansion import expand_stock

_EXAMPLE: Final = "Write for example {suggest: float, low: 0.1, high: 10.0}."


@dataclass
class SpaceParser:
    """Reads the mapping of a search space; use an instance once.

    Attributes:
        base: The config that the mapping mirrors.
        leaves: Those that were found, each after those that it depends on.
        defaults: Fragment of the config: values in use at paths of leaves that it leaves out.
        problems: What is wrong, by paths below the mapping.
    """

    base: Mapping[str, Any]
    leaves: list[Leaf] = field(default_factory=list)
    defaults: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _unsound: set[Path] = field(default_factory=set)

    def parse(self, space: Any) -> None:
        """Reads the mapping."""
        if not isinstance(space, Mapping):
            rule = "must be a mapping that mirrors the config"
            self.problems.append(Problem((), rule, space, _EXAMPLE))
            return
        space, problems = expand_stock(space, self.base)
        self.problems += problems
        self._walk(space, ())
        self._check_names()
        self.problems += check_conditions(self.leaves, self.base, self._unsound)
        self.leaves, circular = in_order(self.leaves)
        self.problems += circular
        for path in dict.fromkeys(leaf.path for leaf in self.leaves):
            self._check_own_value(path)
        self.leaves = [without_constants(leaf, self.leaves) for leaf in self.leaves]
        if not self.problems:
            self.problems += check_all_apply(self.leaves)

    def _walk(self, space: Mapping[str, Any], path: Path) -> None:
        for key, entry in space.items():
            here = (*path, key)
            own = value_at(self.base, here)
            if callable(entry):
                self.leaves.append(ComputedLeaf(here, entry))
            elif isinstance(entry, list) and any(isinstance(item, Mapping) for item in entry):
                for index, item in enumerate(entry):
                    self._add_leaf(item, here, index)
            elif isinstance(entry, Mapping) and _is_branch(entry, own):
                # What a condition brings along need not be in the config.
                if own is NO_VALUE and not _has_condition(entry):
                    self.problems.append(self._missing(here))
                else:
                    self._walk(entry, here)
            else:
                self._add_leaf(entry, here)

    def _add_leaf(self, entry: Any, path: Path, index: int | None = None) -> None:
        place = path if index is None else (*path, index)
        config, wrong = _parse_leaf(entry)
        if config is None:
            self._unsound.add(path)
            self.problems += [problem.below(place) for problem in wrong]
        else:
            self.leaves.append(DeclaredLeaf(path, config, config.conditions(), index))

    def _check_names(self) -> None:
        names: dict[str, Leaf] = {}
        for leaf in self.leaves:
            if isinstance(leaf, DeclaredLeaf):
                first = names.setdefault(leaf.name, leaf)
                if first is not leaf:
                    rule = f"must be a name of its own, but {format_path(first.place)} has it"
                    remedy = "Give one of the two another name."
                    self.problems.append(Problem((*leaf.place, "name"), rule, leaf.name, remedy))
        for leaf in self.leaves:
            if isinstance(leaf, ComputedLeaf):
                # Callables may share a parameter among themselves: that ties their values.
                for name in leaf.distributions().keys() & names.keys():
                    taken = format_path(names[name].place)
                    rule = f"must not ask for the parameter that {taken} has"
                    self.problems.append(Problem(leaf.path, rule, name, "Choose another name."))

    def _check_own_value(self, path: Path) -> None:
        """Sees that the config, which is the first trial, has a value here that may be searched."""
        leaves = [leaf for leaf in self.leaves if leaf.path == path]
        config = merge_configs(self.base, self.defaults)
        own = value_at(config, path)
        fitting = [leaf for leaf in leaves if all_hold(leaf.when, config)]
        if not fitting:
            if own is not NO_VALUE:
                conditions = "; nor ".join(", ".join(map(str, leaf.when)) for leaf in leaves)
                rule = f"must not be in the config, where it is not that {conditions}"
                remedy = "Remove the value there, or add its case to when."
                self.problems.append(Problem(path, rule, own, remedy))
            return
        if own is NO_VALUE:
            own = default_at(config, path)
            if own is NO_VALUE:
                self.problems.append(self._missing(path))
                return
            assign(self.defaults, path, own)
        for leaf in fitting:
            if isinstance(own, Mapping):
                self.problems.append(_mapping_problem(leaf.place, own))
            elif isinstance(leaf, DeclaredLeaf):
                unfit = leaf.config.check_base(own)
                self.problems += [unfit.below(leaf.place)] if unfit else []

    def _missing(self, path: Path) -> Problem:
        config = merge_configs(self.base, self.defaults)
        remedy = did_you_mean(path[-1], known_keys(config, path[:-1]))
        if not remedy.startswith("Did"):
            remedy = f"Add {format_path(path)} to the config, with the value you use today."
        return Problem(path, "must be a path of the config", remedy=remedy)


def _parse_leaf(entry: Any) -> tuple[LeafConfig | None, list[Problem]]:
    if not isinstance(entry, Mapping):
        return None, [Problem((), "must say what to suggest", entry, _EXAMPLE)]
    try:
        config = LeafConfig.model_validate(dict(entry))
    except ValidationError as error:
        return None, problems_from_validation_error(error, (), LeafConfig)
    problems = config.check()
    return (None if problems else config), problems


def _is_branch(entry: Mapping[str, Any], own: Any) -> bool:
    """Whether a mapping leads on to leaves; below a single value it is a leaf, misspelt maybe."""
    return "suggest" not in entry and (own is NO_VALUE or isinstance(own, Mapping))


def _has_condition(entry: Any) -> bool:
    if isinstance(entry, list):
        return any(map(_has_condition, entry))
    if not isinstance(entry, Mapping):
        return False
    return ("suggest" in entry and "when" in entry) or any(map(_has_condition, entry.values()))


def _mapping_problem(path: Path, own: Mapping[str, Any]) -> Problem:
    keys = ", ".join(map(str, own))
    rule = "must lead to a single value, but the config has a mapping there"
    return Problem(path, rule, remedy=f"Name one of its keys: {keys}." if keys else "")
