from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from rllama_sb3.config.merging import merge_configs
from rllama_sb3.config.models import EnvConfig, ExperimentConfig
from rllama_sb3.config.validation import (
    parse_experiment,
    parse_sections,
    problems_from_validation_error,
)
from rllama_sb3.config.yaml_text import dump_yaml, parse_yaml
from rllama_sb3.errors import ConfigError

MINIMAL: dict[str, Any] = {
    "env": {"id": "CartPole-v1"},
    "algorithm": {"name": "PPO"},
    "training": {"total_timesteps": 1_000},
}
FULL = merge_configs(
    MINIMAL,
    {
        "env": {"normalize": {"obs": False}, "wrappers": ["A", {"m:B": {"x": [1]}}]},
        "reward_shaping": {
            "height": {
                "class": "PotentialShaping",
                "params": {"potential": "obs[0]"},
                "weight_schedule": {"initial_weight": 10, "schedule_type": "linear", "end": "80%"},
            }
        },
        "tuning": {"search_space": {"algorithm": {"params": {"gamma": {"suggest": "float"}}}}},
    },
)


def said_about(changes: dict[str, Any]) -> list[str]:
    _, problems = parse_sections(merge_configs(MINIMAL, changes))
    return [str(problem) for problem in problems]


@pytest.mark.parametrize("data", [MINIMAL, FULL])
def test_a_parsed_config_is_complete_and_parses_back_to_itself(data: dict[str, Any]) -> None:
    config = parse_experiment(data)
    assert parse_experiment(config.to_dict()) == config
    assert parse_experiment(parse_yaml(dump_yaml(config.to_dict()), "a.yaml")[0]) == config
    assert list(config.to_dict()) == list(ExperimentConfig.model_fields)


def test_a_parsed_config_shares_nothing_with_the_data() -> None:
    data = merge_configs(FULL, {})
    config = parse_experiment(data)
    data["env"]["wrappers"][1]["m:B"]["x"].append(2)
    data["tuning"]["search_space"].clear()
    assert config == parse_experiment(FULL)


def test_functions_are_allowed_in_a_search_space() -> None:
    def suggest(trial: object) -> object:
        return trial

    config = parse_experiment(merge_configs(MINIMAL, {"tuning": {"search_space": {"a": suggest}}}))
    assert config.tuning.search_space == {"a": suggest}


