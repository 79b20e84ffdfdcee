"""Asking again what did not answer: a database that is restarted, a network that drops.

A training of hours should not be lost because the database of its study was away for a minute.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from rllama_sb3.errors import RllamaError

_logger: Final = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 300.0
_FIRST_WAIT: Final = 0.25
_LONGEST_WAIT: Final = 5.0

# What Optuna's studies ask of any storage by the same names.
ASKED_OF_ALL: Final = (
    "create_new_study",
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "get_trial_id_from_study_id_trial_number",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "get_trial",
)

T = TypeVar("T")
_Class = TypeVar("_Class", bound=type)


class StorageAwayError(RllamaError, StorageInternalError):
    """The storage of a study has not answered for as long as was waited for it."""


class Patience:
    """How long a storage may be away, and since when it is.

    All calls of one storage share it, so that what was waited for in vain is not waited for again
    by the next call.

    Args:
        is_away: Whether an error says that the storage does not answer; any other is raised.
        seconds: How long to go on asking.

    Example:
        >>> answers = iter([OSError("away"), 7])
        >>> def ask():
        ...     answer = next(answers)
        ...     if isinstance(answer, Exception):
        ...         raise answer
        ...     return answer
        >>> Patience(lambda error: isinstance(error, OSError)).ask(ask)
        7
    """

    def __init__(
        self, is_away: Callable[[Exception], bool], seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._seconds = seconds
        self._is_away = is_away
        self._away_since: float | None = None
        self._hurry = threading.Event()

    def end(self) -> None:
        """Waits for nothing any more: the process is about to end."""
        self._seconds = 0.0
        self._hurry.set()

    def ask(self, question: Callable[[], T]) -> T:
        """Returns the answer, asking again while the storage is away.

        Raises:
            StorageAwayError: It has been for too long.
        """
        began: float | None = None
        wait = _FIRST_WAIT
        while True:
            try:
                answer = question()
            except Exception as error:
                if isinstance(error, StorageAwayError) or not self._is_away(error):
                    raise
                # Another thread may have had an answer meanwhile, to a question of another kind.
                began = began or time.monotonic()
                self._endure(began, error)
                self._hurry.wait(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
            else:
                if self._away_since is not None:
                    _logger.warning("The storage of the study answers again.")
                    self._away_since = None
                return answer

    def _endure(self, began: float, error: Exception) -> None:
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            _logger.warning(
                "The storage of the study does not answer; asking again for %g seconds: %s",
                self._seconds,
                reason_of(error),
            )
        waited = now - min(began, self._away_since)
        if waited >= self._seconds:
            raise StorageAwayError(
                f"the storage of the study has not answered for {waited:.0f} seconds "
                f"({reason_of(error)}). What was finished is kept; the same command continues."
            ) from error


class PatientEnd:
    """How a patient storage ends trials; stands before the storage among the base classes."""

    patience: Patience

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """As of any storage; a trial that was ended so by the first of two attempts is ended."""
        storage: Any = super()
        n_asked = 0

        def ask() -> bool:
            nonlocal n_asked
            n_asked += 1
            answer: bool = storage.set_trial_state_values(trial_id, state, values)
            return answer

        try:
            return self.patience.ask(ask)
        except UpdateFinishedTrialError:
            trial = storage.get_trial(trial_id)
            expected = None if values is None else list(values)
            if n_asked > 1 and (trial.state, trial.values) == (state, expected):
                return True
            raise


def patient(names: Iterable[str]) -> Callable[[_Class], _Class]:
    """Makes methods of a class ask by its attribute ``patience``."""

    def decorate(cls: _Class) -> _Class:
        for name in names:
            setattr(cls, name, _asking(getattr(cls, name)))
        return cls

    return decorate


def end_patience(storage: BaseStorage) -> None:
    """Makes a storage wait for nothing any more, if it is a patient one; see :class:`Patience`."""
    patience = getattr(getattr(storage, "_backend", storage), "patience", None)
    if patience is not None:
        patience.end()


def reason_of(error: BaseException) -> str:
    """Returns the first line of what a database or a server said.

    Example:
        >>> reason_of(OSError("no route to host."))
        'no route to host'
    """
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    original = getattr(cause, "orig", None) or cause or error
    lines = str(original).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(original).__name__


def _asking(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def ask(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.patience.ask(lambda: method(self, *args, **kwargs))

    return ask
