"""A study database that may be away for a while: restarted, or behind a network that drops."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import sqlalchemy
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage

_logger: Final = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 300.0
_FIRST_WAIT: Final = 0.25
_LONGEST_WAIT: Final = 5.0
# Everything that Optuna asks of a storage, and the two that its cache asks of this one.
_ASKED: Final = (
    "create_new_study",
    "delete_study",
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "create_new_trial",
    "_create_new_trial",
    "set_trial_param",
    "_set_trial_param",
    "get_trial_param",
    "get_trial_id_from_study_id_trial_number",
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "get_trial_user_attrs",
    "get_trial_system_attrs",
    "get_trial",
    "get_all_trials",
    "_get_trials",
    "get_best_trial",
    "record_heartbeat",
    "_get_stale_trial_ids",
)


class PatientStorage(RDBStorage):
    """Optuna's database storage, which asks again for some minutes when the server is away.

    A training of hours should not be lost because the database was restarted. What was written
    before is kept by the server; what could not be written is written once it answers.

    Args:
        *args: As for ``RDBStorage``.
        **kwargs: Likewise.
    """

    # Optuna's own retries are of a moment, for writers that are in each other's way.


def _patient(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def ask(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:
        deadline: float | None = None
        wait = _FIRST_WAIT
        while True:
            try:
                return method(self, *args, **kwargs)
            except UpdateFinishedTrialError:
                # The first attempt was carried out, and only its answer was lost.
                if deadline is not None and method.__name__ == "set_trial_state_values":
                    return True
                raise
            except StorageInternalError as error:
                now = time.monotonic()
                if not _server_is_away(error) or (deadline is not None and now > deadline):
                    raise
                if deadline is None:
                    deadline = now + PATIENCE_SECONDS
                    _logger.warning(
                        "The database of the study does not answer; asking again for %g minutes.",
                        PATIENCE_SECONDS / 60,
                    )
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)

    return ask


for _name in _ASKED:
    setattr(PatientStorage, _name, _patient(getattr(RDBStorage, _name)))


def _server_is_away(error: StorageInternalError) -> bool:
    """Whether an error is about the connection, not about what was asked."""
    cause = error.__cause__
    if not isinstance(cause, sqlalchemy.exc.DBAPIError):
        return False
    return cause.connection_invalidated or isinstance(
        cause, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError
    )
