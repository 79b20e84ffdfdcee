"""What a weight schedule is, and the registry that turns a ``schedule_type`` into one."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Annotated, Any, Final, overload

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from rllama_sb3.errors import ComponentError, ConfigError, Path, Problem
from rllama_sb3.rewards.component import AnyFactory, Registry

_SHARE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")


def _resolve_share(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str):
        return value
    match = _SHARE.fullmatch(value)
    if match is None or Decimal(match[1]) > 100:
        rule = "must be a number of steps, or a share of the training from '0%' to '100%'"
        raise PydanticCustomError("step_share", rule)
    total_timesteps = (info.context or {}).get("total_timesteps")
    if total_timesteps is None:
        rule = "a share of the training needs its length"
        remedy = "Pass total_timesteps, or write a number of steps."
        raise PydanticCustomError("step_share", rule, {"remedy": remedy})
    return round(Decimal(match[1]) * total_timesteps / 100)


Step = Annotated[
    int,
    BeforeValidator(_resolve_share),
    Field(ge=0),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$"},
            ],
            "description": "A number of global steps, or a share of the training such as 80%.",
        }
    ),
]
"""A global step. In a configuration also ``"N%"``, a share of ``training.total_timesteps``, which
is the nearest whole step. A user's own schedule annotates its parameters with it to accept both."""


class WeightSchedule(ABC):
    """The weight of a component as a function of the global step.

    A subclass is immutable and pure, and takes ``initial_weight`` among its constructor's keyword
    arguments. One that says when it settles lets the weights of a settled component be kept, and a
    search stop bad trials as soon as the rewards are the final ones.
    """

    __slots__ = ()

    @abstractmethod
    def __call__(self, global_step: int) -> float:
        """Returns the weight at a global step, 0 or more; a finite number."""

    @property
    def is_constant(self) -> bool:
        """Whether the weight is the same at every step."""
        return False

    @property
    def end_step(self) -> int | None:
        """A step from which on the weight stays the same; None if it never settles."""
        return None


@dataclass(frozen=True)
class FunctionSchedule(WeightSchedule):
    """A plain function ``(global_step, **params) -> float`` as a schedule.

    Args:
        name: The name that the function is registered under, for messages.
        function: Gives the weight at a global step.
        params: Its other arguments, the same at every step.

    Raises:
        ComponentError: When called: the function raised, or gave something else than a finite
            number; says at which step.
    """

    name: str
    function: Callable[..., float]
    params: Mapping[str, Any]

    def __call__(self, global_step: int) -> float:
        """Returns what the function gives for the step."""
        try:
            weight = float(self.function(global_step, **self.params))
        except Exception as error:
            raise ComponentError(
                f"at global step {global_step}, schedule {self.name!r} raised "
                f"{type(error).__name__}: {error}"
            ) from error
        if not isfinite(weight):
            raise ComponentError(
                f"at global step {global_step}, schedule {self.name!r} must give a finite "
                f"weight, but gave {weight!r}"
            )
        return weight


_schedules: Final[Registry[Callable[..., Any]]] = Registry(
    "schedule", WeightSchedule, "global_step"
)


@overload
def register_schedule(factory: AnyFactory, /) -> AnyFactory: ...
@overload
def register_schedule(*, name: str) -> Callable[[AnyFactory], AnyFactory]: ...
def register_schedule(factory: Any = None, /, *, name: str | None = None) -> Any:
    """Registers a schedule, so that ``schedule_type`` can name it; returns it unchanged.

    Stands above a :class:`WeightSchedule` subclass, or above a plain function
    ``(global_step, *, initial_weight, **params) -> float``. The keys of its ``weight_schedule``
    are its parameters, ``initial_weight`` among them.

    Args:
        factory: The class or function.
        name: The name in configurations; by default that of the class or function.

    Raises:
        ConfigError: As for :func:`~rllama_sb3.rewards.component.register_component`; or there is
            no parameter ``initial_weight``.

    Example:
        >>> @register_schedule(name="doc_square_wave")
        ... def square_wave(global_step: int, *, initial_weight: float, period: Step) -> float:
        ...     return initial_weight if global_step // period % 2 == 0 else 0.0
        >>> from rllama_sb3.rewards.schedules import build_schedule
        >>> config = {"schedule_type": "doc_square_wave", "initial_weight": 2, "period": "10%"}
        >>> schedule = build_schedule(config, total_timesteps=1_000)
        >>> schedule(0), schedule(100)
        (2.0, 0.0)
    """

    def register(decorated: Any) -> Any:
        _schedules.check(decorated)
        if "initial_weight" not in inspect.signature(decorated).parameters:
            rule = f"the schedule {decorated.__name__} must take initial_weight"
            remedy = "Add the parameter; it is the weight at step 0."
            raise ConfigError(Problem((), rule, remedy=remedy))
        _schedules.add(decorated, name)
        return decorated

    return register if factory is None else register(factory)


def schedule_registry() -> Mapping[str, Callable[..., Any]]:
    """Returns the registered schedule classes and functions by name, as a read-only view."""
    return _schedules.factories


def get_schedule_factory(name: str, path: Path = ()) -> Callable[..., Any]:
    """Returns the class or function registered as a schedule under a name.

    Args:
        name: As in the ``schedule_type`` key of a configuration.
        path: Keys from the root of the experiment to the name, for the message.

    Raises:
        ConfigError: Nothing is registered so.
    """
    return _schedules.get(name, path)
