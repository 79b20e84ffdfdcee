"""Checks the parameters in a configuration against the signature of what they are for.

The annotations of a component's constructor, or of a registered function, are the only
declaration of its parameters: pydantic checks against them, strictly, so that ``"3"`` is not a
number, ``true`` is not ``1.0`` and NaN is refused, before anything is built.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
from pydantic import Field, ValidationError, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema, PydanticOmit

from rllama_sb3.errors import ConfigError, Path, Problem, did_you_mean
from rllama_sb3.rewards.signature import (
    STRICT,
    Factory,
    Parameter,
    parameters_of,
    takes_anything,
)

# Parts of pydantic's messages, as this package words them.
_WORDINGS: Final = {
    r"^Value error, ": "",
    r"^Cannot check `\w+` when validating from json.*": "must be a Python object",
    r"^Input should be ": "must be ",
    r"^\w+ should (have|match)": r"must \1",
    r" after validation, not \d+$": "",
    r"^Field required$": "must not lack a part",
    r" a valid ": " a ",
    r"\ba integer": "an integer",
    r"\ba boolean": "true or false",
    r"\ban? (array|tuple)\b": "a list",
    r"\ban? (object|dictionary)\b": "a mapping",
    r"greater than or equal to": "at least",
    r"less than or equal to": "at most",
}


def check_parameters(
    factory: Factory, params: Mapping[str, Any], path: Path, *, skip: Collection[str] = ()
) -> list[Problem]:
    """Returns what is wrong with the parameters for a class or a registered function.

    Keys and types come from the signature. A class is also constructed once, when they fit, so
    that what its constructor refuses is found here.

    Args:
        factory: A class, or a function whose first parameter is not a configuration's to give
            (``transition`` of a component, ``global_step`` of a schedule).
        params: The parameters by name.
        path: Keys from the root of the experiment to ``params``.
        skip: Parameters that the caller gives, not the configuration.

    Example:
        >>> def bonus(transition, scale: float = 1.0): ...
        >>> for problem in check_parameters(bonus, {"scale": "big"}, ("params",)):
        ...     print(problem)
        params.scale: must be a number, but got 'big'.
        >>> for problem in check_parameters(bonus, {"scal": 2}, ("params",)):
        ...     print(problem)
        params.scal: is not a parameter of bonus. Did you mean 'scale'?
    """
    values, problems = _parse(factory, params, path, skip, None)
    required_elsewhere = {p.name for p in parameters_of(factory) if p.required} & set(skip)
    if not problems and inspect.isclass(factory) and not required_elsewhere:
        try:
            _call(factory, values, path)
        except ConfigError as error:
            problems = list(error.problems)
    return problems


def parse_parameters(
    factory: Factory,
    params: Mapping[str, Any],
    path: Path = (),
    *,
    skip: Collection[str] = (),
    context: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the parameters in their annotated types, as the factory is to be called with.

    A list becomes a tuple and a string an enum member where the annotation asks for it, an int a
    float, a NumPy scalar a Python number; nothing else is converted.

    Args:
        factory: As in :func:`check_parameters`.
        params: The parameters by name; those left out keep their defaults.
        path: Keys from the root of the experiment to ``params``.
        skip: Parameters that the caller gives, not the configuration.
        context: What pydantic validators in the annotations are to know.

    Raises:
        ConfigError: Some do not fit; lists all of those.
    """
    values, problems = _parse(factory, params, path, skip, context)
    if problems:
        raise ConfigError(*problems)
    return values


def construct(
    factory: Factory,
    params: Mapping[str, Any],
    path: Path = (),
    *,
    context: Mapping[str, Any] | None = None,
) -> Any:
    """Calls a class with parameters from a configuration.

    Args:
        factory: The class.
        params: Its constructor's arguments by name.
        path: Keys from the root of the experiment to ``params``.
        context: As in :func:`parse_parameters`.

    Raises:
        ConfigError: The parameters do not fit, or the constructor raised. The paths of a
            ConfigError of the constructor's own count from ``params``.
    """
    return _call(factory, parse_parameters(factory, params, path, context=context), path)


def parameters_schema(factory: Factory) -> dict[str, Any]:
    """Returns the JSON schema of a factory's parameters, for completion in editors.

    Args:
        factory: As in :func:`check_parameters`.

    Example:
        >>> def bonus(transition, scale: float = 1.0): ...
        >>> parameters_schema(bonus)["properties"]["scale"]
        {'title': 'Scale', 'type': 'number', 'default': 1.0}
    """
    parameters = parameters_of(factory)
    fields: dict[str, Any] = {
        f"p{i}": (p.hint, Field(alias=p.name)) for i, p in enumerate(parameters)
    }
    model = create_model(factory.__name__, __config__=STRICT, **fields)
    schema = model.model_json_schema(schema_generator=_LenientJsonSchema)
    properties = schema.setdefault("properties", {})
    definitions = schema.pop("$defs", {})
    for parameter in parameters:
        entry = properties.setdefault(parameter.name, {})
        # The schema becomes a part of a larger one, in which references would lead nowhere.
        if "$ref" in entry:
            entry |= definitions[entry.pop("$ref").rpartition("/")[2]]
        if "$ref" in json.dumps(entry):
            entry.clear()
        if not parameter.required and _is_plain(parameter.default):
            entry["default"] = json.loads(json.dumps(parameter.default))
    schema["required"] = [parameter.name for parameter in parameters if parameter.required]
    schema["additionalProperties"] = takes_anything(factory)
    return schema


