"""One worker process of a search: ``python -m rllama_sb3.optimization.worker``.

What it is to do comes through its standard input, so that no command line shows a password. It runs
trials of the study until that has its total, or until the process that started it is gone.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final

import cloudpickle

_LENGTH_BYTES: Final = 8


@dataclass(frozen=True)
class WorkerTask:
    """What a worker is to do.

    Attributes:
        optimizer: The arguments of the :class:`BayesianRewardOptimizer` that it works for.
        imports: Modules that it imports first, which register components and environments.
        registered: What the program's main module registered, which a worker cannot import: by
            kind, and by name.
    """

    optimizer: Mapping[str, Any]
    imports: Sequence[str] = ()
    registered: Mapping[str, Mapping[str, Callable[..., Any]]] = field(default_factory=dict)


def send_task(stream: IO[bytes], task: WorkerTask, worker: int) -> None:
    """Sends a worker its task; the stream stays open as long as the worker is to live."""
    # By value, so that lambdas and what a script defines are understood in another process; the
    # path comes first, since unpickling the rest imports from it.
    body = cloudpickle.dumps((task, worker))
    message = pickle.dumps((sys.path, body))
    stream.write(len(message).to_bytes(_LENGTH_BYTES, "big") + message)
    stream.flush()


def main() -> None:
    """Does what standard input says."""
    # Ctrl-C in a terminal reaches every process; the one in charge ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stream = sys.stdin.buffer
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "big")
    sys.path, body = pickle.loads(stream.read(length))
    threading.Thread(target=_end_with, args=(stream,), daemon=True).start()
    task, worker = cloudpickle.loads(body)
    _work(task, worker)


def _work(task: WorkerTask, worker: int) -> None:
    import torch

    from rllama_sb3.optimization.optimizer import BayesianRewardOptimizer
    from rllama_sb3.rewards.component import register_component
    from rllama_sb3.rewards.potential_functions import register_potential
    from rllama_sb3.rewards.weight_schedule import register_schedule

    torch.set_num_threads(1)
    for module in task.imports:
        importlib.import_module(module)
    register = {
        "component": register_component,
        "schedule": register_schedule,
        "potential": register_potential,
    }
    for kind, factories in task.registered.items():
        for name, factory in factories.items():
            register[kind](name=name)(factory)
    BayesianRewardOptimizer(**task.optimizer).work(worker)


def _end_with(stream: IO[bytes]) -> None:
    stream.read(1)  # nothing comes but the end, when whoever holds the other side is gone
    os._exit(1)


if __name__ == "__main__":
    main()
