"""What a component sees of one environment step, or of one step of many environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


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


@dataclass(slots=True)
class TransitionBatch:
    """One step of n environments that are stepped together.

    Valid during the call that it is passed to, and read-only: components share its arrays.

    Attributes:
        obs: The observations that the actions were chosen on, as an array whose first axis has
            length n, or a dict of such arrays.
        action: The actions taken; first axis n.
        next_obs: The observations that the step led to; of an environment whose episode ended,
            the last of that episode. Rows of terminal states are what the environment gave.
        env_reward: The rewards of the original environments: float64 of shape (n,).
        terminated: Which episodes reached a terminal state: bool of shape (n,).
        truncated: Which were cut by a limit outside the task. A ``VecEnv`` does not tell whether
            a terminated episode was truncated in the same step: then this is false.
        ended: The indices of the environments whose episode ended in either way.
        infos: The n infos.

    Example:
        >>> batch = TransitionBatch(
        ...     obs=np.array([0, 3]), action=np.array([1, 1]), next_obs=np.array([1, 4]),
        ...     env_reward=np.array([0.5, 2.0]), terminated=np.array([False, True]),
        ...     truncated=np.array([False, False]), ended=np.array([1]), infos=[{}, {}])
        >>> batch.row(1).env_reward, batch.row(1).terminated
        (2.0, True)
    """

    obs: Any
    action: Any
    next_obs: Any
    env_reward: NDArray[np.float64]
    terminated: NDArray[np.bool]
    truncated: NDArray[np.bool]
    ended: NDArray[np.intp]
    infos: Sequence[Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.env_reward)

    def row(self, index: int) -> Transition:
        """Returns the step of one environment."""
        return Transition(
            obs=row_of(self.obs, index),
            action=row_of(self.action, index),
            next_obs=row_of(self.next_obs, index),
            env_reward=float(self.env_reward[index]),
            terminated=bool(self.terminated[index]),
            truncated=bool(self.truncated[index]),
            info=self.infos[index],
        )


def row_of(values: Any, index: int | NDArray[np.intp]) -> Any:
    """Returns the observation or action of one environment, or those of several, out of a batch.

    Example:
        >>> row_of({"position": np.array([[0.0], [2.0]])}, 1)
        {'position': array([2.])}
    """
    if isinstance(values, Mapping):
        return {key: value[index] for key, value in values.items()}
    return values[index]
