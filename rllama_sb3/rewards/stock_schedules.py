"""The stock schedules: constant, linear, cosine, exponential and piecewise.

All are frozen, pure and picklable, and check their arguments against their annotations. They are
called on every step of every environment, so what can be computed once is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, fields
from math import copysign, cos, isfinite, log, pi
from typing import Annotated, Any

from pydantic import Field

from rllama_sb3.errors import ConfigError, Problem
from rllama_sb3.rewards.parameters import parse_parameters
from rllama_sb3.rewards.weight_schedule import Step, WeightSchedule, register_schedule


def _validate_fields(schedule: Any) -> None:
    """Checks a stock schedule's fields against their annotations, and puts numbers in type."""
    given = {f.name: getattr(schedule, f.name) for f in fields(schedule) if f.init}
    for name, value in parse_parameters(type(schedule), given).items():
        object.__setattr__(schedule, name, value)


@register_schedule(name="constant")
@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantSchedule(WeightSchedule):
    """The same weight at every step: w(t) = w₀.

    Args:
        initial_weight: w₀, any finite number.

    Raises:
        ConfigError: It is not a finite number.

    Example:
        >>> ConstantSchedule(initial_weight=2.0)(1_000)
        2.0
    """

    initial_weight: float = 1.0

    def __post_init__(self) -> None:
        _validate_fields(self)

    def __call__(self, global_step: int) -> float:
        """Returns w₀."""
        return self.initial_weight

    @property
    def is_constant(self) -> bool:
        """True."""
        return True

    @property
    def end_step(self) -> int | None:
        """0: it is settled from the start."""
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Anneal(WeightSchedule):
    """From one weight to another between two steps, and constant before and after."""

    initial_weight: float = 1.0
    final_weight: float
    start_step: Step = 0
    # field() hides the property of the base class, which would be taken for a default.
    end_step: Step = field()
    _change: float = field(init=False, repr=False, compare=False)
    _n_steps: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _validate_fields(self)
        problems = []
        if self.end_step <= self.start_step:
            rule = f"must be greater than start_step, {self.start_step}"
            problems.append(Problem(("end_step",), rule, self.end_step))
        change = self.final_weight - self.initial_weight
        if not isfinite(change):
            rule = f"must not be so far from initial_weight, {self.initial_weight}"
            problems.append(Problem(("final_weight",), rule, self.final_weight))
        if problems:
            raise ConfigError(*problems)
        object.__setattr__(self, "_change", change)
        object.__setattr__(self, "_n_steps", self.end_step - self.start_step)

    @property
    def is_constant(self) -> bool:
        """Whether both weights are the same."""
        return self._change == 0.0


@register_schedule(name="linear")
class LinearSchedule(_Anneal):
    """A straight line between two weights::

        w(t) = w₀ + (w₁ − w₀)·(t − t₀) / (t₁ − t₀)        t₀ ≤ t ≤ t₁

    Before t₀ the weight is w₀, from t₁ on exactly w₁.

    Args:
        initial_weight: w₀, any finite number.
        final_weight: w₁, any finite number.
        start_step: t₀ ≥ 0, in global steps.
        end_step: t₁ > t₀, in global steps; may lie past the end of the training.

    Raises:
        ConfigError: An argument is out of its range.

    Example:
        >>> schedule = LinearSchedule(initial_weight=1.0, final_weight=0.0, end_step=100)
        >>> schedule(0), schedule(25), schedule(100), schedule(1_000)
        (1.0, 0.75, 0.0, 0.0)
    """

    __slots__ = ()

    def __call__(self, global_step: int) -> float:
        """Returns w(t)."""
        if global_step >= self.end_step:
            return self.final_weight
        if global_step <= self.start_step:
            return self.initial_weight
        # The share is below 1, so that rounding cannot lead past the final weight.
        share = (global_step - self.start_step) / self._n_steps
        return self.initial_weight + self._change * share


