"""Whether the ends of a search space lead to configs that can run.

A search that stops in the night because its 30th trial suggested a value that no algorithm takes is
a night lost. So each leaf is put to its ends, and to each of its choices, the other values being
the config's own, before anything starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from rllama_sb3.algorithms import check_algorithm
from rllama_sb3.config.merging import merge_configs
from rllama_sb3.config.models import ExperimentConfig
from rllama_sb3.config.validation import parse_experiment
from rllama_sb3.errors import ConfigError, Problem
from rllama_sb3.optimization.leaves import Leaf
from rllama_sb3.optimization.search_space import SearchSpace
from rllama_sb3.rewards.build import check_reward_shaping


def check_reach(space: SearchSpace, config: ExperimentConfig) -> list[Problem]:
    """Returns a problem for each leaf that leads to a config that cannot run.

    Combinations are not tried, nor callables that ask for more than one parameter.

    Args:
        space: The search space.
        config: The config that it belongs to, which can run.
    """
    base = config.to_dict()
    problems = []
    for leaf in space.leaves:
        for params in _ends(leaf):
            fragment = SearchSpace((leaf,)).replay(params)
            wrong = _first_problem(merge_configs(base, fragment))
            if wrong is not None:
                value = next(iter(params.values()))
                rule = f"must lead to configs that can run; at {value!r}: {str(wrong).rstrip('.')}"
                problems.append(Problem((*space.where, *leaf.path), rule))
                break
    return problems


def _ends(leaf: Leaf) -> Iterator[dict[str, Any]]:
    asked = leaf.distributions()
    if len(asked) == 1:
        for name, distribution in asked.items():
            yield from ({name: value} for value in _end_values(distribution))


def _end_values(distribution: BaseDistribution) -> tuple[Any, ...]:
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)  # There is no fourth.
    return distribution.low, distribution.high


def _first_problem(data: dict[str, Any]) -> Problem | None:
    try:
        config = parse_experiment(data)
    except ConfigError as error:
        return error.problems[0]
    problems = check_algorithm(config.algorithm)
    if config.reward_shaping:
        total_timesteps = config.training.total_timesteps
        problems += check_reward_shaping(data["reward_shaping"], total_timesteps=total_timesteps)
    return problems[0] if problems else None
