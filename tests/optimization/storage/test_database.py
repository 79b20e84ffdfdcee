"""What the study database answers otherwise than Optuna's, and for whom it waits."""

from __future__ import annotations

import inspect
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import _CachedStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import IntegrityError, OperationalError

from rllama_sb3.optimization import BayesianRewardOptimizer
from rllama_sb3.optimization.storage import database, patience
from rllama_sb3.optimization.storage.database import StudyDatabase
from rllama_sb3.optimization.storage.patience import (
    Patience,
    PatientEnd,
    StorageAwayError,
    end_patience,
    patient,
)
from rllama_sb3.optimization.storage.patient_database import PatientDatabase, is_away
from rllama_sb3.optimization.study import progress
from rllama_sb3.optimization.study.owner import claim
from rllama_sb3.optimization.study.progress import Progress, n_finished, read_progress, why_needless
from rllama_sb3.optimization.study.retries import take_over_silent_trials

HEARTBEAT = 10
SPACE = {"rate": {"suggest": "float", "low": 0.0, "high": 1.0, "name": "rate"}}


class Clock:
    """Stands for the clock of this process."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(database, "time", clock)
    return clock


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


@pytest.fixture
def study(url: str) -> optuna.Study:
    return optuna.create_study(study_name="mine", storage=open_database(url))


def open_database(url: str, kind: type[StudyDatabase] = StudyDatabase) -> StudyDatabase:
    return kind(url, {}, HEARTBEAT)


def begin(study: optuna.Study) -> int:
    """Begins a trial that gives one sign of life."""
    trial_id: int = study._storage.create_new_trial(study._study_id)
    study._storage.record_heartbeat(trial_id)  # type: ignore[attr-defined]
    return trial_id


def age_heartbeats(tmp_path: Path, seconds: float) -> None:
    then = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=seconds)
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("UPDATE trial_heartbeats SET heartbeat = ?", (str(then),))
    connection.close()


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


# A waiting trial


def test_a_waiting_trial_is_given_to_one_of_two_who_ask_at_the_same_moment(
    url: str, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.enqueue_trial({"x": 1})
    trial_id = study.trials[0]._trial_id
    first, second = open_database(url), open_database(url)
    given = []

    def let_the_second_ask(trial_id: int, state: TrialState) -> None:
        monkeypatch.undo()
        given.append(second.set_trial_state_values(trial_id, TrialState.RUNNING))

    # Where Optuna has read the state of the trial, and has not written it yet.
    monkeypatch.setattr(first, "check_trial_is_updatable", let_the_second_ask)
    given.append(first.set_trial_state_values(trial_id, TrialState.RUNNING))
    if len(given) == 1:
        given.append(second.set_trial_state_values(trial_id, TrialState.RUNNING))
    assert sorted(given) == [False, True]
    began = study.trials[0].datetime_start
    assert began is not None
    assert abs(datetime.now() - began) < timedelta(minutes=1)


def test_a_trial_that_has_ended_is_given_to_nobody(url: str, study: optuna.Study) -> None:
    study.enqueue_trial({"x": 1})
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(UpdateFinishedTrialError, match="already finished"):
        open_database(url).set_trial_state_values(study.trials[0]._trial_id, TrialState.RUNNING)


# Silence


def test_a_silent_trial_is_taken_over_when_it_is_silent_still(
    tmp_path: Path, study: optuna.Study, clock: Clock
) -> None:
    begin(study)
    take_over_silent_trials(study)
    age_heartbeats(tmp_path, 4 * HEARTBEAT + 1)
    for seconds in (0, 10, 9):
        clock.now += seconds
        take_over_silent_trials(study)
        assert states(study) == ["RUNNING"]
    clock.now += 1
    take_over_silent_trials(study)
    assert states(study) == ["FAIL", "WAITING"]


def test_a_trial_that_speaks_again_keeps_its_process(
    tmp_path: Path, study: optuna.Study, clock: Clock
) -> None:
    trial_id = begin(study)
    age_heartbeats(tmp_path, 3600)
    take_over_silent_trials(study)
    study._storage.record_heartbeat(trial_id)  # type: ignore[attr-defined]
    for _ in range(2):
        clock.now += 3600
        take_over_silent_trials(study)
        assert states(study) == ["RUNNING"]
    # It was heard of, so the next silence is a new one.
    age_heartbeats(tmp_path, 3600)
    take_over_silent_trials(study)
    assert states(study) == ["RUNNING"]


def test_a_trial_that_never_gave_a_sign_of_life_is_taken_over_too(
    study: optuna.Study, clock: Clock
) -> None:
    study._storage.create_new_trial(study._study_id)
    take_over_silent_trials(study)
    assert states(study) == ["RUNNING"]
    clock.now += 2 * HEARTBEAT
    take_over_silent_trials(study)
    assert states(study) == ["FAIL", "WAITING"]


# It is asked for here by hand, so that it stays silent.
@pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed to be used")
def test_what_is_tried_again_has_the_parameters_and_nothing_else_of_the_first_attempt(
    study: optuna.Study, clock: Clock
) -> None:
    study.enqueue_trial({"x": 0.5}, user_attrs={"origin": "base config"})
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.set_user_attr("owner", {"machine": "gone"})
    let_time_pass(study, clock)
    again = study.trials[1]
    assert again.user_attrs == {"origin": "base config", "retry_of": 0}
    assert study.ask().suggest_float("x", 0, 1) == 0.5


def let_time_pass(study: optuna.Study, clock: Clock) -> None:
    take_over_silent_trials(study)
    clock.now += 3600
    take_over_silent_trials(study)


def test_nobody_takes_a_study_for_complete_while_a_silent_trial_is_taken_over(
    study: optuna.Study, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    enqueue = database._TryAgain.__call__

    def look_and_enqueue(self: Any, study: optuna.Study, trial: FrozenTrial) -> None:
        # As another process does after the trial was ended, and before it is enqueued.
        seen.append((states(study), read_progress(study)))
        enqueue(self, study, trial)

    monkeypatch.setattr(database._TryAgain, "__call__", look_and_enqueue)
    study._storage.create_new_trial(study._study_id)
    let_time_pass(study, clock)
    assert seen == [(["FAIL"], Progress(n_finished=0, n_running=1))]
    assert states(study) == ["FAIL", "WAITING"]
    assert read_progress(study) == Progress(n_finished=0, n_running=0)


def test_what_its_process_did_not_enqueue_in_time_is_not_waited_for(
    study: optuna.Study, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database._TryAgain, "__call__", lambda *args: None)
    study._storage.create_new_trial(study._study_id)
    let_time_pass(study, clock)
    assert read_progress(study).n_running == 1
    monkeypatch.setattr(progress, "_TIME_TO_ENQUEUE", timedelta(0))
    assert read_progress(study) == Progress(n_finished=0, n_running=0)


def test_a_trial_that_goes_silent_each_time_is_given_up(study: optuna.Study, clock: Clock) -> None:
    study._storage.create_new_trial(study._study_id)
    for _ in range(5):
        let_time_pass(study, clock)
        for trial in study.get_trials(states=(TrialState.WAITING,)):
            study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
    assert states(study) == ["FAIL", "FAIL", "FAIL"]
    assert n_finished(study) == 1


# Patience


def away() -> StorageInternalError:
    error = StorageInternalError("optuna's words")
    error.__cause__ = OperationalError("SELECT 1", {}, Exception("the server is gone\nHint"))
    return error


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr(patience, "_LONGEST_WAIT", 0.002)


def answering(*answers: object) -> Callable[[], object]:
    left = list(answers)

    def answer() -> object:
        given = left.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    return answer


@pytest.mark.usefixtures("fast")
def test_what_does_not_answer_is_asked_again() -> None:
    assert Patience(is_away).ask(answering(away(), away(), 7)) == 7


@pytest.mark.parametrize(
    "error",
    [
        KeyError("no such study"),
        UpdateFinishedTrialError("too late"),
        StorageInternalError("not about the connection"),
        IntegrityError("INSERT", {}, Exception("there already")),
    ],
)
def test_an_answer_that_is_an_error_is_not_asked_for_again(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        Patience(is_away).ask(answering(error, 7))
    assert caught.value is error


@pytest.mark.usefixtures("fast")
def test_patience_ends_with_an_error_that_says_what_follows() -> None:
    short = Patience(is_away, seconds=0.02)
    message = r"not answered for 0 seconds \(the server is gone\)\..*the same command continues"
    with pytest.raises(StorageAwayError, match=message):
        short.ask(answering(*[away()] * 1000))
    # What was waited for in vain is not waited for again by the next call.
    with pytest.raises(StorageAwayError, match="not answered"):
        short.ask(answering(away(), 7))
    assert short.ask(answering(7)) == 7
    assert short.ask(answering(away(), 7)) == 7


def test_patience_can_be_ended_from_outside(url: str) -> None:
    storage = _CachedStorage(open_database(url, PatientDatabase))
    end_patience(storage)
    with pytest.raises(StorageAwayError, match="not answered for 0 seconds"):
        storage._backend.patience.ask(answering(away(), 7))  # type: ignore[attr-defined]
    end_patience(optuna.storages.InMemoryStorage())  # which has none to end


def test_everything_that_optunas_cache_asks_of_a_database_is_asked_patiently() -> None:
    asked = set(re.findall(r"self\._backend\.(\w+)\(", inspect.getsource(_CachedStorage)))
    local = {"get_heartbeat_interval", "get_heartbeat_stale_trial_callback"}
    # Nothing here deletes studies; a second attempt would not find what the first one deleted.
    for name in asked - local - {"delete_study"}:
        method = getattr(PatientDatabase, name)
        is_patient = hasattr(method, "__wrapped__") or name == "set_trial_state_values"
        assert is_patient, f"{name} gives up when the server is away"


# Answers that are lost: the server did what was asked, and was gone before it said so.


class Losing(StudyDatabase):
    """A database that loses its next answer to what is named."""

    loses: str | None = None

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> Any:
        return self._lose(state.name, super().set_trial_state_values(trial_id, state, values))

    def _create_new_trial(self, study_id: int, template_trial: Any = None) -> FrozenTrial:
        trial = super()._create_new_trial(study_id, template_trial)
        assert isinstance(self._lose("CREATED", trial), FrozenTrial)
        return trial

    def _set_trial_param(self, *args: Any) -> None:
        self._lose("PARAM", super()._set_trial_param(*args))

    def _lose(self, name: str, answer: Any) -> Any:
        if self.loses == name:
            self.loses = None
            raise away()
        return answer


@patient(("_create_new_trial", "_set_trial_param"))
class PatientLosing(PatientEnd, Losing):
    """The same, asked patiently."""

    def __init__(self, url: str, engine_kwargs: dict[str, Any], heartbeat: int) -> None:
        self.patience = Patience(is_away)
        super().__init__(url, engine_kwargs, heartbeat)


@pytest.fixture
def losing(url: str, fast: None) -> PatientLosing:
    return PatientLosing(url, {}, HEARTBEAT)


@pytest.mark.parametrize("lost", ["COMPLETE", "PARAM", "CREATED", "RUNNING"])
def test_a_search_that_loses_an_answer_has_each_of_its_trials_once(
    losing: PatientLosing, url: str, lost: str, clock: Clock
) -> None:
    def objective(trial: optuna.Trial) -> float:
        clock.now += 3600  # so that what is silent is taken over at once
        if trial.number == 0 and lost != "RUNNING":
            losing.loses = lost
        return trial.suggest_float("rate", 0.0, 1.0)

    optimizer = BayesianRewardOptimizer(
        {"rate": 0.5}, SPACE, objective, n_trials=5, storage=_CachedStorage(losing)
    )
    # The first trial is a waiting one, and the only one.
    losing.loses = lost if lost == "RUNNING" else None
    optimizer.optimize()
    study = optuna.load_study(study_name="rllama_sb3", storage=url)
    counted = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert len(counted) == n_finished(study) == 5
    rates = {trial.params["rate"] for trial in counted}
    assert len(rates) == 5
    assert 0.5 in rates
    assert losing.loses is None


def test_a_trial_that_others_ended_meanwhile_is_not_said_to_be_ended_here(
    losing: PatientLosing, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial_id = begin(optuna.create_study(storage=losing))
    attempts = []

    def attempt(self: Any, trial_id: int, *ask: Any) -> bool:
        attempts.append(ask)
        if len(attempts) == 1:
            StudyDatabase.set_trial_state_values(self, trial_id, TrialState.FAIL)
            raise away()
        return StudyDatabase.set_trial_state_values(self, trial_id, *ask)

    monkeypatch.setattr(Losing, "set_trial_state_values", attempt)
    with pytest.raises(UpdateFinishedTrialError, match="already finished"):
        losing.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
    assert len(attempts) == 2


def test_what_is_enqueued_twice_is_run_once(losing: PatientLosing) -> None:
    losing.loses = "CREATED"
    optimizer = BayesianRewardOptimizer(
        {"rate": 0.5},
        SPACE,
        lambda trial: trial.suggest_float("rate", 0.0, 1.0),
        n_trials=3,
        storage=_CachedStorage(losing),
    )
    study = optimizer.optimize()[2]
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert study.trials[1].user_attrs["failure"] == "enqueued a second time, after trial 0"
    assert n_finished(study) == 3
    # Nor is it run when the search goes on.
    optimizer.n_trials = 4
    assert states(optimizer.optimize()[2])[4:] == ["COMPLETE"]


# A process that others had given up


def test_a_process_whose_trial_was_given_to_others_drops_it_and_goes_on(url: str) -> None:
    def objective(trial: optuna.Trial) -> float:
        value = trial.suggest_float("rate", 0.0, 1.0)
        if trial.number == 1:
            open_database(url).set_trial_state_values(trial._trial_id, TrialState.FAIL)
        return value

    study = BayesianRewardOptimizer(
        {"rate": 0.5}, SPACE, objective, n_trials=4, storage=url
    ).optimize()[2]
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


@pytest.mark.parametrize(("n_trials", "is_needless"), [(3, True), (4, False)])
def test_the_last_of_too_many_trials_that_begin_together_is_given_up(
    study: optuna.Study, n_trials: int, is_needless: bool
) -> None:
    study.optimize(lambda trial: trial.suggest_float("rate", 0.0, 1.0), n_trials=2)
    # Two processes have seen that the last one is missing.
    for number in (2, 3):
        trial = optuna.Trial(study, begin(study))
        claim(trial, worker=number)
        found = why_needless(study, trial, n_trials)
        assert (found is not None) == (is_needless and number == 3)
    if is_needless:
        assert found == {
            "interrupted": True,
            "failure": "the study had enough trials when it began",
        }
