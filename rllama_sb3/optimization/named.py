"""Samplers and pruners as a config writes them: a name, alone or with parameters.

::

    sampler: tpe
    sampler: {name: tpe, multivariate: false, n_startup_trials: 5}

The parameters are keyword arguments of the class behind the name, checked against its signature.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from optuna.exceptions import ExperimentalWarning

from rllama_sb3.errors import ConfigError, Path, Problem, did_you_mean
from rllama_sb3.rewards.parameters import parameters_schema, parse_parameters

Named = str | Mapping[str, Any]

_NAME: Final = "name"


@dataclass(frozen=True)
class Kind:
    """What a name stands for.

    Attributes:
        cls: The class.
        withheld: Parameters of it that a config cannot give, and what to do instead.
        at_least: The least values of parameters that the class itself does not check.
    """

    cls: type
    withheld: Mapping[str, str] = field(default_factory=dict)
    at_least: Mapping[str, float] = field(default_factory=dict)


def given_name(given: Any) -> Any:
    """Returns the name that somebody gave, whatever it is; an object that is no name as it is.

    Example:
        >>> given_name({"name": "coin", "bias": 1}), given_name("coin"), given_name({"bias": 1})
        ('coin', 'coin', None)
    """
    return given.get(_NAME) if isinstance(given, Mapping) else given


def name_of(given: Named, kinds: Mapping[str, Kind], path: Path) -> str:
    """Returns the name alone.

    Args:
        given: A name, or a mapping with a ``name`` and parameters.
        kinds: What there is.
        path: Where it stands in the config.

    Raises:
        ConfigError: There is no such name.

    Example:
        >>> name_of({"name": "coin", "bias": 1}, {"coin": Kind(object)}, ("sampler",))
        'coin'
    """
    name = given_name(given)
    if isinstance(name, str) and name in kinds:
        return name
    rule = f"must be one of {', '.join(kinds)}"
    if isinstance(given, Mapping):
        path = (*path, _NAME)
        if _NAME not in given:
            raise ConfigError(Problem(path, "missing key", remedy=f"Add it: it {rule}."))
    remedy = did_you_mean(name, kinds)
    # The rule lists the names already.
    raise ConfigError(Problem(path, rule, name, remedy if remedy.startswith("Did") else ""))


def params_of(given: Named, kind: Kind, path: Path) -> dict[str, Any]:
    """Returns the parameters beside a name, in the types that its class takes.

    Args:
        given: As in :func:`name_of`.
        kind: What its name stands for.
        path: Where it stands in the config.

    Raises:
        ConfigError: Some are unknown, withheld, of a wrong type or too small; all are listed.

    Example:
        >>> class Coin:
        ...     def __init__(self, bias: float = 0.5) -> None: ...
        >>> params_of({"name": "coin", "bias": 1}, Kind(Coin), ("sampler",))
        {'bias': 1.0}
    """
    params = dict(given) if isinstance(given, Mapping) else {}
    params.pop(_NAME, None)
    problems = [
        Problem((*path, key), "must not be set here", remedy=kind.withheld[key])
        for key in params
        if key in kind.withheld
    ]
    plain = {key: value for key, value in params.items() if key not in kind.withheld}
    parsed: dict[str, Any] = {}
    try:
        parsed = parse_parameters(kind.cls, plain, path, skip=kind.withheld)
    except ConfigError as error:
        problems += error.problems
    problems += [
        Problem((*path, key), f"must be at least {least}", parsed[key])
        for key, least in kind.at_least.items()
        if parsed.get(key) is not None and parsed[key] < least
    ]
    if problems:
        raise ConfigError(*problems)
    return parsed


def construct(kind: Kind, defaults: Mapping[str, Any], given: Named, path: Path) -> Any:
    """Constructs what a name stands for.

    Args:
        kind: What it stands for.
        defaults: Arguments of the class, over which those that were given are laid.
        given: As in :func:`name_of`.
        path: Where it stands in the config.

    Raises:
        ConfigError: As of :func:`params_of`, or the class refuses the values.
    """
    params = params_of(given, kind, path)
    with warnings.catch_warnings():
        # Whoever writes the name of what Optuna calls experimental has chosen it.
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            return kind.cls(**{**defaults, **params})
        except (TypeError, ValueError) as error:
            rule = f"must be accepted by {kind.cls.__name__} ({_one_line(error)})"
            raise ConfigError(Problem(path, rule, params)) from error


def named_schemas(kinds: Mapping[str, Kind]) -> dict[str, dict[str, Any]]:
    """Returns for each name the JSON schema of its parameters.

    Example:
        >>> class Coin:
        ...     def __init__(self, bias: float = 0.5, seed: int = 0) -> None: ...
        >>> schema = named_schemas({"coin": Kind(Coin, {"seed": "Set tuning.seed instead."})})
        >>> sorted(schema["coin"]["properties"])
        ['bias']
    """
    schemas = {}
    for name, kind in kinds.items():
        schema = parameters_schema(kind.cls)
        properties = schema.get("properties", {})
        schema["properties"] = {k: v for k, v in properties.items() if k not in kind.withheld}
        schema["required"] = [key for key in schema["required"] if key not in kind.withheld]
        schemas[name] = schema
    return schemas


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
