"""An environment whose observations are all different, and a callback that keeps its books.

What is sampled from a replay buffer can so be told from the steps that it came from, without a
look into the buffer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize

from rllama_sb3.buffers import RelabelingBuffer
from rllama_sb3.rewards.weights import RewardDescription

PER_ENV = 500


class Counting(gym.Env[Any, Any]):
    """Observes how many states there were so far; pays their last digit.

    Every fourth step ends an episode, by turns terminated and truncated.

    Args:
        index: Which of several environments this one is.
        start: Where the count begins, in the first one.
        continuous: Whether actions are numbers.
        as_dict: Whether observations are a dict with the key ``count``.
    """

    def __init__(
        self,
        index: int = 0,
        *,
        start: int = 0,
        continuous: bool = False,
        as_dict: bool = False,
    ) -> None:
        box = spaces.Box(0.0, np.inf, (1,), np.float32)
        self.observation_space = spaces.Dict({"count": box}) if as_dict else box
        self.action_space = (
            spaces.Box(-1.0, 1.0, (1,), np.float32) if continuous else spaces.Discrete(2)
        )
        self._count = start + index * PER_ENV
        self._n_steps = 0
        self._as_dict = as_dict

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._next(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._n_steps += 1
        ends, by_time = self._n_steps % 4 == 0, self._n_steps % 8 == 0
        obs = self._next()
        return obs, float(self._count % 10), ends and not by_time, ends and by_time, {}

    def _next(self) -> Any:
        self._count += 1
        obs = np.array([self._count], np.float32)
        return {"count": obs} if self._as_dict else obs


@dataclass(frozen=True)
class Entry:
    """A step: its raw values, and whether it ended an episode."""

    raw: dict[str, float]
    ended: bool


class Ledger(BaseCallback):
    """Checks every sampled reward against the steps that were taken; stands behind the callback.

    Args:
        reward: The components and schedules.
        gamma: The algorithm's.
        n_steps: The length of returns in the buffer.
    """

    def __init__(self, reward: RewardDescription, gamma: float = 0.99, n_steps: int = 1) -> None:
        super().__init__()
        self.reward, self.gamma, self.n_steps = reward, gamma, n_steps
        self.entries: dict[int, Entry] = {}
        # The global steps at which batches were sampled.
        self.sampled_at: list[int] = []

    def _on_training_start(self) -> None:
        buffer: Any = self.model.replay_buffer  # type: ignore[attr-defined]
        assert isinstance(buffer, RelabelingBuffer), type(buffer)
        assert "sample" not in vars(buffer)
        plain = buffer.sample

        def sample(batch_size: int, env: VecNormalize | None = None) -> Any:
            samples = plain(batch_size, env=env)
            self.check(samples, env)
            return samples

        buffer.sample = sample  # type: ignore[method-assign]

    def _on_training_end(self) -> None:
        del self.model.replay_buffer.sample  # type: ignore[attr-defined]

    def _on_step(self) -> bool:
        infos, dones = self.locals["infos"], self.locals["dones"]
        for count, info, done in zip(_counts(self.model._last_obs), infos, dones, strict=True):
            self.entries[count] = Entry(info["reward_components"], bool(done))
        return True

    def check(self, samples: Any, env: VecNormalize | None) -> None:
        """Compares a batch with what the present weights make of the raw values."""
        now = self.model.num_timesteps
        weights = self.reward.weights_at(now)
        counts = _counts(samples.observations)
        expected = [self._n_step_return(count, weights, env) for count in counts]
        np.testing.assert_allclose(samples.rewards.flatten(), expected, rtol=1e-4, atol=1e-4)
        self.sampled_at.append(now)

    def _n_step_return(
        self, count: int, weights: dict[str, float], env: VecNormalize | None
    ) -> float:
        total, discount = 0.0, 1.0
        for later in range(count, count + self.n_steps):
            if later > count and later not in self.entries:
                break
            entry = self.entries[later]
            reward = np.array(sum(weights[name] * value for name, value in entry.raw.items()))
            total += discount * float(reward if env is None else env.normalize_reward(reward))
            discount *= self.gamma
            if entry.ended:
                break
        return total


def _counts(obs: Any) -> list[int]:
    array = obs["count"] if isinstance(obs, dict) else obs
    return [int(value) for value in np.asarray(array).flatten()]
