"""Who acts in the episodes that are rolled for a check."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from rllama_sb3.callbacks.env_return import judged_as_trained

# From observations, and whether each is the first of an episode, to actions.
Policy = Callable[[Any, NDArray[np.bool]], Any]


def random_policy(venv: VecEnv, seed: int) -> Policy:
    """Returns a policy of random actions; of those that are allowed, where there are masks."""
    space = copy.deepcopy(venv.action_space)
    space.seed(seed)
    is_masked = venv.has_attr("action_masks") and isinstance(
        space, spaces.Discrete | spaces.MultiDiscrete
    )

    def act(_: Any, __: NDArray[np.bool]) -> Any:
        if not is_masked:
            return np.array([space.sample()])
        allowed = np.asarray(venv.env_method("action_masks")[0], dtype=np.int8)
        if isinstance(space, spaces.MultiDiscrete):
            parts = np.split(allowed, np.cumsum(space.nvec)[:-1])
            return np.array([space.sample(mask=tuple(parts))])
        return np.array([space.sample(mask=allowed)])

    return act


def trained_policy(model: Any, venv: VecEnv, *, deterministic: bool) -> Policy:
    """Returns the policy of a model, which may remember something within an episode."""
    acting = judged_as_trained(model, venv)
    state: Any = None

    def act(obs: Any, starts: NDArray[np.bool]) -> Any:
        nonlocal state
        actions, state = acting.predict(
            obs, state=state, episode_start=starts, deterministic=deterministic
        )
        return actions

    return act
