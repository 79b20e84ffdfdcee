"""The stock components.

Each gives the raw value of a step; how much it counts is its weight's business. All arguments are
plain values, as they stand in a file, and are checked before anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rllama_sb3.errors import ComponentError
from rllama_sb3.rewards.arguments import finite_number, nonempty_key
from rllama_sb3.rewards.builtin_actions import ActionPenalty, ActionRatePenalty
from rllama_sb3.rewards.builtin_states import CountBonus, DistanceReward
from rllama_sb3.rewards.component import register_component
from rllama_sb3.rewards.expression import REWARD_NAMES, compile_expression
from rllama_sb3.rewards.expression_batch import UNDECIDED
from rllama_sb3.rewards.expression_functions import number
from rllama_sb3.rewards.transition import Transition, TransitionBatch
from rllama_sb3.rewards.vectorized import VectorizedComponent, each_env

__all__ = [
    "ActionPenalty",
    "ActionRatePenalty",
    "CountBonus",
    "DistanceReward",
    "EnvReward",
    "ExpressionReward",
    "GoalReward",
    "InfoReward",
    "StepPenalty",
    "SurvivalBonus",
    "TerminationPenalty",
]

# Where a batch has what an expression calls otherwise.
_BATCH_NAMES: Final = {"reward": "env_reward", "info": "infos"}


@register_component
class EnvReward(VectorizedComponent):
    """Pays the reward of the original environment: r = r_env.

    Example:
        >>> EnvReward().compute(Transition(0, 1, 2, -1.0, False, False, {}))
        -1.0
    """

    def compute(self, transition: Transition) -> float:
        """Returns the environment's reward."""
        return transition.env_reward

    def compute_batch(self, batch: TransitionBatch) -> NDArray[np.float64]:
        """Returns the environments' rewards."""
        return batch.env_reward


@register_component
class GoalReward(VectorizedComponent):
    """Pays ``target_reward`` on each step at which the task is solved, 0 otherwise.

    It is solved when ``info["is_success"]`` is true or, where the environment gives no such key,
    when the step terminates with a positive environment reward.

    Args:
        target_reward: What solving the task pays.

    Raises:
        ConfigError: ``target_reward`` is not a finite number.

    Example:
        >>> GoalReward(5.0).compute(Transition(14, 2, 15, 1.0, True, False, {}))
        5.0
        >>> GoalReward(5.0).compute(Transition(14, 2, 15, 1.0, True, False, {"is_success": False}))
        0.0
    """

    def __init__(self, target_reward: float = 1.0) -> None:
        self.target_reward = finite_number("target_reward", target_reward)

    def compute(self, transition: Transition) -> float:
        """Returns ``target_reward`` or 0."""
        solved = transition.info.get("is_success")
        if solved is None:
            solved = transition.terminated and transition.env_reward > 0.0
        return self.target_reward if solved else 0.0

    def compute_batch(self, batch: TransitionBatch) -> NDArray[np.float64]:
        """Returns ``target_reward`` or 0 for each environment."""
        told = [info.get("is_success") for info in batch.infos]
        solved = batch.terminated & (batch.env_reward > 0.0)
        for index, success in enumerate(told):
            if success is not None:
                solved[index] = bool(success)
        return np.where(solved, self.target_reward, 0.0)


@register_component
class StepPenalty(VectorizedComponent):
    """Pays ``penalty``, as given, on every step.

    Args:
        penalty: Usually negative, to make short episodes better.

    Raises:
        ConfigError: ``penalty`` is not a finite number.

    Example:
        >>> StepPenalty(-0.5).compute(Transition(0, 1, 2, 0.0, False, False, {}))
        -0.5
    """

    pursues_task = False

    def __init__(self, penalty: float = -0.01) -> None:
        self.penalty = finite_number("penalty", penalty)
        self._same = np.empty(0)

    def compute(self, transition: Transition) -> float:
        """Returns ``penalty``."""
        return self.penalty

    def compute_batch(self, batch: TransitionBatch) -> NDArray[np.float64]:
        """Returns ``penalty`` for each environment."""
        if len(self._same) != len(batch):
            self._same = np.full(len(batch), self.penalty)
        return self._same


@register_component
class SurvivalBonus(VectorizedComponent):
    """Pays ``bonus`` on each step that does not terminate; a truncated step is survived.

    Args:
        bonus: Usually positive, to make long episodes better.

    Raises:
        ConfigError: ``bonus`` is not a finite number.

    Example:
        >>> SurvivalBonus(0.5).compute(Transition(0, 1, 2, 0.0, True, False, {}))
        0.0
    """

    pursues_task = False

    def __init__(self, bonus: float = 1.0) -> None:
        self.bonus = finite_number("bonus", bonus)

    def compute(self, transition: Transition) -> float:
        """Returns ``bonus`` or 0."""
        return 0.0 if transition.terminated else self.bonus

    def compute_batch(self, batch: TransitionBatch) -> NDArray[np.float64]:
        """Returns ``bonus`` or 0 for each environment."""
        return np.where(batch.terminated, 0.0, self.bonus)


