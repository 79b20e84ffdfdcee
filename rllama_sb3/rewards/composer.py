"""Evaluates the components of a reward, and names the one that fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from rllama_sb3.errors import ComponentError, ConfigError
from rllama_sb3.rewards.component import RewardComponent
from rllama_sb3.rewards.transition import Transition


class RewardComposer:
    """The named components of one reward, evaluated together on a transition.

    Args:
        components: Components by name; their order is the order of all values.

    Raises:
        ConfigError: There is no component, or a value is not a :class:`RewardComponent`.

    Example:
        >>> from rllama_sb3.rewards import EnvReward, StepPenalty
        >>> composer = RewardComposer({"env": EnvReward(), "time": StepPenalty(penalty=-0.1)})
        >>> composer.compute(Transition(0, 1, 2, 5.0, False, False, {}))
        [5.0, -0.1]
    """

    def __init__(self, components: Mapping[str, RewardComponent]) -> None:
        if not components:
            raise ConfigError("a reward needs at least one component, but there is none")
        for name, component in components.items():
            if not isinstance(component, RewardComponent):
                raise ConfigError(
                    f"component {name!r} must be a RewardComponent, but got {component!r}"
                )
        self.components: Mapping[str, RewardComponent] = MappingProxyType(dict(components))
        self.names: tuple[str, ...] = tuple(components)
        self._computes = [component.compute for component in components.values()]

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

    def compute(self, transition: Transition) -> list[float]:
        """Returns the value of each component, in the order of ``names``.

        A value may still be infinite or NaN: whoever adds them up sees that in the sum.

        Raises:
            ComponentError: A component raised (the cause is attached), or did not give a number.
        """
        values: list[float] = []
        try:
            for compute in self._computes:
                value = compute(transition)
                # The exact type: NumPy's float64 is a float too, and slows all that follows.
                values.append(value if type(value) is float else to_number(value))
        except Exception as error:
            raise component_error(self.names[len(values)], error) from error
        return values


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
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, int | float | np.bool | np.integer | np.floating):
        return float(value)
    shape = f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)
    raise TypeError(f"must give one number, but gave {shape} ({type(value).__name__})")
