"""Looks at the file of a study while a search works on it."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path


def read_states(file: Path) -> Counter[str]:
    """Counts the trials by state; Optuna's own way to open a study takes too long to poll by."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return Counter(state for (state,) in database.execute("SELECT state FROM trials"))
    except sqlite3.OperationalError:  # not there yet
        return Counter()


def wait_for_trials(file: Path, n_complete: int, n_running: int) -> None:
    """Waits until so many trials are complete at least, and so many are being run."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        states = read_states(file)
        if states["COMPLETE"] >= n_complete and states["RUNNING"] == n_running:
            time.sleep(0.2)  # until the process has put its name to the trial that began last
            return
        time.sleep(0.02)
    raise AssertionError(f"the search did not get on: {read_states(file)}")
