from __future__ import annotations

import json
import re

import pytest

from rllama_sb3.config.models import ExperimentConfig
from rllama_sb3.config.schema import experiment_schema
from rllama_sb3.optimization.search_space.leaf_config import LeafConfig

GOAL = {
    "type": "object",
    "properties": {"target_reward": {"type": "number"}},
    "required": ["target_reward"],
    "additionalProperties": False,
}


def test_the_schema_is_json_and_names_every_section() -> None:
    schema = json.loads(json.dumps(experiment_schema()))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "rllama-sb3 experiment"
    assert set(schema["properties"]) == set(ExperimentConfig.model_fields)
    assert schema["required"] == ["env", "algorithm", "training"]
    assert schema["additionalProperties"] is False


def test_every_key_of_the_sections_is_described() -> None:
    for name, definition in experiment_schema()["$defs"].items():
        if name.endswith("Config"):
            for key, value in definition["properties"].items():
                assert "description" in value or "$ref" in value, (name, key)


def test_where_rewards_are_computed_is_a_choice() -> None:
    shaping = experiment_schema()["$defs"]["EnvConfig"]["properties"]["shaping"]
    assert (shaping["enum"], shaping["default"]) == (["auto", "wrapper", "vec"], "auto")


def test_keys_are_the_ones_of_the_file() -> None:
    component = experiment_schema()["$defs"]["ComponentConfig"]
    assert set(component["properties"]) == {"class", "params", "weight_schedule"}


def test_a_known_class_is_a_choice_and_brings_the_schema_of_its_params() -> None:
    schema = experiment_schema({"StepPenalty": {"type": "object"}, "GoalReward": GOAL})
    component = schema["$defs"]["ComponentConfig"]
    assert component["properties"]["class"]["enum"] == ["GoalReward", "StepPenalty"]
    goal, step = component["allOf"]
    assert goal["if"] == {"properties": {"class": {"const": "GoalReward"}}, "required": ["class"]}
    assert goal["then"] == {"properties": {"params": GOAL}, "required": ["params"]}
    assert step["then"] == {"properties": {"params": {"type": "object"}}, "required": []}


def test_a_schedule_type_allows_its_own_keys_only() -> None:
    linear = {"type": "object", "properties": {"final_weight": {"type": "number"}}}
    schema = experiment_schema(schedule_types={"linear": linear, "constant": {"type": "object"}})
    schedule = schema["$defs"]["WeightScheduleConfig"]
    assert schedule["properties"]["schedule_type"]["enum"] == ["constant", "linear"]
    constant, branch = schedule["allOf"]
    assert set(branch["then"]["properties"]) == {"initial_weight", "schedule_type", "final_weight"}
    assert branch["then"]["additionalProperties"] is False
    assert branch["if"]["required"] == ["schedule_type"]
    # A file that names no type means the default.
    assert constant["if"]["required"] == []


def test_algorithm_names_are_offered_but_not_the_only_ones() -> None:
    name = experiment_schema(algorithm_names=["PPO", "DQN"])["$defs"]["AlgorithmConfig"][
        "properties"
    ]["name"]
    assert name["examples"] == ["DQN", "PPO"]
    assert "enum" not in name


COIN = {
    "coin": {"type": "object", "properties": {"bias": {"type": "number"}}, "required": []},
    "die": {"type": "object", "properties": {"sides": {}}, "required": ["sides"]},
}


@pytest.mark.parametrize("key", ["sampler", "pruner"])
def test_a_sampler_or_pruner_is_a_name_or_a_mapping_with_its_parameters(key: str) -> None:
    schema = experiment_schema(**{f"{key}s": COIN})  # type: ignore[arg-type]
    entry = schema["$defs"]["TuningConfig"]["properties"][key]
    alone, mapping = entry["anyOf"]
    # One that cannot do without parameters does not stand alone.
    assert alone == {"enum": ["coin"]}
    assert mapping["required"] == ["name"]
    assert mapping["properties"]["name"]["enum"] == ["coin", "die"]
    coin, die = mapping["allOf"]
    assert coin["if"] == {"properties": {"name": {"const": "coin"}}, "required": ["name"]}
    assert coin["then"]["properties"] == {"name": True, "bias": {"type": "number"}}
    assert coin["then"]["additionalProperties"] is False
    assert die["then"]["required"] == ["sides"]


def test_the_schema_knows_the_forms_of_an_objective() -> None:
    pattern = experiment_schema()["$defs"]["TuningConfig"]["properties"]["objective"]["pattern"]
    for objective in ("last", "best", "auc", "mean-1", "mean-30"):
        assert re.search(pattern, objective)
    for objective in ("lst", "mean", "mean-0", "mean-k", "last "):
        assert not re.search(pattern, objective)


def test_a_search_space_nests_and_ends_in_suggestions() -> None:
    definitions = experiment_schema()["$defs"]
    space = definitions["TuningConfig"]["properties"]["search_space"]
    assert space["additionalProperties"] == definitions["SearchSpace"]["additionalProperties"]
    below = definitions["SearchSpace"]["additionalProperties"]
    assert below["if"]["required"] == ["suggest"]
    assert below["then"]["$ref"] == "#/$defs/Suggestion"
    assert below["else"]["then"]["items"]["$ref"] == "#/$defs/Suggestion"
    assert below["else"]["else"]["$ref"] == "#/$defs/SearchSpace"
    assert set(definitions["Suggestion"]["properties"]) == set(LeafConfig.model_fields)
    assert definitions["Suggestion"]["properties"]["suggest"]["enum"] == [
        "float",
        "int",
        "categorical",
    ]


def test_the_stock_space_of_an_algorithm_is_offered() -> None:
    definitions = experiment_schema()["$defs"]
    space = definitions["TuningConfig"]["properties"]["search_space"]
    assert space["properties"]["algorithm"] == {"$ref": "#/$defs/AlgorithmSearchSpace"}
    offered = definitions["AlgorithmSearchSpace"]["properties"]["search_space"]
    assert offered["const"] == "default"


def test_every_reference_leads_somewhere() -> None:
    schema = experiment_schema({"GoalReward": GOAL})
    parts = json.dumps(schema).split('"$ref": "#/$defs/')[1:]
    assert parts
    assert {part.split('"')[0] for part in parts} <= set(schema["$defs"])


def test_building_a_schema_does_not_change_what_was_passed_in() -> None:
    params = {"GoalReward": {"type": "object", "properties": {}}}
    experiment_schema(params)["$defs"]["ComponentConfig"]["allOf"][0]["then"]["properties"][
        "params"
    ]["properties"]["x"] = 1
    assert params == {"GoalReward": {"type": "object", "properties": {}}}
