"""What a search that is killed leaves, and how the same command goes on from it."""

from __future__ import annotations

import csv
import time
from pathlib import Path

from command_line import start
from tiny import tiny_yaml

SEARCH = ("tune", "experiment.yaml", "--n-trials", "3", "--no-compare", "--out", "out")


def test_a_killed_search_is_resumed_to_its_total(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    # Long enough to be killed in the middle of the second trial.
    file.write_text(tiny_yaml(training={"total_timesteps": 2_000}))
    process = start(*SEARCH, cwd=tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("trial 0 (1/3)"):
            break
    deadline = time.monotonic() + 20
    while not (tmp_path / "out/trials/0001").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)

    resumed = start(*SEARCH, cwd=tmp_path)
    output, _ = resumed.communicate(timeout=60)
    assert resumed.returncode == 0, output
    with (tmp_path / "out/trials.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert [row["state"] for row in rows] == ["complete", "fail", "complete", "complete"]
    assert rows[1]["reason"] == "the process ended while it ran"
    # What the killed trial tried is tried again.
    parameter = "algorithm.params.learning_rate"
    assert rows[2][parameter] == rows[1][parameter]
