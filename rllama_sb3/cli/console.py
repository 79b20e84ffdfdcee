"""Where output goes: rich displays to a terminal, plain lines to anything else."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from rich.console import Console

_PLAIN_WIDTH: Final = 120


def get_console() -> Console:
    """Returns the console of standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        # A file has no width, and a table there should not be cut to that of a small terminal.
        console = Console(highlight=False, width=_PLAIN_WIDTH, color_system=None)
    return console


def is_live(console: Console) -> bool:
    """Whether a display can be redrawn in place."""
    return console.is_terminal and not console.is_dumb_terminal


def say(console: Console, *lines: str) -> None:
    """Prints lines as they are: not wrapped, so that paths can be copied."""
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)


def shell_line(program: str, *words: str | Path) -> str:
    """Returns a command that can be pasted into a shell.

    A program of this environment that is not on the PATH is named by its file.

    Example:
        >>> shell_line("ls", "my runs")
        "ls 'my runs'"
    """
    if shutil.which(program) is None:
        own = Path(sys.executable).parent / program
        here = Path.cwd()
        if own.exists():
            program = str(own.relative_to(here) if own.is_relative_to(here) else own)
    return shlex.join([program, *map(str, words)])


def say_pairs(console: Console, title: str, pairs: Iterable[tuple[str, str]]) -> None:
    """Prints a title, and below it pairs in two columns."""
    known = list(pairs)
    width = max((len(key) for key, _ in known), default=0)
    say(console, title, *(f"  {key:<{width}}  {value}" for key, value in known))


def format_duration(seconds: float) -> str:
    """Returns a duration in minutes and seconds, or in hours and minutes.

    Example:
        >>> format_duration(5), format_duration(125), format_duration(7_500)
        ('5s', '2m05s', '2h05m')
    """
    whole = round(max(seconds, 0.0))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def format_number(value: float | None) -> str:
    """Returns a return or another score as it is shown in tables.

    Example:
        >>> format_number(-108.456), format_number(0.0123456), format_number(None)
        ('-108.5', '0.0123', '–')
    """
    if value is None or value != value:
        return "–"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"
