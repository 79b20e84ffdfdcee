"""Notes what a training is paid, to be held against a schedule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback


class Recorder(BaseCallback):
    """Notes the global step before each step, and what each environment was paid.

    Args:
        weight_at: The weight at a global step; the reward is the weight itself.
    """

    def __init__(self, weight_at: Callable[[int], float]) -> None:
        super().__init__()
        self._weight_at = weight_at
        self.steps: list[int] = []
        self.rewards: list[list[float]] = []

    def _on_step(self) -> bool:
        self.steps.append(self.num_timesteps - self.training_env.num_envs)
        self.rewards.append(self.locals["rewards"].tolist())
        return True

    def check(self) -> None:
        """Asserts that each step was paid with the weight of its global step."""
        assert self.steps
        expected = [[self._weight_at(step)] * len(self.rewards[0]) for step in self.steps]
        np.testing.assert_allclose(self.rewards, expected, rtol=1e-6)
