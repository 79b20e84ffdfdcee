"""Runs a search in several processes, and sees to those that end before their time.

Each worker runs one trial after the other on the study that all share, in its database. The process
that started them looks at the study from time to time, says what is new, and ends, replaces and
reports workers: one that was killed is replaced and its trial tried again; a trial that takes too
long is ended with its worker; an error in a trial ends the search, for it would come again.
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from optuna.exceptions import StorageInternalError
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from rllama_sb3.errors import RllamaError
from rllama_sb3.optimization.failures import write_failure
from rllama_sb3.optimization.storage.patience import end_patience
from rllama_sb3.optimization.study.owner import is_run_by
from rllama_sb3.optimization.study.progress import n_finished
from rllama_sb3.optimization.study.retries import MOST_RETRIES, close_abandoned_trials, fail_trial
from rllama_sb3.optimization.study.stop import read_stop
from rllama_sb3.optimization.workers.process import WorkerProcess
from rllama_sb3.optimization.workers.task import DISK_FAILED, WorkerTask
from rllama_sb3.rewards.component import component_registry
from rllama_sb3.rewards.potential_functions import potential_registry
from rllama_sb3.rewards.schedules import schedule_registry

# How long nobody looks at the study: the least, and the most, and in between so long that looking
# takes a twentieth of the time, however many machines look and however many trials there are. It is
# processor time that the workers lack, where there is one for each core.
_SHORTEST_REST: Final = 0.5
_LONGEST_REST: Final = 5.0
_REST_PER_LOOK: Final = 20
# How often it is seen meanwhile whether a worker has ended, which takes no time.
_GLANCE: Final = 0.05
# For each worker, without a trial that came to an end: one that ends its process is given up after
# three times.
_MOST_DEATHS: Final = 10


def run_workers(
    study: Study,
    task: WorkerTask,
    *,
    n_workers: int,
    is_over: Callable[[Study], bool],
    out: Path | None = None,
    trial_timeout: float | None = None,
    on_poll: Callable[[Study], None] | None = None,
) -> None:
    """Runs the trials that a study still lacks in worker processes.

    Args:
        study: The study, in a database.
        task: What each worker is to do.
        n_workers: How many processes.
        is_over: Whether a study has all its trials, whoever ran them.
        out: The folder of the search; the workers' output is kept in ``workers`` there, or in a
            temporary folder.
        trial_timeout: Seconds after which a trial is ended, as failed.
        on_poll: Called with the study about twice a second.

    Raises:
        RllamaError: A trial raised, here or on another machine; or a worker could not start.
        KeyboardInterrupt: After all workers have ended.
    """
    crew = _Crew(study, task, out, trial_timeout)
    try:
        while True:
            began = time.monotonic()
            stop = read_stop(study, task.stop_before)
            if stop is not None:
                raise RllamaError(stop)
            if is_over(study):
                return
            crew.look_after(n_workers)
            if on_poll is not None:
                on_poll(study)
            rest = _REST_PER_LOOK * (time.monotonic() - began)
            crew.rest(min(max(rest, _SHORTEST_REST), _LONGEST_REST))
    except BaseException:
        # Nobody waits for a database that is away, to be told of an interruption or an error.
        end_patience(study._storage)
        raise
    finally:
        # What cannot be written or asked now must not hide why.
        with suppress(StorageInternalError, OSError):
            crew.dismiss()
            if on_poll is not None:
                on_poll(study)


class _Crew:
    """The workers of this process."""

    def __init__(
        self, study: Study, task: WorkerTask, out: Path | None, trial_timeout: float | None
    ) -> None:
        self._study, self._task, self._out = study, task, out
        self._logs = _log_folder(out)
        self._timeout = trial_timeout
        self._workers: list[WorkerProcess] = []
        self._n_deaths, self._ended_before = 0, -1
        # When each running trial was seen first: clocks of machines differ.
        self._seen_at: dict[int, float] = {}

    def look_after(self, n_workers: int) -> None:
        """Sees to workers that have ended or run too long, and starts those that are missing."""
        for worker in list(self._workers):
            code = worker.reap()
            if code is not None:
                self._workers.remove(worker)
                self._see_to(worker, code)
        self._end_long_trials()
        taken = {worker.number for worker in self._workers}
        for number in range(n_workers):
            if number not in taken:
                self._workers.append(WorkerProcess(number, self._task, self._logs))

    def rest(self, seconds: float) -> None:
        """Waits so long, or until a worker ends by itself."""
        until = time.monotonic() + seconds
        while all(worker.reap() is None for worker in self._workers):
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, _GLANCE))

    def dismiss(self) -> None:
        """Ends every worker; a trial that one was at is tried again when the search goes on."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()
        # What the database is not told now it is told when the search goes on.
        close_abandoned_trials(self._study, "interrupted")

    def _see_to(self, worker: WorkerProcess, code: int) -> None:
        """Sees to a worker that has ended by itself."""
        if code == 0 or read_stop(self._study, self._task.stop_before) is not None:
            return
        if code == DISK_FAILED:
            with suppress(StorageInternalError):  # The disk is perhaps that of the study.
                close_abandoned_trials(self._study, "its worker could not write to the disk")
            raise RllamaError(
                "a worker of the search could not write to the disk, which is full or fails "
                f"(output in {self._logs}). Make room, and give the same command again: what was "
                "finished is kept."
            )
        if code > 0:
            raise RllamaError(
                f"a worker of the search ended with exit code {code}. {worker.said_last()}"
            )
        name = signal.Signals(-code).name
        self._count_deaths(worker, name)
        # The kernel ends processes so when memory runs out.
        cause = ", as the kernel does when memory runs out" if -code == signal.SIGKILL else ""
        reason = f"its worker was ended by {name}{cause}"
        for trial in _run_by(worker, self._running()):
            write_failure(self._out, trial, f"{reason}\n\n{worker.said_last()}")
        close_abandoned_trials(self._study, reason, most_retries=MOST_RETRIES)

    def _count_deaths(self, worker: WorkerProcess, name: str) -> None:
        """Gives up when workers are ended again and again before any has finished a trial."""
        ended = n_finished(self._study)
        self._n_deaths = self._n_deaths + 1 if ended == self._ended_before else 1
        self._ended_before = ended
        if self._n_deaths > _MOST_DEATHS * (len(self._workers) + 1):
            raise RllamaError(
                f"workers of the search were ended {self._n_deaths} times before a trial was, the "
                f"last one by {name}. {worker.said_last()}"
            )

    def _end_long_trials(self) -> None:
        if self._timeout is None:
            return
        now, running = time.monotonic(), self._running()
        for worker in list(self._workers):
            for trial in _run_by(worker, running):
                began = self._seen_at.setdefault(trial.number, now)
                if now - began > self._timeout:
                    self._workers.remove(worker)
                    reason = f"took longer than {self._timeout:g} seconds"
                    write_failure(self._out, trial, f"{reason}\n\n{worker.end_and_ask_where()}")
                    fail_trial(self._study, trial, reason)

    def _running(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def _log_folder(out: Path | None) -> Path:
    return Path(tempfile.mkdtemp(prefix="rllama_sb3_")) if out is None else out / "workers"


def main_module_registrations() -> dict[str, dict[str, Callable[..., Any]]]:
    """Returns what the running script registered itself, by kind and name."""
    registries = {
        "component": component_registry(),
        "schedule": schedule_registry(),
        "potential": potential_registry(),
    }
    return {
        kind: {name: factory for name, factory in registry.items() if _is_of_script(factory)}
        for kind, registry in registries.items()
    }


def _run_by(worker: WorkerProcess, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if is_run_by(trial, worker.pid)]


def _is_of_script(factory: Callable[..., Any]) -> bool:
    return factory.__module__ == "__main__"
