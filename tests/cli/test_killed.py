"""What a search that is killed leaves, and how the same command goes on from it."""

from __future__ import annotations

import csv
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import children_of, start, wait_until_gone
from study_file import wait_for_trials
from tiny import tiny_yaml

SEARCH = ("tune", "experiment.yaml", "--n-trials", "4", "--no-compare", "--out", "out")


def test_a_killed_search_is_resumed_to_its_total(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    # Long enough to be killed in the middle of what follows the first trial.
    file.write_text(tiny_yaml(training={"total_timesteps": 4_000}))
    process = start(*SEARCH, "--workers", "2", cwd=tmp_path)
    wait_for_trials(tmp_path / "out" / "study.db", n_complete=1, n_running=2)
    process.kill()
    process.communicate(timeout=60)

    resumed = start(*SEARCH, "--workers", "2", cwd=tmp_path)
    output, _ = resumed.communicate(timeout=60)
    assert resumed.returncode == 0, output
    with (tmp_path / "out/trials.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    complete = [row for row in rows if row["state"] == "complete"]
    failed = [row for row in rows if row["state"] == "fail"]
    assert len(complete) == 4
    assert failed
    assert {row["reason"] for row in failed} == {"the process ended while it ran"}
    # What the killed trials tried is tried again.
    parameter = "algorithm.params.learning_rate"
    assert {row[parameter] for row in failed} <= {row[parameter] for row in complete}


def search_of_many(
    n_trials: int, tmp_path: Path, **options: Any
) -> tuple[subprocess.Popen[str], list[int]]:
    """A search in the middle of its first trial, and its worker."""
    (tmp_path / "experiment.yaml").write_text(tiny_yaml(training={"total_timesteps": 1_000}))
    arguments = ["--n-trials", str(n_trials), "--no-compare", "--out", "out", "--workers", "1"]
    process = start("tune", "experiment.yaml", *arguments, cwd=tmp_path, **options)
    wait_for_trials(tmp_path / "out" / "study.db", n_complete=0, n_running=1)
    workers = children_of(process.pid)
    assert len(workers) == 1
    return process, workers


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGTERM], [signal.SIGHUP], [signal.SIGINT, signal.SIGINT]],
    ids=["kill", "closed-terminal", "Ctrl-C-twice"],
)
def test_a_search_that_is_told_to_end_says_how_to_go_on(
    tmp_path: Path, signals: list[signal.Signals]
) -> None:
    process, workers = search_of_many(500, tmp_path)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.05)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert "Interrupted. What was finished is kept in out; the same command continues:" in output
    assert wait_until_gone(workers) == []


def test_a_search_that_is_to_outlive_its_terminal_does(tmp_path: Path) -> None:
    process, _ = search_of_many(1, tmp_path, ignored=[signal.SIGHUP])
    process.send_signal(signal.SIGHUP)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output


def test_a_search_whose_reader_leaves_ends_without_a_word(tmp_path: Path) -> None:
    process, workers = search_of_many(500, tmp_path, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None  # Nobody reads what it says.
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 1
    assert wait_until_gone(workers) == []
