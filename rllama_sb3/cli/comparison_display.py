"""Shows how far a comparison is: a bar in a terminal, a line for each run else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from rllama_sb3.cli.comparison_table import format_return
from rllama_sb3.cli.console import format_duration, is_live, say

if TYPE_CHECKING:
    from rllama_sb3.analysis.runs import TestRun


class ComparisonDisplay:
    """What the user sees while configs are trained on test seeds.

    Args:
        console: Where.
        n_runs: Trainings in all.
    """

    def __init__(self, console: Console, n_runs: int) -> None:
        self._console, self._n_runs = console, n_runs
        self._n_done = self._n_new = 0
        self._started = time.monotonic()
        self._bar: Progress | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the bar, where there is a terminal, until the block is left."""
        if not is_live(self._console):
            yield
            return
        self._bar = Progress(
            TextColumn("comparing on test seeds"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            console=self._console,
            transient=True,
        )
        self._bar.add_task("", total=self._n_runs)
        try:
            with self._bar:
                yield
        finally:
            self._bar = None

    def show_result(self, run: TestRun) -> None:
        """Counts a run that is finished, or was before."""
        self._n_done += 1
        self._n_new += not run.was_known
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0], completed=self._n_done, description=self._render_left()
            )
        elif not run.was_known:
            say(
                self._console,
                f"test run {self._n_done}/{self._n_runs}: {run.name}, seed {run.seed}, "
                f"env return: {format_return(run.env_return)}  {self._render_left()}",
            )

    def _render_left(self) -> str:
        if self._n_new == 0:
            return ""
        seconds = (time.monotonic() - self._started) / self._n_new
        return f"{format_duration(seconds * (self._n_runs - self._n_done))} left"
