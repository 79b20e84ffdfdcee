"""What a search leaves on disk, brought up to date after every trial.

::

    best.yaml         the best config so far as a whole experiment file, which `train` accepts
    best_model.zip    its model, with best_vecnormalize.pkl where it needs one
    trials.csv        one row for each trial
    pareto.csv        of several objectives the trials that no other one beats in all of them
    trials/0003/      the run of a trial: TensorBoard logs, evaluations, config
    failures/0003.txt why a trial failed or diverged, with its traceback or the end of its log

Of all models only those of the best trial, and of a Pareto front, are kept. Files are replaced
whole, never half.

Machines that share a study share the folder too, and each keeps it up to date: what one writes, any
other would have written. One that is behind may undo what another has written; so each sees every
time whether what is there is as it should be, and the last one leaves it so. On a machine with a
folder of its own there are the runs of its own trials, and no ``best_model.zip`` while the best
trial is another one's.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from rllama_sb3.config.yaml_text import dump_yaml
from rllama_sb3.errors import ConfigError, Problem
from rllama_sb3.optimization.failures import failure_file, write_failure
from rllama_sb3.optimization.objective import trial_folder
from rllama_sb3.optimization.study.attributes import FAILURE, N_STEPS, ORIGIN, SECONDS, SEED_VALUES
from rllama_sb3.optimization.study.ranking import (
    best_trial,
    has_diverged,
    main_value,
    pareto_front,
    state_of,
)

_MODELS: Final = ("model.zip", "best_model.zip", "vecnormalize.pkl", "best_vecnormalize.pkl")

ValuesOf = Callable[[FrozenTrial], Mapping[str, Any]]


def _params(trial: FrozenTrial) -> Mapping[str, Any]:
    return trial.params


class ResultsFolder:
    """The folder of a search.

    Args:
        path: Where; made when it does not exist.
        config_of: Returns the config of a past trial.
        objective: Which model of a training is its result: its best one for ``best``, else its
            last one.
        values_of: Returns by column what a trial has tried; Optuna's parameters by default.
        objectives: Names of further objectives.

    Raises:
        ConfigError: The folder cannot be made or written to.
    """

    def __init__(
        self,
        path: Path,
        config_of: Callable[[FrozenTrial], Mapping[str, Any]],
        objective: str = "last",
        values_of: ValuesOf = _params,
        objectives: Sequence[str] = (),
    ) -> None:
        self.path = path
        self._config_of, self._values_of = config_of, values_of
        self._tried: dict[int, Mapping[str, Any]] = {}
        self._objectives = tuple(objectives)
        self._prefix = "best_" if objective == "best" else ""
        # The best trial, and what is said of it.
        self._best: tuple[int, str] | None = None
        self._cleared: set[int] = set()
        self._noted: set[int] = set()
        try:
            path.mkdir(parents=True, exist_ok=True)
            writable = os.access(path, os.W_OK)
        except OSError as error:
            rule = f"must be a folder that can be made ({error.strerror})"
            problem = Problem(("out",), rule, str(path), "Choose another folder.")
            raise ConfigError(problem) from error
        if not writable:
            rule = "must be a folder that can be written to"
            raise ConfigError(Problem(("out",), rule, str(path), "Choose another folder."))

    def check_free_for(self, study: Study) -> None:
        """Checks that the folder does not hold trials of another study.

        Raises:
            ConfigError: It does: it has results, or trials that this study will have.
        """
        # In this order, as another machine may begin the study and its trials meanwhile.
        has_table = (self.path / "trials.csv").exists()
        folders = sorted(entry.name for entry in (self.path / "trials").glob("[0-9]*"))
        numbers = {trial.number for trial in study.get_trials(deepcopy=False)}
        foreign = [name for name in folders if name.isdigit() and int(name) not in numbers]
        if not numbers and not foreign and has_table:
            foreign = ["trials.csv"]
        if foreign:
            rule = f"must not hold another study's results; it has {foreign[0]}"
            remedy = "Choose another folder, or the storage and study name they belong to."
            raise ConfigError(Problem(("out",), rule, str(self.path), remedy))

    def update(self, study: Study, columns: Sequence[str] = ()) -> None:
        """Writes everything that the study knows by now.

        Args:
            study: The study.
            columns: Those of what was tried, in their order; others follow.
        """
        trials = study.get_trials(deepcopy=False)
        table = partial(
            render_trials, columns=columns, values_of=self._tried_in, objectives=self._objectives
        )
        _write(self.path / "trials.csv", table(trials))
        self._note_failures(trials)
        best = best_trial(study)
        front = pareto_front(study) if self._objectives and best is not None else []
        if front:
            _write(self.path / "pareto.csv", table(front))
        if best is not None:
            self._keep_model(best)
            _write(self.path / "best.yaml", self._describe(study, best))
        kept = {trial.number for trial in front} | ({best.number} if best is not None else set())
        for trial in trials:
            if trial.state.is_finished() and trial.number not in kept:
                self._clear(trial.number)

    def _note_failures(self, trials: Sequence[FrozenTrial]) -> None:
        """Writes down why trials failed or diverged, where whoever ended them did not say more."""
        for trial in trials:
            diverged = trial.state.is_finished() and has_diverged(trial)
            if trial.number in self._noted or not (diverged or trial.state == TrialState.FAIL):
                continue
            if not failure_file(self.path, trial.number).exists():
                write_failure(self.path, trial, _failure(trial))
            self._noted.add(trial.number)

    def _tried_in(self, trial: FrozenTrial) -> Mapping[str, Any]:
        if not trial.state.is_finished():
            return self._values_of(trial)
        # It will not change, and there may be thousands.
        if trial.number not in self._tried:
            self._tried[trial.number] = self._values_of(trial)
        return self._tried[trial.number]

    def _describe(self, study: Study, best: FrozenTrial) -> str:
        if self._best is None or self._best[0] != best.number:
            text = render_best(study, best, self._config_of(best), self._objectives)
            self._best = best.number, text
        return self._best[1]

    def _clear(self, number: int) -> None:
        """Removes the models of a trial that is not among the best, and never will be."""
        if number not in self._cleared:
            for run in self._runs(number):
                for name in _MODELS:
                    (run / name).unlink(missing_ok=True)
            self._cleared.add(number)

    def _runs(self, number: int) -> list[Path]:
        folder = trial_folder(self.path, number)
        runs = sorted(folder.glob("seed_*"), key=lambda run: int(run.name.partition("_")[2]))
        return runs or [folder]

    def _keep_model(self, trial: FrozenTrial) -> None:
        """Copies the model of the best trial, if it is here and not yet copied."""
        if not trial_folder(self.path, trial.number).exists():
            # It has none, or another machine has it; what is here is of another trial.
            for name in ("model.zip", "vecnormalize.pkl"):
                (self.path / f"best_{name}").unlink(missing_ok=True)
            return
        values = trial.user_attrs.get(SEED_VALUES) or [0.0]
        runs = self._runs(trial.number)
        run = runs[min(int(np.argmax(values)), len(runs) - 1)]
        try:
            _copy(run / f"{self._prefix}model.zip", self.path / "best_model.zip")
        except FileNotFoundError:
            return  # Another machine knows a better trial, and has cleared this one.
        try:
            _copy(run / f"{self._prefix}vecnormalize.pkl", self.path / "best_vecnormalize.pkl")
        except FileNotFoundError:
            # The last best trial may have normalised; this one did not.
            (self.path / "best_vecnormalize.pkl").unlink(missing_ok=True)


def render_trials(
    trials: Sequence[FrozenTrial],
    columns: Sequence[str] = (),
    values_of: ValuesOf = _params,
    objectives: Sequence[str] = (),
) -> str:
    """Returns the trials that have begun as CSV, one row each.

    The columns are number, state and value, those of further objectives, what was tried at each
    path that is searched, the value of each seed, seconds, environment steps, where a trial comes
    from that was not proposed, and why one failed, diverged or was pruned. What a diverged trial
    has as its value was made up for the sampler.
    """
    trials = [trial for trial in trials if trial.state != TrialState.WAITING]
    tried = [values_of(trial) for trial in trials]
    columns = list(dict.fromkeys([*columns, *(column for own in tried for column in own)]))
    n_seeds = max((len(trial.user_attrs.get(SEED_VALUES, ())) for trial in trials), default=0)
    seeds = [f"value_of_seed_{index}" for index in range(n_seeds)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    last = ["seconds", "n_steps", "origin", "reason"]
    writer.writerow(["number", "state", "value", *objectives, *columns, *seeds, *last])
    for trial, own in zip(trials, tried, strict=True):
        attrs = trial.user_attrs
        values = [*attrs.get(SEED_VALUES, ()), *[""] * n_seeds][:n_seeds]
        row = [trial.number, state_of(trial)]
        row += trial.values or [""] * (1 + len(objectives))
        row += [own.get(column, "") for column in columns]
        row += [*values, _seconds(trial), attrs.get(N_STEPS, ""), attrs.get(ORIGIN, "")]
        writer.writerow([*row, _failure(trial)])
    return text.getvalue()


def render_best(
    study: Study,
    trial: FrozenTrial,
    config: Mapping[str, Any],
    objectives: Sequence[str] = (),
) -> str:
    """Returns the config of the best trial as YAML, with a heading that says where it is from."""
    heading = (
        f"# The best config so far of the study {study.study_name!r}:\n"
        f"# trial {trial.number}, value {main_value(trial)!r} on the seeds that the search saw.\n"
        "# On other seeds expect less: the best of many trials was lucky too.\n"
    )
    if objectives:
        values = zip(objectives, (trial.values or ())[1:], strict=True)
        also = ", ".join(f"{name} {value!r}" for name, value in values)
        heading += f"# It has {also}. Of the trials in pareto.csv its env return is the greatest.\n"
    try:
        return heading + dump_yaml(config)
    except ConfigError:
        # A search space of callables cannot be written. It says nothing about a training.
        plain = {**config, "tuning": {**config.get("tuning", {}), "search_space": {}}}
        return heading + "# The search space consists of Python functions.\n" + dump_yaml(plain)


def _seconds(trial: FrozenTrial) -> float | str:
    if SECONDS in trial.user_attrs:
        return float(trial.user_attrs[SECONDS])
    return "" if trial.duration is None else round(trial.duration.total_seconds(), 3)


def _failure(trial: FrozenTrial) -> str:
    reason = trial.user_attrs.get(FAILURE)
    if reason is None and trial.state == TrialState.FAIL:
        reason = "its process gave no sign of life any more"
    return str(reason or "")


def _write(path: Path, text: str) -> None:
    with suppress(FileNotFoundError):
        if path.read_bytes() == text.encode():
            return
    _replace(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def _copy(source: Path, target: Path) -> None:
    with suppress(FileNotFoundError):
        if _mark(target) == _mark(source):
            return
    _replace(target, lambda beside: shutil.copy2(source, beside))


def _mark(path: Path) -> tuple[int, int]:
    """What a file has in common with its copies, and no other model with both."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    # Other machines write to the same folder.
    beside = path.with_name(f".{path.name}.{socket.gethostname()}_{os.getpid()}.partial")
    try:
        write(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
