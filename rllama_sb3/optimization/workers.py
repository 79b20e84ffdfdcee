"""Runs a search in several processes, and sees to those that end before their time.

Each worker runs one trial after the other on the study that all share, in its database. The process
that started them looks at the study from time to time, says what is new, and ends, replaces and
reports workers: one that was killed is replaced and its trial tried again; a trial that takes too
long is ended with its worker; an error in a trial ends the search, for it would come again.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from optuna.exceptions import StorageInternalError
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from rllama_sb3.errors import RllamaError
from rllama_sb3.optimization.owner import is_run_by
from rllama_sb3.optimization.patience import end_patience
from rllama_sb3.optimization.progress import n_finished
from rllama_sb3.optimization.retries import MOST_RETRIES, close_abandoned_trials, fail_trial
from rllama_sb3.optimization.study import read_stop
from rllama_sb3.optimization.worker_task import WorkerTask, send_task
from rllama_sb3.rewards.component import component_registry
from rllama_sb3.rewards.potential_functions import potential_registry
from rllama_sb3.rewards.schedules import schedule_registry

# How long nobody looks at the study: the least, and the most, and in between so long that looking
# takes a tenth of the time, however many machines look and however many trials there are.
_SHORTEST_REST: Final = 0.25
_LONGEST_REST: Final = 5.0
_REST_PER_LOOK: Final = 10
_TAIL_LINES: Final = 30
# For each worker, without a trial that came to an end: one that ends its process is given up after
# three times.
_MOST_DEATHS: Final = 10


@dataclass
class _Worker:
    number: int
    process: subprocess.Popen[bytes]
    log: Path

    def end(self) -> None:
        """Ends the process; it is gone when this returns."""
        self.process.kill()
        self.process.wait()
        self._close()

    def reap(self) -> int | None:
        """Returns how the process ended, if it has."""
        code = self.process.poll()
        if code is not None:
            self._close()
        return code

    def _close(self) -> None:
        assert self.process.stdin is not None  # It was made with a pipe.
        with suppress(BrokenPipeError):
            self.process.stdin.close()


def run_workers(
    study: Study,
    task: WorkerTask,
    *,
    n_workers: int,
    is_over: Callable[[Study], bool],
    logs: Path,
    trial_timeout: float | None = None,
    on_poll: Callable[[Study], None] | None = None,
) -> None:
    """Runs the trials that a study still lacks in worker processes.

    Args:
        study: The study, in a database.
        task: What each worker is to do.
        n_workers: How many processes.
        is_over: Whether a study has all its trials, whoever ran them.
        logs: The folder of the workers' output.
        trial_timeout: Seconds after which a trial is ended, as failed.
        on_poll: Called with the study several times a second.

    Raises:
        RllamaError: A trial raised, here or on another machine; or a worker could not start.
        KeyboardInterrupt: After all workers have ended.
    """
    crew = _Crew(study, task, logs, trial_timeout)
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
            time.sleep(min(max(rest, _SHORTEST_REST), _LONGEST_REST))
    except BaseException:
        # Nobody waits for a database that is away, to be told of an interruption or an error.
        end_patience(study._storage)
        raise
    finally:
        with suppress(StorageInternalError):
            crew.dismiss()
            if on_poll is not None:
                on_poll(study)


class _Crew:
    """The workers of this process."""

    def __init__(
        self, study: Study, task: WorkerTask, logs: Path, trial_timeout: float | None
    ) -> None:
        self._study, self._task, self._logs = study, task, logs
        self._timeout = trial_timeout
        self._workers: list[_Worker] = []
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
                self._start(number)

    def dismiss(self) -> None:
        """Ends every worker; a trial that one was at is tried again when the search goes on."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()
        # What the database is not told now it is told when the search goes on.
        close_abandoned_trials(self._study, "interrupted")

    def _start(self, number: int) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{socket.gethostname()}_{os.getpid()}_{number}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "rllama_sb3.optimization.worker"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Two workers with as many threads as cores each would be in each other's way.
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        self._workers.append(_Worker(number, process, log))
        assert process.stdin is not None  # It was made with a pipe.
        with suppress(BrokenPipeError):  # it ended at once; why, is found when it is looked after
            send_task(process.stdin, self._task, number)

    def _see_to(self, worker: _Worker, code: int) -> None:
        """Sees to a worker that has ended by itself."""
        if code == 0 or read_stop(self._study, self._task.stop_before) is not None:
            return
        if code > 0:
            raise RllamaError(
                f"a worker of the search ended with exit code {code}. The end of {worker.log}:\n"
                f"{_tail(worker.log)}"
            )
        name = signal.Signals(-code).name
        self._count_deaths(worker, name)
        # The kernel ends processes so when memory runs out.
        cause = ", as the kernel does when memory runs out" if -code == signal.SIGKILL else ""
        close_abandoned_trials(
            self._study, f"its worker was ended by {name}{cause}", most_retries=MOST_RETRIES
        )

    def _count_deaths(self, worker: _Worker, name: str) -> None:
        """Gives up when workers are ended again and again before any has finished a trial."""
        ended = n_finished(self._study)
        self._n_deaths = self._n_deaths + 1 if ended == self._ended_before else 1
        self._ended_before = ended
        if self._n_deaths > _MOST_DEATHS * (len(self._workers) + 1):
            raise RllamaError(
                f"workers of the search were ended {self._n_deaths} times before a trial was, the "
                f"last one by {name}. The end of {worker.log}:\n{_tail(worker.log)}"
            )

    def _end_long_trials(self) -> None:
        if self._timeout is None:
            return
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        now = time.monotonic()
        for worker, trial in self._at_work(running):
            began = self._seen_at.setdefault(trial.number, now)
            if now - began > self._timeout:
                worker.end()
                self._workers.remove(worker)
                fail_trial(self._study, trial, f"took longer than {self._timeout:g} seconds")

    def _at_work(self, trials: Sequence[FrozenTrial]) -> Iterator[tuple[_Worker, FrozenTrial]]:
        for worker in list(self._workers):
            for trial in trials:
                if is_run_by(trial, worker.process.pid):
                    yield worker, trial


def worker_logs(out: Path | None) -> Path:
    """Returns the folder of the workers' output, in that of the search or in a temporary one."""
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


def _is_of_script(factory: Callable[..., Any]) -> bool:
    return factory.__module__ == "__main__"


def _tail(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])
