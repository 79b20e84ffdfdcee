"""Trials that look as if a process of this machine ran them."""

from __future__ import annotations

import subprocess
import sys

import optuna

from rllama_sb3.optimization.study.owner import OWNER, this_machine


def leave_to_nobody(trial: optuna.Trial) -> None:
    """Gives a trial to a process that is gone, as one is that was killed in the middle of it."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    owner = {"machine": this_machine(), "pid": gone.pid, "since": None, "worker": 0}
    trial.set_user_attr(OWNER, owner)