@register_schedule(name="cosine")
class CosineSchedule(_Anneal):
    """Half a cosine wave between two weights; slow at both ends::

        w(t) = w₁ + (w₀ − w₁)·(1 + cos(π·(t − t₀) / (t₁ − t₀))) / 2        t₀ ≤ t ≤ t₁

    Before t₀ the weight is w₀, from t₁ on exactly w₁ (Loshchilov & Hutter 2017, Eq. 5, without
    restarts).

    Args:
        initial_weight: w₀, any finite number.
        final_weight: w₁, any finite number.
        start_step: t₀ ≥ 0, in global steps.
        end_step: t₁ > t₀, in global steps; may lie past the end of the training.

    Raises:
        ConfigError: An argument is out of its range.

    Example:
        >>> schedule = CosineSchedule(initial_weight=1.0, final_weight=0.0, end_step=100)
        >>> schedule(0), round(schedule(50), 6), schedule(100)
        (1.0, 0.5, 0.0)
    """

    __slots__ = ()

    def __call__(self, global_step: int) -> float:
        """Returns w(t)."""
        if global_step >= self.end_step:
            return self.final_weight
        if global_step <= self.start_step:
            return self.initial_weight
        angle = pi * (global_step - self.start_step) / self._n_steps
        return self.initial_weight + self._change * (0.5 - 0.5 * cos(angle))


@register_schedule(name="exponential")
@dataclass(frozen=True, slots=True, kw_only=True)
class ExponentialSchedule(WeightSchedule):
    """Multiplied by a rate again and again, down to a floor::

        w(t) = max(m, w₀·r^⌊t / d⌋)

    ``staircase: false`` leaves out the rounding down. A negative weight decays towards 0 as well:
    the floor bounds its size, w(t) = −max(m, |w₀|·r^⌊t / d⌋).

    Args:
        initial_weight: w₀, any finite number.
        decay_rate: r in (0, 1].
        decay_steps: d ≥ 1, the global steps from one multiplication to the next.
        min_weight: m in [0, |w₀|], the least size of the weight.
        staircase: Whether the weight changes only once every d steps.

    Raises:
        ConfigError: An argument is out of its range.

    Example:
        >>> schedule = ExponentialSchedule(initial_weight=8.0, decay_rate=0.5, decay_steps=10,
        ...                                min_weight=1.0)
        >>> schedule(9), schedule(10), schedule(10**9), schedule.end_step
        (8.0, 4.0, 1.0, 30)
    """

    initial_weight: float = 1.0
    decay_rate: Annotated[float, Field(gt=0, le=1)]
    decay_steps: Annotated[int, Field(ge=1)] = 1
    min_weight: Annotated[float, Field(ge=0)] = 0.0
    staircase: bool = True
    _floor: float = field(init=False, repr=False, compare=False)
    _end_step: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _validate_fields(self)
        if self.min_weight > abs(self.initial_weight):
            rule = f"must be at most the size of initial_weight, {abs(self.initial_weight)}"
            remedy = "Lower it: a weight that decays never grows."
            raise ConfigError(Problem(("min_weight",), rule, self.min_weight, remedy))
        floor = copysign(self.min_weight, self.initial_weight) if self.min_weight else 0.0
        object.__setattr__(self, "_floor", floor)
        object.__setattr__(self, "_end_step", self._compute_end_step())

    def __call__(self, global_step: int) -> float:
        """Returns w(t)."""
        steps = self.decay_steps
        n_decays = global_step // steps if self.staircase else global_step / steps
        weight = self.initial_weight * self.decay_rate**n_decays
        if weight > self.min_weight or weight < -self.min_weight:
            return weight
        return self._floor

    @property
    def is_constant(self) -> bool:
        """Whether the rate is 1, or the floor reached from the start."""
        return self.decay_rate == 1.0 or abs(self.initial_weight) == self.min_weight

    @property
    def end_step(self) -> int | None:
        """The first step on the floor; None where it is 0, which is neared but never reached."""
        return self._end_step

    def _compute_end_step(self) -> int | None:
        if self.is_constant:
            return 0
        if self.min_weight == 0.0:
            return None
        n_decays = (log(self.min_weight) - log(abs(self.initial_weight))) / log(self.decay_rate)
        stride = self.decay_steps if self.staircase else 1
        n_strides = 2 * n_decays * self.decay_steps / stride + 2
        if n_strides > 2**60:  # In no training, and more than a search over a range can hold.
            return None
        # The logarithms are rounded, so they bound a search for the exact step, and no more.
        on_floor = bisect_left(
            range(int(n_strides)), True, key=lambda k: self(k * stride) == self._floor
        )
        return on_floor * stride


