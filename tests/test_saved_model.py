"""Models that were left on disk: their loading, statistics included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stable_baselines3.common.vec_env import unwrap_vec_normalize
from tiny import tiny_experiment

from rllama_sb3.config import parse_experiment
from rllama_sb3.envs.factory import build_vec_env
from rllama_sb3.errors import ConfigError
from rllama_sb3.saved_model import find_model, load_model
from rllama_sb3.training import train

CONFIG = parse_experiment(tiny_experiment(env={"normalize": True}))
OBSERVATIONS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)


def test_a_loaded_model_acts_as_the_trained_one_on_its_own_statistics(tmp_path: Path) -> None:
    trained = train(CONFIG, out=tmp_path / "run").model
    model_file, config_file = find_model(tmp_path / "run")
    assert (model_file.name, config_file.name) == ("model.zip", "config.yaml")
    venv = build_vec_env(CONFIG.env, n_envs=1, seed=0, training=False)
    model = load_model(model_file, "PPO", venv)
    mine, known = unwrap_vec_normalize(venv), trained.get_vec_normalize_env()
    assert mine is not None
    assert known is not None
    np.testing.assert_array_equal(mine.obs_rms.mean, known.obs_rms.mean)  # type: ignore[union-attr]
    np.testing.assert_array_equal(
        model.predict(OBSERVATIONS, deterministic=True)[0],
        trained.predict(OBSERVATIONS, deterministic=True)[0],
    )
    venv.close()


def test_the_best_model_of_a_study_is_found_by_its_names(tmp_path: Path) -> None:
    for name in ("best_model.zip", "best.yaml"):
        (tmp_path / name).touch()
    assert [path.name for path in find_model(tmp_path)] == ["best_model.zip", "best.yaml"]


def test_a_place_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must be a model, or a folder with model\.zip or"):
        find_model(tmp_path / "nothing")


def test_a_model_without_normalised_observations_needs_no_statistics_of_them(
    tmp_path: Path,
) -> None:
    config = parse_experiment(tiny_experiment(env={"normalize": {"obs": False, "reward": True}}))
    train(config, out=tmp_path / "run")
    venv = build_vec_env(config.env, n_envs=1, seed=0, training=False)
    assert load_model(tmp_path / "run" / "model.zip", "PPO", venv).num_timesteps == 128
    venv.close()


def test_statistics_of_other_observations_are_refused(tmp_path: Path) -> None:
    train(CONFIG, out=tmp_path / "run")
    other = CONFIG.env.model_copy(update={"id": "Acrobot-v1"})
    venv = build_vec_env(other, n_envs=1, seed=0, training=False)
    with pytest.raises(ConfigError, match="trained on observations of the same shape"):
        load_model(tmp_path / "run" / "model.zip", "PPO", venv)
    venv.close()
