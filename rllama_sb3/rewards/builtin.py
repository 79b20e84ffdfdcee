"""The stock components.

Each gives the raw value of a step; how much it counts is its weight's business. All arguments are
plain values, as they stand in a file, and are checked before anything runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rllama_sb3.errors import ComponentError, ConfigError, Problem
from rllama_sb3.rewards.component import RewardComponent, register_component
from rllama_sb3.rewards.expression import REWARD_NAMES, compile_expression, explain_missing
from rllama_sb3.rewards.expression_functions import number
from rllama_sb3.rewards.transition import Transition


@register_component
class EnvReward(RewardComponent):
    """Pays the reward of the original environment: r = r_env.

    Example:
        >>> EnvReward().compute(Transition(0, 1, 2, -1.0, False, False, {}))
        -1.0
    """

    def compute(self, transition: Transition) -> float:
        """Returns the environment's reward."""
        return transition.env_reward


@register_component
class GoalReward(RewardComponent):
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
        self.target_reward = _finite("target_reward", target_reward)

    def compute(self, transition: Transition) -> float:
        """Returns ``target_reward`` or 0."""
        solved = transition.info.get("is_success")
        if solved is None:
            solved = transition.terminated and transition.env_reward > 0.0
        return self.target_reward if solved else 0.0


@register_component
class StepPenalty(RewardComponent):
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
        self.penalty = _finite("penalty", penalty)

    def compute(self, transition: Transition) -> float:
        """Returns ``penalty``."""
        return self.penalty


@register_component
class SurvivalBonus(RewardComponent):
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
        self.bonus = _finite("bonus", bonus)

    def compute(self, transition: Transition) -> float:
        """Returns ``bonus`` or 0."""
        return 0.0 if transition.terminated else self.bonus


@register_component
class TerminationPenalty(RewardComponent):
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
        self.penalty = _finite("penalty", penalty)

    def compute(self, transition: Transition) -> float:
        """Returns ``penalty`` or 0."""
        fails = transition.terminated and not transition.info.get("is_success")
        return self.penalty if fails else 0.0


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
        self.coefficient = _not_negative("coefficient", coefficient)

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
        return -self.coefficient * total


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
        self.coefficient = _not_negative("coefficient", coefficient)
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
        return -self.coefficient * total


@register_component
class DistanceReward(RewardComponent):
    """Pays the negative distance of the state reached from a target: r = −scale·‖x(s') − g‖.

    x(s') is ``next_obs``, or the part of it that ``key`` and ``indices`` choose. The target is a
    constant, or another key of a Dict observation, of which ``indices`` choose the same part.

    Args:
        target: g, as a number or one number per element of x.
        target_key: The key of ``next_obs`` that holds g, such as ``desired_goal``.
        key: The key of ``next_obs`` that holds x, such as ``achieved_goal``.
        indices: The elements of x, flat; all by default.
        scale: Positive; reward per unit of distance.

    Raises:
        ConfigError: Not exactly one of ``target`` and ``target_key`` is given, lengths differ, or
            a value is out of range.

    Example:
        >>> near = DistanceReward(target=[3.0, 4.0], indices=[0, 1])
        >>> near.compute(Transition(None, 0, [0.0, 0.0, 9.0], 0.0, False, False, {}))
        -5.0
    """

    def __init__(
        self,
        target: float | list[float] | None = None,
        *,
        target_key: str | None = None,
        key: str | None = None,
        indices: list[int] | None = None,
        scale: float = 1.0,
    ) -> None:
        if (target is None) == (target_key is None):
            rule = "must be given when target_key is not, and only then"
            raise ConfigError(Problem(("target",), rule, target, "Give one of the two."))
        self._part = _Part(key, indices)
        self._target = None if target is None else _numbers("target", target)
        self._target_part = None if target_key is None else _Part(target_key, indices, "target_key")
        if indices is not None and self._target is not None and len(self._target) != len(indices):
            rule = f"must have one number for each of the {len(indices)} indices"
            raise ConfigError(Problem(("target",), rule, target, "Match the two."))
        self._scale = _positive("scale", scale)

    def compute(self, transition: Transition) -> float:
        """Returns −scale·‖x(s') − g‖."""
        position = self._part.read(transition.next_obs)
        target = self._target
        if self._target_part is not None:
            target = self._target_part.read(transition.next_obs)
        assert target is not None
        if len(position) != len(target):
            raise ComponentError(
                f"compares {len(position)} numbers of next_obs with {len(target)} of the target. "
                "Choose as many by indices=[...]"
            )
        return -self._scale * math.dist(position, target)


@register_component
class InfoReward(RewardComponent):
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
        self._key = _key("key", key)
        self._missing = None if missing is None else _finite("missing", missing)

    def compute(self, transition: Transition) -> float:
        """Returns ``info[key]``."""
        info = transition.info
        if self._key not in info:
            if self._missing is not None:
                return self._missing
            keys = ", ".join(map(repr, info)) or "none"
            raise ComponentError(
                f"info has no key {self._key!r}; its keys: {keys}. "
                "Give missing=... for steps that lack it"
            )
        value = info[self._key]
        result = None if isinstance(value, list | tuple) else number(value)
        if type(result) is not float:
            raise ComponentError(f"info[{self._key!r}] must be one number, but got {value!r:.80}")
        return result


