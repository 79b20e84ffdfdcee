"""What a search that is killed leaves, and how the same command goes on from it."""

from __future__ import annotations

import csv
from pathlib import Path

from command_line import start
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
