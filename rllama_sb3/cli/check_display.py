"""Shows how far a check is, and draws what it found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isnan
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from rllama_sb3.cli.console import format_number, is_live, say

if TYPE_CHECKING:
    from rllama_sb3.analysis.agreement import Agreement
    from rllama_sb3.analysis.check import CheckReport
    from rllama_sb3.analysis.effects import ComponentReport, ComponentValues
    from rllama_sb3.analysis.episodes import Actor, Episodes


class CheckDisplay:
    """What the user sees while episodes are rolled: a bar in a terminal, nothing else.

    Args:
        console: Where.
        n_episodes: How many episodes there are of each kind.
    """

    def __init__(self, console: Console, n_episodes: int) -> None:
        self._console, self._n_episodes = console, n_episodes
        self._bar: Progress | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the bar, where there is a terminal, until the block is left."""
        if not is_live(self._console):
            yield
            return
        self._bar = Progress(
            TextColumn("{task.description} episodes"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            console=self._console,
            transient=True,
        )
        self._bar.add_task("random", total=self._n_episodes)
        try:
            with self._bar:
                yield
        finally:
            self._bar = None

    def update(self, actor: Actor, n_episodes: int) -> None:
        """Shows that so many episodes have ended."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=n_episodes, description=actor)


def show_report(console: Console, report: CheckReport) -> None:
    """Prints a report: tables, what agrees and what does not, findings, and the verdict."""
    if report.components:
        console.print(render_components(report.components), markup=False)
    for episodes in (report.random, report.trained):
        if episodes is None:
            continue
        say(console, "")
        if report.components and episodes.values:
            console.print(render_values(report.components, episodes), markup=False)
        else:
            say(console, describe_episodes(episodes))
        say(
            console,
            *(describe_agreement(a) for a in report.agreements if a.actor == episodes.actor),
        )
    say(console, "", *_describe_learner(report))
    say(console, "", *map(str, report.findings), describe_verdict(report))


def render_components(components: Sequence[ComponentReport]) -> Table:
    """Returns the table of what the components weigh, and what they do to the task."""
    table = Table(title="Reward", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("component", overflow="fold")
    table.add_column("class", overflow="fold")
    for heading in ("weight", "at end", "settles"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("what it does", overflow="fold")
    for component in components:
        table.add_row(
            component.name,
            component.class_name,
            format_number(component.initial_weight),
            format_number(component.final_weight),
            _describe_end(component.end_step),
            describe_effect(component),
        )
    return table


def render_values(components: Sequence[ComponentReport], episodes: Episodes) -> Table:
    """Returns the table of what the components gave in some episodes."""
    title = describe_episodes(episodes)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("component", overflow="fold")
    for heading in ("min", "mean", "max", "fires", "share", "at end"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("", overflow="fold")
    for component in components:
        values: ComponentValues | None = getattr(component, episodes.actor)
        if values is None:
            continue
        table.add_row(
            component.name,
            format_number(values.low),
            format_number(values.mean),
            format_number(values.high),
            format_share(values.fired),
            format_share(values.share_now),
            format_share(values.share_end),
            "never fired" if values.fired == 0 else "constant" if values.is_constant else "",
        )
    return table


def describe_effect(component: ComponentReport) -> str:
    """Returns in words what a component does to the optimal policy, why, and until when."""
    text = str(component.effect)
    if component.until is not None:
        text += f" until step {component.until:,}"
    return f"{text} ({component.reason})" if component.reason else text


def describe_episodes(episodes: Episodes) -> str:
    """Returns how many episodes there were, how long, and what they were worth."""
    text = f"Raw values in {episodes.describe()}"
    if episodes.failure:
        text += " and a part of one"
    if not len(episodes):
        return text
    low, high = min(episodes.env_returns), max(episodes.env_returns)
    return (
        f"{text}, {sum(episodes.lengths):,} steps, "
        f"env return {format_number(low)} to {format_number(high)}"
    )


def describe_verdict(report: CheckReport) -> str:
    """Returns how many problems and warnings there are, as a sentence."""
    counts = {
        severity: sum(finding.severity == severity for finding in report.findings)
        for severity in ("problem", "warning")
    }
    told = [
        f"{count or 'no'} {severity}{'' if count == 1 else 's'}"
        for severity, count in counts.items()
    ]
    sentence = ", ".join(told) + "."
    return sentence[0].upper() + sentence[1:]


def format_share(share: float) -> str:
    """Returns a share as a percentage.

    Example:
        >>> format_share(0.25), format_share(0.0004), format_share(0.0), format_share(float("nan"))
        ('25 %', '<0.1 %', '0 %', '–')
    """
    if isnan(share):
        return "–"
    return "<0.1 %" if 0.0 < share < 0.001 else f"{100 * share:.3g} %"


def describe_agreement(agreement: Agreement) -> str:
    """Returns the rank correlation of the returns as a sentence, or why there is none."""
    text = (
        "Rank correlation of shaped return (without potentials) and env return, weights at the "
        f"{agreement.moment}: "
    )
    if agreement.reason:
        return f"{text}none, {agreement.reason}"
    return f"{text}{agreement.value:.2f}" + (" (they disagree)" if agreement.disagrees else "")


def _describe_end(end_step: int | None) -> str:
    if end_step is None:
        return "never"
    return f"{end_step:,}" if end_step else "constant"


def _describe_learner(report: CheckReport) -> list[str]:
    names: dict[float, list[str]] = {}
    for discount in report.discounts:
        names.setdefault(discount.gamma, []).append(discount.name)
    gammas = "; ".join(f"{gamma:g} of {', '.join(whose)}" for gamma, whose in names.items())
    future = "estimated" if report.bootstraps_truncated else "not estimated"
    checks = ", ".join(f"{name} {outcome}" for name, outcome in report.env_checks.items())
    return [
        f"γ: {gammas or 'none'}. The future of truncated episodes is {future}.",
        f"check_env: {checks}.",
    ]
