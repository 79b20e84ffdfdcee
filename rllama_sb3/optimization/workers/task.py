"""What a worker process of a search is told, and how it is told."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final

import cloudpickle

SAY_WHERE_AND_END: Final = signal.SIGUSR1
"""Ends a worker; first it writes to its log where in the code it is."""

DISK_FAILED: Final = os.EX_IOERR
"""The exit code of a worker that could not write, not even why."""

_LENGTH_BYTES: Final = 8


@dataclass(frozen=True)
class WorkerTask:
    """What a worker is to do.

    Attributes:
        optimizer: The arguments of the :class:`BayesianRewardOptimizer` that it works for.
        imports: Modules that it imports first, which register components and environments.
        registered: What the program's main module registered, which a worker cannot import: by
            kind, and by name.
        crew: The number of the process that started the workers; see
            :func:`~rllama_sb3.optimization.study.opening.crew_number`.
        stop_before: Why the study had been stopped when the search began, if it had been; see
            :func:`~rllama_sb3.optimization.study.stop.read_stop`.
    """

    optimizer: Mapping[str, Any]
    imports: Sequence[str] = ()
    registered: Mapping[str, Mapping[str, Callable[..., Any]]] = field(default_factory=dict)
    crew: int = 0
    stop_before: str | None = None


def send_task(stream: IO[bytes], task: WorkerTask, worker: int) -> None:
    """Sends a worker its task; the stream stays open as long as the worker is to live."""
    # By value, so that lambdas and what a script defines are understood in another process; the
    # path comes first, since unpickling the rest imports from it.
    body = cloudpickle.dumps((task, worker))
    message = pickle.dumps((sys.path, body))
    stream.write(len(message).to_bytes(_LENGTH_BYTES, "big") + message)
    stream.flush()


def receive_task(stream: IO[bytes]) -> tuple[WorkerTask, int]:
    """Returns the task that was sent, and the number of the worker it was sent to."""
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "big")
    sys.path, body = pickle.loads(stream.read(length))
    task, worker = cloudpickle.loads(body)
    return task, worker