def _parse(
    factory: Factory,
    params: Mapping[str, Any],
    path: Path,
    skip: Collection[str],
    context: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], list[Problem]]:
    if not isinstance(params, Mapping):
        return {}, [Problem(path, f"must be a mapping of parameters of {factory.__name__}", params)]
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    known = {p.name: p for p in parameters_of(factory) if p.name not in skip}
    for key, value in params.items():
        if key in known:
            try:
                values[key] = _validate(known[key], value, context)
            except ValidationError as error:
                problems += _problems(error, value, (*path, key))
        elif takes_anything(factory) and isinstance(key, str) and key not in skip:
            values[key] = value
        else:
            problems.append(_unknown_key(factory, str(key), known, path))
    for name, parameter in known.items():
        if parameter.required and name not in params:
            rule = f"is required by {factory.__name__}"
            problems.append(Problem((*path, name), rule, remedy=f"Add {name}: ..."))
    return values, problems


def _unknown_key(factory: Factory, key: str, known: Collection[str], path: Path) -> Problem:
    remedy = did_you_mean(key, known) if known else "Remove it: there are no parameters."
    return Problem((*path, key), f"is not a parameter of {factory.__name__}", remedy=remedy)


def _validate(parameter: Parameter, value: Any, context: Mapping[str, Any] | None) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    document = {parameter.name: value}
    given = dict(context or {})
    try:
        return parameter.model.model_validate(document, context=given).value  # type: ignore[attr-defined]
    except ValidationError:
        # Files have neither tuples nor enums: pydantic's strict rules for JSON allow the list
        # and the string instead. What JSON cannot express stays refused.
        if not _is_plain(value):
            raise
        text = json.dumps(document)
        return parameter.model.model_validate_json(text, context=given).value  # type: ignore[attr-defined]


def _problems(error: ValidationError, value: Any, path: Path) -> list[Problem]:
    """One problem for each place within the value; a union's alternatives are joined."""
    rules: dict[Path, list[str]] = {}
    found: dict[Path, Any] = {}
    remedies: dict[Path, str] = {}
    for item in error.errors():
        # pydantic puts the names of a union's branches among the keys: follow real keys only.
        place, part = path, value
        for key in item["loc"][1:]:
            try:
                part = part[key]
            except (TypeError, LookupError):
                continue
            place = (*place, key)
        found[place] = part
        remedies[place] = item.get("ctx", {}).get("remedy") or _remedy(item["type"], part)
        alternatives = rules.setdefault(place, [])
        rule = _in_words(item["msg"])
        if rule not in alternatives:
            alternatives.append(rule.removeprefix("must be ") if alternatives else rule)
    return [
        Problem(place, " or ".join(alternatives), found[place], remedies[place])
        for place, alternatives in rules.items()
        # Where a part is wrong, what is said of the whole only follows from it.
        if not any(place == other[: len(place)] for other in rules if other != place)
    ]


def _in_words(message: str) -> str:
    """Puts pydantic's message into this package's form of a rule."""
    for theirs, ours in _WORDINGS.items():
        message = re.sub(theirs, ours, message)
    return message[:1].lower() + message[1:].rstrip(".")


def _remedy(error_type: str, value: Any) -> str:
    """What to write instead, where that can be told from the value."""
    if error_type == "needs_python_object":
        return "No file can express it: leave it out, or give it in Python."
    if error_type == "int_type" and isinstance(value, float) and value.is_integer():
        return f"Write {int(value)}."
    if error_type in ("int_type", "float_type", "step_share") and isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return ""
        return "Remove the quotes."
    return ""


def _call(factory: Factory, values: Mapping[str, Any], path: Path) -> Any:
    try:
        return factory(**values)
    except ConfigError as error:
        raise ConfigError(*(problem.below(path) for problem in error.problems)) from error
    except ValueError as error:
        text = str(error).rstrip(".") or f"must suit {factory.__name__}"
        raise ConfigError(Problem(path, text, dict(values))) from error
    except Exception as error:
        rule = f"{factory.__name__} raised {type(error).__name__}: {error}".rstrip(".")
        raise ConfigError(Problem(path, rule, dict(values))) from error


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


class _LenientJsonSchema(GenerateJsonSchema):
    """Leaves out what no file can express, such as a callable, instead of raising."""

    def handle_invalid_for_json_schema(
        self, schema: CoreSchema, error_info: str
    ) -> JsonSchemaValue:
        raise PydanticOmit
