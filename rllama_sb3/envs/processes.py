"""Processes of environments: how they end with whoever started them, and why they ended before."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from multiprocessing.connection import wait
from typing import Any, Final

import gymnasium as gym
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv

from rllama_sb3.errors import OutOfMemoryError, RllamaError
from rllama_sb3.lifetime import end_with_parent

# One whose pipe is closed is about to end.
_SECONDS_TO_END: Final = 5.0


def make_in_process(make: Callable[[], gym.Env[Any, Any]]) -> gym.Env[Any, Any]:
    """Makes an environment in a process of its own.

    Such a process ends when nobody asks it for steps any more; but in the middle of a step that
    never ends it would not find out, and has to be told.
    """
    end_with_parent()
    return make()


def describe_end(venvs: Iterable[VecEnv]) -> RllamaError:
    """Returns the error that tells why a process of these environments has ended.

    It is an :class:`~rllama_sb3.errors.OutOfMemoryError` where one was killed.
    """
    inner = [venv.unwrapped for venv in venvs]
    processes = [p for venv in inner if isinstance(venv, SubprocVecEnv) for p in venv.processes]
    wait([process.sentinel for process in processes], timeout=_SECONDS_TO_END)
    code = min((process.exitcode or 0 for process in processes), default=0)
    if code < 0:
        said = f"the process of an environment was ended by {signal.Signals(-code).name}"
        if -code == signal.SIGKILL:
            return OutOfMemoryError(f"{said}, as the kernel does when memory runs out")
        return RllamaError(said)
    return RllamaError(
        "the process of an environment ended in the middle of the training. "
        "Its own error is printed above"
    )
