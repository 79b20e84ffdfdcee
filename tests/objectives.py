"""Objectives that worker processes can import, each with a way to go wrong."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import optuna


def quick(trial: optuna.Trial, seconds: float = 0.0) -> float:
    """Is best at a rate of 0.7."""
    time.sleep(seconds)
    return -abs(trial.suggest_float("rate", 0.0, 1.0) - 0.7)


def killed_once(trial: optuna.Trial, marker: str, number: int = 2) -> float:
    """Kills its own process in one trial, as the kernel does when memory runs out."""
    value = quick(trial)
    if trial.number == number and not Path(marker).exists():
        Path(marker).touch()
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


def out_of_memory(trial: optuna.Trial) -> float:
    """Has too little memory in one trial."""
    value = quick(trial)
    if trial.number == 1:
        raise MemoryError("an array of 1 TiB")
    return value


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
