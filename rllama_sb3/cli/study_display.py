"""Shows a search while it runs: a table in a terminal, a line for each trial else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rllama_sb3.callbacks.progress import ProgressCallback, TrainingProgress
from rllama_sb3.cli.console import format_duration, format_number, is_live, say
from rllama_sb3.cli.training_display import render_progress
from rllama_sb3.optimization.first_trials import UNSHAPED_ORIGIN, as_tried, is_unshaped
from rllama_sb3.optimization.study import best_trial, n_finished

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import BaseTrial, FrozenTrial, Trial

    from rllama_sb3.callbacks import Evaluation
    from rllama_sb3.config import ExperimentConfig
    from rllama_sb3.optimization import SearchSpace

# Lines of the display beside the rows of the table.
_OTHER_LINES: Final = 8
_MOST_ROWS: Final = 15
# Parts of a path that say nothing where a value is shown beside it.
_PLAIN_PARTS: Final = ("params", "weight_schedule")


@dataclass(frozen=True)
class TrialRow:
    """One trial, as it is shown.

    Attributes:
        number: Optuna's number of it.
        state: ``complete``, ``pruned``, ``fail`` or ``running``.
        value: What it is worth; of a running one the latest evaluation.
        params: What it tries, as text.
        is_best: Whether no trial is better.
    """

    number: int
    state: str
    value: float | None
    params: str
    is_best: bool = False


def render_params(fragment: Mapping[str, Any]) -> str:
    """Returns a fragment of a config as short text.

    Example:
        >>> render_params({"algorithm": {"params": {"gamma": 0.99}},
        ...                "reward_shaping": {"height": {"weight_schedule": {"end_step": 500}}}})
        'gamma=0.9900 height.end_step=500'
    """
    return " ".join(f"{name}={_render_value(value)}" for name, value in _flatten(fragment, ()))


def render_trials(rows: Sequence[TrialRow]) -> Table:
    """Returns the table of trials."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("trial", justify="right")
    table.add_column("state")
    table.add_column("env return", justify="right")
    table.add_column("values", no_wrap=True, overflow="ellipsis")
    for row in rows:
        state = f"{row.state} ★" if row.is_best else row.state
        style = "bold" if row.is_best else "dim" if row.state in ("pruned", "fail") else ""
        values = (str(row.number), state, format_number(row.value), escape(row.params))
        table.add_row(*values, style=style)
    return table


