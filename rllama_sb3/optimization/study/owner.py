"""Which process runs a trial, and whether it still does.

A trial that was cut off looks like one that runs. A process of this machine can be asked for;
whether those of other machines live is told by their heartbeats, which Optuna keeps in the
database.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from optuna.trial import BaseTrial, FrozenTrial

OWNER: Final = "owner"


@lru_cache(maxsize=1)
def this_machine() -> str:
    """Returns a name for where process numbers of this process mean the same processes.

    Two containers of one host, or a host before and after a restart, have different ones.
    """
    parts = [socket.gethostname()]
    for read in (_boot_id, _process_namespace):
        try:
            parts.append(read())
        except OSError:  # not Linux: the name of the host has to do
            continue
    return " ".join(parts)


def this_process() -> str:
    """Returns a name that no other process has, on any machine."""
    pid = os.getpid()
    return f"{this_machine()} {pid} {_start_of(pid)}"


def claim(trial: BaseTrial, worker: int) -> None:
    """Records that this process runs a trial.

    Args:
        trial: The trial.
        worker: The number of the worker that this process is.
    """
    pid = os.getpid()
    owner = {"machine": this_machine(), "pid": pid, "since": _start_of(pid), "worker": worker}
    trial.set_user_attr(OWNER, owner)


def is_abandoned(trial: FrozenTrial) -> bool:
    """Whether a running trial belongs to a process of this machine that is gone."""
    if not is_of_this_machine(trial):
        return False
    owner = trial.user_attrs[OWNER]
    return not _is_running(owner["pid"], owner["since"])


def is_of_this_machine(trial: FrozenTrial) -> bool:
    """Whether a trial was begun by a process of this machine; False where nobody claimed it."""
    owner: Mapping[str, Any] = trial.user_attrs.get(OWNER, {})
    return owner.get("machine") == this_machine()


def is_run_by(trial: FrozenTrial, pid: int) -> bool:
    """Whether a trial is run by a certain process of this machine."""
    return is_of_this_machine(trial) and trial.user_attrs[OWNER]["pid"] == pid


def describe_owner(trial: FrozenTrial) -> str:
    """Returns who runs a trial as short text: ``1`` for a worker here, ``node7:1`` elsewhere."""
    owner: Mapping[str, Any] | None = trial.user_attrs.get(OWNER)
    if owner is None:
        return ""
    host = str(owner["machine"]).partition(" ")[0]
    number = str(owner["worker"])
    return number if owner["machine"] == this_machine() else f"{host}:{number}"


def _is_running(pid: int, since: str | None) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, so it exists
    start = _start_of(pid)
    # The number may have been given to another process meanwhile. Some machines say nothing of the
    # processes of other users.
    return since is None or start is None or start == since


def _start_of(pid: int) -> str | None:
    """When a process was started, in ticks since the machine was; None where that is unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    # A zombie has ended, and only its parent has not noticed.
    return "ended" if fields[0] == "Z" else fields[19]


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _process_namespace() -> str:
    return os.readlink("/proc/self/ns/pid")
