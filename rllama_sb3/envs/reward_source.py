"""From what users give as a reward to a shaper of one's own."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from os import PathLike
from typing import Any

from rllama_sb3.config import load_reward_config, read_yaml
from rllama_sb3.errors import ConfigError, Problem
from rllama_sb3.rewards.build import build_shaper
from rllama_sb3.rewards.shaper import RewardShaper

RewardSource = RewardShaper | Mapping[str, Any] | str | PathLike[str]


def own_shaper(
    reward_shaping: RewardSource,
    gamma: float | None,
    total_timesteps: int | None,
    bootstrap_truncated: bool | None,
) -> RewardShaper:
    """Returns a shaper that nobody else uses.

    Args:
        reward_shaping: A shaper, which is copied, the components by name, or the path of a YAML
            file with a ``reward_shaping`` key.
        gamma: The learner's discount factor, if it is known.
        total_timesteps: The length of the training; not for a shaper, which has its schedules.
        bootstrap_truncated: Whether the learner bootstraps truncated states, if it is known.

    Raises:
        ConfigError: The reward is wrong; all its problems are listed, with lines of the file.
    """
    if isinstance(reward_shaping, RewardShaper):
        if total_timesteps is not None:
            rule = "must be given to the RewardShaper, whose schedules are built already"
            raise ConfigError(Problem(("total_timesteps",), rule, total_timesteps))
        shaper = copy.deepcopy(reward_shaping)
        shaper.give_learner(gamma=gamma, bootstrap_truncated=bootstrap_truncated)
        return shaper
    build = functools.partial(
        build_shaper,
        gamma=gamma,
        total_timesteps=total_timesteps,
        bootstrap_truncated=bootstrap_truncated,
    )
    if isinstance(reward_shaping, Mapping):
        return build(reward_shaping)
    try:
        return build(load_reward_config(reward_shaping))
    except ConfigError as error:
        raise ConfigError(*read_yaml(reward_shaping).attach(error.problems)) from None
