"""The application: how its errors reach the user, and with which exit code."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from rllama_sb3 import __version__
from rllama_sb3.disk import why_not_written
from rllama_sb3.errors import ConfigError, MissingExtraError, RllamaError

FAILED: Final = 1
BAD_INPUT: Final = 2
INTERRUPTED: Final = 130


class _Group(TyperGroup):
    """Turns what a command raises into a message and an exit code.

    An error that nobody planned keeps its traceback, which is what a report of it needs.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            with _short_warnings(), _ended_like_ctrl_c():
                return super().invoke(ctx)
        except ConfigError as error:
            for problem in error.problems:
                typer.echo(str(problem), err=True)
            raise typer.Exit(BAD_INPUT) from None
        except RllamaError as error:
            typer.echo(str(error), err=True)
            # What is not installed is asked for by the input, and nothing has started.
            code = BAD_INPUT if isinstance(error, MissingExtraError) else FAILED
            raise typer.Exit(code) from None
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            reason = why_not_written(error)
            if reason is None:
                raise
            remedy = "Make room, and give the same command again: what `tune` and `compare` have "
            typer.echo(f"the disk cannot be written: {reason}. {remedy}finished is kept.", err=True)
            raise typer.Exit(FAILED) from None


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Lets what else asks a process to end do so: `kill`, Slurm, a terminal that is closed."""
    # One that is ignored already is so by the wish of the user: nohup.
    taken = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) == signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        taken = []  # signals are not for others to take
    for number in taken:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Shows warnings that are meant for the user without the place in the code they come from."""
    usual = warnings.formatwarning

    def format_warning(
        message: Warning | str, category: type[Warning], *place: Any, **more: Any
    ) -> str:
        if issubclass(category, UserWarning):
            return f"warning: {message}\n"
        return usual(message, category, *place, **more)

    warnings.formatwarning = format_warning
    try:
        yield
    finally:
        warnings.formatwarning = usual


app = typer.Typer(
    cls=_Group,
    help="Reward engineering for Stable-Baselines3: compose, schedule, shape and tune rewards.",
    epilog="Start with: rllama-sb3 init CartPole-v1",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # formatting the help by rich takes longer than all the rest of it
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rllama-sb3 {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None: ...
