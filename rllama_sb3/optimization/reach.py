"""Whether the ends of a search space lead to configs that can run.

A search that stops in the night because its 30th trial suggested a value that no algorithm takes is
a night lost. So each leaf is put to its ends, and to each of its choices, before anything starts.
The other values are the config's own; those that come with a condition are the first of what may be
suggested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

import gymnasium as gym
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from rllama_sb3.algorithms import (
    algorithm_class,
    check_algorithm,
    check_algorithm_fits,
    check_algorithm_sees_reward,
)
from rllama_sb3.config.models import ExperimentConfig
from rllama_sb3.config.validation import parse_experiment
from rllama_sb3.envs.factory import build_env, check_env_config
from rllama_sb3.errors import NO_VALUE, ConfigError, Path, Problem
from rllama_sb3.optimization.conditions import value_at
from rllama_sb3.optimization.dependencies import contexts
from rllama_sb3.optimization.leaves import Leaf
from rllama_sb3.optimization.search_space import SearchSpace
from rllama_sb3.rewards.build import check_reward_shaping

_N_STEPS: Final[Path] = ("algorithm", "params", "n_steps")


def check_reach(space: SearchSpace, base: Mapping[str, Any]) -> list[Problem]:
    """Returns a problem for each leaf that leads to a config that cannot run.

    Combinations are not tried but for those that a leaf needs to apply, nor callables that ask for
    more than one parameter.

    Args:
        space: The search space.
        base: The config that it belongs to, which can run, with the space's defaults.
    """
    # The first choice of each conditional leaf, for the cases that the config itself is not in.
    first = {
        name: _end_values(distribution)[0]
        for leaf in space.leaves
        if leaf.when
        for name, distribution in leaf.distributions().items()
    }
    problems = []
    config = parse_experiment(base)
    with closing(build_env(config.env)) as env:
        judge = _Judge(config, env, shares_n_steps=not _goes_with_choices(_N_STEPS, space))
        for leaf in space.leaves:
            for params in _ends(leaf, space):
                found = space.merge(base, space.replay({**first, **params}))
                wrong = judge.first_problem(found)
                if wrong is not None:
                    problems.append(_tell(leaf, space, wrong, params, base))
                    break
    return problems


def _goes_with_choices(path: Path, space: SearchSpace) -> bool:
    return any(leaf.path == path and leaf.when for leaf in space.leaves)


def _ends(leaf: Leaf, space: SearchSpace) -> Iterator[dict[str, Any]]:
    """Yields the parameters for each end of a leaf, its own parameter first."""
    asked = leaf.distributions()
    if len(asked) != 1:
        return
    for context in contexts(leaf, space.leaves):
        for name, distribution in asked.items():
            yield from ({name: value, **context} for value in _end_values(distribution))


def _end_values(distribution: BaseDistribution) -> tuple[Any, ...]:
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)  # There is no fourth.
    return distribution.low, distribution.high


def _tell(
    leaf: Leaf, space: SearchSpace, wrong: Problem, params: Mapping[str, Any], base: Any
) -> Problem:
    value, *others = params.values()
    where = f"{value!r} with {', '.join(map(repr, others))}" if others else repr(value)
    reason = str(replace(wrong, remedy="")).rstrip(".")
    rule = f"must lead to configs that can run; at {where}: {reason}"
    remedy = wrong.remedy
    own = value_at(base, wrong.path)
    searched = {other.path for other in space.leaves}
    if wrong.path not in searched and own is not NO_VALUE and not isinstance(own, Mapping):
        # A value of the config that goes with its own choice, but not with this one.
        remedy += (
            " If the config's own value goes with some choices only, say so in the search space: "
            f"{{suggest: categorical, choices: [{own}], when: ...}}."
        )
    return Problem((*space.where, *leaf.place), rule, remedy=remedy.strip())


class _Judge:
    """Finds what keeps the configs of a search from running; knows the environment of most."""

    def __init__(
        self, config: ExperimentConfig, env: gym.Env[Any, Any], *, shares_n_steps: bool
    ) -> None:
        self._base, self._env = config, env
        self._shares_n_steps = shares_n_steps

    def first_problem(self, data: Mapping[str, Any]) -> Problem | None:
        try:
            config = parse_experiment(data)
        except ConfigError as error:
            return error.problems[0]
        problems = check_algorithm(config.algorithm)
        if config.reward_shaping:
            components = config.to_dict()["reward_shaping"]
            total_timesteps = config.training.total_timesteps
            problems += check_reward_shaping(components, total_timesteps=total_timesteps)
            problems += [] if problems else check_algorithm_sees_reward(config.algorithm)
        problems = problems or self._check_n_steps(config) or self._check_env(config)
        return problems[0] if problems else None

    def _check_n_steps(self, config: ExperimentConfig) -> list[Problem]:
        """The one parameter that several algorithms take and mean different things by."""
        names = (self._base.algorithm.name, config.algorithm.name)
        kinds = {issubclass(algorithm_class(name), OnPolicyAlgorithm) for name in names}
        if len(kinds) == 1 or not self._shares_n_steps or "n_steps" not in config.algorithm.params:
            return []
        rule = f"must not be shared by {' and '.join(names)}: a rollout's length is no return's"
        return [Problem(_N_STEPS, rule)]

    def _check_env(self, config: ExperimentConfig) -> list[Problem]:
        if config.env == self._base.env:
            if config.algorithm == self._base.algorithm:
                return []
            return check_algorithm_fits(config.algorithm, self._env, config.env.n_envs)
        problems = check_env_config(config.env)
        if problems:
            return problems
        with closing(build_env(config.env)) as env:
            return check_algorithm_fits(config.algorithm, env, config.env.n_envs)
