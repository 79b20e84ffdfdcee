"""What a component sees of one environment step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Transition:
    """One step of an environment: (s, a, r, s') with the flags that tell how it ended.

    Valid during the call that it is passed to: a component that needs something of it later
    copies that part.

    Attributes:
        obs: The observation that the action was chosen on; ``None`` where the caller has none.
        action: The action taken.
        next_obs: The observation that the step led to. At an episode's end it is the last
            observation of that episode, never the first of the next.
        env_reward: The reward of the original environment for this step.
        terminated: Whether the step reached a terminal state of the task.
        truncated: Whether a limit outside the task, such as time, ended the episode.
        info: The environment's info for this step.
        context: Further values of a hand-written training loop, such as ``global_step``.

    Example:
        >>> Transition(obs=0, action=1, next_obs=1, env_reward=0.5, terminated=False,
        ...            truncated=False, info={}).env_reward
        0.5
    """

    obs: Any
    action: Any
    next_obs: Any
    env_reward: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]
    context: Mapping[str, Any] = field(default_factory=dict)
