"""A study database on a server, which may be away for a while.

What is asked again may have been carried out already, the answer alone being lost:

==============================  ================================================================
what Optuna sets                it is set to the same once more
a trial's end                   it has ended; whether as was asked, is looked up
a new trial, a waiting trial    whoever asked does not know that it is his, so it never gives a
                                sign of life, and is taken over (:mod:`.database`)
a trial in the queue            there are two of it; the later one is found needless when it
                                begins (:mod:`rllama_sb3.optimization.study.progress`)
==============================  ================================================================
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy
from optuna.exceptions import StorageInternalError

from rllama_sb3.optimization.storage.database import StudyDatabase
from rllama_sb3.optimization.storage.patience import (
    ASKED_OF_ALL,
    Patience,
    PatientEnd,
    patient,
)

# All that Optuna's studies, and its cache in front of a database, ask of one.
_ASKED: Final = (
    *ASKED_OF_ALL,
    "_create_new_trial",
    "_set_trial_param",
    "_get_trials",
    "_get_best_trial_id",
    "record_heartbeat",
    "_get_stale_trial_ids",
)


@patient(_ASKED)
class PatientDatabase(PatientEnd, StudyDatabase):
    """A study database that is asked again, for some minutes, when its server does not answer.

    Args:
        url: SQLAlchemy's URL of it.
        engine_kwargs: Arguments of SQLAlchemy's engine.
        heartbeat: Seconds from one sign of life of a running trial to the next.
    """

    def __init__(self, url: str, engine_kwargs: dict[str, Any], heartbeat: int) -> None:
        self.patience = Patience(is_away)
        super().__init__(url, engine_kwargs, heartbeat)


def is_away(error: BaseException) -> bool:
    """Whether an error is about the connection to a server, not about what was asked."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if isinstance(cause, sqlalchemy.exc.PendingRollbackError):
        return True  # Optuna takes some errors for others, and asks on over what was broken off.
    if not isinstance(cause, sqlalchemy.exc.DBAPIError):
        return False
    return cause.connection_invalidated or isinstance(
        cause, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError
    )
