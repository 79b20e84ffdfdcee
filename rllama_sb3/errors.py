"""What can go wrong, in words that a user can act on.

Every message about user input has one form::

    <file:line>: <dotted.path>: <rule>, but got <value>. <what to do>.

A :class:`Problem` is one such sentence in parts, so that checks can be run without knowing which
file the data came from, and the file and line added by whoever read it. A :class:`ConfigError`
carries all problems of one piece of input, not the first alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

Path = tuple[str | int, ...]


class _NoValue:
    """Marks a problem that has no offending value to show, such as a missing key."""

    def __repr__(self) -> str:
        return "<no value>"

    def __reduce__(self) -> str:
        return "NO_VALUE"


NO_VALUE: Final = _NoValue()
_LONGEST_VALUE: Final = 120


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with user input.

    Attributes:
        path: Keys from the root of the experiment to the offending value; may be empty.
        rule: What must hold, without a full stop: ``"must be greater than 0"``.
        value: What was found instead, shown by its ``repr``; ``NO_VALUE`` shows nothing.
        remedy: What to do, as a sentence; may be empty.
        location: ``"file.yaml:12"``, or empty for data that came from Python.

    Example:
        >>> print(Problem(("training", "seed"), "must be at least 0", -1, "Use 0 or more."))
        training.seed: must be at least 0, but got -1. Use 0 or more.
    """

    path: Path
    rule: str
    value: Any = NO_VALUE
    remedy: str = ""
    location: str = ""

    def __str__(self) -> str:
        where = [part for part in (self.location, format_path(self.path)) if part]
        sentence = self.rule
        if self.value is not NO_VALUE:
            sentence += f", but got {_shorten(repr(self.value))}"
        remedy = f" {self.remedy}" if self.remedy else ""
        return ": ".join([*where, sentence]) + "." + remedy

    def at(self, location: str) -> Problem:
        """Returns the same problem, found at ``location``."""
        return replace(self, location=location)

    def below(self, prefix: Path) -> Problem:
        """Returns the same problem with ``prefix`` in front of its path."""
        return replace(self, path=(*prefix, *self.path))


class RllamaError(Exception):
    """The base class of every error that this package raises on purpose."""


class ConfigError(RllamaError, ValueError):
    """User input that cannot be used; lists every problem found in it.

    Args:
        *problems: What is wrong. A plain string is a problem without a path.

    Raises:
        TypeError: No problem was given.

    Example:
        >>> str(ConfigError(Problem(("env", "id"), "must be a registered environment", "Cart")))
        "env.id: must be a registered environment, but got 'Cart'."
    """

    def __init__(self, *problems: Problem | str) -> None:
        if not problems:
            raise TypeError("ConfigError needs at least one problem")
        self.problems: tuple[Problem, ...] = tuple(
            Problem((), problem.rstrip(".")) if isinstance(problem, str) else problem
            for problem in problems
        )
        # The arguments are what pickle rebuilds the error from, in another process.
        super().__init__(*self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class ComponentError(RllamaError):
    """A reward component raised, or gave a value that is not one finite number."""


class OutOfMemoryError(RllamaError, MemoryError):
    """Memory ran out, here or in a process that was killed for it; something smaller may run."""


class MissingExtraError(RllamaError, ImportError):
    """An optional dependency is not installed.

    Args:
        feature: What the user asked for.
        extra: The extra of this distribution that brings it.
    """

    def __init__(self, feature: str, extra: str) -> None:
        self.feature, self.extra = feature, extra
        super().__init__(feature, extra)

    def __str__(self) -> str:
        return (
            f"{self.feature} needs a package that is not installed. "
            f"Run: pip install 'rllama-sb3[{self.extra}]'"
        )


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and all that its traceback shows before it, the last one first.

    Example:
        >>> error = ValueError("outer")
        >>> error.__cause__ = KeyError("inner")
        >>> [type(cause).__name__ for cause in causes_of(error)]
        ['ValueError', 'KeyError']
    """
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        hidden = cause.__suppress_context__
        cause = cause.__cause__ or (None if hidden else cause.__context__)


def first_line(error: BaseException) -> str:
    """Returns the first line of what an error says.

    Example:
        >>> first_line(ValueError())
        ''
    """
    return (str(error).splitlines() or [""])[0]


def format_path(path: Sequence[str | int]) -> str:
    """Returns the dotted form of a path of keys.

    Example:
        >>> format_path(("env", "wrappers", 0))
        'env.wrappers[0]'
    """
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Returns a remedy that names the nearest known word, or all of them.

    Example:
        >>> did_you_mean("GoalRewrd", ["GoalReward", "StepPenalty"])
        "Did you mean 'GoalReward'?"
        >>> did_you_mean("xyz", ["b", "a"])
        'Known: a, b.'
    """
    names = sorted(known)
    by_folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(str(word).casefold(), by_folded, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {by_folded[close[0]]!r}?"
    return f"Known: {', '.join(names)}." if names else ""


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
