"""The fork MDP: a decision between a sure reward and a larger one that lies a step further.

::

    s0 --left--> end of left   r = 1
    s0 --right-> s1            r = 0
    s1 --any---> end of right  r = 1.05

With γ = 0.9, left is worth 1 and right 0.945: every shaping that is not potential-based as it
should be shows as another return, most of them as another decision.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym

GAMMA = 0.9
S0, S1, END_LEFT, END_RIGHT = range(4)
LEFT, RIGHT = 0, 1
POTENTIALS = {S0: 0.0, S1: 10.0, END_LEFT: 0.0, END_RIGHT: 5.0}


class Fork(gym.Env[int, int]):
    """The MDP above; ``truncated_at_s1`` lets a time limit end episodes in s1."""

    observation_space = gym.spaces.Discrete(4)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, truncated_at_s1: bool = False) -> None:
        self.truncated_at_s1 = truncated_at_s1
        self.state = S0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = S0
        return self.state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        if self.state == S0 and action == RIGHT:
            self.state = S1
            return self.state, 0.0, False, self.truncated_at_s1, {}
        reward = 1.0 if self.state == S0 else 1.05
        self.state = END_LEFT if self.state == S0 else END_RIGHT
        return self.state, reward, True, False, {}
