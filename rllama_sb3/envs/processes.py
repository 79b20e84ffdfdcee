"""Environments in processes of their own, which end with whoever started them and say why else."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Final, TextIO

import gymnasium as gym
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv

from rllama_sb3.errors import OutOfMemoryError, RllamaError
from rllama_sb3.lifetime import end_with_parent

# A process whose pipe is closed is about to end.
_SECONDS_TO_END: Final = 5.0

# Its error is known here by what was printed of it.
_MEMORY_WORDS: Final = re.compile("MemoryError|can't allocate memory")


class ProcessVecEnv(SubprocVecEnv):
    """Stable-Baselines3's ``SubprocVecEnv``, whose processes are never left behind.

    Args:
        env_fns: Make the environments.

    Attributes:
        errors: The folder where each process keeps what it says on standard error, under its
            number; gone with this object.
    """

    def __init__(self, env_fns: list[Callable[[], gym.Env[Any, Any]]]) -> None:
        self.errors = Path(tempfile.mkdtemp(prefix="rllama_sb3_"))
        weakref.finalize(self, shutil.rmtree, self.errors, ignore_errors=True)
        super().__init__([partial(_make_in_process, make, self.errors) for make in env_fns])


def describe_end(venvs: Iterable[VecEnv]) -> RllamaError:
    """Returns the error that tells why a process of these environments has ended.

    It is an :class:`~rllama_sb3.errors.OutOfMemoryError` where one was killed.
    """
    known = {
        process: venv.unwrapped.errors / str(process.pid)
        for venv in venvs
        if isinstance(venv.unwrapped, ProcessVecEnv)
        for process in venv.unwrapped.processes
    }
    wait([process.sentinel for process in known], timeout=_SECONDS_TO_END)
    # What raised has the code 1, and what had nobody to talk to any more 0.
    code = min((process.exitcode or 0 for process in known), default=0)
    if code < 0:
        said = f"the process of an environment was ended by {signal.Signals(-code).name}"
        if -code == signal.SIGKILL:
            return OutOfMemoryError(f"{said}, as the kernel does when memory runs out")
        return RllamaError(said)
    said = "the process of an environment ended in the middle of the training"
    for process, errors in known.items():
        if process.exitcode and errors.exists():
            text = errors.read_text(encoding="utf-8").strip()
            kind = OutOfMemoryError if _MEMORY_WORDS.search(text) else RllamaError
            return kind(f"{said}: {text.splitlines()[-1]}\n{text}")
    return RllamaError(said)


def _make_in_process(make: Callable[[], gym.Env[Any, Any]], errors: Path) -> gym.Env[Any, Any]:
    # Such a process ends when nobody asks it for steps any more; but in the middle of a step that
    # never ends it would not find out, and has to be told.
    end_with_parent()
    sys.stderr = _Twice(sys.stderr, errors / str(os.getpid()))
    return make()


class _Twice(io.TextIOBase):
    """Writes to a stream, and to a file too."""

    def __init__(self, stream: TextIO, path: Path) -> None:
        self._stream, self._path = stream, path

    def write(self, text: str) -> int:
        with suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()
