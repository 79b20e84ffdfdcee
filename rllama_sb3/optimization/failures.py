"""What is kept of a trial that failed, in ``failures/0003.txt``: its values, and all that is known.

Of one that raised that is the traceback; of one whose worker was ended, what its log says last; of
any other the reason that ``trials.csv`` gives too.
"""

from __future__ import annotations

import errno
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Final

import torch
from optuna.trial import BaseTrial, FrozenTrial

from rllama_sb3.errors import causes_of

# What torch raises is a RuntimeError like any other.
_TORCH_WORDS: Final = "can't allocate memory"


def describe_failure(trial: BaseTrial, error: BaseException) -> str:
    """Returns the message that ends a search, traceback included."""
    return f"trial {trial.number} raised, and would again:\n{render_error(error)}"


def failure_file(out: Path, number: int) -> Path:
    """Returns where it is kept why a trial failed.

    Example:
        >>> failure_file(Path("out"), 3).as_posix()
        'out/failures/0003.txt'
    """
    return out / "failures" / f"{number:04d}.txt"


def write_failure(out: Path | None, trial: BaseTrial | FrozenTrial, what: str) -> None:
    """Writes down why a trial failed.

    Args:
        out: The folder of the search; nothing is written without one.
        trial: The trial.
        what: What is known.
    """
    if out is None:
        return
    path = failure_file(out, trial.number)
    params = "\n".join(f"{name} = {value!r}" for name, value in trial.params.items())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"trial {trial.number}\n{params}\n\n{what}\n", encoding="utf-8")
    except OSError:
        # The disk is perhaps full. The study has the reason, which is written when there is room.
        with suppress(OSError):
            path.unlink(missing_ok=True)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error comes of too little memory, whatever it was turned into since.

    Example:
        >>> ran_out_of_memory(MemoryError()), ran_out_of_memory(ValueError())
        (True, False)
    """
    return any(
        isinstance(cause, MemoryError | torch.OutOfMemoryError)
        or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
        or (isinstance(cause, RuntimeError) and _TORCH_WORDS in str(cause))
        for cause in causes_of(error)
    )


def render_error(error: BaseException) -> str:
    """Returns the traceback of an error, with those of its causes."""
    return "".join(traceback.format_exception(error)).rstrip()