@register_component
class TerminationPenalty(VectorizedComponent):
    """Pays ``penalty`` on each termination, unless ``info["is_success"]`` is true.

    Truncation is no termination. An environment that terminates at its goal without saying so in
    ``info`` is penalised there as well, since a positive reward is no sign of success in general
    (CartPole pays 1 for the step at which the pole falls); for such environments use
    ``ExpressionReward("-1 if terminated and reward <= 0 else 0")``.

    Args:
        penalty: Usually negative.

    Raises:
        ConfigError: ``penalty`` is not a finite number.

    Example:
        >>> TerminationPenalty(-10.0).compute(Transition(0, 1, 2, 1.0, True, False, {}))
        -10.0
    """

    pursues_task = False

    def __init__(self, penalty: float = -1.0) -> None:
        self.penalty = finite_number("penalty", penalty)

    def compute(self, transition: Transition) -> float:
        """Returns ``penalty`` or 0."""
        fails = transition.terminated and not transition.info.get("is_success")
        return self.penalty if fails else 0.0

    def compute_batch(self, batch: TransitionBatch) -> NDArray[np.float64]:
        """Returns ``penalty`` or 0 for each environment."""
        values = np.zeros(len(batch))
        for index in batch.ended.tolist():
            if batch.terminated[index] and not batch.infos[index].get("is_success"):
                values[index] = self.penalty
        return values


@register_component
class InfoReward(VectorizedComponent):
    """Pays what the environment reports: r = info[key]; true counts as 1.

    Args:
        key: A key of ``info``.
        missing: What to pay on steps whose ``info`` lacks the key; without it, that is an error.

    Raises:
        ConfigError: ``key`` is empty, or ``missing`` is not a finite number.

    Example:
        >>> InfoReward("x_velocity").compute(
        ...     Transition(None, 0, None, 0.0, False, False, {"x_velocity": 1.5}))
        1.5
    """

    def __init__(self, key: str, missing: float | None = None) -> None:
        self._key = nonempty_key("key", key)
        self._missing = None if missing is None else finite_number("missing", missing)

    def compute(self, transition: Transition) -> float:
        """Returns ``info[key]``."""
        return self._read(transition.info)

    def compute_batch(self, batch: TransitionBatch) -> NDArray[np.float64]:
        """Returns ``info[key]`` of each environment."""
        return each_env(map(self._read, batch.infos))

    def _read(self, info: Mapping[str, Any]) -> float:
        if self._key not in info:
            if self._missing is not None:
                return self._missing
            keys = ", ".join(map(repr, info)) or "none"
            raise ComponentError(
                f"info has no key {self._key!r}; its keys: {keys}. "
                "Give missing=... for steps that lack it"
            )
        value = info[self._key]
        try:
            result = number(value)
        except TypeError:
            result = None
        if type(result) is not float:
            raise ComponentError(f"info[{self._key!r}] must be one number, but is {value!r:.80}")
        return result


@register_component
class ExpressionReward(VectorizedComponent):
    """Pays the value of an expression of ``obs``, ``action``, ``next_obs``, ``reward`` and so on.

    Args:
        expression: See :func:`~rllama_sb3.rewards.expression.compile_expression`; ``reward`` is
            the environment's own, ``terminated`` and ``truncated`` count as 0 or 1.

    Raises:
        ConfigError: The expression is not allowed.

    Example:
        >>> speed = ExpressionReward("abs(next_obs[1]) - 0.1 * (action != 1)")
        >>> speed.compute(Transition([0.0, 0.0], 2, [0.0, -0.5], -1.0, False, False, {}))
        0.4
    """

    def __init__(self, expression: str) -> None:
        self.expression = compile_expression(expression, REWARD_NAMES, path=("expression",))
        self._attributes = [_BATCH_NAMES.get(name, name) for name in self.expression.names]
        self.pursues_task = not set(self.expression.names) <= {"action"}

    def compute(self, transition: Transition) -> float:
        """Returns the value of the expression for the transition."""
        return self.expression(
            transition.obs,
            transition.action,
            transition.next_obs,
            transition.env_reward,
            transition.terminated,
            transition.truncated,
            transition.info,
        )

    def compute_batch(self, batch: TransitionBatch) -> NDArray[np.float64]:
        """Returns the value of the expression for each environment."""
        values = [getattr(batch, attribute) for attribute in self._attributes]
        try:
            return self.expression.batch(len(batch), *values)
        except UNDECIDED:
            return each_env(self.compute(batch.row(index)) for index in range(len(batch)))
