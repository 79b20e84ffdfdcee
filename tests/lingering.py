"""The example in which a shaped return is gamed.

Finishing at once is worth 100 and is the best policy. Lingering for the 22 steps of an episode is
worth nothing, but with a bonus of 10 for each step its shaped return is 220, against 110.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

FINISH, LINGER = 0, 1
N_STEPS = 22
BONUS = {
    "env": {"class": "EnvReward"},
    "bonus": {"class": "StepPenalty", "params": {"penalty": 10.0}},
}

Observation = NDArray[np.float32]


class Lingering(gym.Env[Observation, int]):
    """The environment above; observes the time."""

    observation_space = gym.spaces.Box(0.0, float(N_STEPS), (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        self._time = 0
        return np.array([0.0], np.float32), {}

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self._time += 1
        obs = np.array([self._time], np.float32)
        if action == FINISH:
            return obs, 100.0, True, False, {}
        return obs, 0.0, False, self._time == N_STEPS, {}


class Always:
    """A policy of one action, with Stable-Baselines3's ``predict``."""

    def __init__(self, action: int) -> None:
        self.action = action

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.int64], None]:
        return np.full(len(observation), self.action), None
