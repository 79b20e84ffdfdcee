"""Objectives that worker processes can import, each with a way to go wrong."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import optuna
import torch

from rllama_sb3.errors import ComponentError


def quick(trial: optuna.Trial, seconds: float = 0.0) -> float:
    """Is best at a rate of 0.7."""
    time.sleep(seconds)
    return -abs(trial.suggest_float("rate", 0.0, 1.0) - 0.7)


def meeting(trial: optuna.Trial, folder: str, n_processes: int = 2, seconds: float = 0.1) -> float:
    """Waits until so many processes are at a trial; writes down who ran which."""
    place = Path(folder)
    (place / f"{os.getpid()}.here").touch()
    deadline = time.monotonic() + 60
    while len(list(place.glob("*.here"))) < n_processes and time.monotonic() < deadline:
        time.sleep(0.02)
    with (place / "runs").open("a") as runs:
        runs.write(f"{trial.number}\n")
    return quick(trial, seconds)


def killed_once(trial: optuna.Trial, marker: str, number: int = 2) -> float:
    """Kills its own process in one trial, as the kernel does when memory runs out."""
    value = quick(trial)
    if trial.number == number and not Path(marker).exists():
        Path(marker).touch()
        print("about to die", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def always_killed(trial: optuna.Trial, number: int = 1) -> float:
    """Kills its process in each trial with the rate of one trial."""
    rate = trial.suggest_float("rate", 0.0, 1.0)
    deadly = trial.study.user_attrs.get("deadly")
    if trial.number == number or rate == deadly:
        trial.study.set_user_attr("deadly", rate)
        os.kill(os.getpid(), signal.SIGKILL)
    return rate


def broken(trial: optuna.Trial, marker: str) -> float:
    """Raises until the marker says that the bug was mended."""
    value = quick(trial)
    if trial.number >= 1 and not Path(marker).exists():
        raise ZeroDivisionError("the bug of the user")
    return value


def eats_memory(trial: optuna.Trial, what: str) -> float:
    """In one trial takes memory until there is no more."""
    value = quick(trial)
    if trial.number == 1:
        with memory_limit(256 * 2**20):
            hoard: list[object] = []
            try:
                while True:
                    hoard.append(np.ones(2**22) if what == "numpy" else torch.ones(2**23))
            except Exception as error:
                # What raises in a component is told of like so.
                raise ComponentError(f"component 'hungry' failed: {error}") from error
    return value


@contextmanager
def memory_limit(more: int) -> Iterator[None]:
    """Lets this process have so many bytes more than it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def hangs(trial: optuna.Trial) -> float:
    """Never ends in one trial."""
    value = quick(trial)
    if trial.number == 1:
        time.sleep(3600)
    return value


def diverges(trial: optuna.Trial) -> float:
    """Gives no number in one trial."""
    value = quick(trial)
    return float("nan") if trial.number == 1 else value


def fills_the_disk(trial: optuna.Trial, file: str | None, room: str) -> float:
    """Finds no room for what it writes to a file or else to the study, until there is some."""
    value = quick(trial)
    if trial.number == 1 and not Path(room).exists():
        # A file of this process that would grow further is not written any more.
        size = 2**12 if file is None else 2**19
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        if file is None:
            trial.set_user_attr("much", "x" * 2**20)
        else:
            Path(file).write_bytes(bytes(2**20))
    return value
