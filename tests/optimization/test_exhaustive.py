from __future__ import annotations

import random
import time
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from rllama_sb3.errors import ConfigError
from rllama_sb3.optimization import BayesianRewardOptimizer, build_search_space
from rllama_sb3.optimization.exhaustive import BruteForceSampler, GridSampler

BASE: dict[str, Any] = {"x": 0.5, "n": 3, "kind": "a"}
SPACE: dict[str, Any] = {
    "x": {"suggest": "float", "low": 0.1, "high": 0.9, "step": 0.4},
    "kind": {"suggest": "categorical", "choices": ["a", "b"]},
}
POINTS = {(x, kind) for x in (0.1, 0.5, 0.9) for kind in ("a", "b")}
SAMPLERS = ["grid", "brute_force"]


def search(
    sampler: Any, n_trials: int = 6, storage: Any = None, **arguments: Any
) -> list[optuna.trial.FrozenTrial]:
    """The trials of a search over ``SPACE``, which has six points."""
    optimizer: BayesianRewardOptimizer

    def objective(trial: optuna.Trial) -> float:
        config = optimizer.generate_trial_config(trial)
        return float(config["x"]) + (config["kind"] == "b")

    known = {"base_config": BASE, "search_space": SPACE, "objective_function": objective}
    optimizer = BayesianRewardOptimizer(
        **(known | arguments), n_trials=n_trials, sampler=sampler, storage=storage
    )
    return optimizer.optimize()[2].trials


def tried(trials: list[optuna.trial.FrozenTrial]) -> list[tuple[Any, ...]]:
    return [(trial.params["x"], trial.params["kind"]) for trial in trials if trial.params]


def grid() -> GridSampler:
    return GridSampler(build_search_space(SPACE, BASE), 0)


# Both


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_point_is_tried_once_and_the_config_as_it_stands_is_the_first(sampler: str) -> None:
    points = tried(search(sampler))
    assert points[0] == (0.5, "a")
    assert sorted(points) == sorted(POINTS)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.filterwarnings("ignore:tuning.sampler.*the search ends before n_trials")
