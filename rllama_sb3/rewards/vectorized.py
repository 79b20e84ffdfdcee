"""Components that give the values of many environments at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllama_sb3.errors import ComponentError
from rllama_sb3.rewards.component import RewardComponent
from rllama_sb3.rewards.transition import TransitionBatch


class VectorizedComponent(RewardComponent):
    """A component that can also give the values of many environments at once.

    Not needed for a component to work in many environments: one that is not vectorised is copied
    for each of them. An instance is used either for one environment or for many, never for both;
    what it remembers of many, it keeps in arrays with one entry for each of them. Where it defines
    :meth:`reset`, it defines :meth:`reset_batch` as well.

    Example:
        >>> class Speed(VectorizedComponent):
        ...     def compute(self, transition):
        ...         return abs(float(transition.next_obs[1]))
        ...
        ...     def compute_batch(self, batch):
        ...         return abs(batch.next_obs[:, 1].astype(float))
    """

    def reset_batch(
        self, starts: NDArray[np.intp], obs: Any, infos: Sequence[Mapping[str, Any]]
    ) -> None:
        """Forgets the last episode of some environments.

        Args:
            starts: The indices of the environments in which an episode begins.
            obs: The present observations of all environments, the first of the episode for those.
            infos: The infos of all environments, those of the reset for those.
        """

    @abstractmethod
    def compute_batch(self, batch: TransitionBatch) -> NDArray[np.float64]:
        """Returns the raw values of one step of n environments: finite numbers of shape (n,).

        The same numbers, to rounding, that :meth:`compute` gives for each of them.

        Args:
            batch: What happened in the step.
        """


def is_vectorized(cls: type[Any]) -> bool:
    """Whether components of a class give the values of many environments at once.

    A class derived from one that does, and that says anew what is done for one environment, does
    not: for many it would inherit something else.

    Example:
        >>> class Quiet(VectorizedComponent):
        ...     def compute(self, transition):
        ...         return 0.0
        ...
        ...     def compute_batch(self, batch):
        ...         return np.zeros(len(batch))
        >>> class Loud(Quiet):
        ...     def compute(self, transition):
        ...         return 1.0
        >>> is_vectorized(Quiet), is_vectorized(Loud)
        (True, False)
    """

    def depth(method: str) -> int:
        return next(i for i, base in enumerate(cls.__mro__) if method in vars(base))

    return (
        issubclass(cls, VectorizedComponent)
        and depth("compute_batch") <= depth("compute")
        and depth("reset_batch") <= depth("reset")
    )


def each_env(values: Iterable[float]) -> NDArray[np.float64]:
    """Collects what is computed for one environment after the other, and names the one that fails.

    Args:
        values: The values in the order of the environments, computed while they are collected.

    Raises:
        ComponentError: Computing a value raised.
    """
    collected: list[float] = []
    try:
        collected.extend(values)
    except Exception as error:
        raise environment_error(len(collected), error) from error
    return np.array(collected, dtype=np.float64)


def environment_error(env: int, error: Exception) -> ComponentError:
    """Returns the error that says in which environment something failed, and why."""
    kind = "" if isinstance(error, ComponentError) else f"{type(error).__name__}: "
    return ComponentError(f"in environment {env}: {kind}{error}")
