"""Every file in examples/ and configs/, and every block of code in the README, runs."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from typer.testing import CliRunner

from rllama_sb3 import load_config, train
from rllama_sb3.cli import app

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
README = (ROOT / "README.md").read_text()
ARGUMENTS = {"optimizer_demo": ["--n-trials", "3", "--episodes", "30"]}
TINY = [
    "training.total_timesteps=600",
    "evaluation.n_episodes=2",
    "evaluation.n_evaluations=2",
]


@pytest.fixture
def short_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Caps every training at 600 steps, so that code is run as it stands in the file."""
    for algorithm in (OnPolicyAlgorithm, OffPolicyAlgorithm):
        learn = algorithm.learn

        def capped(self: Any, total_timesteps: int, *args: Any, _learn: Any = learn, **kw: Any):
            return _learn(self, min(total_timesteps, 600), *args, **kw)

        monkeypatch.setattr(algorithm, "learn", capped)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.usefixtures("short_learn")
@pytest.mark.filterwarnings("ignore:plot_|ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path), *ARGUMENTS.get(path.stem, [])])
    runpy.run_path(str(path), run_name="__main__")
    assert list(tmp_path.rglob("events.out.tfevents*")) or list(tmp_path.rglob("*.html"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_trains_and_says_its_env_return(path: Path, tmp_path: Path) -> None:
    config = load_config(path, overrides=TINY)
    result = train(config, out=tmp_path / "run")
    assert result.n_steps >= 600
    assert (tmp_path / "run" / "model.zip").is_file()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_has_something_to_search(path: Path) -> None:
    assert load_config(path).tuning.search_space


def test_the_five_environments_of_the_package_have_a_config() -> None:
    assert [path.stem for path in CONFIGS] == [
        "acrobot",
        "cart_pole",
        "frozen_lake",
        "mountain_car",
        "pendulum",
    ]


@pytest.mark.usefixtures("short_learn")
@pytest.mark.parametrize("code", blocks("python"))
def test_every_python_block_of_the_readme_runs(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("text", blocks("yaml"))
def test_every_yaml_block_of_the_readme_is_an_experiment(text: str, tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(text)
    assert load_config(file).env.id


def readme_commands() -> list[str]:
    lines = "".join(blocks("bash")).splitlines()
    return [line.split("#")[0].strip() for line in lines if line.startswith("rllama-sb3 ")]


def test_the_readme_shows_commands() -> None:
    assert readme_commands()


@pytest.mark.parametrize("command", readme_commands())
def test_every_command_of_the_readme_exists_with_its_options(command: str) -> None:
    words = shlex.split(command)[1:]
    shown = CliRunner().invoke(app, [words[0], "--help"], env={"COLUMNS": "200"}).output
    for option in (word for word in words if word.startswith("--")):
        assert option.split("=")[0] in shown