def test_a_whole_number_is_a_weight() -> None:
    weight = parse_experiment(FULL).reward_shaping["height"].weight_schedule.initial_weight
    assert weight == 10.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"env": {"n_envs": 0}}, "env.n_envs: must be at least 1, but got 0."),
        ({"env": {"n_envs": True}}, "env.n_envs: must be an integer, but got True."),
        (
            {"training": {"total_timesteps": 1e5}},
            "training.total_timesteps: must be an integer, but got 100000.0. Write 100000.",
        ),
        (
            {"training": {"seed": "3"}},
            "training.seed: must be an integer, but got '3'. Remove the quotes.",
        ),
        (
            {"training": {"seed": 2**31}},
            "training.seed: must be less than 2147483648, but got 2147483648.",
        ),
        ({"env": {"id": 3}}, "env.id: must be text, but got 3. Quote it: '3'."),
        (
            {"evaluation": {"deterministic": "yes"}},
            "evaluation.deterministic: must be true or false, but got 'yes'. Write true.",
        ),
        (
            {"tuning": {"pruner": 3}},
            "tuning.pruner: must be text, or a mapping, but got 3.",
        ),
        (
            {"tuning": {"variance_penalty": -0.5}},
            "tuning.variance_penalty: must be at least 0.0, but got -0.5.",
        ),
        (
            {"tuning": {"variance_penalty": math.inf}},
            "tuning.variance_penalty: must be a finite number, but got inf.",
        ),
        (
            {"training": {"total_timestep": 3}},
            "training.total_timestep: unknown key. Did you mean 'total_timesteps'?",
        ),
        ({"trainin": {}}, "trainin: unknown key. Did you mean 'training'?"),
        ({3: {}}, "must have text as keys, but got 3. Quote it: '3'."),
        (
            {"training": None},
            "training: must be a mapping, but got None. Write a value, or remove the key.",
        ),
        ({"training": [1]}, "training: must be a mapping, but got [1]."),
        (
            {"algorithm": {"params": None}},
            "algorithm.params: must be a mapping, but got None. "
            "Write a value, {} for none, or remove the key.",
        ),
        (
            {"env": {"kwargs": {1: 2}}},
            "env.kwargs: must have text as keys, but got 1. Quote it: '1'.",
        ),
        ({"env": {1: 2}}, "env: must have text as keys, but got 1. Quote it: '1'."),
        ({"env": {"wrappers": "A"}}, "env.wrappers: must be a list, but got 'A'."),
        (
            {"reward_shaping": None},
            "reward_shaping: must be a mapping, but got None. "
            "Write components by name below it, or {} for none.",
        ),
        (
            {"reward_shaping": {1: {"class": "X"}}},
            "reward_shaping: must have text as keys, but got 1. Quote it: '1'.",
        ),
        ({"reward_shaping": {"a": "X"}}, "reward_shaping.a: must be a mapping, but got 'X'."),
    ],
)
def test_each_wrong_value_is_one_sentence(changes: dict[str, Any], said: str) -> None:
    assert said_about(changes) == [said]


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (math.inf, "must be a finite number, but got inf."),
        (math.nan, "must be a finite number, but got nan."),
        (True, "must be a number, but got True."),
        ("80%", "must be a number, but got '80%'."),
        ("1", "must be a number, but got '1'. Remove the quotes."),
    ],
)
def test_a_weight_must_be_a_finite_number(weight: object, said: str) -> None:
    component = {"class": "X", "weight_schedule": {"initial_weight": weight}}
    path = "reward_shaping.a.weight_schedule.initial_weight"
    assert said_about({"reward_shaping": {"a": component}}) == [f"{path}: {said}"]


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (
            {"normalize": "yes"},
            "env.normalize: must be true or false, or a mapping with keys of obs, reward, "
            "but got 'yes'. Write true.",
        ),
        ({"normalize": {"obz": 1}}, "env.normalize.obz: unknown key. Did you mean 'obs'?"),
        ({"normalize": {"obs": 1}}, "env.normalize.obs: must be true or false, but got 1."),
        (
            {"wrappers": ["A", 3]},
            "env.wrappers[1]: must be text, or a mapping with one key, but got 3.",
        ),
        (
            {"wrappers": [{"A": {}, "B": {}}]},
            "env.wrappers[0]: must be text, or a mapping with one key, but got {'A': {}, 'B': {}}.",
        ),
        ({"wrappers": [{"A": 3}]}, "env.wrappers[0].A: must be a mapping, but got 3."),
    ],
)
def test_a_value_of_several_kinds_gets_one_sentence(env: dict[str, Any], said: str) -> None:
    assert said_about({"env": env}) == [said]


def test_missing_sections_and_keys_say_what_to_add() -> None:
    _, problems = parse_sections({"env": {}, "reward_shaping": {"a": {}}})
    assert [str(problem) for problem in problems] == [
        "env.id: missing key. Add it: A registered Gymnasium id.",
        "reward_shaping.a.class: missing key. Add it: A registered component.",
        "algorithm: missing key. Add the section, with at least name.",
        "training: missing key. Add the section, with at least total_timesteps.",
    ]


def test_good_sections_and_components_survive_bad_neighbours() -> None:
    changes = {
        "env": {"n_envs": 0},
        "reward_shaping": {"good": {"class": "A"}, "bad": {"clas": "B"}},
    }
    sections, problems = parse_sections(merge_configs(MINIMAL, changes))
    assert set(sections) == {"reward_shaping", "algorithm", "training", "evaluation", "tuning"}
    assert set(sections["reward_shaping"]) == {"good"}
    assert {problem.path for problem in problems} == {
        ("env", "n_envs"),
        ("reward_shaping", "bad", "class"),
        ("reward_shaping", "bad", "clas"),
    }


def test_parsing_raises_all_problems_at_once() -> None:
    with pytest.raises(ConfigError, match=r"env\.n_envs: must be at least 1") as caught:
        parse_experiment(merge_configs(MINIMAL, {"env": {"n_envs": 0}, "x": 1}))
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("data", [None, 3, [MINIMAL]])
def test_what_is_no_mapping_is_refused(data: Any) -> None:
    with pytest.raises(ConfigError, match="must be a mapping, but got"):
        parse_experiment(data)


def test_problems_are_placed_below_the_prefix() -> None:
    with pytest.raises(ValidationError, match="n_envs") as caught:
        EnvConfig.model_validate({"id": "A", "n_envs": 0})
    problems = problems_from_validation_error(caught.value, ("env",), EnvConfig)
    assert [problem.path for problem in problems] == [("env", "n_envs")]
