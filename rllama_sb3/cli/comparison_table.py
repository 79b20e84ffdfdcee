"""Draws a comparison, and says in a sentence what it shows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from rllama_sb3.cli.console import format_number

if TYPE_CHECKING:
    from rllama_sb3.analysis import Comparison, ComparisonRow, Interval


def render_comparison(comparison: Comparison) -> Table:
    """Returns the table of a comparison: one row for each config, by env return."""
    n_seeds = len(comparison.base.seeds)
    seeds = "seed" if n_seeds == 1 else "seeds"
    measure = "IQM" if comparison.uses_iqm else "mean"
    table = Table(
        title=f"Env return on {n_seeds} test {seeds}, which no search has seen",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("config", overflow="fold")
    for heading in (measure, "95 % interval", "each seed", f"P(beats {comparison.base.name})"):
        table.add_column(heading, justify="right", overflow="fold")
    for row in comparison.rows:
        style = "bold" if row is comparison.best and not row.n_diverged else ""
        table.add_row(
            row.name,
            format_number(row.iqm),
            render_interval(row.interval),
            " ".join(format_return(value) for value in _worst_first(row.env_returns)),
            format_number(row.probability_of_improvement),
            style=style,
        )
    return table


def format_return(value: float | None) -> str:
    """Returns the env return of a test run as text; NaN is one that diverged."""
    return "diverged" if value is not None and math.isnan(value) else format_number(value)


def _worst_first(env_returns: Iterable[float]) -> list[float]:
    return sorted(env_returns, key=lambda value: -math.inf if math.isnan(value) else value)


def render_interval(interval: Interval) -> str:
    """Returns an interval as text."""
    if interval.low != interval.low:
        return "–"
    return f"[{format_number(interval.low)}, {format_number(interval.high)}]"


def describe_winner(comparison: Comparison) -> str:
    """Says which config is best and by how much, or that none can be told from the base."""
    sentences = [] if comparison.best.n_diverged else [_describe_best(comparison)]
    sentences += [
        f"{row.name} diverged on {row.n_diverged} of {len(row.seeds)} test seeds."
        for row in comparison.rows
        if row.n_diverged
    ]
    return " ".join(sentences)


def _describe_best(comparison: Comparison) -> str:
    base, best = comparison.base, comparison.best
    if len(comparison.rows) == 1 or base.n_diverged:
        return f"{best.name}: {format_number(best.iqm)} {render_interval(best.interval)}."
    if best is base:
        return f"No config did better than {base.name}."
    return _describe_difference(base, best)


def _describe_difference(base: ComparisonRow, best: ComparisonRow) -> str:
    low, _ = best.difference_interval
    gain = f"{format_number(best.difference)} above {base.name}"
    interval = f"95 % interval of the difference {render_interval(best.difference_interval)}"
    if low > 0:
        return f"{best.name} wins: {gain} ({interval})."
    if low != low:
        return (
            f"{best.name} is {gain}, on one seed each, which says nothing about other seeds. "
            "Use more seeds."
        )
    return (
        f"{best.name} is {gain}, but the difference may be chance ({interval}). "
        "More seeds would tell."
    )
