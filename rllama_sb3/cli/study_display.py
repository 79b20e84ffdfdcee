"""Shows a search while it runs: a table in a terminal, a line for each trial else."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rllama_sb3.cli.console import format_duration, format_number, is_live, say
from rllama_sb3.optimization.first_trials import UNSHAPED_ORIGIN, as_tried, is_unshaped
from rllama_sb3.optimization.owner import describe_owner
from rllama_sb3.optimization.progress import n_finished
from rllama_sb3.optimization.study import best_trial, main_value

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from rllama_sb3.config import ExperimentConfig
    from rllama_sb3.optimization import SearchSpace

# Lines of the display beside the rows of the table.
_OTHER_LINES: Final = 8
_MOST_ROWS: Final = 15
_LONGEST_CURVE: Final = 20
_BARS: Final = "▁▂▃▄▅▆▇█"
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
        worker: Who runs it, or ran it.
        curve: Its evaluations so far.
    """

    number: int
    state: str
    value: float | None
    params: str
    is_best: bool = False
    worker: str = ""
    curve: tuple[float, ...] = ()


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
    table.add_column("worker")
    table.add_column("env return", justify="right")
    table.add_column("curve", no_wrap=True)
    table.add_column("values", no_wrap=True, overflow="ellipsis")
    for row in rows:
        state = f"{row.state} ★" if row.is_best else row.state
        style = "bold" if row.is_best else "dim" if row.state in ("pruned", "fail") else ""
        table.add_row(
            str(row.number),
            state,
            row.worker,
            format_number(row.value),
            render_curve(row.curve),
            escape(row.params),
            style=style,
        )
    return table


class StudyDisplay:
    """What the user sees of a search, as far as the study knows of it: all workers, on any machine.

    Args:
        console: Where.
        experiment: What is searched.
        quiet: Show nothing.
    """

    def __init__(self, console: Console, experiment: ExperimentConfig, *, quiet: bool) -> None:
        self._console, self._quiet = console, quiet
        self._n_trials = experiment.tuning.n_trials
        self._objectives = tuple(experiment.tuning.objectives)
        self._space: SearchSpace | None = None
        self._rows: list[TrialRow] = []
        # Of trials that have ended, which do not change: to describe thousands takes long.
        self._ended: dict[int, TrialRow] = {}
        self._n_counted = 0
        # Trials that had ended before, and those whose end was said.
        self._ended_before: set[int] | None = None
        self._said: set[int] = set()
        self._started = time.monotonic()
        self._live: Live | None = None

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
        # Redrawn when there is news, not by a thread of rich's own.
        self._live = Live(console=self._console, auto_refresh=False)
        try:
            with self._live:
                yield
        finally:
            self._live = None

    def update(self, study: Study) -> None:
        """Shows what the study knows by now."""
        if self._quiet:
            return
        self._read(study)
        if self._live is not None:
            self._live.update(self._render(), refresh=True)
            return
        for row in self._rows:
            if row.state != "running" and row.number not in self._said:
                self._said.add(row.number)
                self._say(row)

    @property
    def seconds_left(self) -> float | None:
        """Estimated time until the last trial has ended, from those that ended meanwhile."""
        n_ended_here = sum(row.state != "running" for row in self._rows)
        n_ended_here -= len(self._ended_before or ())
        if n_ended_here <= 0:
            return None
        seconds = (time.monotonic() - self._started) / n_ended_here
        return seconds * max(self._n_trials - self._n_counted, 0)

    def _read(self, study: Study) -> None:
        trials = [trial for trial in study.get_trials(deepcopy=False) if _has_begun(trial)]
        if self._ended_before is None:
            self._ended_before = {t.number for t in trials if t.state.is_finished()}
            self._said |= self._ended_before
        self._n_counted = n_finished(study)
        best = best_trial(study)
        self._rows = [
            replace(row, is_best=True) if best is not None and row.number == best.number else row
            for row in map(self._row_of, trials)
        ]

    def _row_of(self, trial: FrozenTrial) -> TrialRow:
        if trial.number in self._ended:
            return self._ended[trial.number]
        row = TrialRow(
            number=trial.number,
            state=trial.state.name.lower(),
            value=_shown_value(trial),
            params=self._describe(trial),
            worker=describe_owner(trial),
            curve=_curve(trial),
        )
        if trial.state.is_finished():
            self._ended[trial.number] = row
        return row

    def _describe(self, trial: FrozenTrial) -> str:
        if self._space is None:
            return ""
        text = render_params(as_tried(trial, self._space.replay(trial.params, trial.number)))
        measured = zip(self._objectives, (trial.values or ())[1:], strict=False)
        parts = [f"{name} {format_number(value)}" for name, value in measured]
        parts += [UNSHAPED_ORIGIN] if is_unshaped(trial) else []
        return " ".join([*parts, text])

    def _best(self) -> TrialRow | None:
        return next((row for row in self._rows if row.is_best), None)

    def _say(self, row: TrialRow) -> None:
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

    def _render(self) -> RenderableType:
        n_rows = min(max(self._console.height - _OTHER_LINES, 3), _MOST_ROWS)
        running = [row for row in self._rows if row.state == "running"]
        ended = [row for row in self._rows if row.state != "running"]
        shown = [*ended[-max(n_rows - len(running), 0) :], *running][-n_rows:]
        best = self._best()
        if best is not None and best not in shown:
            shown = [best, *shown[1:]]
        left = self.seconds_left
        head = [f"{self._n_counted}/{self._n_trials} trials", f"{len(running)} running"]
        if best is not None:
            head.append(f"best so far {format_number(best.value)} (trial {best.number})")
        head.append(f"about {format_duration(left)} left" if left is not None else "")
        return Group(Text("  ".join(head)), render_trials(shown))


def _has_begun(trial: FrozenTrial) -> bool:
    return trial.state.name != "WAITING"


def _curve(trial: FrozenTrial) -> tuple[float, ...]:
    values = trial.intermediate_values
    return tuple(values[step] for step in sorted(values))


def render_curve(values: Sequence[float]) -> str:
    """Returns a learning curve as a line of bars, from its least value to its greatest.

    Example:
        >>> render_curve([0.0, 5.0, 10.0])
        '▁▅█'
    """
    finite = [value for value in values[-_LONGEST_CURVE:] if math.isfinite(value)]
    if not finite:
        return ""
    low, span = min(finite), max(finite) - min(finite)
    top = len(_BARS) - 1
    return "".join(_BARS[round((v - low) / span * top) if span else 0] for v in finite)


def _shown_value(trial: FrozenTrial) -> float | None:
    if trial.state.name == "COMPLETE":
        return main_value(trial)
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
