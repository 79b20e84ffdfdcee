"""What the config means where it is silent: the defaults of what its sections construct."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllama_sb3.algorithms import algorithm_parameters
from rllama_sb3.errors import NO_VALUE, ConfigError, Path
from rllama_sb3.optimization.search_space.conditions import value_at
from rllama_sb3.rewards.component import get_component_factory
from rllama_sb3.rewards.signature import Parameter, parameters_of
from rllama_sb3.rewards.weight_schedule import get_schedule_factory


def default_at(config: Mapping[str, Any], path: Path) -> Any:
    """Returns the value in use at a path that the config leaves out, or ``NO_VALUE``.

    It is the default of the algorithm, the component or the schedule that the config names there.

    Example:
        >>> default_at({"algorithm": {"name": "PPO", "params": {}}},
        ...            ("algorithm", "params", "clip_range"))
        0.2
    """
    parameter = _parameters_at(config, path[:-1]).get(str(path[-1]))
    if parameter is None or parameter.required:
        return NO_VALUE
    return parameter.default


def known_keys(config: Mapping[str, Any], path: Path) -> list[str]:
    """Returns the keys that can stand at a path: those there, and those that its target takes."""
    there = value_at(config, path)
    own = map(str, there) if isinstance(there, Mapping) else ()
    return list(dict.fromkeys([*own, *_parameters_at(config, path)]))


def _parameters_at(config: Mapping[str, Any], path: Path) -> Mapping[str, Parameter]:
    """Returns the parameters of what is constructed from the mapping at a path, by key."""
    try:
        match path:
            case ("algorithm", "params"):
                return algorithm_parameters(_name_at(config, "algorithm", "name"))
            case ("reward_shaping", _, "params"):
                factory = get_component_factory(_name_at(config, *path[:2], "class"))
            case ("reward_shaping", _, "weight_schedule"):
                factory = get_schedule_factory(_name_at(config, *path, "schedule_type"))
            case _:
                return {}
    except ConfigError:
        return {}  # There is no such thing, which is told by the check of the config itself.
    return {parameter.name: parameter for parameter in parameters_of(factory)}


def _name_at(config: Mapping[str, Any], *path: str | int) -> str:
    return str(value_at(config, path))
