"""What `tune` makes of trials that raise, hang, eat memory, are killed or diverge."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from command_line import start
from tiny import LEARNING_RATE, tiny_yaml

OUT = ("--out", "out", "--workers", "1")

# What befalls each trial, by the order in which they begin.
COMPONENTS = """
import os, resource, signal, time
from pathlib import Path
import numpy as np
from rllama_sb3 import RewardComponent, register_component


@register_component
def broken(transition) -> float:
    return 1.0 / 0.0


def eat():
    n_pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = n_pages * resource.getpagesize() + 2**28
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        hoard = []
        while True:
            hoard.append(np.ones(2**22))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


FATES = [
    lambda: time.sleep(3600),
    eat,
    lambda: os.kill(os.getpid(), signal.SIGKILL),
]


@register_component
class Fateful(RewardComponent):
    def __init__(self):
        self.at_first = True

    def compute(self, transition) -> float:
        if self.at_first:
            self.at_first = False
            fate = len(list(Path().glob("fate_*")))
            Path(f"fate_{fate}").touch()
            if fate < len(FATES):
                FATES[fate]()
        return 0.0
"""


def tune(tmp_path: Path, *options: str) -> tuple[int, str, list[dict[str, str]]]:
    """Runs a search; returns its exit code, what it said, and its table."""
    (tmp_path / "failing.py").write_text(COMPONENTS)
    process = start("tune", "experiment.yaml", *OUT, *options, cwd=tmp_path)
    output, _ = process.communicate(timeout=120)
    assert (tmp_path / "out" / "trials.csv").exists(), output
    with (tmp_path / "out" / "trials.csv").open(newline="") as text:
        return process.returncode, output, list(csv.DictReader(text))


def failure(tmp_path: Path, number: int) -> str:
    return (tmp_path / "out" / "failures" / f"{number:04d}.txt").read_text()


def test_a_component_that_raises_ends_the_search_at_the_first_trial(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(
        tiny_yaml(reward_shaping={"bad": {"class": "broken"}})
    )
    code, output, rows = tune(tmp_path, "--import", "failing", "--n-trials", "100")
    assert code == 1
    assert "trial 0 raised, and would again:\nTraceback" in output
    assert "failing.py" in output
    assert "component 'bad' failed: ZeroDivisionError: float division by zero" in output
    assert [row["state"] for row in rows] == ["fail"]
    assert "component 'bad' failed: ZeroDivisionError" in rows[0]["reason"]
    assert "return 1.0 / 0.0" in failure(tmp_path, 0)


@pytest.mark.slow
def test_a_config_that_diverges_can_be_tuned_and_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(
        tiny_yaml(
            algorithm={"params": {"learning_rate": 1e30}},
            tuning={
                "n_trials": 3,
                "n_test_seeds": 1,
                "enqueue": [{"algorithm": {"params": {"learning_rate": 1e-3}}}],
                "search_space": {
                    "algorithm": {"params": {"learning_rate": {**LEARNING_RATE, "high": 1e30}}}
                },
            },
        )
    )
    code, output, rows = tune(tmp_path, "--n-jobs", "1")
    assert code == 0, output
    assert [row["state"] for row in rows] == ["diverged", "diverged", "complete"]
    # The first ones diverged before anything else was known.
    values = [float(row["value"]) for row in rows]
    assert all(math.isfinite(value) for value in values)
    assert max(values[:2]) < values[2]
    for number in (0, 1):
        assert rows[number]["reason"].startswith("seed 0 diverged: ")
        assert rows[number]["reason"] in failure(tmp_path, number)
    assert "Your config diverged in the search, and is left out of what follows." in output
    assert "shaping off" not in output.partition("Env return on 1 test seed")[2]
    assert "learning_rate: 0.001" in (tmp_path / "out" / "best.yaml").read_text()


@pytest.mark.slow
def test_a_search_goes_on_after_all_that_can_befall_its_trials(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(
        tiny_yaml(
            reward_shaping={"fateful": {"class": "Fateful"}},
            env={"n_envs": 1, "shaping": "wrapper"},
            tuning={"trial_timeout": 8, "n_trials": 5},
        )
    )
    code, output, rows = tune(tmp_path, "--import", "failing", "--no-compare")
    assert code == 0, output
    failed = {row["reason"]: row["number"] for row in rows if row["state"] == "fail"}
    assert len(failed) == 3
    for words in ("took longer than 8 seconds", "Unable to allocate", "ended by SIGKILL"):
        number = next(number for reason, number in failed.items() if words in reason)
        assert words in failure(tmp_path, int(number))
    # The killed one was tried again; the others count.
    assert len(rows) == 6