@register_schedule(name="piecewise")
@dataclass(frozen=True, slots=True, kw_only=True)
class PiecewiseSchedule(WeightSchedule):
    """Straight lines between given points, constant after the last::

        w(t) = wᵢ + (wᵢ₊₁ − wᵢ)·(t − tᵢ) / (tᵢ₊₁ − tᵢ)        tᵢ ≤ t < tᵢ₊₁,  t₀ = 0

    With ``staircase`` the weight is wᵢ until tᵢ₊₁ instead.

    Args:
        initial_weight: w₀, the weight at step 0; any finite number.
        points: The pairs (tᵢ, wᵢ) that follow, at least one, with 0 < t₁ < t₂ < ... in global
            steps.
        staircase: Whether the weight jumps at each point, and is constant between them.

    Raises:
        ConfigError: An argument is out of its range.

    Example:
        >>> schedule = PiecewiseSchedule(initial_weight=0.0, points=[[10, 1.0], [30, 0.5]])
        >>> schedule(5), schedule(10), schedule(20), schedule(30), schedule(99)
        (0.5, 1.0, 0.75, 0.5, 0.5)
    """

    initial_weight: float = 1.0
    points: Annotated[tuple[tuple[Step, float], ...], Field(min_length=1)]
    staircase: bool = False
    _steps: tuple[int, ...] = field(init=False, repr=False, compare=False)
    # For each piece: its first step, the weight there, the change over it, its length.
    _pieces: tuple[tuple[int, float, float, int], ...] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        _validate_fields(self)
        problems, pieces = [], []
        last_step, last_weight = 0, self.initial_weight
        for index, (step, weight) in enumerate(self.points):
            if step <= last_step:
                rule = f"must be greater than the step before it, {last_step}"
                problems.append(Problem(("points", index, 0), rule, step))
            change = 0.0 if self.staircase else weight - last_weight
            if not isfinite(change):
                rule = f"must not be so far from the weight before it, {last_weight}"
                problems.append(Problem(("points", index, 1), rule, weight))
            pieces.append((last_step, last_weight, change, step - last_step))
            last_step, last_weight = step, weight
        if problems:
            raise ConfigError(*problems)
        pieces.append((last_step, last_weight, 0.0, 1))
        object.__setattr__(self, "_steps", tuple(step for step, _ in self.points))
        object.__setattr__(self, "_pieces", tuple(pieces))

    def __call__(self, global_step: int) -> float:
        """Returns w(t)."""
        first, weight, change, length = self._pieces[bisect_right(self._steps, global_step)]
        return weight + change * ((global_step - first) / length)

    @property
    def is_constant(self) -> bool:
        """Whether all weights are the same."""
        return self.end_step == 0

    @property
    def end_step(self) -> int | None:
        """The step of the last point that differs from the one before; 0 if none does."""
        weights = [self.initial_weight, *(weight for _, weight in self.points)]
        changes = [i for i in range(1, len(weights)) if weights[i] != weights[i - 1]]
        return self._steps[changes[-1] - 1] if changes else 0
