"""The leaves of a search space: one value of the config, and what may be suggested in its place.

A leaf is declared as plain data, or computed by a callable that takes the trial. Both suggest a
value to a live trial, and both find the parameters that would make them suggest a given value,
which is how the first trial becomes the user's own config.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import BaseTrial

from rllama_sb3.errors import Path, format_path
from rllama_sb3.optimization.search_space.conditions import Condition, same_value
from rllama_sb3.optimization.search_space.known_trial import KnownTrial, probe
from rllama_sb3.optimization.search_space.leaf_config import LeafConfig, one_minus

_MOST_CANDIDATES: Final = 10_000


@dataclass(frozen=True)
class DeclaredLeaf:
    """A leaf that the user wrote as data.

    Attributes:
        path: Of the value in the config.
        config: What may be suggested.
        when: What must hold in the config of a trial for this leaf to be in it.
        index: Place among the alternatives of this path, where there are several.
    """

    path: Path
    config: LeafConfig
    when: tuple[Condition, ...] = ()
    index: int | None = None

    @property
    def name(self) -> str:
        """Optuna's name of the parameter; that of an alternative says when it applies.

        Example:
            >>> config = LeafConfig(suggest="float", low=0, high=1, when={"name": ["PPO", "A2C"]})
            >>> DeclaredLeaf(("rate",), config, index=1).name
            'rate[PPO,A2C]'
        """
        if self.config.name is not None or self.index is None:
            return self.config.name or format_path(self.path)
        values = [str(value) for c in self.config.conditions() for value in c.values]
        return f"{format_path(self.path)}[{','.join(values)}]"

    @property
    def place(self) -> Path:
        """Of the leaf in the search space."""
        return self.path if self.index is None else (*self.path, self.index)

    def suggest(self, trial: BaseTrial) -> Any:
        """Returns the config's value in this trial."""
        return self.config.suggest_value(trial, self.name)

    def parameters_for(self, value: Any) -> dict[str, Any] | None:
        """Returns the parameters that make the trial suggest ``value``."""
        return {self.name: self.config.invert(value)}

    def distributions(self) -> dict[str, BaseDistribution]:
        """Returns what is asked of a trial, by parameter name."""
        return probe(self.suggest) or {}

    def describe(self) -> Any:
        """Returns the leaf as JSON-able data, equal for equal leaves."""
        return self.config.model_dump(exclude_defaults=True)


@dataclass(frozen=True)
class ComputedLeaf:
    """A leaf that the user wrote as a callable that takes the trial."""

    path: Path
    function: Callable[[BaseTrial], Any]
    when: Final[tuple[Condition, ...]] = ()

    @property
    def place(self) -> Path:
        """Of the leaf in the search space."""
        return self.path

    def suggest(self, trial: BaseTrial) -> Any:
        """Returns the config's value in this trial."""
        value = self.function(trial)
        return value.item() if isinstance(value, np.generic) else value

    def parameters_for(self, value: Any) -> dict[str, Any] | None:
        """Returns the parameters that make the callable return ``value``, or None if unknown.

        Found by trying: the value itself, 1 minus it, and all values of a countable parameter. A
        callable that asks the trial for more than one parameter is not tried.
        """
        asked = probe(self.suggest)
        if asked is None or len(asked) > 1:
            return None
        for name, distribution in asked.items():
            for candidate in _candidates(distribution, value):
                if _returns(self.suggest, {name: candidate}, value):
                    return {name: candidate}
            return None
        return {} if _returns(self.suggest, {}, value) else None

    def distributions(self) -> dict[str, BaseDistribution]:
        """Returns what is asked of a trial, by parameter name; empty if that cannot be known."""
        return probe(self.suggest) or {}

    def describe(self) -> Any:
        """Returns the leaf as JSON-able data, equal for equal leaves as far as that can be told."""
        asked = probe(self.suggest)
        if asked is None:
            return {"callable": None}
        described = {name: json.loads(distribution_to_json(d)) for name, d in asked.items()}
        return {"callable": described}


Leaf = DeclaredLeaf | ComputedLeaf


def _returns(suggest: Callable[[BaseTrial], Any], params: dict[str, Any], value: Any) -> bool:
    try:
        return same_value(suggest(KnownTrial(params)), value)
    except Exception:  # A candidate is only a guess: 1 minus some text, or log of -1.
        return False


def _candidates(distribution: BaseDistribution, value: Any) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    guesses: list[Any] = []
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        guesses = [value, one_minus(value)]
    if isinstance(distribution, IntDistribution):
        span = range(distribution.low, distribution.high + 1, distribution.step)
        guesses = [guess for guess in guesses if guess == int(guess)]
        return [*map(int, guesses), *(span if len(span) <= _MOST_CANDIDATES else ())]
    return guesses
