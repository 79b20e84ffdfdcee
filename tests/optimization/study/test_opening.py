"""What several processes see of one study that they open, stop and judge at the same time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from rllama_sb3.errors import ConfigError, RllamaError
from rllama_sb3.optimization import BayesianRewardOptimizer, open_storage
from rllama_sb3.optimization.study import opening
from rllama_sb3.optimization.study.opening import describe_purpose, open_study, read_purpose
from rllama_sb3.optimization.study.progress import n_finished
from rllama_sb3.optimization.study.ranking import best_trial
from rllama_sb3.optimization.study.stop import read_stop, stop_study

MINE, OTHER = (describe_purpose({}, {"rate": rate}) for rate in (0.5, 0.6))
SPACE = {"rate": {"suggest": "float", "low": 0.0, "high": 1.0, "name": "rate"}}


class Shared(InMemoryStorage):
    """A storage in which another process does something just before, or after, a question."""

    meanwhile: dict[str, Callable[[], object]]

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile = {}

    def create_new_study(self, *args: Any, **kwargs: Any) -> int:
        self._let_others_act("before the study is made")
        return super().create_new_study(*args, **kwargs)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        attrs = super().get_study_user_attrs(study_id)
        self._let_others_act("after its purpose was asked for")
        return attrs

    def _let_others_act(self, when: str) -> None:
        action = self.meanwhile.pop(when, None)
        if action is not None:
            action()


@pytest.fixture
def shared() -> Shared:
    return Shared()


def open_it(storage: InMemoryStorage, purpose: dict[str, Any] = MINE) -> optuna.Study:
    return open_study(storage, "one", purpose, directions=["maximize"])


def make(storage: InMemoryStorage) -> optuna.Study:
    """Makes the study as another process does that has not yet said what it is for."""
    return optuna.create_study(study_name="one", storage=storage, direction="maximize")


def test_a_study_whose_maker_is_faster_is_not_taken_for_another_programs(shared: Shared) -> None:
    def begin() -> None:
        made = make(shared)

        def go_on() -> None:
            made.set_user_attr("rllama_sb3", MINE)
            made.enqueue_trial({"rate": 0.5})

        shared.meanwhile["after its purpose was asked for"] = go_on

    shared.meanwhile["before the study is made"] = begin
    assert read_purpose(open_it(shared)) == MINE


def test_of_two_searches_that_begin_together_the_makers_is_the_one(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin() -> None:
        made = make(shared)
        # While the other process waits, its maker says what it is for.
        monkeypatch.setattr(
            opening.time, "sleep", lambda _: made.set_user_attr("rllama_sb3", dict(MINE))
        )

    shared.meanwhile["before the study is made"] = begin
    with pytest.raises(ConfigError, match=r"rate: must be 0\.5, as the study 'one' has it"):
        open_it(shared, OTHER)
    assert read_purpose(open_it(shared)) == MINE


def test_a_study_whose_maker_is_gone_is_taken(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_SECONDS_TO_SAY", 0.1)
    make(shared)
    assert read_purpose(open_it(shared, OTHER)) == OTHER


def test_another_programs_study_is_refused_at_once(shared: Shared) -> None:
    make(shared).enqueue_trial({"rate": 0.5})
    with pytest.raises(ConfigError, match="another program made it"):
        open_it(shared)


# Stopping


def test_what_stopped_a_study_before_stays_for_those_that_it_is_to_stop(shared: Shared) -> None:
    one = open_it(shared)
    stop_study(one, "trial 3 raised")
    before = read_stop(one)
    assert (before, read_stop(one, before)) == ("trial 3 raised", None)
    stop_study(one, "trial 7 raised")
    assert read_stop(one, before) == "trial 7 raised"


def test_a_search_that_joins_does_not_let_another_one_miss_that_it_was_stopped(
    tmp_path: Path,
) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"

    def joined_by_another(trial: optuna.Trial) -> float:
        if trial.number == 1:
            # A third machine has raised, and before this one sees it another search begins, which
            # has nothing to do.
            stop_study(trial.study, "trial 9 raised, and would again")
            build(storage, joined_by_another, 1).optimize()
        return trial.suggest_float("rate", 0.0, 1.0)

    with pytest.raises(RllamaError, match="trial 9 raised"):
        build(storage, joined_by_another, 5).optimize()
    assert n_finished(optuna.load_study(study_name="one", storage=open_storage(storage))) == 2


def build(
    storage: str, objective: Callable[[optuna.Trial], float], n_trials: int
) -> BayesianRewardOptimizer:
    return BayesianRewardOptimizer(
        {"rate": 0.5},
        SPACE,
        objective,
        n_trials=n_trials,
        sampler="random",
        storage=storage,
        study_name="one",
    )


# The best trial


@pytest.mark.parametrize(("direction", "best"), [("maximize", 1), ("minimize", 0)])
def test_of_equal_trials_the_first_is_the_best(tmp_path: Path, direction: str, best: int) -> None:
    one = optuna.create_study(
        storage=open_storage(f"sqlite:///{tmp_path}/study.db"), direction=direction
    )
    assert best_trial(one) is None
    one.add_trials([create_trial(value=value) for value in (1.0, 2.0, 2.0, 1.0)])
    found = best_trial(one)
    assert found is not None
    assert found.number == best


def test_what_breaks_a_constraint_is_not_the_best() -> None:
    one = optuna.create_study(direction="maximize")
    one.add_trials([create_trial(value=1.0), create_trial(value=2.0)])
    trial = one.ask()
    trial.set_constraint("too much energy", 1.0)
    one.tell(trial, 3.0)
    found = best_trial(one)
    assert found is not None
    assert found.number == 1


# What counts


def test_what_ended_in_the_moment_in_which_it_was_given_up_counts() -> None:
    one = optuna.create_study()
    for state in (TrialState.COMPLETE, TrialState.FAIL):
        value = 1.0 if state == TrialState.COMPLETE else None
        one.add_trial(create_trial(state=state, value=value, user_attrs={"interrupted": True}))
    assert n_finished(one) == 1
