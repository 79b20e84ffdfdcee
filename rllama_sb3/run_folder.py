"""What a training leaves on disk, and when.

::

    config.yaml        the experiment as it was run, with its seed: `train` accepts it
    run.json           state, seed, times, versions
    evaluations.csv    one row for each evaluation, written when it is made
    tensorboard/       event files
    model.zip          the model after the latest evaluation, at last the final one
    best_model.zip     the model of the best evaluation
    vecnormalize.pkl   statistics of the observations that model.zip expects, if it does
    best_vecnormalize.pkl

Whatever is there was written whole: a file is written beside its place and then moved there, so
that a run that is killed loses no more than what came after its latest evaluation.
"""

from __future__ import annotations

import csv
import json
import math
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final, Literal

from stable_baselines3.common.base_class import BaseAlgorithm

from rllama_sb3.callbacks.trial_eval import Evaluation
from rllama_sb3.config.models import ExperimentConfig
from rllama_sb3.config.yaml_text import dump_yaml
from rllama_sb3.errors import ConfigError, Problem

State = Literal["running", "finished", "interrupted", "failed"]

_COLUMNS: Final = (
    "evaluation",
    "global_step",
    "mean_env_return",
    "std_env_return",
    "min_env_return",
    "max_env_return",
    "mean_length",
    "n_episodes",
)


class RunFolder:
    """The folder of one training run.

    Args:
        path: Where; made when the run starts, with the folders above it.
        config: The experiment as it is run.

    Raises:
        ConfigError: The folder is not empty or cannot be written to, or the config holds something
            that no file can.
    """

    def __init__(self, path: Path | str, config: ExperimentConfig) -> None:
        self.path = Path(path)
        self._config_text = _render_config(config)
        self._best = -math.inf
        self._record: dict[str, Any] = {"state": "running", "seed": config.training.seed}
        _claim(self.path)

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    def start(self) -> None:
        """Writes what is known before the first step."""
        _write_whole(self.path / "config.yaml", self._config_text)
        with (self.path / "evaluations.csv").open("w", newline="") as file:
            csv.writer(file).writerow(_COLUMNS)
        self._record |= {
            "started": _now(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "versions": _installed_versions(),
        }
        self._write_record()

    def save_evaluation(self, evaluation: Evaluation, model: BaseAlgorithm) -> None:
        """Appends a row, and saves the model; twice when it is the best so far."""
        returns = evaluation.env_returns
        row = (
            evaluation.index,
            evaluation.global_step,
            evaluation.mean,
            evaluation.std,
            float(returns.min()),
            float(returns.max()),
            float(evaluation.lengths.mean()),
            len(returns),
        )
        with (self.path / "evaluations.csv").open("a", newline="") as file:
            csv.writer(file).writerow(row)
        self.save_model(model)
        if evaluation.mean > self._best:
            self._best = evaluation.mean
            self.save_model(model, "best_")

    def save_model(self, model: BaseAlgorithm, prefix: str = "") -> None:
        """Saves a model that Stable-Baselines3 loads, with the statistics that it needs."""
        _replace(self.path / f"{prefix}model.zip", model.save)
        normalize = model.get_vec_normalize_env()
        if normalize is not None:
            _replace(
                self.path / f"{prefix}vecnormalize.pkl", lambda path: normalize.save(str(path))
            )

    def finish(self, state: State, **facts: Any) -> None:
        """Records how the run ended; a fact that is NaN, which JSON cannot say, as null."""
        known = {key: None if fact != fact else fact for key, fact in facts.items()}
        self._record |= {"state": state, "ended": _now(), **known}
        self._write_record()

    def _write_record(self) -> None:
        _write_whole(self.path / "run.json", json.dumps(self._record, indent=2) + "\n")


def _claim(path: Path) -> None:
    """Makes the folder, and sees that it is empty and can be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        holds = sorted(entry.name for entry in path.iterdir())
        writable = os.access(path, os.W_OK)
    except OSError as error:
        rule = f"must be a folder that can be made and read ({error.strerror})"
        raise ConfigError(Problem(("out",), rule, str(path), "Choose another folder.")) from error
    if not writable:
        rule = "must be a folder that can be written to"
        raise ConfigError(Problem(("out",), rule, str(path), "Choose another folder."))
    if holds:
        what = "holds a run" if "run.json" in holds else f"holds {holds[0]!r}"
        rule = f"must be a new or empty folder; it {what}, and nothing is overwritten"
        remedy = "Choose another folder, or remove this one."
        raise ConfigError(Problem(("out",), rule, str(path), remedy))


def _render_config(config: ExperimentConfig) -> str:
    data = config.to_dict()
    try:
        return dump_yaml(data)
    except ConfigError:
        # A search space may consist of functions. It says nothing about this run.
        data["tuning"]["search_space"] = {}
        return dump_yaml(data)


def _installed_versions() -> dict[str, str]:
    found = {str(dist.metadata["Name"]): dist.version for dist in distributions()}
    return dict(sorted(found.items(), key=lambda item: item[0].casefold()))


def _write_whole(path: Path, text: str) -> None:
    _replace(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    beside = path.with_name(f".{path.stem}.partial{path.suffix}")
    write(beside)
    os.replace(beside, path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
