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


def random_policy(venv: VecEnv, seed: int, *, masked: bool = False) -> Policy:
    """Returns a policy of random actions.

    Args:
        venv: One environment.
        seed: Seeds the actions.
        masked: Whether to choose among the actions that the environment allows only, as far as
            Gymnasium can: in spaces that are Discrete or MultiDiscrete.
    """
    space = copy.deepcopy(venv.action_space)
    space.seed(seed)
    masked = masked and venv.has_attr("action_masks")

    def act(_: Any, __: NDArray[np.bool]) -> Any:
        mask: Any = None
        if masked and isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
            mask = np.asarray(venv.env_method("action_masks")[0], dtype=np.int8)
            if isinstance(space, spaces.MultiDiscrete):
                mask = tuple(np.split(mask, np.cumsum(space.nvec)[:-1]))
        return np.array([space.sample(mask=mask)])

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
