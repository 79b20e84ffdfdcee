"""Finds what keeps a config of a search from running, without training it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final

import gymnasium as gym
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
from rllama_sb3.errors import ConfigError, Path, Problem
from rllama_sb3.optimization.search_space.space import SearchSpace
from rllama_sb3.rewards.build import check_reward_shaping
from rllama_sb3.training import weights_move

_N_STEPS: Final[Path] = ("algorithm", "params", "n_steps")


@contextmanager
def judging(base: Mapping[str, Any], space: SearchSpace) -> Iterator[Judge]:
    """Gives a judge of the configs that a search can lead to.

    Args:
        base: The config of the search, which can run.
        space: Its search space.
    """
    config = parse_experiment(base)
    with closing(build_env(config.env)) as env:
        yield Judge(config, env, space)


class Judge:
    """Finds what keeps configs from running; knows the environment that most of them share."""

    def __init__(self, base: ExperimentConfig, env: gym.Env[Any, Any], space: SearchSpace) -> None:
        self._base, self._env = base, env
        self._shares_n_steps = not any(leaf.path == _N_STEPS and leaf.when for leaf in space.leaves)

    def problems_of(self, data: Mapping[str, Any]) -> list[Problem]:
        """Returns what is wrong with a config, or an empty list."""
        try:
            config = parse_experiment(data)
        except ConfigError as error:
            return list(error.problems)
        problems = check_algorithm(config.algorithm)
        if config.reward_shaping:
            components = config.to_dict()["reward_shaping"]
            total_timesteps = config.training.total_timesteps
            problems += check_reward_shaping(components, total_timesteps=total_timesteps)
            if not problems:
                moving = weights_move(config)
                problems += check_algorithm_sees_reward(config.algorithm, weights_move=moving)
        return problems or self._check_n_steps(config) or self._check_env(config)

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
