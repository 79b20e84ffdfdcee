from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from rllama_sb3 import ConfigError
from rllama_sb3.callbacks import Evaluation
from rllama_sb3.config import ExperimentConfig, parse_experiment, read_yaml
from rllama_sb3.run_folder import RunFolder


def config(**sections: Any) -> ExperimentConfig:
    return parse_experiment(
        {
            "env": {"id": "CartPole-v1"},
            "algorithm": {"name": "PPO", "params": {"learning_rate": 1e-4}},
            "training": {"total_timesteps": 10, "seed": 7},
            **sections,
        }
    )


def evaluation(index: int, *returns: float) -> Evaluation:
    return Evaluation(
        index=index,
        global_step=10 * index,
        env_returns=np.array(returns),
        lengths=np.array([5] * len(returns)),
    )


def start(path: Path) -> RunFolder:
    folder = RunFolder(path, config())
    folder.start()
    return folder


def record(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "run.json").read_text())
    return found


@pytest.fixture(scope="module")
def model() -> PPO:
    return PPO("MlpPolicy", VecNormalize(make_vec_env("CartPole-v1")))


def test_the_config_of_a_run_reads_back_equal(tmp_path: Path) -> None:
    start(tmp_path / "a" / "b")
    again = parse_experiment(read_yaml(tmp_path / "a" / "b" / "config.yaml").data)
    assert again == config()


def test_a_search_space_of_functions_is_left_out_of_the_config(tmp_path: Path) -> None:
    space = {"algorithm": {"params": {"gamma": lambda trial: trial.suggest_float("g", 0, 1)}}}
    RunFolder(tmp_path, config(tuning={"search_space": space})).start()
    assert read_yaml(tmp_path / "config.yaml").data["tuning"]["search_space"] == {}


def test_a_config_that_no_file_can_hold_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    unwritable = config(algorithm={"name": "PPO", "params": {"learning_rate": lambda left: 1e-3}})
    with pytest.raises(ConfigError, match=r"learning_rate.*must be plain data"):
        RunFolder(tmp_path / "run", unwritable)
    assert not (tmp_path / "run").exists()


def test_a_record_says_what_the_run_was_made_with(tmp_path: Path) -> None:
    folder = start(tmp_path)
    at_first = record(tmp_path)
    assert (at_first["state"], at_first["seed"]) == ("running", 7)
    assert {"torch", "gymnasium", "numpy"} <= set(at_first["versions"])
    folder.finish("failed", reason="boom", env_return=float("nan"))
    at_last = record(tmp_path)
    assert (at_last["state"], at_last["reason"], at_last["env_return"]) == ("failed", "boom", None)
    assert at_last["started"] <= at_last["ended"]


def test_evaluations_are_on_disk_as_soon_as_they_are_made(tmp_path: Path, model: PPO) -> None:
    folder = start(tmp_path)
    for index, returns in enumerate([(1.0, 3.0), (9.0, 9.0), (4.0, 4.0)], start=1):
        folder.save_evaluation(evaluation(index, *returns), model)
        rows = list(csv.DictReader((tmp_path / "evaluations.csv").read_text().splitlines()))
        assert len(rows) == index
    assert rows[0] == {
        "evaluation": "1",
        "global_step": "10",
        "mean_env_return": "2.0",
        "std_env_return": "1.0",
        "min_env_return": "1.0",
        "max_env_return": "3.0",
        "mean_length": "5.0",
        "n_episodes": "2",
    }


def test_the_best_model_is_that_of_the_highest_mean(tmp_path: Path, model: PPO) -> None:
    folder = start(tmp_path)
    for steps, mean in [(1, float("nan")), (2, 5.0), (3, 4.0)]:
        model.num_timesteps = steps
        folder.save_evaluation(evaluation(steps, mean), model)
    assert PPO.load(tmp_path / "best_model.zip").num_timesteps == 2
    assert PPO.load(tmp_path / "model.zip").num_timesteps == 3


def test_statistics_of_observations_are_saved_with_each_model(tmp_path: Path, model: PPO) -> None:
    start(tmp_path).save_evaluation(evaluation(1, 1.0), model)
    for name in ("vecnormalize.pkl", "best_vecnormalize.pkl"):
        loaded = VecNormalize.load(str(tmp_path / name), make_vec_env("CartPole-v1"))
        assert loaded.norm_obs


def test_a_write_that_fails_leaves_the_old_model(
    tmp_path: Path, model: PPO, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = start(tmp_path)
    model.num_timesteps = 5
    folder.save_model(model)

    def half_a_model(path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(model, "save", half_a_model)
    with pytest.raises(OSError, match="disk full"):
        folder.save_model(model)
    assert PPO.load(tmp_path / "model.zip").num_timesteps == 5


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    start(tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(ConfigError, match=r"out: must be a new or empty folder; it holds a run"):
        RunFolder(tmp_path, config())
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_folder_that_holds_anything_else_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(ConfigError, match=r"it holds 'thesis.tex'.*Choose another folder"):
        RunFolder(tmp_path, config())


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="out: must be a folder that can be made and read"):
        RunFolder(tmp_path / name, config())


def test_a_folder_that_cannot_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ConfigError, match="out: must be a folder that can be written to"):
        RunFolder(tmp_path, config())
