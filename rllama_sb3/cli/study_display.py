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
from rich.table import Table
from rich.text import Text

from rllama_sb3.cli.console import format_duration, format_number, is_live, say
from rllama_sb3.optimization.first_trials import UNSHAPED_ORIGIN, as_tried, is_unshaped
from rllama_sb3.optimization.study.attributes import EVALUATIONS, FAILURE, INTERRUPTED
from rllama_sb3.optimization.study.owner import describe_owner
from rllama_sb3.optimization.study.progress import n_finished
from rllama_sb3.optimization.study.ranking import best_trial, has_diverged, main_value, state_of

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from rllama_sb3.config import ExperimentConfig
    from rllama_sb3.optimization import SearchSpace

# Lines of the display beside the rows of the table.
_OTHER_LINES: Final = 8
# More of them only where more trials are running.
_MOST_ROWS: Final = 15
# Below it there is no room for what a trial tries, beside what it came to.
_LEAST_WIDTH_OF_VALUES: Final = 80
_LONGEST_CURVE: Final = 20
_SHORT_CURVE: Final = 10
_BARS: Final = "▁▂▃▄▅▆▇█"
_WORTHLESS: Final = ("diverged", "pruned", "fail", "interrupted")
# Parts of a path that say nothing where a value is shown beside it.
_PLAIN_PARTS: Final = ("params", "weight_schedule")


@dataclass(frozen=True)
class TrialRow:
    """One trial, as it is shown.

    Attributes:
        number: Optuna's number of it.
        state: ``complete``, ``diverged``, ``pruned``, ``fail``, ``running``, or ``interrupted``,
            which does not count because it is tried again.
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


def render_trials(rows: Sequence[TrialRow], width: int = _LEAST_WIDTH_OF_VALUES) -> Table:
    """Returns the table of trials.

    Args:
        rows: The trials, one row each.
        width: Columns of the terminal. In a narrow one there are no values, and short curves.
    """
    is_wide = width >= _LEAST_WIDTH_OF_VALUES
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("worker", no_wrap=True)
    table.add_column("env return", justify="right", no_wrap=True)
    table.add_column("curve", no_wrap=True)
    if is_wide:
        # The only column that may be wrapped, so that it is the one that gives way to the others.
        # Its cells are cut off instead.
        table.add_column("values")
    for row in rows:
        state = f"{row.state} ★" if row.is_best else row.state
        style = "bold" if row.is_best else "dim" if row.state in _WORTHLESS else ""
        cells: list[RenderableType] = [
            str(row.number),
            state,
            row.worker,
            format_number(row.value),
            render_curve(row.curve, _LONGEST_CURVE if is_wide else _SHORT_CURVE),
        ]
        if is_wide:
            cells.append(Text(row.params, no_wrap=True, overflow="ellipsis"))
        table.add_row(*cells, style=style)
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
        self._best_number: int | None = None
        # How many trials there were, and had ended, when the two above were read.
        self._read_at: tuple[int, int] | None = None
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
            yield
        finally:
            self._live.stop()
            self._live = None

    def update(self, study: Study) -> None:
        """Shows what the study knows by now."""
        if self._quiet:
            return
        self._read(study)
        if self._live is not None:
            self._live.start()  # only now: of a search that is finished there is nothing to show
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
        known = study.get_trials(deepcopy=False)
        trials = [trial for trial in known if _has_begun(trial)]
        ended = {trial.number for trial in trials if trial.state.is_finished()}
        if self._ended_before is None:
            self._ended_before = ended
            self._said |= ended
        # Each reads all trials from the database again, for which the workers would have to wait.
        if self._read_at != (len(known), len(ended)):
            best = best_trial(study)
            self._best_number = None if best is None else best.number
            self._n_counted = n_finished(study)
            self._read_at = len(known), len(ended)
        self._rows = [
            replace(row, is_best=True) if row.number == self._best_number else row
            for row in map(self._row_of, trials)
        ]

    def _row_of(self, trial: FrozenTrial) -> TrialRow:
        if trial.number in self._ended:
            return self._ended[trial.number]
        row = TrialRow(
            number=trial.number,
            state=_state(trial),
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
        values = () if has_diverged(trial) else trial.values or ()
        measured = zip(self._objectives, values[1:], strict=False)
        parts = [f"{name} {format_number(value)}" for name, value in measured]
        parts += [UNSHAPED_ORIGIN] if is_unshaped(trial) else []
        reason = trial.user_attrs.get(FAILURE)
        if trial.state.name == "FAIL" and reason not in (None, _state(trial)):
            parts.insert(0, f"({reason})")
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
        # The cursor is left on a line of its own: what a terminal echoes, such as ^C, would go on
        # to another line behind one that is full, and the next frame come out a line too low.
        table = render_trials(self._shown_rows(), self._console.width) if self._rows else Text()
        return Group(Text(self._head()), Text(), table, Text())

    def _head(self) -> str:
        n_running = sum(row.state == "running" for row in self._rows)
        best, left = self._best(), self.seconds_left
        parts = [f"{self._n_counted}/{self._n_trials} trials"]
        parts.append(f"{n_running} running" if self._rows else "workers are starting")
        if best is not None:
            parts.append(f"best so far {format_number(best.value)} (trial {best.number})")
        if left and n_running:
            parts.append(f"about {format_duration(left)} left")
        return "  ".join(parts)

    def _shown_rows(self) -> list[TrialRow]:
        """Returns what there is room for: who is running, the best trial, and the latest ones."""
        running = [row for row in self._rows if row.state == "running"]
        ended = [row for row in self._rows if row.state != "running"]
        room = max(self._console.height - _OTHER_LINES, 3)
        room = min(room, max(len(running) + 1, _MOST_ROWS))
        shown = ended[-max(room - len(running), 1) :]
        best = self._best()
        if best is not None and best not in shown:
            shown[0] = best
        return [*shown, *running[: room - len(shown)]]


def _has_begun(trial: FrozenTrial) -> bool:
    return trial.state.name != "WAITING"


def _state(trial: FrozenTrial) -> str:
    is_repeated = trial.state.name == "FAIL" and trial.user_attrs.get(INTERRUPTED)
    return "interrupted" if is_repeated else state_of(trial)


def _curve(trial: FrozenTrial) -> tuple[float, ...]:
    values = trial.intermediate_values
    if values:
        return tuple(values[step] for step in sorted(values))
    # Nothing is reported to a study of several objectives, which has no pruner.
    curves = trial.user_attrs.get(EVALUATIONS, ())
    return tuple(value for curve in curves for _, value in curve)


def render_curve(values: Sequence[float], longest: int = _LONGEST_CURVE) -> str:
    """Returns a learning curve as a line of bars, from its least value to its greatest.

    Args:
        values: The evaluations; of many the latest are shown.
        longest: How many.

    Example:
        >>> render_curve([0.0, 5.0, 10.0])
        '▁▅█'
    """
    finite = [value for value in values[-longest:] if math.isfinite(value)]
    if not finite:
        return ""
    low, span = min(finite), max(finite) - min(finite)
    top = len(_BARS) - 1
    return "".join(_BARS[round((v - low) / span * top) if span else 0] for v in finite)


def _shown_value(trial: FrozenTrial) -> float | None:
    if has_diverged(trial):
        return None  # What the sampler is told is no env return.
    if trial.state.name == "COMPLETE":
        return main_value(trial)
    # The last that was reported says why the pruner stopped it.
    curve = _curve(trial)
    return curve[-1] if curve else None


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
