"""Stock components that look at the action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rllama_sb3.errors import ComponentError
from rllama_sb3.rewards.arguments import not_negative_number
from rllama_sb3.rewards.component import RewardComponent, register_component
from rllama_sb3.rewards.expression import explain_missing
from rllama_sb3.rewards.transition import Transition


@register_component
class ActionPenalty(RewardComponent):
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
        values, is_label = _read_action(transition.action)
        if is_label:
            raise ComponentError(
                f"needs actions of floating-point numbers, but got {transition.action!r}, which "
                "is a label. Use ExpressionReward, for example with '-0.1 * (action != 0)'"
            )
        total = 0.0
        for value in values:
            total += value * value
        return 0.0 - self.coefficient * total  # 0 and not -0 when nothing is to be paid


@register_component
class ActionRatePenalty(RewardComponent):
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

    def reset(self, obs: Any, info: Mapping[str, Any]) -> None:
        """Forgets the last action."""
        self._last = None

    def compute(self, transition: Transition) -> float:
        """Returns −c·‖a_t − a_{t−1}‖²."""
        values, is_label = _read_action(transition.action)
        last, self._last = self._last, values
        if transition.terminated or transition.truncated:
            # Loops that never call reset() have a first step as well.
            self._last = None
        if last is None:
            return 0.0
        total = 0.0
        for value, before in zip(values, last, strict=True):
            change = value - before
            total += float(change != 0.0) if is_label else change * change
        return 0.0 - self.coefficient * total  # 0 and not -0 when nothing is to be paid


def _read_action(action: Any) -> tuple[list[float], bool]:
    """Returns the elements of an action, copied, and whether they are labels."""
    if action is None:
        raise ComponentError(explain_missing("action"))
    array = np.asarray(action)
    if array.dtype.kind not in "biuf":
        raise ComponentError(f"needs an action made of numbers, but got {action!r:.80}")
    values = array.tolist() if array.ndim == 1 else array.ravel().tolist()
    return values, array.dtype.kind != "f"
