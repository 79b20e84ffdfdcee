"""An environment that plays back a script, so that two implementations see the same steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

Observation = NDArray[np.float32]


@dataclass(frozen=True)
class Step:
    """What one step gives: observation, reward and flags."""

    obs: float
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False


class Scripted(gym.Env[Observation, int]):
    """Plays episodes back: each is the observation after reset, then steps.

    Args:
        episodes: For each episode its first observation and its steps; the list is repeated.
    """

    observation_space = gym.spaces.Box(-100.0, 100.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, episodes: Sequence[tuple[float, Sequence[Step]]]) -> None:
        self.episodes = episodes
        self._episode = -1
        self._step = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        self._episode += 1
        self._step = 0
        return _box(self.episodes[self._episode % len(self.episodes)][0]), {}

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        step = self.episodes[self._episode % len(self.episodes)][1][self._step]
        self._step += 1
        return _box(step.obs), step.reward, step.terminated, step.truncated, {}


def _box(value: float) -> Observation:
    return np.array([value], dtype=np.float32)
