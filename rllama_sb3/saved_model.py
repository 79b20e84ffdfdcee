"""Finds a model that a training or a study has left on disk, and loads it to be run.

The folder of a training is described in :mod:`rllama_sb3.run_folder`; that of a study has
``best.yaml`` and ``best_model.zip``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize

from rllama_sb3.algorithms import algorithm_class
from rllama_sb3.errors import ConfigError, Problem

_CONFIGS: Final = ("config.yaml", "best.yaml")
_MODELS: Final = ("model.zip", "best_model.zip")


def find_model(run: Path) -> tuple[Path, Path]:
    """Returns the model file and the experiment file that belongs to it.

    Args:
        run: The folder of a training or a study, or a model in one.

    Raises:
        ConfigError: There is no model, or no experiment file beside it.
    """
    folder = run if run.is_dir() else run.parent
    models = [folder / name for name in _MODELS] if run.is_dir() else [run]
    model = next((path for path in models if path.is_file()), None)
    if model is None:
        rule = f"must be a model, or a folder with {' or '.join(_MODELS)}"
        raise ConfigError(Problem((), rule, str(run), "Train one with: rllama-sb3 train CONFIG"))
    config = next((folder / n for n in _CONFIGS if (folder / n).is_file()), None)
    if config is None:
        rule = f"must have {' or '.join(_CONFIGS)} beside it, which says what it was trained in"
        raise ConfigError(Problem((), rule, str(model)))
    return model, config


def load_model(model_file: Path, algorithm_name: str, venv: VecEnv) -> BaseAlgorithm:
    """Loads a model, and gives ``venv`` the statistics of the observations that it expects.

    Args:
        model_file: As :func:`find_model` returns it.
        algorithm_name: The algorithm that it was trained by.
        venv: The environments that it is to be run in; if they normalise observations, the
            statistics beside the model take the place of theirs.

    Raises:
        ConfigError: The file holds no such model, or the statistics are missing or do not fit.
    """
    normalize = unwrap_vec_normalize(venv)
    if normalize is not None and normalize.norm_obs:
        statistics = model_file.with_name(model_file.name.replace("model.zip", "vecnormalize.pkl"))
        if not statistics.is_file():
            rule = "must have the statistics of its observations beside it"
            raise ConfigError(Problem((), rule, str(model_file), f"{statistics} is missing."))
        try:
            normalize.obs_rms = VecNormalize.load(str(statistics), normalize.venv).obs_rms
        except AssertionError as error:
            rule = f"must have been trained on observations of the same shape ({error})"
            raise ConfigError(Problem((), rule, str(model_file))) from error
    try:
        return algorithm_class(algorithm_name).load(model_file)
    except (ValueError, OSError, KeyError) as error:
        rule = f"must be a model that Stable-Baselines3 saved ({error})"
        raise ConfigError(Problem((), rule, str(model_file))) from error
