"""What a check of an experiment has to say, one sentence for each thing found."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["problem", "warning", "note"]

# Gymnasium colours its warnings, and puts this in front of them.
_COLOUR: Final = re.compile(r"\x1b\[[\d;]*m")
_PREFIX: Final = "WARN: "
_NUMBER: Final = re.compile(r"\d+")


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        severity: A ``problem`` is wrong, and makes the check fail; a ``warning`` is most likely not
            what was meant; a ``note`` is good to know.
        where: Dotted keys of the experiment that it is about.
        text: One or more sentences.

    Example:
        >>> print(Finding("warning", "reward_shaping.goal", "It never fired."))
        warning: reward_shaping.goal: It never fired.
    """

    severity: Severity
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.text}"


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collects what code in the block warns of, instead of showing it.

    Yields:
        A list that has each different message once, as one line, when the block is left. Messages
        that differ in their numbers only are one.
    """
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            yield messages
        finally:
            # Some warn at every step, and say at which.
            told = {_NUMBER.sub("#", text): text for text in map(_render, reversed(caught))}
            messages += reversed(told.values())


def _render(warning: warnings.WarningMessage) -> str:
    text = " ".join(_COLOUR.sub("", str(warning.message)).split()).removeprefix(_PREFIX)
    is_advice = issubclass(warning.category, UserWarning)
    return text if is_advice else f"{warning.category.__name__}: {text}"
