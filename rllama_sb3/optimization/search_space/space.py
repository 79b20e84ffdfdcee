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

Every path must be in the config, with the value in use today, or be a parameter with a default. So
a misspelt key is found before anything starts, and the first trial can be the config as it is.

A declared leaf may go with a choice of another one (see :mod:`.conditions`). Where the values of a
path differ between choices, it has a list of leaves, of which one applies::

    learning_rate:
      - {suggest: float, low: 1.0e-5, high: 1.0e-3, log: true, when: {algorithm.name: PPO}}
      - {suggest: float, low: 1.0e-4, high: 1.0e-2, log: true, when: {algorithm.name: DQN}}
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from optuna.trial import BaseTrial

from rllama_sb3.config.merging import merge_configs
from rllama_sb3.errors import ConfigError, Path, Problem, format_path
from rllama_sb3.optimization.search_space.conditions import all_hold, assign, remove, value_at
from rllama_sb3.optimization.search_space.known_trial import (
    KnownTrial,
    NotSuggestedError,
    lies_outside,
)
from rllama_sb3.optimization.search_space.leaves import DeclaredLeaf, Leaf
from rllama_sb3.optimization.search_space.parser import SpaceParser

SECTION: Final[Path] = ("tuning", "search_space")


@dataclass(frozen=True)
class SearchSpace:
    """What is searched, checked against the config that it belongs to.

    Attributes:
        leaves: In the order of the mapping, but each after those that it depends on.
        where: Path of the mapping itself, for messages.
        defaults: Fragment of the config: what is in use at paths of leaves that it leaves out.

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
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_conditional(self) -> bool:
        """Whether trials differ in which parameters they have."""
        return any(leaf.when for leaf in self.leaves)

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
        """Returns the fragment of the config that a trial suggests, as plain values."""
        fragment: dict[str, Any] = {}
        for leaf in self.leaves:
            if all_hold(leaf.when, fragment):
                assign(fragment, leaf.path, leaf.suggest(trial))
        return fragment

    def merge(self, base: Mapping[str, Any], fragment: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the config of a trial: the base with what the trial suggests laid over it.

        What a leaf's conditions keep out of that config is not in it, though the base may have it.
        """
        config = merge_configs(base, fragment)
        for path in dict.fromkeys(leaf.path for leaf in self.leaves):
            if not any(all_hold(leaf.when, config) for leaf in self.leaves if leaf.path == path):
                remove(config, path)
        return config

    def replay(self, params: Mapping[str, Any], number: int = 0) -> dict[str, Any]:
        """Returns the fragment that a past trial suggested.

        A leaf that did not apply, or that the objective never asked for, is left out.

        Args:
            params: Optuna's parameters of that trial.
            number: Its number.
        """
        fragment: dict[str, Any] = {}
        for leaf in self.leaves:
            if not all_hold(leaf.when, fragment):
                continue
            try:
                value = leaf.suggest(KnownTrial(params, number))
            except NotSuggestedError:
                continue
            assign(fragment, leaf.path, value)
        return fragment

    def base_values(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the parameters for which :meth:`suggest` returns the values of ``base``.

        Warns:
            UserWarning: A value lies outside its range, which the first trial uses all the same;
                or a callable's parameter cannot be found, which the sampler then chooses.
        """
        params: dict[str, Any] = {}
        for leaf in self.leaves:
            if not all_hold(leaf.when, base):
                continue
            value = value_at(base, leaf.path)
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
        return {format_path(leaf.place): leaf.describe() for leaf in self.leaves}

    def columns(self) -> list[str]:
        """Returns the keys of :func:`~rllama_sb3.optimization.first_trials.values_as_tried`."""
        columns = [
            [format_path(leaf.path)] if isinstance(leaf, DeclaredLeaf) else leaf.distributions()
            for leaf in self.leaves
        ]
        return list(dict.fromkeys(column for group in columns for column in group))

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
    parser = SpaceParser(base)
    parser.parse(space)
    if parser.problems:
        raise ConfigError(*(problem.below(where) for problem in parser.problems))
    return SearchSpace(tuple(parser.leaves), where, parser.defaults)


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
    parser = SpaceParser(base)
    parser.parse(space)
    return [problem.below(where) for problem in parser.problems]


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=5)
