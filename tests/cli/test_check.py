"""``rllama-sb3 check``."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from command_line import interrupt_at, run, start
from rich.console import Console
from tiny import tiny_experiment, tiny_yaml

from rllama_sb3 import check
from rllama_sb3.cli.check_display import CheckDisplay, show_report
from rllama_sb3.config import dump_yaml
from rllama_sb3.training import train

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
OWN_COMPONENTS = """
from rllama_sb3 import RewardComponent, register_component

@register_component
class CliCheckPotential(RewardComponent):
    policy_invariant = True

    def __init__(self, gamma: float):
        self.gamma = gamma

    def compute(self, transition):
        return self.gamma * abs(transition.next_obs[0]) - abs(transition.obs[0])
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "experiment.yaml"
    path.write_text(tiny_yaml())
    return path


def write(file: Path, **components: Any) -> None:
    file.write_text(dump_yaml(tiny_experiment() | {"reward_shaping": components}))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_of_the_repository_passes(path: Path) -> None:
    result = run("check", path, "--episodes", "3")
    assert result.exit_code == 0, result.output
    assert "No problems" in result.stdout


def test_a_good_reward_is_reported_and_ends_with_0(file: Path) -> None:
    result = run("check", "experiment.yaml", "--episodes", "4")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == "Checking experiment.yaml: PPO on CartPole-v1, 128 steps"
    rows = {" ".join(line.split()) for line in lines}
    assert "env EnvReward 1 1 constant the task itself" in rows
    assert "upright PotentialShaping 5 5 constant preserves the optimal policy (potential)" in rows
    assert any(line.startswith("Raw values in 4 random episodes, ") for line in lines)
    assert "γ: 0.99 of algorithm PPO, potential 'upright'. The future" in result.stdout
    assert "check_env: Gymnasium passed, Stable-Baselines3 passed." in lines
    assert "note: reward_shaping: No component can change which policy is optimal." in lines
    assert lines[-1] == "No problems, no warnings."
    # Without a terminal there is nothing that only a terminal understands.
    assert "\x1b" not in result.output
    assert "\r" not in result.output


def test_a_warning_is_no_failure(file: Path) -> None:
    write(
        file, env={"class": "EnvReward"}, time={"class": "StepPenalty", "params": {"penalty": -2}}
    )
    result = run("check", "experiment.yaml", "--episodes", "10")
    assert result.exit_code == 0, result.output
    assert "env return, weights at the start: -1.00 (they disagree)" in result.stdout
    assert "warning: reward_shaping: Shaped and env return disagree" in result.stdout
    assert result.stdout.splitlines()[-1] == "No problems, 1 warning."


def test_a_real_problem_ends_with_1(file: Path) -> None:
    expression = {"expression": "1 / (1 - terminated)"}
    write(file, env={"class": "EnvReward"}, bad={"class": "ExpressionReward", "params": expression})
    result = run("check", "experiment.yaml", "--episodes", "2")
    assert result.exit_code == 1
    assert "problem: reward_shaping: In random episode 1, at global step" in result.stdout
    assert "component 'bad' failed" in result.stdout
    assert "check_env: Gymnasium left out" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 problem, no warnings."
    assert "Traceback" not in result.output


def test_components_of_ones_own_are_imported_and_overrides_apply(file: Path) -> None:
    Path("cli_check_rewards.py").write_text(OWN_COMPONENTS)
    write(
        file,
        env={"class": "EnvReward"},
        own={"class": "CliCheckPotential", "params": {"gamma": 0.9}},
    )
    options = ("--episodes", "2", "--import", "cli_check_rewards")
    result = run("check", "experiment.yaml", *options)
    assert result.exit_code == 1
    assert "problem: reward_shaping.own.params.gamma: γ of the component 'own'" in result.stdout
    override = ("--set", "algorithm.params.gamma=0.9")
    result = run("check", "experiment.yaml", *options, *override)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope.yaml"], "nope.yaml: must be an existing file"),
        (["experiment.yaml", "--set", "env.id=CartPol-v1"], "Did you mean 'CartPole-v1'?"),
        (["experiment.yaml", "--model", "nope"], "must be a model, or a folder with model.zip"),
        (["experiment.yaml", "--episodes", "0"], "Invalid value for '--episodes'"),
    ],
)
def test_bad_input_ends_with_2(file: Path, arguments: list[str], message: str) -> None:
    result = run("check", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_a_trained_model_has_a_table_of_its_own(file: Path) -> None:
    train(tiny_experiment(env={"normalize": True}), out="run")
    result = run("check", "run/config.yaml", "--episodes", "2", "--model", "run")
    assert result.exit_code == 0, result.output
    assert "Raw values in 2 random episodes" in result.stdout
    assert "Raw values in 2 trained episodes" in result.stdout
    result = run("check", "run/config.yaml", "--episodes", "2", "--model", "run/best_model.zip")
    assert "Raw values in 2 trained episodes" in result.stdout


def test_a_reward_that_is_not_shaped_is_said_to_be_so(file: Path) -> None:
    write(file)
    result = run("check", "experiment.yaml", "--episodes", "3")
    assert result.exit_code == 0, result.output
    assert "note: reward_shaping: Nothing is shaped" in result.stdout
    assert "component" not in result.stdout


def test_the_same_seed_prints_the_same(file: Path) -> None:
    first, second, other = (
        run("check", "experiment.yaml", "--episodes", "3", "--seed", seed).stdout for seed in "778"
    )
    assert first == second != other


def test_ctrl_c_ends_with_130(file: Path, tmp_path: Path) -> None:
    process = start("check", "experiment.yaml", "--episodes", "10_000_000", cwd=tmp_path)
    output = interrupt_at(process, "Checking")
    assert process.returncode == 130, output
    assert output.endswith("Interrupted.\n")
    assert "Traceback" not in output


def test_a_terminal_has_a_bar_of_the_episodes() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, highlight=False)
    display = CheckDisplay(console, n_episodes=4)
    with display.shown():
        display.update("random", 3)
        display.update("trained", 1)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "trained episodes" in text
    assert "1/4" in text


def test_a_report_without_a_finished_episode_is_drawn() -> None:
    bad = {"class": "ExpressionReward", "params": {"expression": "1 / (reward - 1)"}}
    report = check(tiny_experiment(reward_shaping={"bad": bad}), n_episodes=2)
    console = Console(file=io.StringIO(), width=120, highlight=False)
    show_report(console, report)
    assert isinstance(console.file, io.StringIO)
    assert "Raw values in 0 random episodes and a part of one\n" in console.file.getvalue()
