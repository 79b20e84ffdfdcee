"""Evaluates the components of a reward, and names the one that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from math import isfinite
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from rllama_sb3.errors import ComponentError, ConfigError
from rllama_sb3.rewards.component import RewardComponent
from rllama_sb3.rewards.transition import Transition

# The shaped reward, and per component the raw and the weighted value that it is the sum of.
Breakdown = tuple[float, Sequence[float], Sequence[float]]


class RewardComposer:
    """The named components of one reward, evaluated together on a transition.

    Args:
        components: Components by name; their order is the order of all values.

    Attributes:
        names: The names of the components.
        weigh: ``weigh(transition, weights)`` evaluates each component, multiplies it by its
            weight, and adds up. It returns the sum, the raw and the weighted values, and checks
            nothing: a value that is not one finite number shows in the sum, which is then not a
            finite ``float`` either, and :meth:`to_numbers` finds whose it is. Whatever a component
            raises comes out as it is; :meth:`blame` says whose it was.

    Raises:
        ConfigError: There is no component, or a value is not a :class:`RewardComponent`.

    Example:
        >>> from rllama_sb3.rewards import EnvReward, StepPenalty
        >>> composer = RewardComposer({"env": EnvReward(), "time": StepPenalty(penalty=-0.1)})
        >>> composer.weigh(Transition(0, 1, 2, 5.0, False, False, {}), weights=[1.0, 10.0])
        (4.0, (5.0, -0.1), (5.0, -1.0))
    """

    def __init__(self, components: Mapping[str, RewardComponent]) -> None:
        if not isinstance(components, Mapping):
            raise ConfigError(f"components must be a mapping of names, but got {components!r}")
        if not components:
            raise ConfigError("a reward needs at least one component, but there is none")
        for name, component in components.items():
            if not isinstance(component, RewardComponent):
                raise ConfigError(
                    f"component {name!r} must be a RewardComponent, but got {component!r}"
                )
        self.components: Mapping[str, RewardComponent] = MappingProxyType(dict(components))
        self.names: tuple[str, ...] = tuple(components)
        # A plain function, since a method would be another call at every step.
        self.weigh: Callable[[Transition, Sequence[float]], Breakdown] = _unroll(len(components))(
            *(component.compute for component in components.values())
        )

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}: {type(c).__name__}" for name, c in self.components.items())
        return f"RewardComposer({parts})"

    # A view of a dict cannot be copied or sent to another process; the dict behind it can.
    def __reduce__(self) -> tuple[type[RewardComposer], tuple[dict[str, RewardComponent]]]:
        return type(self), (dict(self.components),)

    def reset(self, obs: Any, info: Mapping[str, Any]) -> None:
        """Tells every component that an episode begins with ``obs``."""
        for component in self.components.values():
            component.reset(obs, info)

    def blame(self, error: Exception) -> ComponentError:
        """Returns the error that names the component at fault for what ``weigh`` raised.

        Args:
            error: As it was caught by the caller of ``weigh``.
        """
        # Each component has a line of its own in the function that _unroll() wrote.
        inside = error.__traceback__ and error.__traceback__.tb_next
        if inside is None:
            return ComponentError(f"no component could be evaluated: {error}")
        line, n_components = inside.tb_lineno - _FIRST_LINE, len(self.names)
        if line < n_components:
            return component_error(self.names[line], error)
        # A value that cannot be multiplied is reported as what it is.
        values = [inside.tb_frame.f_locals[f"v{index}"] for index in range(n_components)]
        try:
            self.to_numbers(values)
        except ComponentError as unfit:
            return unfit
        return component_error(self.names[line - n_components], error)

    def to_numbers(self, values: Iterable[Any]) -> list[float]:
        """Returns values of the components, in the order of ``names``, as Python floats.

        Raises:
            ComponentError: One is not a single number; its component is named.
        """
        numbers = []
        for name, value in zip(self.names, values, strict=True):
            try:
                numbers.append(to_number(value))
            except (TypeError, OverflowError) as error:
                raise component_error(name, error) from error
        return numbers


# Where the components begin in what _unroll() writes.
_FIRST_LINE: Final = 3


@lru_cache
def _unroll(n_components: int) -> Callable[..., Callable[..., Breakdown]]:
    """Writes out the weighted sum for a number of components, as one would by hand.

    It runs at every step of every environment, where a loop over components takes more than twice
    as long. For two components::

        def bind(c0, c1):
            def weigh(transition, weights):
                v0 = c0(transition)
                v1 = c1(transition)
                x0 = v0 * weights[0]
                x1 = v1 * weights[1]
                return x0 + x1, (v0, v1), (x0, x1)
            return weigh

    Each component has a line of its own for its value and for its product, so that the line of a
    traceback tells whose fault an error is.
    """
    every = range(n_components)
    lines = [
        f"def bind({', '.join(f'c{i}' for i in every)}):",
        " def weigh(transition, weights):",
        *(f"  v{i} = c{i}(transition)" for i in every),
        *(f"  x{i} = v{i} * weights[{i}]" for i in every),
        f"  return {' + '.join(f'x{i}' for i in every)}, "
        f"({', '.join(f'v{i}' for i in every)},), ({', '.join(f'x{i}' for i in every)},)",
        " return weigh",
    ]
    namespace: dict[str, Any] = {}
    exec(compile("\n".join(lines), "<weighted sum>", "exec"), namespace)
    bind: Callable[..., Callable[..., Breakdown]] = namespace["bind"]
    return bind


def component_error(name: str, error: Exception) -> ComponentError:
    """Returns the error that says that component ``name`` failed, and why."""
    kind = "" if isinstance(error, ComponentError) else f"{type(error).__name__}: "
    return ComponentError(f"component {name!r} failed: {kind}{error}")


def to_number(value: Any) -> float:
    """Returns what a component gave as a Python float.

    Raises:
        TypeError: It is not a single number.

    Example:
        >>> to_number(np.float32(0.5)), to_number(True)
        (0.5, 1.0)
    """
    if type(value) is float:
        return value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, int | float | np.bool | np.integer | np.floating):
        return float(value)
    raise TypeError(f"must give one number, but gave {describe(value)}")


def explain_not_finite(
    names: Sequence[str], raw: Sequence[float], weighted: Sequence[float]
) -> str:
    """Says which of the values of one step is not finite, or that only their sum is not.

    Example:
        >>> explain_not_finite(["env", "bonus"], [1.0, float("nan")], [1.0, float("nan")])
        "component 'bonus' must give a finite number, but gave nan (weighted: nan)"
    """
    for name, value, weighted_value in zip(names, raw, weighted, strict=True):
        if not (isfinite(value) and isfinite(weighted_value)):
            return (
                f"component {name!r} must give a finite number, but gave {value!r} "
                f"(weighted: {weighted_value!r})"
            )
    return (
        "the weighted values add up to more than a number can hold: "
        f"{dict(zip(names, weighted, strict=True))!r}"
    )


def describe(value: Any) -> str:
    """Says what a component gave.

    Example:
        >>> describe(np.zeros((2, 3))), describe("fast")
        ('an array of shape (2, 3) of float64 (ndarray)', "'fast' (str)")
    """
    shown = repr(value)
    if isinstance(value, np.ndarray):
        shown = f"an array of shape {value.shape} of {value.dtype}"
    return f"{shown} ({type(value).__name__})"
