"""Optuna's database storage, for many processes that may be killed, frozen or cut off.

It differs from Optuna's own in two answers:

- **A waiting trial is given to one process.** Optuna reads the state of a trial and then writes it,
  which in SQLite two processes can do at the same moment: they run the same trial twice.
- **Silence is confirmed.** A trial whose last sign of life is old may have ended with its machine;
  or the database was away, or the machine asleep, and the trial is about to speak again. So it is
  taken over only when it is still silent some time after it was first found so. That goes too for
  a trial that never gave a sign of life, since whoever started it ended right then; Optuna would
  wait for it forever.
"""

from __future__ import annotations

import time
import warnings
import weakref
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages._rdb.models import TrialHeartbeatModel, TrialModel
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from rllama_sb3.optimization.study.attributes import FIXED, INTERRUPTED, ORIGIN, RETRY_OF
from rllama_sb3.optimization.study.retries import MOST_RETRIES

HEARTBEAT_SECONDS: Final = 15
# Both in heartbeats: how old the last sign of life is that counts as silence, and how long after
# that was seen first it is seen once more.
_GRACE: Final = 4
_CONFIRMED_AFTER: Final = 2
# Where Optuna keeps the numbers of earlier attempts, among a trial's own attributes.
_HISTORY: Final = "retry_history"


class StudyDatabase(RDBStorage):
    """A database of studies.

    Args:
        url: SQLAlchemy's URL of it.
        engine_kwargs: Arguments of SQLAlchemy's engine.
        heartbeat: Seconds from one sign of life of a running trial to the next.
    """

    def __init__(self, url: str, engine_kwargs: dict[str, Any], heartbeat: int) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                super().__init__(
                    # Optuna fills in {placeholders}.
                    url.replace("{", "{{").replace("}", "}}"),
                    engine_kwargs=engine_kwargs,
                    heartbeat_interval=heartbeat,
                    grace_period=_GRACE * heartbeat,
                    heartbeat_stale_trial_callback=_TryAgain(MOST_RETRIES),
                )
        finally:
            # A server should not have to find out by itself that nobody is there any more.
            if hasattr(self, "engine"):
                weakref.finalize(self, self.engine.dispose)
        self._confirmed_after = float(_CONFIRMED_AFTER * heartbeat)
        # By study: when a trial was first found silent.
        self._silent_since: dict[int, dict[int, float]] = {}

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """As of any storage; sets a trial to running for the first who asks, and nobody else."""
        if state == TrialState.RUNNING and self._take(trial_id):
            return True
        return super().set_trial_state_values(trial_id, state, values)

    def _take(self, trial_id: int) -> bool:
        now = datetime.now(UTC).replace(tzinfo=None)
        with self.engine.begin() as connection:
            # One statement, which is one transaction in every database.
            taken = connection.execute(
                TrialModel.__table__.update()
                .where(TrialModel.trial_id == trial_id, TrialModel.state == TrialState.WAITING)
                .values(state=TrialState.RUNNING, datetime_start=now)
            )
        return taken.rowcount == 1

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        now = time.monotonic()
        silent = {*super()._get_stale_trial_ids(study_id), *self._never_heard_of(study_id)}
        before = self._silent_since.get(study_id, {})
        since = {trial_id: before.get(trial_id, now) for trial_id in silent}
        self._silent_since[study_id] = since
        confirmed = [t for t, first in since.items() if now - first >= self._confirmed_after]
        for trial_id in confirmed:
            self._announce(trial_id)
        return confirmed

    def _announce(self, trial_id: int) -> None:
        """Records that a trial is about to be tried again, before Optuna ends and enqueues it."""
        with suppress(UpdateFinishedTrialError):
            if len(self.get_trial(trial_id).system_attrs.get(_HISTORY, ())) < MOST_RETRIES:
                self.set_trial_user_attr(trial_id, INTERRUPTED, True)

    def _never_heard_of(self, study_id: int) -> list[int]:
        with self.scoped_session() as session:
            rows = (
                session.query(TrialModel.trial_id)
                .outerjoin(TrialHeartbeatModel, TrialHeartbeatModel.trial_id == TrialModel.trial_id)
                .filter(
                    TrialModel.study_id == study_id,
                    TrialModel.state == TrialState.RUNNING,
                    TrialHeartbeatModel.trial_id.is_(None),
                )
            )
            return [trial_id for (trial_id,) in rows]


class _TryAgain(RetryHeartbeatStaleTrialCallback):
    """Enqueues a trial that went silent once more, without what the first attempt left in it."""

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        kept = {ORIGIN: trial.user_attrs[ORIGIN]} if ORIGIN in trial.user_attrs else {}
        trial.user_attrs = {**kept, RETRY_OF: trial.number}
        if trial.params:
            # As of any enqueued trial: what it has not asked for yet goes with what it has.
            trial.system_attrs = {FIXED: dict(trial.params), **trial.system_attrs}
            trial.params, trial.distributions = {}, {}
        super().__call__(study, trial)
