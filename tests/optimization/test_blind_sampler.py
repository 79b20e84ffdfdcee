"""Samplers that do not see the trial whose value its parameters do not explain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, Trial, TrialState

from rllama_sb3.optimization import build_sampler
from rllama_sb3.optimization.blind_sampler import BlindSampler
from rllama_sb3.optimization.first_trials import is_unshaped

UNSHAPED = {"origin": "shaping off"}
START = {"x": 0.5, "y": 2}
SMALL: dict[str, dict[str, Any]] = {
    "tpe": {"n_startup_trials": 3},
    "gp": {"n_startup_trials": 3},
    "cmaes": {"n_startup_trials": 2, "popsize": 4},
    "nsga2": {"population_size": 2},
    "qmc": {},
    "random": {},
}


def blind(name: str, seed: int = 0) -> BlindSampler:
    return BlindSampler(build_sampler({"name": name, **SMALL[name]}, seed), is_unshaped)


def ask(study: optuna.Study) -> Trial:
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    trial.suggest_int("y", 0, 4)
    return trial


def tell(study: optuna.Study, trial: Trial, hidden: float, constrained: bool = False) -> None:
    """Ends a trial; the hidden one comes to ``hidden`` in everything."""
    x, y = trial.params["x"], trial.params["y"]
    value = hidden if trial.user_attrs == UNSHAPED else -((x - 0.7) ** 2) + 0.1 * y
    if constrained and x > 0.8:
        trial.set_constraint("low", 1.0)
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, [value, -value + x][: len(study.directions)])


def proposals(
    name: str,
    hidden: float,
    *,
    n_objectives: int = 1,
    constrained: bool = False,
    pruner: optuna.pruners.BasePruner | None = None,
) -> list[dict[str, Any]]:
    study = optuna.create_study(
        directions=["maximize"] * n_objectives, sampler=blind(name), pruner=pruner
    )
    study.enqueue_trial(START)
    study.enqueue_trial(START, user_attrs=UNSHAPED)
    for _ in range(10):
        tell(study, ask(study), hidden, constrained)
    return [trial.params for trial in study.trials]


CASES = [
    (name, n_objectives, constrained)
    for name in SMALL
    for n_objectives in (1, 2)
    for constrained in (False, True)
    # One knows one objective only; the other is refused beside constraints.
    if (name, n_objectives) != ("cmaes", 2) and (name, constrained) != ("gp", True)
]


@pytest.mark.parametrize(("name", "n_objectives", "constrained"), CASES)
def test_no_sampler_sees_what_is_hidden(name: str, n_objectives: int, constrained: bool) -> None:
    how: dict[str, Any] = {"n_objectives": n_objectives, "constrained": constrained}
    if name == "cmaes":
        pytest.importorskip("cmaes")
    proposed = proposals(name, 100.0, **how)
    assert proposed == proposals(name, -100.0, **how)
    assert len({params["x"] for params in proposed[2:]}) > 3


def test_a_sampler_that_looks_does_see_it() -> None:
    """Without this the tests above would pass with samplers that learn nothing."""

    def look(hidden: float) -> list[dict[str, Any]]:
        study = optuna.create_study(direction="maximize", sampler=blind("tpe").sampler)
        study.enqueue_trial(START)
        study.enqueue_trial(START, user_attrs=UNSHAPED)
        for _ in range(12):
            tell(study, ask(study), hidden)
        return [trial.params for trial in study.trials]

    assert look(100.0) != look(-100.0)


def test_what_is_hidden_stays_so_in_the_brackets_of_hyperband() -> None:
    def run(hidden: float) -> list[dict[str, Any]]:
        pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9)
        return proposals("tpe", hidden, pruner=pruner)

    assert run(100.0) == run(-100.0)


class Spy(optuna.samplers.RandomSampler):
    """Notes which trials it is shown."""

    def __init__(self) -> None:
        super().__init__(0)
        self.seen: list[list[tuple[int, TrialState]]] = []

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, optuna.distributions.BaseDistribution]:
        shown: Sequence[FrozenTrial] = study._get_trials(deepcopy=False)
        assert [t.number for t in shown] == [t.number for t in study.trials]
        self.seen.append([(other.number, other.state) for other in shown])
        return super().infer_relative_search_space(study, trial)


def test_it_is_hidden_while_another_worker_runs_it_too() -> None:
    spy = Spy()
    study = optuna.create_study(direction="maximize", sampler=BlindSampler(spy, is_unshaped))
    study.enqueue_trial(START, user_attrs=UNSHAPED)
    running = ask(study)
    ask(study)
    assert spy.seen[-1] == [(1, TrialState.RUNNING)]
    tell(study, running, 1.0)
    ask(study)
    assert [number for number, _ in spy.seen[-1]] == [1, 2]


@pytest.mark.parametrize("name", ["tpe", "gp", "nsga2"])
def test_workers_that_share_a_study_are_blind_alike(name: str) -> None:
    def run(hidden: float) -> list[dict[str, Any]]:
        storage = optuna.storages.InMemoryStorage()
        first = optuna.create_study(storage=storage, direction="maximize", sampler=blind(name))
        second = optuna.load_study(
            study_name=first.study_name, storage=storage, sampler=blind(name, seed=1)
        )
        first.enqueue_trial(START)
        first.enqueue_trial(START, user_attrs=UNSHAPED)
        for _ in range(6):
            # Both are at work at the same time.
            mine, theirs = ask(first), ask(second)
            tell(second, theirs, hidden)
            tell(first, mine, hidden)
        return [trial.params for trial in first.trials]

    assert run(100.0) == run(-100.0)
