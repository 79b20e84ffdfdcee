"""Runs trials of a study in this process, one after the other, until it has all of them.

Other processes may work on the study too, here and on other machines. A trial that raises is a bug
that would come again: it stops the study, and with it all of them.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from optuna import TrialPruned
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from rllama_sb3.disk import why_not_written
from rllama_sb3.errors import first_line
from rllama_sb3.optimization.exhaustive import is_exhausted
from rllama_sb3.optimization.failures import (
    describe_failure,
    ran_out_of_memory,
    render_error,
    write_failure,
)
from rllama_sb3.optimization.storage.patience import StorageAwayError
from rllama_sb3.optimization.study.attributes import FAILURE, INTERRUPTED
from rllama_sb3.optimization.study.owner import claim
from rllama_sb3.optimization.study.progress import Progress, read_progress, why_needless
from rllama_sb3.optimization.study.retries import take_over_silent_trials
from rllama_sb3.optimization.study.stop import read_stop, stop_study

StudyCallback = Callable[[Study, FrozenTrial], None]
Values = float | tuple[float, ...]

_logger: Final = logging.getLogger(__name__)
_IDLE_SECONDS: Final = 1.0


class _NeedlessError(Exception):
    """A trial was begun that the study does not need."""


class TrialLoop:
    """Runs trials.

    Args:
        objective: What a trial is worth.
        n_trials: How many trials the study is to have, whoever runs them.
        out: The folder of the search, where tracebacks go; none are kept without it.
        worker: The number of this process among those that one process has started.
        on_start: Called with each trial before its objective.
        stop_before: Why the study had been stopped when the search began; see
            :func:`~rllama_sb3.optimization.study.stop.read_stop`.
    """

    def __init__(
        self,
        objective: Callable[[Trial], Values],
        n_trials: int,
        *,
        out: Path | None = None,
        worker: int = 0,
        on_start: Callable[[Trial], None] | None = None,
        stop_before: str | None = None,
    ) -> None:
        self._objective, self._n_trials = objective, n_trials
        self._out, self._worker, self._on_start = out, worker, on_start
        self._stop_before = stop_before
        # The trial that is being run, while what it raises is not its own failure.
        self._present: Trial | None = None
        # Why nobody is to try another trial, once the present one has raised.
        self._bug: str | None = None

    def run(
        self,
        study: Study,
        *,
        catch: tuple[type[Exception], ...] = (),
        callbacks: Sequence[StudyCallback] = (),
        gc_after_trial: bool = True,
    ) -> None:
        """Runs trials until the study has all of them, is stopped, or a callback stops this.

        Args:
            study: The study.
            catch: What a trial may raise without an end of the loop.
            callbacks: Called with the study and each trial that has ended.
            gc_after_trial: Whether to collect what a trial leaves: its environments and networks
                point at each other.

        Raises:
            Exception: Whatever a trial raised; the study is stopped by it.
        """
        study._stop_flag = False
        while read_stop(study, self._stop_before) is None:
            progress = read_progress(study)
            if is_over(study, self._n_trials, progress):
                return
            is_full = progress.n_finished + progress.n_running >= self._n_trials
            if is_full or is_exhausted(study):
                time.sleep(_IDLE_SECONDS)
                take_over_silent_trials(study)
                continue
            self._present = None
            try:
                study.optimize(
                    self._run,
                    n_trials=1,
                    catch=(*catch, _NeedlessError),
                    callbacks=callbacks,
                    gc_after_trial=gc_after_trial,
                )
            except Exception:
                if self._bug is not None:
                    # Only now, as whoever sees it ends the workers: the trial has ended before.
                    stop_study(study, self._bug)
                if not self._was_taken_away(study):
                    raise
            # A sampler stops it when nothing is left to propose; the loop sees that by itself.
            if study._stop_flag and not is_exhausted(study):
                return

    def _run(self, trial: Trial) -> Values:
        self._present = trial
        claim(trial, self._worker)
        needless = why_needless(trial.study, trial, self._n_trials)
        if needless is not None:
            for name, value in needless.items():
                trial.set_user_attr(name, value)
            raise _NeedlessError(needless[FAILURE])
        if self._on_start is not None:
            self._on_start(trial)
        try:
            value = self._objective(trial)
            if not _is_value(value) and FAILURE not in trial.user_attrs:
                trial.set_user_attr(FAILURE, f"no finite value, but {value!r}")
            return value
        except KeyboardInterrupt:
            trial.set_user_attr(INTERRUPTED, True)
            trial.set_user_attr(FAILURE, "interrupted")
            raise
        except TrialPruned as error:
            if str(error):
                trial.set_user_attr(FAILURE, first_line(error))
            raise
        except (StorageAwayError, UpdateFinishedTrialError):
            raise  # It is not the trial that failed.
        except Exception as error:
            self._present = None
            unwritten = why_not_written(error)
            if unwritten is not None:
                trial.set_user_attr(INTERRUPTED, True)
                trial.set_user_attr(FAILURE, unwritten)
                raise
            trial.set_user_attr(FAILURE, f"{type(error).__name__}: {first_line(error)}")
            write_failure(self._out, trial, render_error(error))
            if ran_out_of_memory(error):
                # With other values it need not.
                raise MemoryError(first_line(error)) from error
            self._bug = describe_failure(trial, error)
            raise

    def _was_taken_away(self, study: Study) -> bool:
        """Whether others ended the present trial, as they had not heard of this process."""
        if self._present is None:
            return False
        trial = study._storage.get_trial(self._present._trial_id)
        if trial.state != TrialState.FAIL:
            return False
        _logger.warning(
            "Trial %d was given to another process meanwhile, as this one was not heard of; what "
            "came out of it here is dropped.",
            trial.number,
        )
        return True


def is_over(study: Study, n_trials: int, progress: Progress | None = None) -> bool:
    """Whether a study has all its trials, or all that can be told apart.

    Args:
        study: The study.
        n_trials: How many it is to have.
        progress: How far it is, where that has been read already.
    """
    progress = progress or read_progress(study)
    if progress.n_finished >= n_trials:
        return True
    return progress.n_running == 0 and is_exhausted(study)


def _is_value(value: Any) -> bool:
    """Whether Optuna takes a trial's value, or values of several objectives, for numbers."""
    values = value if isinstance(value, Sequence) else (value,)
    with suppress(TypeError, ValueError):
        return not any(math.isnan(float(number)) for number in values)
    return False
