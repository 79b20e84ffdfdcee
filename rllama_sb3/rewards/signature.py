"""What a configuration can give to a class or function, as read from its signature."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Final, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError

Factory = Callable[..., Any]

STRICT: Final = ConfigDict(
    strict=True, allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=()
)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a factory that a configuration can set.

    Attributes:
        name: Its key.
        required: Whether it has no default.
        default: The default, or ``inspect.Parameter.empty``.
        hint: The resolved annotation; ``Any`` without one, or with one that pydantic cannot check.
        model: A pydantic model with this parameter as its only field, ``value``.
    """

    name: str
    required: bool
    default: Any
    hint: Any
    model: type[BaseModel]


@lru_cache(maxsize=512)
def parameters_of(factory: Factory) -> tuple[Parameter, ...]:
    """Returns the parameters that a configuration can give to a class or registered function."""
    parameters = list(inspect.signature(factory).parameters.values())
    if not inspect.isclass(factory):
        parameters = parameters[1:]
    namespace = _namespace(factory)
    return tuple(
        _describe(parameter, namespace)
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    )


def _describe(parameter: inspect.Parameter, namespace: dict[str, Any]) -> Parameter:
    default = parameter.default
    hint, model = _resolve(parameter, namespace)
    return Parameter(parameter.name, default is parameter.empty, default, hint, model)


def _resolve(
    parameter: inspect.Parameter, namespace: dict[str, Any]
) -> tuple[Any, type[BaseModel]]:
    field = Field(alias=parameter.name)
    if parameter.annotation is not parameter.empty:
        try:
            owner = SimpleNamespace(__annotations__={"value": parameter.annotation})
            hint = get_type_hints(owner, namespace, include_extras=True)["value"]
            return hint, create_model("Parameter", __config__=STRICT, value=(hint, field))
        except (NameError, AttributeError, TypeError, SyntaxError, PydanticUserError, SchemaError):
            # A name imported for type checkers only, or a type that pydantic does not know:
            # such a parameter is for the constructor to check.
            pass
    return Any, create_model("Parameter", __config__=STRICT, value=(Any, field))


def _namespace(factory: Factory) -> dict[str, Any]:
    """The names that the annotations of a factory can refer to."""
    if not inspect.isclass(factory):
        function = inspect.unwrap(factory)
        return dict(getattr(function, "__globals__", {}))
    namespace: dict[str, Any] = {}
    # The constructor may be inherited, or made by dataclass from fields of several modules.
    for base in reversed(factory.__mro__):
        namespace |= vars(sys.modules.get(base.__module__, SimpleNamespace()))
    return namespace


def takes_anything(factory: Factory) -> bool:
    """Whether a factory collects further keys in ``**kwargs``."""
    parameters = inspect.signature(factory).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
