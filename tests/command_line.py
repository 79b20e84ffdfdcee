"""Runs the command line, in this process or in one of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

import rllama_sb3
from rllama_sb3.cli import app

_ROOT = Path(rllama_sb3.__file__).parents[1]


def run(*arguments: str | Path) -> Any:
    """Runs a command in this process; the result has exit_code, stdout, stderr and output."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def start(
    *arguments: str | Path,
    cwd: Path,
    ignored: Sequence[signal.Signals] = (),
    stderr: int = subprocess.STDOUT,
) -> subprocess.Popen[str]:
    """Starts a command in a process of its own, as from a shell."""

    def set_signals() -> None:
        # Tests that run in the background ignore Ctrl-C, and so would what they start.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    return subprocess.Popen(
        [sys.executable, "-m", "rllama_sb3", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        preexec_fn=set_signals,
    )


def interrupt_at(process: subprocess.Popen[str], line_start: str) -> str:
    """Sends Ctrl-C when a line starts so; returns all output after the process has ended."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if line.startswith(line_start):
            process.send_signal(signal.SIGINT)
            break
    rest, _ = process.communicate(timeout=60)
    return seen + rest


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").glob("*/children")
        for child in task.read_text().split()
    ]


def is_alive(pid: int) -> bool:
    """Whether a process still runs; one that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until_gone(pids: list[int], seconds: float = 20.0) -> list[int]:
    """Waits for processes to end; returns those that did not."""
    deadline = time.monotonic() + seconds
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [pid for pid in pids if is_alive(pid)]