@register_component
class CountBonus(RewardComponent):
    """Pays for rarely seen states: r = β/√N(s'), with N the visits of the cell of s', this one too.

    Counts last over episodes, for the whole life of the component. Every environment copy counts
    for itself, so that runs do not depend on how many processes share the work; with n copies a
    state is new n times. Memory grows with the number of cells visited: choose a few elements
    and coarse cells. (Bellemare et al. 2016, Eq. 5, with exact counts.)

    Args:
        coefficient: β, at least 0: what the first visit pays.
        resolution: The width of a cell, in units of the observation: one for all elements or
            one for each. Not needed for integer observations, each of which is a cell.
        key: The key of a Dict observation to count in.
        indices: The elements to count by, flat; all by default.

    Raises:
        ConfigError: A value is out of range, or the lengths differ.

    Example:
        >>> novelty = CountBonus(1.0, resolution=0.5)
        >>> [novelty.compute(Transition(None, 0, [position], 0.0, False, False, {}))
        ...  for position in (0.1, 0.6, 0.2)]
        [1.0, 1.0, 0.7071067811865475]
    """

    pursues_task = False

    def __init__(
        self,
        coefficient: float = 1.0,
        *,
        resolution: float | list[float] | None = None,
        key: str | None = None,
        indices: list[int] | None = None,
    ) -> None:
        self.coefficient = _not_negative("coefficient", coefficient)
        self._part = _Part(key, indices)
        self._widths: list[float] | None = None
        if resolution is not None:
            self._widths = _numbers("resolution", resolution)
            for width in self._widths:
                _positive("resolution", width)
            if indices is not None and len(self._widths) not in (1, len(indices)):
                rule = f"must be one number, or one for each of the {len(indices)} indices"
                raise ConfigError(Problem(("resolution",), rule, resolution, "Match the two."))
        self._counts: dict[Any, int] = {}

    def compute(self, transition: Transition) -> float:
        """Counts the state reached, and returns β/√N(s')."""
        cell = self._cell(self._part.read(transition.next_obs))
        count = self._counts.get(cell, 0) + 1
        self._counts[cell] = count
        return self.coefficient / math.sqrt(count)

    def _cell(self, values: Sequence[float]) -> Any:
        widths = self._widths
        if widths is None:
            if not all(isinstance(value, int) for value in values):
                raise ComponentError(
                    "needs the width of a cell for an observation of floating-point numbers. "
                    "Give resolution=..., in units of the observation"
                )
            cell: tuple[int, ...] = tuple(values)  # type: ignore[arg-type]
        else:
            if len(widths) == 1:
                widths = widths * len(values)
            elif len(widths) != len(values):
                raise ComponentError(
                    f"has {len(widths)} cell widths for {len(values)} numbers of next_obs. "
                    "Give as many, or one"
                )
            cell = tuple(map(math.floor, map(float.__truediv__, map(float, values), widths)))
        # Of a long tuple only its 64-bit hash is kept, which is the same in every process.
        return cell if len(cell) <= 16 else hash(cell)


@register_component
class ExpressionReward(RewardComponent):
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


class _Part:
    """The numbers of ``next_obs`` that a component looks at."""

    def __init__(self, key: str | None, indices: list[int] | None, name: str = "key") -> None:
        self._key_of_dict = None if key is None else _key(name, key)
        if indices is not None:
            integers = all(type(index) is int for index in indices)
            if not indices or not integers or len(set(indices)) != len(indices):
                rule = "must be a list of different integers"
                raise ConfigError(Problem(("indices",), rule, indices, "Example: [0, 1]."))
        self._indices = indices if indices is None else list(indices)

    def read(self, obs: Any) -> list[float]:
        """Returns them as Python numbers, ints where the observation holds integers."""
        key = self._key_of_dict
        if obs is None:
            raise ComponentError(explain_missing("next_obs"))
        if isinstance(obs, Mapping):
            if key not in obs:
                given = "no key was given" if key is None else f"it has no key {key!r}"
                raise ComponentError(
                    f"next_obs is a dict, and {given}; its keys: {', '.join(map(repr, obs))}"
                )
            obs = obs[key]
        elif key is not None:
            raise ComponentError(
                f"next_obs must be a dict with the key {key!r}, but is a {type(obs).__name__}"
            )
        values: list[float] = np.asarray(obs).ravel().tolist()
        if self._indices is None:
            return values
        try:
            return [values[index] for index in self._indices]
        except IndexError:
            raise ComponentError(
                f"reads the indices {self._indices} of an observation of {len(values)} numbers"
            ) from None


def _read_action(action: Any) -> tuple[list[float], bool]:
    """Returns the elements of an action, copied, and whether they are labels."""
    if action is None:
        raise ComponentError(explain_missing("action"))
    array = np.asarray(action)
    if array.dtype.kind not in "biuf":
        raise ComponentError(f"needs an action made of numbers, but got {action!r:.80}")
    return array.ravel().tolist(), array.dtype.kind != "f"


def _finite(name: str, value: Any) -> float:
    is_number = isinstance(value, int | float | np.integer | np.floating)
    if isinstance(value, bool) or not is_number or not math.isfinite(value):
        raise ConfigError(Problem((name,), "must be a finite number", value))
    return float(value)


def _not_negative(name: str, value: Any) -> float:
    if _finite(name, value) < 0.0:
        remedy = "Give the component a negative weight to turn its sign."
        raise ConfigError(Problem((name,), "must be at least 0", value, remedy))
    return float(value)


def _positive(name: str, value: Any) -> float:
    if _finite(name, value) <= 0.0:
        raise ConfigError(Problem((name,), "must be greater than 0", value))
    return float(value)


def _numbers(name: str, value: Any) -> list[float]:
    values = value if isinstance(value, list | tuple | np.ndarray) else [value]
    if len(values) == 0:
        raise ConfigError(Problem((name,), "must have at least one number", value))
    return [_finite(name, element) for element in values]


def _key(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(Problem((name,), "must be a key in quotes", value))
    return value
