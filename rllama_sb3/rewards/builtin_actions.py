"""Stock components that look at the action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllama_sb3.errors import ComponentError
from rllama_sb3.rewards.arguments import not_negative_number
from rllama_sb3.rewards.component import register_component
from rllama_sb3.rewards.expression import explain_missing
from rllama_sb3.rewards.transition import Transition, TransitionBatch
from rllama_sb3.rewards.vectorized import VectorizedComponent


@register_component
class ActionPenalty(VectorizedComponent):
    """Penalises large actions: r = −c·‖a‖², over all elements of the action.

    Needs actions of floating-point numbers (Box). An integer action (Discrete, MultiDiscrete,
    MultiBinary) is a label, whose size means nothing, and is an error: say what it costs by an
    expression, such as ``-0.1 * (action != 0)``.

    Args:
        coefficient: c, at least 0, per squared unit of the action.

    Raises:
        ConfigError: ``coefficient`` is not a finite number of at least 0.

    Example:
        >>> action = np.array([0.5, -1.0], dtype=np.float32)
        >>> ActionPenalty(0.1).compute(Transition(0, action, 1, 0.0, False, False, {}))
        -0.125
    """

    pursues_task = False

    def __init__(self, coefficient: float = 1.0) -> None:
        self.coefficient = not_negative_number("coefficient", coefficient)

    def compute(self, transition: Transition) -> float:
        """Returns −c·‖a‖²."""
        array = _read_action(transition.action)
        self._refuse_labels(array, transition.action)
        total = 0.0
        for value in array.ravel().tolist():
            total += value * value
        return 0.0 - self.coefficient * total  # 0 and not -0 when nothing is to be paid

    def compute_batch(self, batch: TransitionBatch) -> NDArray[np.float64]:
        """Returns −c·‖a‖² for each environment."""
        array = _read_action(batch.action)
        self._refuse_labels(array, batch.action[0])
        return 0.0 - self.coefficient * _sum_of_squares(array)

    def _refuse_labels(self, array: NDArray[Any], action: Any) -> None:
        if _holds_labels(array):
            raise ComponentError(
                f"needs actions of floating-point numbers, but got {action!r}, which "
                "is a label. Use ExpressionReward, for example with '-0.1 * (action != 0)'"
            )


@register_component
class ActionRatePenalty(VectorizedComponent):
    """Penalises abrupt changes of the action: r_t = −c·‖a_t − a_{t−1}‖²; 0 on the first step.

    Integer actions (Discrete, MultiDiscrete, MultiBinary) are labels, of which only a change
    counts: r_t = −c·(number of elements that differ).

    Args:
        coefficient: c, at least 0, per squared unit of the action or per changed label.

    Raises:
        ConfigError: ``coefficient`` is not a finite number of at least 0.

    Example:
        >>> smooth = ActionRatePenalty(0.5)
        >>> [smooth.compute(Transition(0, action, 1, 0.0, False, False, {}))
        ...  for action in ([1.0], [-1.0], [-1.0])]
        [0.0, -2.0, 0.0]
    """

    pursues_task = False

    def __init__(self, coefficient: float = 1.0) -> None:
        self.coefficient = not_negative_number("coefficient", coefficient)
        self._last: list[float] | None = None
        # Of many environments: the last actions, and which of them belong to this episode.
        self._last_actions: NDArray[Any] | None = None
        self._has_last: NDArray[np.bool] = np.empty(0, bool)

    def reset(self, obs: Any, info: Mapping[str, Any]) -> None:
        """Forgets the last action."""
        self._last = None

    def compute(self, transition: Transition) -> float:
        """Returns −c·‖a_t − a_{t−1}‖²."""
        array = _read_action(transition.action)
        values: list[float] = array.tolist() if array.ndim == 1 else array.ravel().tolist()
        last, self._last = self._last, values
        if transition.terminated or transition.truncated:
            # Loops that never call reset() have a first step as well.
            self._last = None
        if last is None:
            return 0.0
        total = 0.0
        for value, before in zip(values, last, strict=True):
            change = value - before
            total += float(change != 0.0) if _holds_labels(array) else change * change
        return 0.0 - self.coefficient * total  # 0 and not -0 when nothing is to be paid

    def reset_batch(
        self, starts: NDArray[np.intp], obs: Any, infos: Sequence[Mapping[str, Any]]
    ) -> None:
        """Forgets the last actions of some environments."""
        if self._last_actions is not None:
            self._has_last[starts] = False

    def compute_batch(self, batch: TransitionBatch) -> NDArray[np.float64]:
        """Returns −c·‖a_t − a_{t−1}‖² for each environment."""
        array = _read_action(batch.action)
        if self._last_actions is None:
            self._last_actions, self._has_last = array, np.zeros(len(batch), bool)
        if _holds_labels(array):
            changes = (array != self._last_actions).reshape(len(batch), -1).sum(axis=1)
        else:
            changes = _sum_of_squares(array.astype(np.float64) - self._last_actions)
        values = np.where(self._has_last, 0.0 - self.coefficient * changes, 0.0)
        # Copied: whoever chose the actions may use their array again.
        self._last_actions, self._has_last = array.copy(), np.ones(len(batch), bool)
        return values


def _read_action(action: Any) -> NDArray[Any]:
    """Returns an action, or those of many environments, as an array of numbers."""
    if action is None:
        raise ComponentError(explain_missing("action"))
    array = np.asarray(action)
    if array.dtype.kind not in "biuf":
        raise ComponentError(f"needs an action made of numbers, but got {action!r:.80}")
    return array


def _holds_labels(array: NDArray[Any]) -> bool:
    return array.dtype.kind != "f"


def _sum_of_squares(array: NDArray[Any]) -> NDArray[np.float64]:
    """Sums up all that belongs to one environment, in double precision."""
    rows = array.reshape(len(array), -1).astype(np.float64, copy=False)
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", rows, rows)
    return squares
