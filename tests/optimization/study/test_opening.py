"""What several processes see of one study that they open at the same time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage

from rllama_sb3.errors import ConfigError
from rllama_sb3.optimization.study import opening
from rllama_sb3.optimization.study.opening import describe_purpose, open_study, read_purpose

MINE, OTHER = (describe_purpose({}, {"rate": rate}) for rate in (0.5, 0.6))


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
