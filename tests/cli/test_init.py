"""``rllama-sb3 init``."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import run

from rllama_sb3.experiment import load_config
from rllama_sb3.optimization import build_search_space


@pytest.mark.parametrize(
    ("env_id", "algorithm"),
    [
        ("CartPole-v1", "PPO"),
        ("FrozenLake-v1", "dqn"),
        ("Pendulum-v1", "SAC"),
        ("Blackjack-v1", "A2C"),
    ],
)
def test_the_file_can_be_trained_and_tuned(tmp_path: Path, env_id: str, algorithm: str) -> None:
    file = tmp_path / "new" / "experiment.yaml"
    result = run("init", env_id, "--algo", algorithm, "--out", file)
    assert result.exit_code == 0, result.output
    config = load_config(file)
    assert (config.env.id, config.algorithm.name) == (env_id, algorithm.upper())
    base = config.to_dict()
    space = build_search_space(config.tuning.search_space, base)
    assert len(space.base_values(base)) == 3


def test_an_environment_without_a_time_limit_gets_one(tmp_path: Path) -> None:
    # An untrained policy goes in circles there, and its evaluation would never end.
    file = tmp_path / "experiment.yaml"
    assert run("init", "CliffWalking-v1", "--out", file).exit_code == 0
    assert load_config(file).env.wrappers == [{"TimeLimit": {"max_episode_steps": 500}}]


def test_observations_in_parts_are_flattened(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    assert run("init", "Blackjack-v1", "--out", file).exit_code == 0
    options = ("--steps", "64", "--set", "evaluation.n_evaluations=1", "--out", tmp_path / "run")
    steps = "algorithm.params.n_steps=8"
    result = run("train", file, "--quiet", *options, "--set", steps)
    assert result.exit_code == 0, result.output
    refused = run("train", file, "--set", "env.wrappers=[]", "--out", tmp_path / "no")
    assert refused.exit_code == 2
    assert "env: must have observations that can be learned from, not Tuple(" in refused.stderr
    assert not (tmp_path / "no").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text("mine")
    result = run("init", "CartPole-v1", "--out", file)
    assert result.exit_code == 2
    assert "--out: must be a file that does not exist yet" in result.stderr
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["CartPol-v1"], "Did you mean 'CartPole-v1'?"),
        (["CartPole-v1", "--algo", "PPPO"], "--algo: must be an algorithm, but got 'PPPO'"),
        (["CartPole-v1", "--algo", "SAC"], "algorithm.name: must be able to learn in the action"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    file = tmp_path / "experiment.yaml"
    result = run("init", *arguments, "--out", file)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not file.exists()
