"""Every mistake is one line for each problem, exit code 2, and nothing is made or overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command_line import run
from tiny import LEARNING_RATE, tiny_yaml

from rllama_sb3 import ConfigError, load_reward_config
from rllama_sb3.optimization.storage import opening
from rllama_sb3.rewards import build_shaper

WEIGHT = "reward_shaping.upright.weight_schedule.initial_weight"
RATE = "tuning.search_space.algorithm.params.learning_rate"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "e.yaml"
    path.write_text(tiny_yaml())
    return path


def refuse(*arguments: str) -> list[str]:
    """Runs a command that must refuse and leave everything as it was; returns its lines."""
    before = {path: path.is_file() and path.read_bytes() for path in Path().rglob("*")}
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    after = {path: path.is_file() and path.read_bytes() for path in Path().rglob("*")}
    assert after == before
    lines: list[str] = result.stderr.splitlines()
    return lines


def line_of(file: Path, text: str) -> int:
    return next(i for i, line in enumerate(file.read_text().splitlines(), 1) if text in line)


@pytest.mark.parametrize("command", ["train", "tune", "compare"])
@pytest.mark.parametrize(
    ("changes", "marker", "message"),
    [
        (
            {"env": {"id": "CartPol-v1"}},
            "CartPol-",
            "env.id: must be a registered environment, but got 'CartPol-v1'. "
            "Did you mean 'CartPole-v1'?",
        ),
        (
            {"reward_shaping": {"env": {"class": "EnvRewad"}}},
            "EnvRewad",
            "reward_shaping.env.class: must be a registered component, but got 'EnvRewad'. "
            "Did you mean 'EnvReward'?",
        ),
        (
            {"training": {"sed": 3}},
            "sed:",
            "training.sed: unknown key. Did you mean 'seed'?",
        ),
        (
            {"reward_shaping": {"upright": {"weight_schedule": {"schedule_type": "linaer"}}}},
            "linaer",
            "reward_shaping.upright.weight_schedule.schedule_type: must be a registered schedule, "
            "but got 'linaer'. Did you mean 'linear'?",
        ),
        (
            {"algorithm": {"name": "PPPO"}},
            "PPPO",
            "algorithm.name: must be an algorithm, but got 'PPPO'. Did you mean 'PPO'?",
        ),
        (
            {"reward_shaping": {"env": {"class": "StepPenalty", "params": {"penalyt": 1.0}}}},
            "penalyt",
            "reward_shaping.env.params.penalyt: is not a parameter of StepPenalty. "
            "Did you mean 'penalty'?",
        ),
        (
            {"reward_shaping": {"env": {"class": "StepPenalty", "params": {"penalty": "a lot"}}}},
            "a lot",
            "reward_shaping.env.params.penalty: must be a number, but got 'a lot'.",
        ),
        (
            {"reward_shaping": {"upright": {"weight_schedule": {"initial_weight": float("nan")}}}},
            "initial_weight",
            f"{WEIGHT}: must be a finite number, but got nan.",
        ),
        (
            {"tuning": {"sampler": "tpee"}},
            "tpee",
            "tuning.sampler: must be one of tpe, gp, cmaes, qmc, random, nsga2, grid, brute_force, "
            "but got 'tpee'. Did you mean 'tpe'?",
        ),
        (
            {"tuning": {"pruner": "medain"}},
            "medain",
            "tuning.pruner: must be one of median, percentile, halving, hyperband, patient, "
            "threshold, wilcoxon, none, but got 'medain'. Did you mean 'median'?",
        ),
        (
            {"tuning": {"sampler": {"name": "tpe", "n_startup_trial": 3}}},
            "n_startup_trial:",
            "tuning.sampler.n_startup_trial: is not a parameter of TPESampler. "
            "Did you mean 'n_startup_trials'?",
        ),
        (
            {"tuning": {"pruner": {"name": "percentile", "percentile": "high"}}},
            "percentile: high",
            "tuning.pruner.percentile: must be a number, but got 'high'.",
        ),
        (
            {"tuning": {"pruner": "wilcoxon", "seeds_per_trial": 3}},
            "seeds_per_trial",
            "tuning.seeds_per_trial: must be at least 5 for the pruner wilcoxon, but got 3.",
        ),
        (
            {"tuning": {"objective": "lst"}},
            "lst",
            "tuning.objective: must be one of last, best, auc, mean-k, but got 'lst'. "
            "Did you mean 'last'?",
        ),
        (
            {"tuning": {"objective": "mean-9"}},
            "mean-9",
            "tuning.objective: must not average more evaluations than there are, 2, "
            "but got 'mean-9'.",
        ),
        (
            {"tuning": {"search_space": {"algorithm": {"params": {"gama": LEARNING_RATE}}}}},
            "gama",
            "tuning.search_space.algorithm.params.gama: must be a path of the config.",
        ),
        (
            {
                "tuning": {
                    "search_space": {"algorithm": {"params": {"learning_rate": {"low": 1.0}}}}
                }
            },
            "low: 1.0",
            f"{RATE}.low: must not be greater than high, 0.01, but got 1.0.",
        ),
        (
            {
                "tuning": {
                    "search_space": {"algorithm": {"params": {"learning_rate": {"low": 0.0}}}}
                }
            },
            "low: 0.0",
            f"{RATE}.low: must be greater than 0 with log, but got 0.0.",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_a_wrong_value_is_told_with_its_line(
    file: Path, command: str, changes: dict[str, Any], marker: str, message: str
) -> None:
    file.write_text(tiny_yaml(**changes))
    (line,) = refuse(command, "e.yaml")
    assert line.startswith(f"e.yaml:{line_of(file, marker)}: {message}")


def test_a_share_without_a_total_is_refused_in_a_file(file: Path) -> None:
    schedule = {"schedule_type": "linear", "final_weight": 0.0, "end_step": "80%"}
    text = tiny_yaml(reward_shaping={"upright": {"weight_schedule": schedule}})
    file.write_text(text.replace("total_timesteps: 128", "seed: 1"))
    (line,) = refuse("train", "e.yaml")
    assert ": training.total_timesteps: missing key." in line


def test_a_share_without_a_total_is_refused_in_python(file: Path) -> None:
    schedule = {"schedule_type": "linear", "final_weight": 0.0, "end_step": "80%"}
    file.write_text(tiny_yaml(reward_shaping={"upright": {"weight_schedule": schedule}}))
    components = load_reward_config(file)
    with pytest.raises(ConfigError, match="end_step: .* got '80%'. Pass total_timesteps"):
        build_shaper(components, gamma=0.99)


def test_a_problem_is_told_once_though_a_search_space_leads_through_it(file: Path) -> None:
    leaf = {"suggest": "float", "low": 0.1, "high": 1.0}
    space = {"reward_shaping": {"upright": {"weight_schedule": {"initial_weight": leaf}}}}
    broken = {"upright": {"weight_schedule": {"initial_weight": "heavy"}}}
    file.write_text(tiny_yaml(reward_shaping=broken, tuning={"search_space": space}))
    (line,) = refuse("tune", "e.yaml")
    assert f": {WEIGHT}: must be a number, but got 'heavy'." in line


@pytest.mark.parametrize("command", ["train", "tune", "compare"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "e.yaml: must be an existing file."),
        (b"", "e.yaml:1: must be a mapping, but is empty."),
        (b"env: {id: [}", "e.yaml:1: must be valid YAML"),
        (b"env:\n\tid: x", "e.yaml:2: must be valid YAML"),
        (b"- a", "e.yaml:1: must be a mapping, but got ['a']."),
        (b"\xff\xfe\x00", "e.yaml:1: must be UTF-8 text"),
    ],
    ids=["missing", "empty", "malformed", "tab", "list", "binary"],
)
def test_a_file_that_is_no_experiment_is_refused(
    file: Path, command: str, content: bytes | None, message: str
) -> None:
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    (line,) = refuse(command, "e.yaml")
    assert line.startswith(message)


def test_a_folder_is_no_file(file: Path) -> None:
    Path("folder").mkdir()
    assert refuse("train", "folder") == ["folder: must be a file, not a directory."]


@pytest.mark.parametrize("command", ["train", "tune", "compare"])
@pytest.mark.parametrize("out", ["e.yaml", "e.yaml/below"])
def test_a_file_cannot_be_the_folder(file: Path, command: str, out: str) -> None:
    (line,) = refuse(command, "e.yaml", "--out", out)
    assert line.startswith("out: must be ")
    assert line.endswith("Choose another folder.")


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("mongodb://h/x", "storage: must be a URL of sqlite, postgresql, mysql or grpc"),
        ("study.db", "(a storage proxy), but got 'study.db'."),
        ("sqllite:///a.db", "Did you mean 'sqlite'?"),
        ("sqlite:///e.yaml", "storage: must be a database of studies"),
        ("sqlite:///e.yaml/a.db", "storage: must be a file in a folder that can be made"),
        ("sqlite:///.", "storage: must be a file, not a folder"),
    ],
)
def test_a_storage_that_cannot_be_leaves_no_folder(file: Path, storage: str, message: str) -> None:
    (line,) = refuse("tune", "e.yaml", "--storage", storage)
    assert message in line


def test_a_missing_driver_is_bad_input(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lack_driver(*_: Any, **__: Any) -> None:
        raise ImportError("psycopg")

    monkeypatch.setattr(opening, "PatientDatabase", lack_driver)
    (line,) = refuse("tune", "e.yaml", "--storage", "postgresql://me:secret@host/studies")
    assert "pip install 'rllama-sb3[postgres]'" in line
    assert "secret" not in line


def test_a_study_of_another_search_space_is_left_as_it_is(file: Path) -> None:
    search = ("tune", "e.yaml", "--n-trials", "1", "--no-compare", "-q")
    assert run(*search).exit_code == 0
    space = {"algorithm": {"params": {"learning_rate": {"high": 0.5}}}}
    file.write_text(tiny_yaml(tuning={"search_space": space}))
    (line,) = refuse(*search)
    assert line.startswith("e.yaml:")
    assert RATE in line
    assert "as the study 'e' has it" in line


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training", "--set: must be key.path=value, but got 'training'."),
        ("=3", "--set: must have keys joined by dots, but got ''."),
        ("training..seed=3", "--set: must have keys joined by dots"),
        ("training.seed=[", "--set: training.seed: must be valid YAML"),
        ("training.seed=x", "--set: training.seed: must be an integer, but got 'x'."),
        ("env.id.x=3", "--set: env.id: must be a mapping to have an item 'x'"),
    ],
)
def test_a_wrong_override_is_told(file: Path, override: str, message: str) -> None:
    (line,) = refuse("train", "e.yaml", "--set", override)
    assert line.startswith(message)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("no_such_module", "must be a module that can be imported"),
        ("rllama_sb3.nothing", "must be a module that can be imported"),
        ("", "must be the dotted name of a module, but got ''."),
        (".relative", "must be the dotted name of a module"),
        ("folder/rewards.py", "must be the dotted name of a module"),
    ],
)
@pytest.mark.parametrize("command", ["train", "tune", "compare", "evaluate"])
def test_a_module_that_cannot_be_is_told(
    file: Path, command: str, module: str, message: str
) -> None:
    Path("model.zip").write_bytes(b"")
    Path("config.yaml").write_text(tiny_yaml())
    subject = "." if command == "evaluate" else "e.yaml"
    (line,) = refuse(command, subject, "--import", module)
    assert line.startswith(f"--import: {message}")


def test_a_module_is_named_without_its_suffix(file: Path) -> None:
    Path("named_with_suffix.py").write_text("")
    (line,) = refuse("train", "e.yaml", "--import", "named_with_suffix.py")
    assert line.endswith("Name it without .py.")


def test_an_empty_study_name_is_not_replaced(file: Path) -> None:
    (line,) = refuse("tune", "e.yaml", "--study-name", "")
    assert line == "study_name: must be text, but got ''."
