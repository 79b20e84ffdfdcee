"""``rllama-sb3 train``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_line import interrupt_at, run, start
from tiny import tiny_yaml


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "experiment.yaml"
    path.write_text(tiny_yaml())
    return path


def test_a_training_leaves_a_run_and_says_where(file: Path) -> None:
    result = run("train", "experiment.yaml")
    assert result.exit_code == 0, result.output
    out = Path("runs/train/CartPole-v1_PPO_1")
    assert (out / "model.zip").exists()
    assert "evaluation 1/2 at 64 steps: env return" in result.stdout
    assert "evaluation 2/2 at 128 steps: env return" in result.stdout
    assert f"Everything is in {out}" in result.stdout
    assert f"tensorboard --logdir {out}" in result.stdout
    # Without a terminal there is nothing that only a terminal understands.
    assert "\x1b" not in result.output
    assert "\r" not in result.output


def test_the_next_training_has_the_next_folder(file: Path) -> None:
    Path("runs/train/CartPole-v1_PPO_7").mkdir(parents=True)
    run("train", "experiment.yaml", "--quiet")
    assert Path("runs/train/CartPole-v1_PPO_8/model.zip").exists()


def test_options_override_the_file(file: Path) -> None:
    options = ("--seed", "4", "--steps", "64", "--set", "evaluation.n_evaluations=1", "--quiet")
    result = run("train", "experiment.yaml", "--out", "here", *options)
    assert result.exit_code == 0, result.output
    assert "evaluation 1/" not in result.stdout
    assert json.loads(Path("here/run.json").read_text())["seed"] == 4
    text = Path("here/config.yaml").read_text()
    assert "total_timesteps: 64" in text
    assert "n_evaluations: 1" in text


def test_nothing_starts_with_bad_input(file: Path) -> None:
    result = run("train", "experiment.yaml", "--steps", "0", "--set", "env.idd=3")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "--set: env.idd: unknown key. Did you mean 'id'?",
        "--set: training.total_timesteps: must be at least 1, but got 0.",
    ]
    assert not Path("runs").exists()


def test_a_run_is_not_overwritten(file: Path) -> None:
    Path("kept").mkdir()
    Path("kept/notes.txt").write_text("mine")
    result = run("train", "experiment.yaml", "--out", "kept")
    assert result.exit_code == 2
    assert "out: must be a new or empty folder" in result.stderr
    assert [path.name for path in Path("kept").iterdir()] == ["notes.txt"]


def test_a_component_of_ones_own_is_imported(file: Path) -> None:
    Path("train_test_rewards.py").write_text(
        "from rllama_sb3 import register_component\n\n"
        "@register_component\n"
        "def train_test_bonus(transition, scale: float = 1.0):\n"
        "    return scale\n"
    )
    file.write_text(tiny_yaml(reward_shaping={"mine": {"class": "train_test_bonus"}}))
    assert "--import my_package.my_module" in run("train", "experiment.yaml").stderr
    result = run("train", "experiment.yaml", "--import", "train_test_rewards", "-q")
    assert result.exit_code == 0, result.output


def test_ctrl_c_saves_what_there_is(file: Path, tmp_path: Path) -> None:
    options = ("--steps", "10_000_000", "--set", "evaluation.n_evaluations=10_000", "--out", "run")
    process = start("train", "experiment.yaml", *options, cwd=tmp_path)
    output = interrupt_at(process, "evaluation 1/")
    assert process.returncode == 130, output
    assert re.search(r"Stopped after [\d,]+ of 10,000,000 steps", output)
    assert "rllama-sb3 evaluate run" in output
    assert "Traceback" not in output
    assert json.loads(Path("run/run.json").read_text())["state"] == "interrupted"
    judged = run("evaluate", "run", "--episodes", "2")
    assert judged.exit_code == 0, judged.output
