"""Environments in processes of their own: none outlives whoever started it, and why one ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import wait_until_gone
from tiny import tiny_experiment

from rllama_sb3 import train
from rllama_sb3.errors import OutOfMemoryError, RllamaError
from rllama_sb3.rewards import register_component

STUCK = """
import time
from pathlib import Path
import os
from rllama_sb3 import register_component, train
from tiny import tiny_experiment

@register_component
def stuck(transition) -> float:
    Path(str(os.getpid())).touch()
    time.sleep(3600)
    return 0.0

if __name__ == "__main__":
    train(tiny_experiment(
        env={"n_envs": 1, "vec_env": "subproc", "shaping": "wrapper"},
        reward_shaping={"stuck": {"class": "stuck"}},
        evaluation={"n_envs": 1},
    ))
"""


@register_component
def raises(transition: object) -> float:
    return 1.0 / 0.0


@register_component
def hungry(transition: object) -> float:
    return float(np.ones(2**45).sum())


@register_component
def killed_by(transition: object, number: int) -> float:
    os.kill(os.getpid(), number)
    return 0.0


def train_with(component: dict[str, Any]) -> None:
    config = tiny_experiment(
        env={"n_envs": 1, "vec_env": "subproc", "shaping": "wrapper"},
        reward_shaping={"bad": component},
        evaluation={"n_envs": 1},
    )
    train(config)


def test_an_environment_that_is_stuck_ends_with_the_training_that_was_killed(
    tmp_path: Path,
) -> None:
    script = tmp_path / "stuck.py"
    script.write_text(STUCK)
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}
    )
    while not list(tmp_path.glob("[0-9]*")) and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    stuck = [int(path.name) for path in tmp_path.glob("[0-9]*")]
    assert len(stuck) == 1
    assert wait_until_gone(stuck) == []


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (signal.SIGKILL, OutOfMemoryError, "ended by SIGKILL, as the kernel does when memory"),
        (signal.SIGTERM, RllamaError, "ended by SIGTERM$"),
    ],
)
def test_what_ended_the_process_of_an_environment_is_told(
    number: int, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        train_with({"class": "killed_by", "params": {"number": int(number)}})


def test_what_an_environment_raised_in_its_process_is_told_with_its_traceback() -> None:
    with pytest.raises(RllamaError, match=r"middle of the training: .*component 'bad'") as caught:
        train_with({"class": "raises"})
    assert "test_processes.py" in str(caught.value)
    assert "return 1.0 / 0.0" in str(caught.value)
    assert "component 'bad' failed: ZeroDivisionError: float division by zero" in str(caught.value)


def test_an_environment_that_found_no_memory_in_its_process_is_told_from_a_bug() -> None:
    with pytest.raises(OutOfMemoryError, match="Unable to allocate"):
        train_with({"class": "hungry"})
