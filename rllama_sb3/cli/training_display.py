"""Shows a training while it runs: a progress bar in a terminal, a line for each evaluation else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from rllama_sb3.cli.console import format_duration, format_number, is_live, say

if TYPE_CHECKING:
    from rllama_sb3.callbacks import Evaluation
    from rllama_sb3.callbacks.progress import TrainingProgress


def render_progress(progress: TrainingProgress) -> str:
    """Returns steps, speed, time left and both returns as one line."""
    left = progress.seconds_left
    parts = [
        f"{progress.n_steps:,}/{progress.total_timesteps:,} steps",
        f"{progress.steps_per_second:,.0f} steps/s",
        f"{'–' if left is None else format_duration(left)} left",
        f"env return {format_number(progress.env_return)}",
        f"shaped {format_number(progress.shaped_return)}",
    ]
    return "  ".join(parts)


class TrainingDisplay:
    """What the user sees of one training.

    Args:
        progress: The state that is shown.
        console: Where.
        n_evaluations: How many evaluations there will be.
        quiet: Show nothing.
    """

    def __init__(
        self, progress: TrainingProgress, console: Console, n_evaluations: int, *, quiet: bool
    ) -> None:
        self._progress, self._console = progress, console
        self._n_evaluations = n_evaluations
        self._quiet = quiet
        self._bar: Progress | None = None

    @contextmanager
    def shown(self) -> Iterator[TrainingDisplay]:
        """Shows the bar, where there is a terminal, until the block is left."""
        if self._quiet or not is_live(self._console):
            yield self
            return
        # Redrawn when there is news: a thread of rich's own would take turns with the training.
        self._bar = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            _State(self._progress),
            console=self._console,
            auto_refresh=False,
        )
        self._bar.add_task("", total=self._progress.total_timesteps)
        try:
            with self._bar:
                yield self
        finally:
            self._bar = None

    def update(self, progress: TrainingProgress) -> None:
        """Redraws the bar."""
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0],
                completed=min(progress.n_steps, progress.total_timesteps),
                refresh=True,
            )

    def show_evaluation(self, evaluation: Evaluation) -> None:
        """Prints the result of an evaluation, above the bar if there is one."""
        if self._quiet:
            return
        where = f"evaluation {evaluation.index}/{self._n_evaluations}"
        result = f"env return {format_number(evaluation.mean)} ± {format_number(evaluation.std)}"
        line = f"{where} at {evaluation.global_step:,} steps: {result}"
        if self._bar is None:
            line += f"  ({render_progress(self._progress)})"
        say(self._console, line)


class _State(ProgressColumn):
    max_refresh = None

    def __init__(self, progress: TrainingProgress) -> None:
        super().__init__()
        self._state = progress

    def render(self, task: Task) -> Any:
        return Text(render_progress(self._state))
