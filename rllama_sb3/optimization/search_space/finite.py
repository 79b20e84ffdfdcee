"""The points of a search space that has a finite number of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from itertools import product
from typing import Any, Final

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from rllama_sb3.errors import ConfigError, Problem
from rllama_sb3.optimization.search_space.known_trial import KnownTrial, probe
from rllama_sb3.optimization.search_space.space import SearchSpace

MOST_POINTS: Final = 10_000

Point = Mapping[str, Any]


def check_finite(space: SearchSpace, sampler: str) -> list[Problem]:
    """Returns why not every point of a space can be tried.

    Args:
        space: The space.
        sampler: ``grid`` or ``brute_force``; the latter also takes callables whose parameters
            cannot be known beforehand.
    """
    problems = []
    sizes = []
    for leaf in space.leaves:
        path = (*space.where, *leaf.path)
        if sampler == "grid" and probe(leaf.suggest) is None:
            rule = "must say beforehand what it suggests, as the sampler grid tries every value"
            remedy = "Declare it, such as {suggest: categorical, choices: [...]}."
            problems.append(Problem(path, rule, remedy=remedy))
        for distribution in leaf.distributions().values():
            size = _size(distribution)
            sizes.append(size)
            if math.isinf(size):
                rule = f"must have a step, as the sampler {sampler} tries every value"
                remedy = "Add step, or list the values: {suggest: categorical, choices: [...]}."
                problems.append(Problem(path, rule, remedy=remedy))
    n_points = math.prod(sizes)
    if not problems and n_points > MOST_POINTS:
        rule = f"must have at most {MOST_POINTS} points with the sampler {sampler}"
        remedy = "Raise steps, leave out values, or use the sampler random or qmc."
        problems.append(Problem(space.where, rule, n_points, remedy))
    return problems


def values_of(distribution: BaseDistribution, name: str = "search_space") -> list[Any]:
    """Returns all values of a parameter, in order.

    Args:
        distribution: Its distribution.
        name: What it is called, for messages.

    Raises:
        ConfigError: They are not a finite number.

    Example:
        >>> from optuna.distributions import FloatDistribution
        >>> values_of(FloatDistribution(0.1, 0.3, step=0.1))
        [0.1, 0.2, 0.3]
    """
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    size = _size(distribution)
    if math.isinf(size):
        rule = "must have a step, as every value is tried"
        raise ConfigError(Problem((name,), rule, remedy="Add step."))
    # As decimal numbers: 0.1 + 2 * 0.1 is not 0.3, which the config has.
    low, step = Decimal(str(distribution.low)), Decimal(str(distribution.step))  # type: ignore[attr-defined]
    return [float(low + index * step) for index in range(int(size))]


def distributions_of(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Returns what a space asks of a trial, by parameter name, as far as it can be known."""
    return {
        name: distribution
        for leaf in space.leaves
        for name, distribution in leaf.distributions().items()
    }


def points_of(space: SearchSpace) -> list[Point]:
    """Returns the parameters that trials may have, each once.

    What is asked may depend on what was said, so that not every point has every parameter.

    Args:
        space: One that :func:`check_finite` has no objections to.
    """
    distributions = distributions_of(space)
    points: dict[frozenset[tuple[str, Any]], Point] = {}
    names = list(distributions)
    for values in product(*(values_of(distribution) for distribution in distributions.values())):
        trial = KnownTrial(dict(zip(names, values, strict=True)))
        space.suggest(trial)
        points.setdefault(frozenset(trial.params.items()), dict(trial.params))
    return list(points.values())


def _size(distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    low, high, step = (getattr(distribution, key) for key in ("low", "high", "step"))
    if step is None:
        return math.inf
    return int((Decimal(str(high)) - Decimal(str(low))) / Decimal(str(step))) + 1
