"""A worker process of a search, as the process sees it that started it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from rllama_sb3.optimization.workers.task import SAY_WHERE_AND_END, WorkerTask, send_task

_TAIL_LINES: Final = 30
_SECONDS_TO_SAY: Final = 2.0


class WorkerProcess:
    """A process that runs trials as long as this one lives, or until it is ended.

    Args:
        number: Which of the workers of this process it is.
        task: What it is to do.
        logs: The folder of its output, which is made.

    Attributes:
        number: As given.
        log: Its output.
    """

    def __init__(self, number: int, task: WorkerTask, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self.number = number
        self.log = logs / f"{socket.gethostname()}_{os.getpid()}_{number}.log"
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rllama_sb3.optimization.worker"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Two workers with as many threads as cores each would be in each other's way.
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        assert self._process.stdin is not None  # It was made with a pipe.
        with suppress(BrokenPipeError):  # it ended at once; why, is found when it is looked after
            send_task(self._process.stdin, task, number)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def reap(self) -> int | None:
        """Returns how the process ended, if it has."""
        code = self._process.poll()
        if code is not None:
            self._close()
        return code

    def end(self) -> None:
        """Ends the process; it is gone when this returns."""
        self._process.kill()
        self._process.wait()
        self._close()

    def end_and_ask_where(self) -> str:
        """Ends the process; returns what it said of where it was, if it still could."""
        n_known = self.log.stat().st_size
        self._process.send_signal(SAY_WHERE_AND_END)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_SAY)
        self.end()
        with self.log.open("rb") as log:
            log.seek(n_known)
            return log.read().decode(errors="replace").strip()

    def said_last(self) -> str:
        """Returns the end of the output, and where all of it is."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join([f"The end of {self.log}:", *lines[-_TAIL_LINES:]])

    def _close(self) -> None:
        assert self._process.stdin is not None  # It was made with a pipe.
        with suppress(BrokenPipeError):
            self._process.stdin.close()
