"""The JSON schema of the experiment file, by which editors complete and check configs.

The models know no class, schedule or algorithm by name. Whoever does passes the names in, with the
schema of their arguments; each becomes a choice of an ``enum``, and an ``if``/``then`` that checks
the arguments once the choice is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rllama_sb3.config.merging import merge_configs
from rllama_sb3.config.models import ExperimentConfig

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_NUMBER: Final = {"type": "number"}
_SEARCH_LEAF: Final = {
    "title": "Suggestion",
    "description": "A value that the search proposes, in place of one that is given.",
    "type": "object",
    "required": ["suggest"],
    "properties": {
        "suggest": {"enum": ["float", "int", "categorical"], "description": "What is proposed."},
        "low": {**_NUMBER, "description": "The least value."},
        "high": {**_NUMBER, "description": "The greatest value."},
        "log": {"type": "boolean", "description": "Search on a logarithmic scale; low > 0."},
        "step": {**_NUMBER, "description": "The distance between values; not with log."},
        "choices": {"type": "array", "minItems": 1, "description": "Values of a categorical."},
        "transform": {
            "enum": ["one_minus"],
            "description": "Applied to what is proposed: one_minus searches gamma near 1.",
        },
        "name": {"type": "string", "description": "Optuna's name; the dotted path by default."},
        "when": {
            "type": "object",
            "minProperties": 1,
            "description": "By dotted path the value, or list of values, that the config must have "
            "there for this one to be in it.",
        },
    },
    "additionalProperties": False,
    "allOf": [
        {
            "if": {"properties": {"suggest": {"const": "categorical"}}},
            "then": {"required": ["choices"]},
            "else": {"required": ["low", "high"]},
        }
    ],
}

_STOCK: Final = {
    "const": "default",
    "description": "Search the stock space of the algorithm; leaves beside it replace stock ones.",
}


def experiment_schema(
    component_params: Mapping[str, Mapping[str, Any]] | None = None,
    schedule_types: Mapping[str, Mapping[str, Any]] | None = None,
    algorithm_names: Iterable[str] = (),
    samplers: Mapping[str, Mapping[str, Any]] | None = None,
    pruners: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Returns the JSON schema (draft 2020-12) of the experiment file.

    Args:
        component_params: For each component class the schema of its ``params``, an object schema.
        schedule_types: For each schedule type the object schema of its own keys, those beside
            ``initial_weight`` and ``schedule_type``.
        algorithm_names: Names of algorithms, offered as completions; others stay allowed, since
            sb3-contrib adds some where it is installed.
        samplers: For each sampler the object schema of the parameters that may stand beside its
            name.
        pruners: Likewise.

    Example:
        >>> schema = experiment_schema({"GoalReward": {"type": "object"}})
        >>> schema["$defs"]["ComponentConfig"]["properties"]["class"]["enum"]
        ['GoalReward']
    """
    schema = ExperimentConfig.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    if component_params:
        _add_components(definitions["ComponentConfig"], component_params)
    if schedule_types:
        _add_schedules(definitions["WeightScheduleConfig"], schedule_types)
    names = sorted(algorithm_names)
    if names:
        definitions["AlgorithmConfig"]["properties"]["name"]["examples"] = names
    tuning = definitions["TuningConfig"]["properties"]
    for key, kinds in (("sampler", samplers), ("pruner", pruners)):
        if kinds:
            _add_named(tuning[key], kinds)
    _add_search_space(definitions)
    return {"$schema": _DIALECT, **schema, "title": "rllama-sb3 experiment"}


def _add_components(
    component: dict[str, Any], component_params: Mapping[str, Mapping[str, Any]]
) -> None:
    component["properties"]["class"]["enum"] = sorted(component_params)
    component["allOf"] = [
        {
            "if": {"properties": {"class": {"const": name}}, "required": ["class"]},
            "then": {
                "properties": {"params": merge_configs(params, {})},
                "required": ["params"] if params.get("required") else [],
            },
        }
        for name, params in sorted(component_params.items())
    ]


def _add_schedules(
    schedule: dict[str, Any], schedule_types: Mapping[str, Mapping[str, Any]]
) -> None:
    chosen = schedule["properties"]["schedule_type"]
    chosen["enum"] = sorted(schedule_types)
    # The types' own keys are named in the branches, and what a branch does not name is refused.
    shared = dict.fromkeys(schedule["properties"], True)
    schedule["allOf"] = [
        {
            # A file without the key means the default, so the default's branch needs no key.
            "if": {
                "properties": {"schedule_type": {"const": name}},
                "required": [] if name == chosen["default"] else ["schedule_type"],
            },
            "then": {
                **merge_configs(keys, {}),
                "properties": {**shared, **merge_configs(keys.get("properties", {}), {})},
                "additionalProperties": keys.get("additionalProperties", False),
            },
        }
        for name, keys in sorted(schedule_types.items())
    ]


def _add_named(entry: dict[str, Any], kinds: Mapping[str, Mapping[str, Any]]) -> None:
    """A name alone, or a mapping with the name and what its kind takes beside it."""
    lacking = [name for name, params in kinds.items() if params.get("required")]
    entry["anyOf"] = [
        {"enum": [name for name in kinds if name not in lacking]},
        {
            "type": "object",
            "properties": {"name": {"enum": list(kinds)}},
            "required": ["name"],
            "allOf": [
                {
                    "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
                    "then": {
                        **merge_configs(params, {}),
                        "properties": {
                            "name": True,
                            **merge_configs(params.get("properties", {}), {}),
                        },
                        "additionalProperties": False,
                    },
                }
                for name, params in kinds.items()
            ],
        },
    ]


def _add_search_space(definitions: dict[str, Any]) -> None:
    definitions["Suggestion"] = merge_configs(_SEARCH_LEAF, {})
    entry = {
        "if": {"type": "object", "required": ["suggest"]},
        "then": {"$ref": "#/$defs/Suggestion"},
        "else": {
            "if": {"type": "array"},
            "then": {"items": {"$ref": "#/$defs/Suggestion"}},
            "else": {"$ref": "#/$defs/SearchSpace"},
        },
    }
    below = {"type": "object", "additionalProperties": entry}
    definitions["SearchSpace"] = below
    definitions["AlgorithmSearchSpace"] = {**below, "properties": {"search_space": _STOCK}}
    space = definitions["TuningConfig"]["properties"]["search_space"]
    space |= {**below, "properties": {"algorithm": {"$ref": "#/$defs/AlgorithmSearchSpace"}}}
