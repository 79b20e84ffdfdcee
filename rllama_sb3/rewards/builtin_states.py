"""Stock components that look at the state that a step led to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllama_sb3.errors import ComponentError, ConfigError, Problem
from rllama_sb3.rewards.arguments import (
    finite_numbers,
    nonempty_key,
    not_negative_number,
    positive_number,
)
from rllama_sb3.rewards.component import register_component
from rllama_sb3.rewards.expression import explain_missing
from rllama_sb3.rewards.transition import Transition, TransitionBatch
from rllama_sb3.rewards.vectorized import VectorizedComponent, each_env


@register_component
class DistanceReward(VectorizedComponent):
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
        self._target = None if target is None else finite_numbers("target", target)
        self._target_part = None if target_key is None else _Part(target_key, indices, "target_key")
        if indices is not None and self._target is not None and len(self._target) != len(indices):
            rule = f"must have one number for each of the {len(indices)} indices"
            raise ConfigError(Problem(("target",), rule, target, "Match the two."))
        self._scale = positive_number("scale", scale)

    def compute(self, transition: Transition) -> float:
        """Returns −scale·‖x(s') − g‖."""
        position = self._part.read(transition.next_obs)
        target = self._target
        if self._target_part is not None:
            target = self._target_part.read(transition.next_obs)
        assert target is not None
        _check_lengths(len(position), len(target))
        return 0.0 - self._scale * math.dist(position, target)  # 0 and not -0 at the target

    def compute_batch(self, batch: TransitionBatch) -> NDArray[np.float64]:
        """Returns −scale·‖x(s') − g‖ for each environment."""
        position = self._part.read_batch(batch.next_obs)
        target = np.array([self._target])
        if self._target_part is not None:
            target = self._target_part.read_batch(batch.next_obs)
        _check_lengths(position.shape[1], target.shape[1])
        difference = position - target.astype(np.float64)
        distance: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
        return 0.0 - self._scale * distance


def _check_lengths(n_position: int, n_target: int) -> None:
    if n_position != n_target:
        raise ComponentError(
            f"compares {n_position} numbers of next_obs with {n_target} of the target. "
            "Choose as many by indices=[...]"
        )


@register_component
class CountBonus(VectorizedComponent):
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
        self.coefficient = not_negative_number("coefficient", coefficient)
        self._part = _Part(key, indices)
        self._widths: list[float] | None = None
        if resolution is not None:
            self._widths = finite_numbers("resolution", resolution)
            for width in self._widths:
                positive_number("resolution", width)
            if indices is not None and len(self._widths) not in (1, len(indices)):
                rule = f"must be one number, or one for each of the {len(indices)} indices"
                raise ConfigError(Problem(("resolution",), rule, resolution, "Match the two."))
        # One for each environment; a component of a single one has a single one.
        self._counts: list[dict[Any, int]] = [{}]

    def compute(self, transition: Transition) -> float:
        """Counts the state reached, and returns β/√N(s')."""
        return self._count(self._part.read(transition.next_obs), self._counts[0])

    def compute_batch(self, batch: TransitionBatch) -> NDArray[np.float64]:
        """Counts the state that each environment reached, and returns β/√N(s') of each."""
        while len(self._counts) < len(batch):
            self._counts.append(self._counts[0].copy())
        rows = self._part.read_batch(batch.next_obs).tolist()
        return each_env(map(self._count, rows, self._counts))

    def _count(self, values: Sequence[float], counts: dict[Any, int]) -> float:
        cell = self._cell(values)
        count = counts.get(cell, 0) + 1
        counts[cell] = count
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


class _Part:
    """The numbers of ``next_obs`` that a component looks at."""

    def __init__(self, key: str | None, indices: list[int] | None, name: str = "key") -> None:
        self._key_of_dict = None if key is None else nonempty_key(name, key)
        if indices is not None:
            integers = all(type(index) is int for index in indices)
            if not indices or not integers or len(set(indices)) != len(indices):
                rule = "must be a list of different integers"
                raise ConfigError(Problem(("indices",), rule, indices, "Example: [0, 1]."))
        self._indices = indices if indices is None else list(indices)

    def read(self, obs: Any) -> list[float]:
        """Returns them as Python numbers, ints where the observation holds integers."""
        array = self._find(obs)
        if self._indices is None:
            values: list[float] = array.ravel().tolist()
            return values
        try:
            # Not by an array of indices: for the few of one environment that takes longer.
            return [array.item(index) for index in self._indices]
        except IndexError:
            raise self._out_of_range(array.size) from None

    def read_batch(self, obs: Any) -> NDArray[Any]:
        """Returns those of n environments as an array of shape (n, number of them)."""
        arrays = self._find(obs)
        rows = arrays.reshape(len(arrays), -1)
        if self._indices is None:
            return rows
        try:
            return rows.take(self._indices, axis=1)
        except IndexError:
            raise self._out_of_range(rows.shape[1]) from None

    def _find(self, obs: Any) -> NDArray[Any]:
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
        array = np.asarray(obs)
        if array.dtype.kind not in "biuf":
            raise ComponentError(f"needs numbers in next_obs, but got {obs!r:.80}")
        return array

    def _out_of_range(self, size: int) -> ComponentError:
        return ComponentError(
            f"reads the indices {self._indices} of an observation of {size} numbers"
        )