def test_the_search_ends_with_the_last_point(sampler: str, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    assert len(search(sampler, 50, storage)) == 6
    # The same again finds that nothing is left.
    assert len(search(sampler, 50, storage)) == 6


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("x", [0.3, 7.0])
@pytest.mark.filterwarnings("ignore:tuning.sampler.*the search ends before n_trials")
@pytest.mark.filterwarnings("ignore:.*lies outside the range that is searched")
def test_a_config_off_the_grid_comes_on_top(sampler: str, x: float) -> None:
    points = tried(search(sampler, 50, base_config={**BASE, "x": x}))
    assert points[0] == (x, "a")
    assert sorted(points[1:]) == sorted(POINTS)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.filterwarnings("ignore:tuning.sampler.*the grid takes 6 trials, more")
def test_a_search_is_resumed_without_trying_a_point_again(sampler: str, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    for n_trials in (2, 4, 6):
        trials = search(sampler, n_trials, storage)
    assert sorted(tried(trials)) == sorted(POINTS)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.filterwarnings("ignore:tuning.sampler.*the grid takes 6 trials, more")
def test_a_trial_that_was_killed_at_any_moment_does_not_hide_a_point(
    sampler: str, after: int, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    search(sampler, 2, storage)
    # Killed after it was told so many of its two parameters.
    study = optuna.load_study(study_name="rllama_sb3", storage=storage)
    killed = study.ask()
    distributions = {
        "x": FloatDistribution(0.1, 0.9, step=0.4),
        "kind": CategoricalDistribution(["a", "b"]),
    }
    free = sorted(POINTS - set(tried(study.trials)))[0]
    for (name, distribution), value in list(zip(distributions.items(), free, strict=True))[:after]:
        internal = distribution.to_internal_repr(value)
        study._storage.set_trial_param(killed._trial_id, name, internal, distribution)
    trials = search(sampler, 6, storage)
    assert sorted(tried([t for t in trials if t.state == TrialState.COMPLETE])) == sorted(POINTS)
    assert trials[2].state == TrialState.FAIL


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.filterwarnings("ignore:tuning.sampler.*the search ends before n_trials")
def test_failed_and_pruned_trials_have_tried_their_points(sampler: str) -> None:
    def objective(trial: optuna.Trial) -> float:
        n = trial.suggest_int("n", 0, 5)
        if n == 1:
            raise optuna.TrialPruned
        return float("nan") if n == 2 else float(n)

    space = {"n": {"suggest": "int", "low": 0, "high": 5, "name": "n"}}
    trials = search(sampler, 50, search_space=space, objective_function=objective)
    assert sorted(trial.params["n"] for trial in trials) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_trials_of_all_brackets_of_hyperband_count(sampler: str) -> None:
    # Hyperband shows a sampler only the trials of the bracket that the next one belongs to.
    def objective(trial: optuna.Trial) -> float:
        n = trial.suggest_int("n", 0, 19)
        for step in range(1, 10):
            trial.report(float(n), step)
            trial.should_prune()
        return float(n)

    space = {"n": {"suggest": "int", "low": 0, "high": 19, "name": "n"}}
    pruner = {"name": "hyperband", "min_resource": 1, "max_resource": 9}
    trials = search(sampler, 20, search_space=space, objective_function=objective, pruner=pruner)
    assert sorted(trial.params["n"] for trial in trials) == list(range(20))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_order_is_shuffled_by_the_seed(sampler: str) -> None:
    orders = [tried(search(sampler, seed=seed)) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][1:] != sorted(orders[0][1:])


def test_a_trial_for_which_no_point_is_left_is_pruned_with_the_reason() -> None:
    study = optuna.create_study(sampler=grid())
    for _ in range(6):
        trial = study.ask()
        study.tell(trial, len(build_search_space(SPACE, BASE).suggest(trial)))
    with pytest.raises(optuna.TrialPruned, match="every point of the space is tried"):
        build_search_space(SPACE, BASE).suggest(study.ask())
    study.sampler = BruteForceSampler(0)
    with pytest.raises(optuna.TrialPruned, match="every point of the space is tried"):
        study.ask().suggest_float("x", 0.1, 0.9, step=0.4)


def of_four(sampler: str, *, enqueued: bool) -> optuna.Study:
    """A study of four points, one of which another worker has and has not said so yet."""
    space = build_search_space({"n": {"suggest": "int", "low": 0, "high": 3, "name": "n"}}, BASE)
    study = optuna.create_study(
        sampler=GridSampler(space) if sampler == "grid" else BruteForceSampler()
    )
    if enqueued:
        study.enqueue_trial({"n": 2})
    study.ask()
    return study


@pytest.mark.parametrize(
    ("sampler", "enqueued"), [("grid", True), ("grid", False), ("brute_force", True)]
)
def test_a_worker_ends_when_others_have_taken_what_is_left(sampler: str, enqueued: bool) -> None:
    study = of_four(sampler, enqueued=enqueued)
    study.optimize(lambda trial: float(trial.suggest_int("n", 0, 3)), n_trials=50)
    states = [trial.state.name for trial in study.trials]
    assert states[:4] == ["RUNNING", "COMPLETE", "COMPLETE", "COMPLETE"]
    # It may ask once in vain.
    assert states[4:] in ([], ["PRUNED"])
    points = {trial.params["n"] for trial in study.trials[1:4]}
    assert len(points) == 3
    assert 2 not in points or not enqueued


# Grid


def test_trials_that_begin_in_the_same_instant_take_different_points() -> None:
    study = optuna.create_study(sampler=grid())
    space = build_search_space(SPACE, BASE)
    trials = [study.ask() for _ in range(6)]
    # Those that were asked for first need not be the first to say where they are.
    random.Random(0).shuffle(trials)
    for trial in trials:
        space.suggest(trial)
    assert sorted(tried(study.trials)) == sorted(POINTS)


def test_workers_share_a_grid() -> None:
    space = {"n": {"suggest": "int", "low": 0, "high": 39}}
    sampler = GridSampler(build_search_space(space, BASE), 0)
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial({"n": 7})

    def objective(trial: optuna.Trial) -> float:
        time.sleep(random.random() / 500)
        n = trial.suggest_int("n", 0, 39)
        time.sleep(random.random() / 500)
        return float(n)

    study.optimize(objective, n_trials=100, n_jobs=4)
    complete = [t.params["n"] for t in study.trials if t.state == TrialState.COMPLETE]
    assert sorted(complete) == list(range(40))


def test_what_is_asked_for_only_at_times_makes_no_point_twice() -> None:
    def rate(trial: Any) -> float:
        if trial.suggest_categorical("decays", [True, False]):
            return float(trial.suggest_int("rate", 1, 3))
        return 0.0

    space = build_search_space({"x": rate}, {"x": 0.0})
    study = optuna.create_study(sampler=GridSampler(space, 0))
    study.optimize(lambda trial: space.suggest(trial)["x"], n_trials=50)
    # That the rate depends on the answer is found out by asking.
    assert [trial.value for trial in study.trials].count(0.0) == 1
    assert sorted(trial.value for trial in study.trials) == [0.0, 1.0, 2.0, 3.0]


def test_an_objective_that_uses_part_of_the_grid_tries_that_part_once() -> None:
    space = build_search_space(SPACE, BASE)
    study = optuna.create_study(sampler=GridSampler(space, 0))
    study.optimize(lambda trial: trial.suggest_float("x", 0.1, 0.9, step=0.4), n_trials=50)
    complete = [trial.params["x"] for trial in study.trials if trial.value is not None]
    assert sorted(complete) == [0.1, 0.5, 0.9]
    assert len(study.trials) == 4  # One more finds out that nothing is left.


def test_a_parameter_that_the_grid_does_not_have_is_told() -> None:
    study = optuna.create_study(sampler=grid())
    with pytest.raises(ConfigError, match="the objective asks for 'y'.*brute_force"):
        study.optimize(lambda trial: trial.suggest_float("y", 0.0, 1.0), n_trials=1)


@pytest.mark.parametrize(
    ("n_trials", "x", "message"),
    [
        (40, 0.5, "the grid is tried in 6 trials, so the search ends before n_trials, 40"),
        (40, 0.3, "the grid is tried in 7 trials, so the search ends before n_trials, 40"),
        (4, 0.5, "the grid takes 6 trials, more than n_trials, 4, which are run"),
    ],
)
def test_another_number_of_trials_than_points_is_told(
    n_trials: int, x: float, message: str
) -> None:
    with pytest.warns(UserWarning, match=f"tuning.sampler: {message}"):
        search("grid", n_trials, base_config={**BASE, "x": x})


def test_a_grid_that_fits_is_not_talked_about() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search("grid", 6)


# Brute force


def depends(trial: optuna.Trial) -> float:
    if trial.suggest_categorical("kind", ["flat", "steep"]) == "flat":
        return 0.0
    low = trial.suggest_int("low", 0, 2)
    return float(trial.suggest_int("high", low, 2)) + 0.1 * low


def test_every_combination_of_a_space_that_depends_on_answers_is_tried_once() -> None:
    study = optuna.create_study(sampler=BruteForceSampler(0))
    study.optimize(depends, n_trials=100)
    expected = [0.0, 0.0, 1.0, 2.0, 1.1, 2.1, 2.2]
    assert sorted(trial.value for trial in study.trials) == sorted(expected)


def test_brute_force_wants_steps_of_what_the_objective_asks_for() -> None:
    study = optuna.create_study(sampler=BruteForceSampler(0))
    with pytest.raises(ConfigError, match=r"^y: must have a step, as every value is tried\. Add"):
        study.optimize(lambda trial: trial.suggest_float("y", 0.0, 1.0), n_trials=1)


def test_brute_force_leaves_an_enqueued_point_to_its_trial() -> None:
    study = optuna.create_study(sampler=BruteForceSampler(0))
    study.enqueue_trial({"n": 2})
    first = study.ask()
    study.enqueue_trial({"n": 4})
    others = [study.ask({"n": IntDistribution(0, 5)}) for _ in range(1)]
    # The trial with 2 has not asked for anything yet.
    later = [study.ask({"n": IntDistribution(0, 5)}).params["n"] for _ in range(4)]
    assert others[0].params["n"] == 4
    assert sorted(later) == [0, 1, 3, 5]
    assert first.suggest_int("n", 0, 5) == 2
