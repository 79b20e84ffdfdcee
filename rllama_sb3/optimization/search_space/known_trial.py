"""Asks the leaves of a search space what they suggest, without a study."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial, FixedTrial


class NotSuggestedError(Exception):
    """A trial of the past was never asked for this parameter."""


class KnownTrial(FixedTrial):
    """A trial that gives known values, be they in range or not, and records what it was asked.

    Args:
        params: The values by parameter name.
        number: Number of the trial that had them.
        guess: Give the first possible value where none is known, instead of raising
            :class:`NotSuggestedError`.
    """

    def __init__(self, params: Mapping[str, Any], number: int = 0, *, guess: bool = False) -> None:
        self._known = dict(params)
        self._guess = guess
        super().__init__(self._known, number)

    def suggest_float(
        self,
        name: str,
        low: float,
        high: float,
        *,
        step: float | None = None,
        log: bool = False,
    ) -> float:
        """As of any trial."""
        with self._answering(name, low):
            return super().suggest_float(name, low, high, step=step, log=log)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """As of any trial."""
        with self._answering(name, low):
            return super().suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """As of any trial."""
        with self._answering(name, choices[0] if choices else None):
            return super().suggest_categorical(name, choices)

    def _answering(self, name: str, first: Any) -> warnings.catch_warnings[None]:
        if name not in self._known:
            if not self._guess:
                raise NotSuggestedError(name)
            self._known[name] = first
        # What is known was in use, out of range or not: the user was told at the time.
        return warnings.catch_warnings(action="ignore")


def probe(suggest: Callable[[BaseTrial], Any]) -> dict[str, BaseDistribution] | None:
    """Returns what a callable asks of a trial, or None where it wants a real one."""
    trial = KnownTrial({}, guess=True)
    try:
        suggest(trial)
    except Exception:  # Whatever it raises, it will raise again in the first trial, and be seen.
        return None
    return trial.distributions


def lies_outside(value: Any, distribution: BaseDistribution) -> bool:
    """Whether a value is beyond the ends of a range."""
    if isinstance(distribution, FloatDistribution | IntDistribution):
        return not distribution.low <= value <= distribution.high
    return False
