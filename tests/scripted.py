"""An environment that plays back a script, so that two implementations see the same steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

PLACE = gym.spaces.Box(-100.0, 100.0, (1,), np.float32)


@dataclass(frozen=True)
class Step:
    """What one step gives: observation, reward, flags and info."""

    obs: float
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: Mapping[str, Any] = field(default_factory=dict)


Episode = tuple[float, Sequence[Step]]


class Scripted(gym.Env[Any, int]):
    """Plays episodes back: each is the observation after reset, then steps.

    Args:
        episodes: For each episode its first observation and its steps; the list is repeated.
        reset_infos: For each episode the info of its reset; empty ones by default.
        as_dict: Whether it observes a Dict: the same number as ``place``, and as ``age`` the
            steps since the reset.
    """

    action_space = gym.spaces.Discrete(2)

    def __init__(
        self,
        episodes: Sequence[Episode],
        *,
        reset_infos: Sequence[Mapping[str, Any]] = (),
        as_dict: bool = False,
    ) -> None:
        self.observation_space = (
            gym.spaces.Dict({"place": PLACE, "age": gym.spaces.Discrete(100)}) if as_dict else PLACE
        )
        self.episodes = episodes
        self.reset_infos = reset_infos
        self.as_dict = as_dict
        self._episode = -1
        self._step = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._episode += 1
        self._step = 0
        index = self._episode % len(self.episodes)
        info = dict(self.reset_infos[index]) if self.reset_infos else {}
        return self._observe(self.episodes[index][0]), info

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        step = self.episodes[self._episode % len(self.episodes)][1][self._step]
        self._step += 1
        info = dict(step.info)
        return self._observe(step.obs), step.reward, step.terminated, step.truncated, info

    def _observe(self, value: float) -> Any:
        place = np.array([value], dtype=np.float32)
        return {"place": place, "age": self._step} if self.as_dict else place


def random_script(rng: np.random.Generator, n_episodes: int = 3) -> dict[str, Any]:
    """Arguments of :class:`Scripted`: short episodes, which end in every possible way.

    Each info, that of a reset included, has a number ``bonus``.
    """

    def number() -> float:
        return float(np.float32(rng.normal()))

    def info() -> dict[str, Any]:
        told = {"is_success": bool(rng.integers(2))} if rng.integers(2) else {}
        return {"bonus": number(), **told}

    episodes = []
    for _ in range(n_episodes):
        ends = [{"terminated": True}, {"truncated": True}, {"terminated": True, "truncated": True}]
        steps = [Step(number(), number(), info=info()) for _ in range(rng.integers(5))]
        steps.append(Step(number(), number(), info=info(), **ends[rng.integers(3)]))
        episodes.append((number(), steps))
    return {"episodes": episodes, "reset_infos": [info() for _ in range(n_episodes)]}
