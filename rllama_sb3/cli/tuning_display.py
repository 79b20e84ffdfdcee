"""Shows a search while it runs: a live table in a terminal, a line for each trial else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from optuna.trial import BaseTrial, FrozenTrial, Trial, TrialState
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rllama_sb3.cli.console import format_duration, format_number, is_live, say
from rllama_sb3.cli.training_display import render_progress

if TYPE_CHECKING:
    from optuna.study import Study

    from rllama_sb3.callbacks import Evaluation
    from rllama_sb3.callbacks.progress import TrainingProgress
    from rllama_sb3.config.models import TuningConfig

_N_SHOWN: Final = 12
# Keys that lead to a value without telling which it is.
_SILENT_KEYS: Final = frozenset({"reward_shaping", "weight_schedule", "algorithm", "params"})


def name_values(fragment: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns the values of a nested fragment by short names.

    Example:
        >>> name_values({"reward_shaping": {"height": {"weight_schedule": {"initial_weight": 3}}},
        ...              "algorithm": {"params": {"gamma": 0.9}}})
        {'height.initial_weight': 3, 'gamma': 0.9}
    """
    named: dict[str, Any] = {}
    for key, value in fragment.items():
        if isinstance(value, Mapping):
            named |= name_values(value, (*path, key))
        else:
            named[".".join([*(k for k in path if k not in _SILENT_KEYS), key])] = value
    return named


def render_values(fragment: Mapping[str, Any]) -> str:
    """Returns the values of a trial in a line.

    Example:
        >>> render_values({"algorithm": {"params": {"gamma": 0.98765, "policy": "Mlp"}}})
        'gamma=0.9877 policy=Mlp'
    """
    return " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in name_values(fragment).items()
    )


class TuningDisplay:
    """What the user sees of a search.

    Args:
        console: Where.
        tuning: How many trials there will be, and how many seeds each has.
        progress: The state of the training that runs.

    Attributes:
        values_of: Returns the values of a trial as a nested fragment of the config.
    """

    def __init__(self, console: Console, tuning: TuningConfig, progress: TrainingProgress) -> None:
        self.values_of: Callable[[FrozenTrial], Mapping[str, Any]] = lambda trial: trial.params
        self._console, self._tuning, self._progress = console, tuning, progress
        self._study: Study | None = None
        self._running: int | None = None
        self._curve: list[float] = []
        self._seconds: list[float] = []
        self._started = time.monotonic()
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the table, where there is a terminal, until the block is left."""
        if not is_live(self._console):
            yield
            return
        # Redrawn when there is news: a thread of rich's own would take turns with the training.
        with Live(self._render(), console=self._console, auto_refresh=False) as self._live:
            yield
            self._live.update(self._render(), refresh=True)
        self._live = None

    def start_trial(self, trial: Trial) -> None:
        """Shows a trial as running."""
        self._study, self._running = trial.study, trial.number
        self._started, self._curve = time.monotonic(), []
        self._redraw()

    def update(self, progress: TrainingProgress) -> None:
        """Shows how far the running trial is."""
        self._redraw()

    def show_evaluation(self, trial: BaseTrial, evaluation: Evaluation) -> None:
        """Adds a point to the running trial's learning curve."""
        self._curve.append(evaluation.mean)
        self._redraw()

    def end_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Shows how a trial ended."""
        self._study, self._running = study, None
        self._seconds.append(time.monotonic() - self._started)
        if self._live is None:
            n_trials = self._tuning.n_trials
            say(
                self._console,
                f"trial {trial.number} ({self._n_ended()}/{n_trials}) {trial.state.name.lower()}: "
                f"{format_number(_value_of(trial))}  {self._render_best()}  "
                f"{render_values(self.values_of(trial))}  {self._render_left()}",
            )
        self._redraw()

    def say_result(self) -> None:
        """Says how the search ended, in a line that stays."""
        if self._seconds:
            say(self._console, f"{self._n_ended()} trials; {self._render_best()}.")
        else:
            say(self._console, "The study is complete: raise n_trials for more of it.")

    def _redraw(self) -> None:
        if self._live is not None:
            self._live.update(self._render(), refresh=True)

    def _render(self) -> Group:
        table = Table(box=box.SIMPLE_HEAD, title_justify="left")
        for heading in ("trial", "state", "value", "best so far"):
            table.add_column(heading, justify="left" if heading == "state" else "right")
        table.add_column("values", overflow="fold", ratio=1)
        best: float | None = None
        rows = []
        for trial in self._trials():
            value = _value_of(trial)
            if trial.state == TrialState.COMPLETE and value is not None:
                best = value if best is None else max(best, value)
            if trial.state.is_finished():
                rows.append((trial, value, best))
        for trial, value, so_far in rows[-_N_SHOWN:]:
            is_best = trial.state == TrialState.COMPLETE and value == best
            table.add_row(
                str(trial.number),
                trial.state.name.lower(),
                format_number(value),
                format_number(so_far),
                render_values(self.values_of(trial)),
                style="bold" if is_best else "dim" if value is None else "",
            )
        return Group(table, Text(self._render_running()), Text(self._render_left()))

    def _render_running(self) -> str:
        if self._running is None:
            return ""
        curve = " ".join(format_number(value) for value in self._curve)
        return f"trial {self._running}: {render_progress(self._progress)}  evaluations: {curve}"

    def _render_best(self) -> str:
        complete = [trial for trial in self._trials() if trial.state == TrialState.COMPLETE]
        if not complete:
            return "no value yet"
        best = max(complete, key=lambda trial: trial.value or 0.0)
        return f"best {format_number(best.value)} (trial {best.number})"

    def _render_left(self) -> str:
        n_left = self._tuning.n_trials - self._n_ended()
        if not self._seconds or n_left <= 0:
            return ""
        seconds = sum(self._seconds) / len(self._seconds) * n_left
        if self._running is not None:
            seconds -= time.monotonic() - self._started
        return f"{n_left} trials and about {format_duration(seconds)} left"

    def _n_ended(self) -> int:
        from rllama_sb3.optimization.study import n_finished

        return 0 if self._study is None else n_finished(self._study)

    def _trials(self) -> list[FrozenTrial]:
        return [] if self._study is None else self._study.get_trials(deepcopy=False)


def _value_of(trial: FrozenTrial) -> float | None:
    if trial.state == TrialState.COMPLETE:
        return trial.value
    # A pruned trial has no value, but it was seen how it did.
    last = trial.last_step
    return None if last is None else trial.intermediate_values[last]