class StudyDisplay:
    """What the user sees of a search.

    Args:
        console: Where.
        experiment: What is searched.
        quiet: Show nothing.

    Attributes:
        callbacks: What the optimizer calls, by the names of its arguments.
    """

    def __init__(self, console: Console, experiment: ExperimentConfig, *, quiet: bool) -> None:
        self._console, self._quiet = console, quiet
        self._n_trials = experiment.tuning.n_trials
        self._progress = TrainingProgress(experiment.training.total_timesteps)
        self._space: SearchSpace | None = None
        self._rows: list[TrialRow] = []
        self._running: TrialRow | None = None
        self._n_counted = 0
        self._n_ended_here = 0
        self._n_evaluations = 0
        self._started = time.monotonic()
        self._live: Live | None = None
        self.callbacks: dict[str, Any] = {
            "callbacks": [self.end_trial],
            "on_trial_start": self.start_trial,
            "on_evaluation": self.show_evaluation,
            "training_callbacks": [ProgressCallback(self._progress, self.update)],
        }

    @contextmanager
    def shown(self, space: SearchSpace) -> Iterator[None]:
        """Shows the table, where there is a terminal, until the block is left.

        Args:
            space: What is searched, which says what the parameters of a trial mean.
        """
        self._space = space
        self._started = time.monotonic()
        if self._quiet or not is_live(self._console):
            yield
            return
        # Redrawn when there is news: a thread of rich's own would take turns with the training.
        self._live = Live(console=self._console, auto_refresh=False)
        try:
            with self._live:
                yield
        finally:
            self._live = None

    def start_trial(self, trial: Trial) -> None:
        """A trial starts."""
        self._n_evaluations = 0
        self._read(trial.study)
        self._running = TrialRow(trial.number, "running", None, "")
        self._draw()

    def show_evaluation(self, trial: BaseTrial, evaluation: Evaluation) -> None:
        """The policy of the running trial was evaluated."""
        self._n_evaluations += 1
        number = self._running.number if self._running else 0
        params = self._describe(trial)
        self._running = TrialRow(number, "running", evaluation.mean, params)
        self._draw()

    def update(self, progress: TrainingProgress) -> None:
        """The training went on."""
        self._draw()

    def end_trial(self, study: Study, trial: FrozenTrial) -> None:
        """A trial has ended."""
        self._running = None
        self._n_ended_here += 1
        self._read(study)
        if self._live is None and not self._quiet:
            self._say_trial(trial)
        self._draw()

    @property
    def seconds_left(self) -> float | None:
        """Estimated time until the last trial has ended, from those that ended here."""
        if self._n_ended_here == 0:
            return None
        seconds = (time.monotonic() - self._started) / self._n_ended_here
        return seconds * max(self._n_trials - self._n_counted, 0)

    def _describe(self, trial: BaseTrial | FrozenTrial) -> str:
        if self._space is None:
            return ""
        text = render_params(as_tried(trial, self._space.replay(trial.params, trial.number)))
        return f"{UNSHAPED_ORIGIN} {text}" if is_unshaped(trial) else text

    def _read(self, study: Study) -> None:
        trials = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
        self._n_counted = n_finished(study)
        best = best_trial(study)
        self._rows = [
            TrialRow(
                number=trial.number,
                state=trial.state.name.lower(),
                value=_shown_value(trial),
                params=self._describe(trial),
                is_best=best is not None and trial.number == best.number,
            )
            for trial in trials
        ]

    def _best(self) -> TrialRow | None:
        return next((row for row in self._rows if row.is_best), None)

    def _say_trial(self, trial: FrozenTrial) -> None:
        row = next(row for row in self._rows if row.number == trial.number)
        best, left = self._best(), self.seconds_left
        parts = [
            f"trial {row.number} ({self._n_counted}/{self._n_trials})",
            f"{row.state:<8}",
            f"env return {format_number(row.value)}",
            "best –" if best is None else f"best {format_number(best.value)} ({best.number})",
            f"{format_duration(left)} left" if left is not None else "",
            row.params,
        ]
        say(self._console, "  ".join(part for part in parts if part))

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(self._render(), refresh=True)

    def _render(self) -> RenderableType:
        n_rows = min(max(self._console.height - _OTHER_LINES, 3), _MOST_ROWS)
        running = [] if self._running is None else [self._running]
        shown = [*self._rows, *running][-n_rows:]
        best = self._best()
        if best is not None and best not in shown:
            shown = [best, *shown[1:]]
        left = self.seconds_left
        head = [f"{self._n_counted}/{self._n_trials} trials"]
        if best is not None:
            head.append(f"best so far {format_number(best.value)} (trial {best.number})")
        head.append(f"about {format_duration(left)} left" if left is not None else "")
        return Group(
            Text("  ".join(head)), render_trials(shown), Text(self._render_running(), end="")
        )

    def _render_running(self) -> str:
        if self._running is None:
            return ""
        state = f"trial {self._running.number}: {render_progress(self._progress)}"
        return f"{state}  {self._n_evaluations} evaluations"


def _shown_value(trial: FrozenTrial) -> float | None:
    if trial.state.name == "COMPLETE":
        return trial.value
    # The last that was reported says why the pruner stopped it.
    last = trial.last_step
    return None if last is None else trial.intermediate_values[last]


def _flatten(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(inner, (*path, str(key)))
    else:
        shown = [part for part in path[1:] if part not in _PLAIN_PARTS]
        yield ".".join(shown or path), value


def _render_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(1 - value) > 0.1 or value in (0.0, 1.0) else f"{value:.4f}"
    return str(value)
