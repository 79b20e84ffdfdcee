"""``rllama-sb3 evaluate``."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import run
from tiny import tiny_experiment

from rllama_sb3.training import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with normalised observations."""
    out = tmp_path_factory.mktemp("runs") / "run"
    train(tiny_experiment(env={"normalize": True}), out=out)
    return out


def test_a_run_is_judged_with_an_interval(folder: Path) -> None:
    result = run("evaluate", folder, "--episodes", "5")
    assert result.exit_code == 0, result.output
    assert "model.zip on CartPole-v1, 5 episodes" in result.stdout
    assert "95 % interval of the mean [" in result.stdout


def test_the_same_seed_gives_the_same_result(folder: Path) -> None:
    first, second = (run("evaluate", folder, "--episodes", "4", "--seed", "3") for _ in "12")
    assert first.stdout == second.stdout


def test_a_model_file_is_judged_with_its_own_statistics(folder: Path) -> None:
    result = run("evaluate", folder / "best_model.zip", "--episodes", "2")
    assert result.exit_code == 0, result.output
    assert "best_model.zip" in result.stdout


def test_missing_statistics_are_told(folder: Path, tmp_path: Path) -> None:
    for name in ("model.zip", "config.yaml"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    result = run("evaluate", tmp_path)
    assert result.exit_code == 2
    assert "must have the statistics of its observations beside it" in result.stderr


def test_a_folder_without_a_model_is_bad_input(tmp_path: Path) -> None:
    result = run("evaluate", tmp_path)
    assert result.exit_code == 2
    assert "must be a model, or a folder with model.zip or best_model.zip" in result.stderr


def test_a_model_without_its_experiment_is_bad_input(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes((folder / "model.zip").read_bytes())
    result = run("evaluate", tmp_path / "model.zip")
    assert result.exit_code == 2
    assert "must have config.yaml or best.yaml beside it" in result.stderr


def test_a_file_that_is_no_model_is_bad_input(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes((folder / "config.yaml").read_bytes())
    (tmp_path / "vecnormalize.pkl").write_bytes((folder / "vecnormalize.pkl").read_bytes())
    (tmp_path / "model.zip").write_text("no zip")
    result = run("evaluate", tmp_path)
    assert result.exit_code == 2
    assert "must be a model that Stable-Baselines3 saved" in result.stderr
