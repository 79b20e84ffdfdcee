"""Training runs in processes of their own, whose results survive an interruption."""

from __future__ import annotations

import csv
import hashlib
import importlib
import io
import json
import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn

from loky import cpu_count

from rllama_sb3.config import ExperimentConfig
from rllama_sb3.errors import ConfigError, Problem, RllamaError
from rllama_sb3.lifetime import end_with_parent

_COLUMNS: Final = ("key", "config", "seed", "env_return")


@dataclass(frozen=True)
class TestRun:
    """One training with a test seed.

    Attributes:
        name: What the config is called.
        seed: The seed of the training.
        key: Identifies the config and the seed, whatever the name is.
        env_return: Mean env return of the trained model, NaN if the training diverged; ``None``
            until it is known.
        was_known: Whether the result was taken from an earlier comparison.
    """

    # It is no class of tests, whatever pytest makes of its name.
    __test__ = False

    name: str
    seed: int
    key: str
    env_return: float | None = None
    was_known: bool = False


def run_key(config: ExperimentConfig, seed: int) -> str:
    """Returns what identifies the outcome of a training: all of the config that bears on it.

    The ``tuning`` section does not, and the seed takes the place of ``training.seed``.
    """
    data = _as_trained(config).to_dict()
    del data["tuning"], data["training"]["seed"]
    text = json.dumps([data, seed], sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class ResultsFile:
    """Results of training runs, appended to a CSV file as they come.

    Args:
        path: The file; made with its folders when the first result comes.

    Raises:
        ConfigError: The folder cannot be made or written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._refuse(f"must be in a folder that can be made ({error.strerror})", error)
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            self._refuse("must be a file that can be written to")

    def read(self) -> dict[str, float]:
        """Returns the env returns by key; a line that was cut off in writing is left out.

        Raises:
            ConfigError: The file holds something else.
        """
        if not self.path.exists():
            return {}
        text = self.path.read_text(encoding="utf-8")
        rows = list(csv.reader(io.StringIO(text)))
        if rows and tuple(rows[0]) != _COLUMNS:
            self._refuse("must be a file of results, or not exist yet")
        # A last line that does not end was cut off, perhaps within its number.
        whole = rows[1:] if text.endswith("\n") else rows[1:-1]
        return {
            row[0]: float(row[3])
            for row in whole
            if len(row) == len(_COLUMNS) and _is_number(row[3])
        }

    def append(self, run: TestRun) -> None:
        """Writes the result of one run."""
        before = self.path.read_bytes() if self.path.exists() else b""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if not before:
                writer.writerow(_COLUMNS)
            elif not before.endswith(b"\n"):
                # The last line was cut off: now it has a column too many, and counts no more.
                file.write(",\n")
            writer.writerow([run.key, run.name, run.seed, run.env_return])

    def _refuse(self, rule: str, cause: Exception | None = None) -> NoReturn:
        problem = Problem(("out",), rule, str(self.path), "Choose another folder.")
        raise ConfigError(problem) from cause


def run_all(
    runs: Sequence[TestRun],
    configs: Mapping[str, ExperimentConfig],
    results: ResultsFile | None,
    *,
    n_jobs: int | None = None,
    imports: Sequence[str] = (),
    on_result: Callable[[TestRun], None] | None = None,
) -> dict[str, float]:
    """Trains what is not known yet, and returns the env returns by key; NaN of what diverged.

    Raises:
        RllamaError: A run failed; those that were finished before it are in ``results``.
    """
    finished: dict[str, float] = {}
    missing: dict[str, list[TestRun]] = {}
    for run in runs:
        if run.env_return is None:
            # Two names for one config are one training.
            missing.setdefault(run.key, []).append(run)
        else:
            finished[run.key] = run.env_return
            _tell(on_result, replace(run, was_known=True))
    if not missing:
        return finished
    n_workers = min(n_jobs or cpu_count(), len(missing))
    with _worker_pool(n_workers, imports) as pool:
        futures = {
            pool.submit(_train, configs[same[0].name].to_dict(), same[0].seed): same
            for same in missing.values()
        }
        for future in as_completed(futures):
            same = futures[future]
            env_return = _result_of(future, same[0])
            finished[same[0].key] = env_return
            if results is not None:
                results.append(replace(same[0], env_return=env_return))
            for run in same:
                _tell(on_result, replace(run, env_return=env_return))
    return finished


def _as_trained(config: ExperimentConfig) -> ExperimentConfig:
    if not config.evaluation.deterministic:
        return config  # here evaluations draw random numbers, so fewer would change the training
    evaluation = config.evaluation.model_copy(update={"n_evaluations": 1})
    return config.model_copy(update={"evaluation": evaluation})


@contextmanager
def _worker_pool(n_workers: int, imports: Sequence[str]) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes are gone when the block is left, however it is."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        n_workers,
        # A fork would share the state of torch and of the random numbers with this process.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
        initargs=(tuple(imports),),
    )
    try:
        yield pool
    finally:
        # Either they are in the middle of a training that nobody waits for any more, or they are
        # idle, and would take a second to leave by themselves.
        workers = set(multiprocessing.active_children()) - others
        for process in workers:
            process.terminate()
        pool.shutdown(cancel_futures=True)
        for process in workers:
            process.join()


def _begin_worker(imports: Sequence[str]) -> None:
    # Ctrl-C in a terminal reaches every process; the one in charge ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    for module in imports:
        importlib.import_module(module)


def _train(data: dict[str, Any], seed: int) -> float:
    """Runs in a worker, which is why what it needs is imported here and not above."""
    from rllama_sb3.config import parse_experiment
    from rllama_sb3.training import DivergedError, train

    try:
        env_return = train(_as_trained(parse_experiment(data)), seed=seed).env_return
    except DivergedError:
        return math.nan
    return env_return if math.isfinite(env_return) else math.nan


def _result_of(future: Future[float], run: TestRun) -> float:
    where = f"training {run.name!r} with seed {run.seed} failed"
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise RllamaError(
            f"{where}: a worker process ended by itself. It was killed or ran out of memory; or "
            "the script that compares has no `if __name__ == '__main__':` above its calls"
        ) from error
    except Exception as error:
        raise RllamaError(f"{where}: {type(error).__name__}: {error}") from error


def _tell(on_result: Callable[[TestRun], None] | None, run: TestRun) -> None:
    if on_result is not None:
        on_result(run)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
