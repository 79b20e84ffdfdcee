"""How far a training is, for whoever wants to show it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

_N_RECENT_EPISODES: Final = 100


@dataclass
class TrainingProgress:
    """The state of one training.

    Attributes:
        total_timesteps: Global steps that the training will take.
        n_steps: Global steps taken.
        n_episodes: Episodes that ended.
        seconds: Wall-clock time since the training started.
    """

    total_timesteps: int
    n_steps: int = 0
    n_episodes: int = 0
    seconds: float = 0.0
    _env_returns: deque[float] = field(default_factory=lambda: deque(maxlen=_N_RECENT_EPISODES))
    _shaped_returns: deque[float] = field(default_factory=lambda: deque(maxlen=_N_RECENT_EPISODES))

    @property
    def env_return(self) -> float | None:
        """Mean env return of the latest 100 episodes."""
        return _mean(self._env_returns)

    @property
    def shaped_return(self) -> float | None:
        """Mean shaped return of the latest 100 episodes."""
        return _mean(self._shaped_returns)

    @property
    def share(self) -> float:
        """The share of the training that is over, from 0 to 1."""
        return min(self.n_steps / self.total_timesteps, 1.0)

    @property
    def steps_per_second(self) -> float:
        """Global steps per second so far, evaluations included."""
        return self.n_steps / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimated time until the end, or ``None`` at the start."""
        if self.n_steps == 0:
            return None
        return self.seconds * max(self.total_timesteps - self.n_steps, 0) / self.n_steps

    def restart(self) -> None:
        """Forgets everything, because another training of the same length starts."""
        self.n_steps = self.n_episodes = 0
        self.seconds = 0.0
        self._env_returns.clear()
        self._shaped_returns.clear()

    def add_episode(self, env_return: float, shaped_return: float) -> None:
        """Counts an episode that ended."""
        self.n_episodes += 1
        self._env_returns.append(env_return)
        self._shaped_returns.append(shaped_return)


class ProgressCallback(BaseCallback):
    """Keeps a :class:`TrainingProgress` up to date, and tells someone from time to time.

    It can watch several trainings, one after the other.

    Args:
        progress: The state to update.
        on_update: Called with it, at most once in ``min_seconds``.
        min_seconds: Least time between two calls, so that drawing costs a training nothing.

    Example:
        >>> progress = TrainingProgress(total_timesteps=1_000)
        >>> callback = ProgressCallback(progress, lambda state: print(state.n_steps))
    """

    def __init__(
        self,
        progress: TrainingProgress,
        on_update: Callable[[TrainingProgress], None] | None = None,
        *,
        min_seconds: float = 0.2,
    ) -> None:
        super().__init__()
        self.progress = progress
        self._on_update = on_update
        self._min_seconds = min_seconds
        self._first_step = 0
        self._started = 0.0
        self._next_update = 0.0

    def _on_training_start(self) -> None:
        self.progress.restart()
        self._first_step = self.num_timesteps
        self._started = time.perf_counter()
        self._update(self._started)

    def _on_step(self) -> bool:
        for info in self.locals.get("infos", ()):
            if "reward_shaping" in info:
                episode = info["reward_shaping"]
                self.progress.add_episode(episode["env_return"], episode["shaped_return"])
            elif "episode" in info:
                # Without components the environment's own reward is what is trained on.
                self.progress.add_episode(info["episode"]["r"], info["episode"]["r"])
        now = time.perf_counter()
        if now >= self._next_update:
            self._update(now)
        return True

    def _on_training_end(self) -> None:
        self._update(time.perf_counter())

    def _update(self, now: float) -> None:
        self.progress.n_steps = self.num_timesteps - self._first_step
        self.progress.seconds = now - self._started
        self._next_update = now + self._min_seconds
        if self._on_update is not None:
            self._on_update(self.progress)


def _mean(values: deque[float]) -> float | None:
    return float(np.mean(values)) if values else None
