"""One worker process of a search: ``python -m rllama_sb3.optimization.worker``.

What it is to do comes through its standard input, so that no command line shows a password. It runs
trials of the study until that has its total, or until the process that started it is gone.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from typing import Final

import torch

from rllama_sb3.disk import why_not_written
from rllama_sb3.optimization.optimizer import BayesianRewardOptimizer
from rllama_sb3.optimization.workers.task import (
    DISK_FAILED,
    SAY_WHERE_AND_END,
    WorkerTask,
    receive_task,
)
from rllama_sb3.rewards.component import register_component
from rllama_sb3.rewards.potential_functions import register_potential
from rllama_sb3.rewards.weight_schedule import register_schedule

_REGISTER: Final = {
    "component": register_component,
    "schedule": register_schedule,
    "potential": register_potential,
}


def main() -> None:
    """Does what standard input says."""
    # Ctrl-C in a terminal reaches every process; the one in charge ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What ends the process says where it was, also in code that is not Python's.
    faulthandler.enable(all_threads=False)
    faulthandler.register(SAY_WHERE_AND_END, all_threads=False, chain=True)
    stream = sys.stdin.buffer
    task, worker = receive_task(stream)
    threading.Thread(target=_end_with, args=(stream.fileno(),), daemon=True).start()
    torch.set_num_threads(1)
    _prepare(task)
    try:
        BayesianRewardOptimizer(**task.optimizer).work(worker, task.crew, task.stop_before)
    except Exception as error:
        if why_not_written(error) is None:
            raise
        with suppress(OSError):
            traceback.print_exc()
        # Python's own end would write once more, and have another exit code when that fails.
        os._exit(DISK_FAILED)


def _prepare(task: WorkerTask) -> None:
    """Makes known what the config names."""
    for module in task.imports:
        importlib.import_module(module)
    for kind, factories in task.registered.items():
        for name, factory in factories.items():
            _REGISTER[kind](name=name)(factory)


def _end_with(descriptor: int) -> None:
    # Nothing comes but the end, when whoever holds the other side is gone. It is not waited for in
    # the stream itself, whose lock Python wants when a worker ends because of an error.
    os.read(descriptor, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
