"""What is said of a disk that is full, and how the same command goes on."""

from __future__ import annotations

import csv
import os
import resource
import socket
from pathlib import Path

import pytest
from command_line import run, start
from tiny import tiny_yaml

SEARCH = ("tune", "experiment.yaml", "--n-trials", "2", "--workers", "1", "--no-compare")


def test_a_search_whose_results_find_no_room_says_so_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("experiment.yaml").write_text(tiny_yaml())
    Path("out").mkdir()
    # Whatever is written there finds no room.
    partial = Path("out") / f".trials.csv.{socket.gethostname()}_{os.getpid()}.partial"
    partial.symlink_to("/dev/full")
    result = run(*SEARCH, "--out", "out")
    assert result.exit_code == 1
    assert result.stderr == (
        "the disk cannot be written: No space left on device. Make room, and give the same command "
        "again: what `tune` and `compare` have finished is kept.\n"
    )
    assert not list(Path("out").glob(".*"))


@pytest.mark.slow
def test_a_search_without_room_for_a_model_is_resumed_when_there_is(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(tiny_yaml())

    def limited(size: int) -> tuple[int, str]:
        process = start(*SEARCH, "--out", "out", cwd=tmp_path)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    # More than the study, less than a model.
    code, output = limited(130_000)
    assert code == 1, output
    assert "Traceback" not in output
    assert "could not write to the disk, which is full or fails" in output
    code, output = limited(resource.RLIM_INFINITY)
    assert code == 0, output
    with (tmp_path / "out" / "trials.csv").open(newline="") as text:
        rows = [(row["state"], row["origin"], row["reason"]) for row in csv.DictReader(text)]
    assert rows[0] == ("fail", "base config", "File too large")
    assert sorted(rows[1:]) == [("complete", "base config", ""), ("complete", "shaping off", "")]
    assert "File too large" in (tmp_path / "out" / "failures" / "0000.txt").read_text()
