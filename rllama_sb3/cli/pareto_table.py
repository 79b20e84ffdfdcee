"""The trials of a Pareto front, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from rllama_sb3.cli.console import format_number

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def render_front(trials: Sequence[FrozenTrial], objectives: Sequence[str]) -> Table:
    """Returns the table of the trials that no other one beats in all objectives.

    Args:
        trials: In the order of their env returns.
        objectives: Names of those beside the env return.
    """
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("trial", "env return", *objectives):
        table.add_column(heading, justify="right")
    for trial in trials:
        table.add_row(str(trial.number), *map(format_number, trial.values))
    return table
