"""Weights over time: from a ``weight_schedule`` mapping to a function from global step to weight.

A schedule keeps no count, so that resuming, parallel environments and tests need no history:
``schedule(t)`` is the weight at global step t, in every environment. Each type is registered under
the name that ``schedule_type`` gives in a configuration; a user's own are registered alike.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final, cast

from rllama_sb3.errors import ComponentError, ConfigError, Path, Problem, did_you_mean
from rllama_sb3.rewards.parameters import construct, parameters_schema, parse_parameters
from rllama_sb3.rewards.signature import parameters_of, takes_anything
from rllama_sb3.rewards.stock_schedules import (
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    LinearSchedule,
    PiecewiseSchedule,
)
from rllama_sb3.rewards.weight_schedule import (
    FunctionSchedule,
    Step,
    WeightSchedule,
    get_schedule_factory,
    register_schedule,
    schedule_registry,
)

__all__ = [
    "ConstantSchedule",
    "CosineSchedule",
    "ExponentialSchedule",
    "FunctionSchedule",
    "LinearSchedule",
    "PiecewiseSchedule",
    "Step",
    "WeightSchedule",
    "build_schedule",
    "check_schedule",
    "register_schedule",
    "schedule_registry",
    "schedule_schema",
]

_WHOLE_TRAINING: Final = "100%"


def schedule_schema(name: str) -> dict[str, Any]:
    """Returns the JSON schema of a schedule type's keys, without ``schedule_type``.

    Raises:
        ConfigError: Nothing is registered under the name.
    """
    schema = parameters_schema(get_schedule_factory(name))
    required = set(schema["required"]) - {"initial_weight"}
    if "end_step" in required:
        schema["properties"]["end_step"]["default"] = _WHOLE_TRAINING
    schema["required"] = sorted(required - {"end_step"})
    return schema


def build_schedule(
    weight_schedule: Mapping[str, Any], *, total_timesteps: int | None = None, path: Path = ()
) -> WeightSchedule:
    """Builds the schedule that a ``weight_schedule`` mapping describes.

    Args:
        weight_schedule: ``schedule_type`` (constant by default), ``initial_weight`` (1 by
            default) and the keys of the type. An ``end_step`` that the type needs is ``100%``
            where it is not given.
        total_timesteps: The length of the training in global steps, which shares refer to.
        path: Keys from the root of the experiment to the mapping.

    Raises:
        ConfigError: The type is unknown, a key does not apply to it, a value does not fit, or a
            share is given without ``total_timesteps``.

    Example:
        >>> config = {"initial_weight": 10, "schedule_type": "linear", "final_weight": 0,
        ...           "end_step": "80%"}
        >>> schedule = build_schedule(config, total_timesteps=1_000)
        >>> schedule(0), schedule(400), schedule(800), schedule(5_000)
        (10.0, 5.0, 0.0, 0.0)
    """
    if not isinstance(weight_schedule, Mapping):
        remedy = "Write for example {initial_weight: 1.0}."
        raise ConfigError(Problem(path, "must be a mapping", weight_schedule, remedy))
    params = {"initial_weight": 1.0, **weight_schedule}
    name = params.pop("schedule_type", "constant")
    factory = get_schedule_factory(name, (*path, "schedule_type"))
    problems = _pop_foreign_keys(name, factory, params, path)
    if any(p.name == "end_step" and p.required for p in parameters_of(factory)):
        params.setdefault("end_step", _WHOLE_TRAINING)
    context = {"total_timesteps": total_timesteps}
    try:
        if inspect.isclass(factory):
            schedule = cast(WeightSchedule, construct(factory, params, path, context=context))
        else:
            values = parse_parameters(factory, params, path, context=context)
            schedule = FunctionSchedule(name, factory, values)
        problems += _probe(schedule, name, path)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(*problems)
    return schedule


def check_schedule(
    weight_schedule: Mapping[str, Any], *, total_timesteps: int | None = None, path: Path = ()
) -> list[Problem]:
    """Returns what is wrong with a ``weight_schedule`` mapping; see :func:`build_schedule`.

    Example:
        >>> for problem in check_schedule({"schedule_type": "exponential", "decay_rate": 1.5}):
        ...     print(problem)
        decay_rate: must be at most 1, but got 1.5.
    """
    try:
        build_schedule(weight_schedule, total_timesteps=total_timesteps, path=path)
    except ConfigError as error:
        return list(error.problems)
    return []


def _pop_foreign_keys(
    name: str, factory: Callable[..., Any], params: dict[str, Any], path: Path
) -> list[Problem]:
    """Takes out the keys that do not apply to the type, and returns a problem for each."""
    if takes_anything(factory):
        return []
    own = [parameter.name for parameter in parameters_of(factory)]
    problems = []
    for key in [key for key in params if key not in own]:
        del params[key]
        remedy = f"Its keys: {', '.join(own)}."
        others = [
            other
            for other, known in schedule_registry().items()
            if any(parameter.name == key for parameter in parameters_of(known))
        ]
        near = did_you_mean(key, own)
        if others:
            remedy = f"{remedy} Only {', '.join(sorted(others))} takes {key}."
        elif near.startswith("Did"):
            remedy = f"{near} {remedy}"
        rule = f"does not apply to schedule_type {name!r}"
        problems.append(Problem((*path, str(key)), rule, remedy=remedy))
    return problems


def _probe(schedule: WeightSchedule, name: str, path: Path) -> list[Problem]:
    """Asks for the first weight, so that a broken schedule is found before the training."""
    try:
        weight = schedule(0)
        is_finite = isfinite(weight)
    except ComponentError as error:
        return [Problem(path, str(error))]
    except Exception as error:
        rule = f"at global step 0, schedule {name!r} raised {type(error).__name__}: {error}"
        return [Problem(path, rule)]
    if is_finite:
        return []
    return [Problem(path, f"at global step 0, schedule {name!r} must give a finite weight", weight)]
