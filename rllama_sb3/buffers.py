"""Replay buffers that weight the rewards of stored transitions when they are sampled.

An off-policy algorithm learns from transitions that were stored long ago. Once weights have moved
since, the rewards that were paid then describe another task, and the algorithm prefers whatever
was overpaid at its time. These buffers store the raw value of each component instead, and weight
it when a batch is sampled: every reward in the buffer is that of the present weights.

For potentials the raw value is the unweighted γΦ(s') − Φ(s), so that all of them telescope under
one weight, as if it had never been another. The weights come from
:class:`~rllama_sb3.callbacks.RewardShapingCallback`, which also puts these buffers in the place of
Stable-Baselines3's own whenever a weight moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.buffers import (
    DictReplayBuffer,
    NStepReplayBuffer,
    ReplayBuffer,
)

from rllama_sb3.errors import RllamaError


class WeightedRewards:
    """Raw values of components that read as an array of rewards under the present weights.

    Takes the place of the array ``rewards`` of a buffer: whatever reads from that, and in whichever
    order (n-step sums, normalisation), reads weighted rewards.

    Args:
        buffer_size: Steps that are kept.
        n_envs: Environments that are stepped together.

    Attributes:
        names: The components, once they are known.
        raw: Their values, shape (buffer_size, n_envs, number of components).
        may_lag: Whether the weights may have moved since they were set; nothing is stored then.

    Example:
        >>> rewards = WeightedRewards(buffer_size=4, n_envs=1)
        >>> rewards.record(0, [{"reward_components": {"env": 1.0, "bonus": 10.0}}])
        >>> rewards.weights = {"env": 1.0, "bonus": 0.5}
        >>> rewards[[0], [0]]
        array([6.], dtype=float32)
    """

    def __init__(self, buffer_size: int, n_envs: int) -> None:
        self.shape = (buffer_size, n_envs)
        self.may_lag = False
        # Which components there are is known from the first transition or weights on.
        self.reserve(())

    def reserve(self, names: Iterable[str]) -> None:
        """Makes room for the values of these components; forgets what was stored and set."""
        self.names = tuple(names)
        self.raw = np.zeros((*self.shape, len(self.names)), dtype=np.float32)
        self._weights: list[float] | None = None

    @property
    def nbytes(self) -> int:
        """The memory that is reserved, in bytes."""
        return self.raw.nbytes

    @property
    def weights(self) -> dict[str, float]:
        """The present weights, by name of the component."""
        if self._weights is None:
            return {}
        return dict(zip(self.names, self._weights, strict=True))

    @weights.setter
    def weights(self, weights: Mapping[str, float]) -> None:
        self._weights = self._in_order(weights)
        self.may_lag = False

    def record(self, position: int, infos: Sequence[Mapping[str, Any]]) -> None:
        """Stores the raw values of one step of each environment.

        Raises:
            RllamaError: The infos have no raw values, or those of other components; or the weights
                may lag behind.
        """
        if self.may_lag:
            raise RllamaError(
                "the weights of the replay buffer are those of the end of the last training, and "
                "have moved since. Pass RewardShapingCallback() to every learn()"
            )
        try:
            if not self.names:
                self.reserve(infos[0]["reward_components"])
            rows = [self._in_order(info["reward_components"]) for info in infos]
        except KeyError as error:
            raise RllamaError(
                "a relabeling replay buffer needs the raw value of every component, but infos "
                f"lack {error}. Shape the environments, and pass RewardShapingCallback() to "
                "learn(), or record_components=True to the wrapper"
            ) from error
        self.raw[position] = rows

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        if self._weights is None:
            raise RllamaError(
                "a relabeling replay buffer needs to know the present weights. "
                "Pass RewardShapingCallback() to learn()"
            )
        # As a list until here: they are set at every step, and needed at some of them. For as few
        # numbers as these, dot() takes half the time of the operator @.
        weights = np.array(self._weights, dtype=np.float32)
        weighted: NDArray[np.float32] = self.raw[key].dot(weights)
        return weighted

    def __setitem__(self, key: Any, paid: Any) -> None:
        """Drops what was paid: it is the weighted sum of the raw values that are kept instead."""

    def _in_order(self, values: Mapping[str, float]) -> list[float]:
        if tuple(values) == self.names:
            return list(values.values())
        if values.keys() != set(self.names):
            raise RllamaError(
                f"the replay buffer holds values of {', '.join(self.names)}, but the reward now "
                f"consists of {', '.join(values)}. Empty it: model.replay_buffer.reset()"
            )
        return [values[name] for name in self.names]


class RelabelingBuffer(ReplayBuffer):
    """What the buffers below add to those of Stable-Baselines3; each is an instance of it."""

    rewards: WeightedRewards  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rewards = WeightedRewards(self.buffer_size, self.n_envs)

    @classmethod
    def in_place_of(cls, buffer: ReplayBuffer) -> Self:
        """Returns a buffer of this class that takes over the arrays of an empty one."""
        relabeling = cls.__new__(cls)
        relabeling.__dict__.update(buffer.__dict__)
        relabeling.rewards = WeightedRewards(buffer.buffer_size, buffer.n_envs)
        return relabeling

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Sets the weights that rewards are sampled under from now on.

        Args:
            weights: By name of the component.

        Raises:
            RllamaError: They belong to other components than the stored transitions.
        """
        if tuple(weights) != self.rewards.names and not self.size():
            self.rewards.reserve(weights)
        self.rewards.weights = weights

    def await_weights(self) -> None:
        """Refuses further transitions until somebody sets weights again.

        For the end of a training in which weights moved: without the callback, the next one would
        go on under the last ones. What is stored is still weighted by these when it is sampled.
        """
        self.rewards.may_lag = True

    def add(
        self,
        obs: Any,
        next_obs: Any,
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Stores a transition of each environment; the infos hold the raw values.

        Raises:
            RllamaError: They do not, or the weights may have moved since they were set.
        """
        self.rewards.record(self.pos, infos)
        super().add(obs, next_obs, action, reward, done, infos)


class RelabelingReplayBuffer(RelabelingBuffer):
    """Stable-Baselines3's ``ReplayBuffer``, with rewards under the present weights.

    Args:
        *args: As for ``ReplayBuffer``, ``optimize_memory_usage`` included.
        **kwargs: Likewise.

    Example:
        >>> from gymnasium.spaces import Box, Discrete
        >>> buffer = RelabelingReplayBuffer(10, Box(-1, 1, (2,)), Discrete(2), device="cpu")
        >>> buffer.set_weights({"env": 1.0, "bonus": 0.0})
    """


class RelabelingDictReplayBuffer(RelabelingBuffer, DictReplayBuffer):
    """Stable-Baselines3's ``DictReplayBuffer``, with rewards under the present weights."""


class RelabelingNStepReplayBuffer(RelabelingBuffer, NStepReplayBuffer):
    """Stable-Baselines3's ``NStepReplayBuffer``, with rewards under the present weights.

    As ``replay_buffer_class`` it needs ``replay_buffer_kwargs={"n_steps": ..., "gamma": ...}``,
    with the γ of the algorithm. Where the class is left to
    :class:`~rllama_sb3.callbacks.RewardShapingCallback`, the algorithm's own ``n_steps`` is enough.
    """


_RELABELING: Final[dict[type[ReplayBuffer], type[RelabelingBuffer]]] = {
    ReplayBuffer: RelabelingReplayBuffer,
    DictReplayBuffer: RelabelingDictReplayBuffer,
    NStepReplayBuffer: RelabelingNStepReplayBuffer,
}


def can_relabel(buffer_class: type[ReplayBuffer]) -> bool:
    """Whether buffers of this class weight rewards when they are sampled, or can be replaced."""
    return issubclass(buffer_class, RelabelingBuffer) or buffer_class in _RELABELING


def relabeling(buffer: ReplayBuffer) -> RelabelingBuffer:
    """Returns the buffer itself if it relabels, or one that does in its place.

    Args:
        buffer: A buffer of Stable-Baselines3's own classes.

    Raises:
        RllamaError: It is of a class that cannot be replaced, or holds rewards already.
    """
    if isinstance(buffer, RelabelingBuffer):
        return buffer
    name = type(buffer).__name__
    if not can_relabel(type(buffer)):
        raise RllamaError(
            f"{name} keeps rewards as they were paid, while weight schedules change what they "
            "should be. Use a RelabelingReplayBuffer, or constant weights"
        )
    if buffer.full or buffer.pos:
        raise RllamaError(
            f"the {name} holds rewards that were paid under other weights, which cannot be told "
            "from them any more. Start with an empty buffer, or with a buffer that was a "
            "RelabelingReplayBuffer from its first transition on"
        )
    return _RELABELING[type(buffer)].in_place_of(buffer)
