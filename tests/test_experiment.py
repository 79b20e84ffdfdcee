"""Reading an experiment file: everything that is wrong with it, and where."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_experiment, tiny_yaml

from rllama_sb3.config import parse_experiment
from rllama_sb3.errors import ConfigError, Problem
from rllama_sb3.experiment import check_experiment, load_config, located_in


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "experiment.yaml"
    file.write_text(text)
    return file


def line_of(file: Path, text: str) -> str:
    lines = file.read_text().splitlines()
    return f"{file}:{next(i for i, line in enumerate(lines, 1) if text in line)}"


def test_a_sound_file_gives_its_config(tmp_path: Path) -> None:
    file = write(tmp_path, tiny_yaml())
    assert load_config(file) == parse_experiment(tiny_experiment())


def test_overrides_are_laid_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, tiny_yaml())
    config = load_config(file, overrides=["training.seed=3", "env.n_envs=4", "training.seed=5"])
    assert (config.training.seed, config.env.n_envs) == (5, 4)


def test_all_problems_of_a_sound_looking_file_are_told_with_their_lines(tmp_path: Path) -> None:
    text = tiny_yaml(
        env={"id": "CartPol-v1"},
        reward_shaping={"upright": {"class": "PotentialShapin"}},
        algorithm={"params": {"learning_rat": 1e-3}},
        tuning={"search_space": {"training": {"sede": {"suggest": "int", "low": 0, "high": 1}}}},
    )
    file = write(tmp_path, text)
    with pytest.raises(ConfigError, match="CartPole-v1") as caught:
        load_config(file)
    found = {problem.path: problem.location for problem in caught.value.problems}
    assert found == {
        ("env", "id"): line_of(file, "CartPol-v1"),
        ("reward_shaping", "upright", "class"): line_of(file, "PotentialShapin"),
        ("algorithm", "params", "learning_rat"): line_of(file, "learning_rat:"),
        ("tuning", "search_space", "training", "sede"): line_of(file, "sede"),
    }


def test_sound_sections_are_checked_beside_broken_ones(tmp_path: Path) -> None:
    # The length is broken, and a share of it must not be told as another problem.
    schedule = {"schedule_type": "linear", "final_weight": 0.0, "end_step": "80%"}
    text = tiny_yaml(
        env={"id": "CartPol-v1"},
        training={"total_timesteps": 0},
        reward_shaping={"upright": {"weight_schedule": schedule}},
        algorithm={"name": "PPPO"},
        tuning={"search_space": {"training": {"seed": {"suggest": "int", "low": 0, "high": 1}}}},
    )
    with pytest.raises(ConfigError, match="total_timesteps") as caught:
        load_config(write(tmp_path, text))
    assert {problem.path for problem in caught.value.problems} == {
        ("training", "total_timesteps"),
        ("env", "id"),
        ("algorithm", "name"),
    }


def test_a_component_of_a_broken_section_is_checked(tmp_path: Path) -> None:
    text = tiny_yaml(
        training={"total_timesteps": 0},
        reward_shaping={"upright": {"params": {"potential": "nonsense(obs)"}}},
    )
    with pytest.raises(ConfigError, match="nonsense") as caught:
        load_config(write(tmp_path, text))
    assert len(caught.value.problems) == 2


def test_a_problem_of_an_override_is_located_at_the_option(tmp_path: Path) -> None:
    file = write(tmp_path, tiny_yaml(evaluation={"n_episodes": 0}))
    with pytest.raises(ConfigError, match="n_envs") as caught:
        load_config(file, overrides=["env.n_envs=0"])
    first, second = caught.value.problems
    assert str(first).startswith("--set: env.n_envs: must be at least 1")
    assert second.location == line_of(file, "n_episodes")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.yaml: must be an existing file"):
        load_config(tmp_path / "nope.yaml")


def test_a_sound_config_has_no_problems() -> None:
    assert check_experiment(parse_experiment(tiny_experiment())) == []


def test_problems_that_are_found_later_get_the_lines_of_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, tiny_yaml())
    with pytest.raises(ConfigError, match="must be") as caught, located_in(file, ["env.n_envs=2"]):
        raise ConfigError(
            Problem(("training", "total_timesteps"), "must be otherwise"),
            Problem(("env", "n_envs"), "must be otherwise"),
            Problem(("out",), "must be a folder"),
        )
    ours, overridden, other = caught.value.problems
    assert ours.location == line_of(file, "total_timesteps")
    assert overridden.location == "--set"
    assert other.location == ""
