"""Environments in processes of their own: none outlives whoever started it, and why one ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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
def killed_by(transition: object, number: int) -> float:
    os.kill(os.getpid(), number)
    return 0.0


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
    config = tiny_experiment(
        env={"vec_env": "subproc", "shaping": "wrapper"},
        reward_shaping={"killed": {"class": "killed_by", "params": {"number": int(number)}}},
    )
    with pytest.raises(kind, match=words):
        train(config)
