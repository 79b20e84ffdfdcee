"""What is kept of a trial that raised: the whole traceback, in ``failures/0003.txt``."""

from __future__ import annotations

import traceback
from contextlib import suppress
from pathlib import Path

from optuna.trial import BaseTrial


def describe_failure(trial: BaseTrial, error: BaseException) -> str:
    """Returns the message that ends a search, traceback included."""
    return f"trial {trial.number} raised, and would again:\n{_render(error)}"


def write_failure(out: Path | None, trial: BaseTrial, error: BaseException) -> None:
    """Writes the traceback and the parameters of a trial that raised.

    Args:
        out: The folder of the search; nothing is written without one.
        trial: The trial.
        error: What it raised.
    """
    if out is None:
        return
    path = out / "failures" / f"{trial.number:04d}.txt"
    # A disk that is full is perhaps what it raised; the study has the reason as well.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        params = "\n".join(f"{name} = {value!r}" for name, value in trial.params.items())
        path.write_text(f"trial {trial.number}\n{params}\n\n{_render(error)}\n", encoding="utf-8")


def first_line(error: BaseException) -> str:
    """Returns the first line of what an error says.

    Example:
        >>> first_line(ValueError())
        ''
    """
    return (str(error).splitlines() or [""])[0]


def _render(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()
