from __future__ import annotations

import importlib.util
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import optuna
import pytest

from rllama_sb3.errors import ConfigError
from rllama_sb3.optimization import (
    BayesianRewardOptimizer,
    SearchSpace,
    build_sampler,
    build_search_space,
)
from rllama_sb3.optimization.samplers import SAMPLERS, check_sampler

NUMBERS = {
    "x": {"suggest": "float", "low": 0.0, "high": 1.0, "step": 0.125},
    "n": {"suggest": "int", "low": 0, "high": 7},
}
BASE = {"x": 0.5, "n": 3, "kind": "a"}
HAS_CMAES = importlib.util.find_spec("cmaes") is not None
needs_cmaes = pytest.mark.skipif(not HAS_CMAES, reason="needs the extra cmaes")
INSTALLED = [
    pytest.param(name, marks=needs_cmaes) if name == "cmaes" else name for name in SAMPLERS
]


def space_of(space: dict[str, Any]) -> SearchSpace:
    return build_search_space(space, BASE)


def propose(sampler: Any, seed: int, n_trials: int = 6, **arguments: Any) -> list[dict[str, Any]]:
    """The parameters of the first trials of a study with that sampler."""
    space = space_of(NUMBERS)
    study = optuna.create_study(
        sampler=build_sampler(sampler, seed, space=space, n_trials=8, **arguments)
    )

    def objective(trial: optuna.Trial) -> float:
        values = space.suggest(trial)
        return float((values["x"] - 0.7) ** 2 + values["n"])

    study.optimize(objective, n_trials=n_trials)
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", INSTALLED)
def test_proposals_are_a_function_of_the_seed(name: str) -> None:
    assert propose(name, seed=1) == propose(name, seed=1)
    assert propose(name, seed=1) != propose(name, seed=2)


@pytest.mark.parametrize("name", ["tpe", "gp", "random", "nsga2", "brute_force"])
def test_a_resumed_study_and_another_worker_get_other_proposals(name: str) -> None:
    first = propose(name, seed=1)
    assert propose(name, seed=1, n_known=4)[0] != first[0]
    assert propose(name, seed=1, worker=1)[0] != first[0]


def test_all_workers_walk_one_sequence_and_one_grid() -> None:
    elsewhere = build_sampler("qmc", 1, n_known=4, worker=3)
    assert elsewhere._seed == build_sampler("qmc", 1)._seed  # type: ignore[attr-defined]
    assert propose("grid", 1, n_known=4, worker=3) == propose("grid", 1)


@pytest.mark.parametrize("name", INSTALLED)
def test_a_search_runs_and_is_resumed_with_every_sampler(name: str, tmp_path: Path) -> None:
    def search(n_trials: int) -> optuna.Study:
        optimizer: BayesianRewardOptimizer
        optimizer = BayesianRewardOptimizer(
            BASE,
            NUMBERS,
            lambda trial: -abs(optimizer.generate_trial_config(trial)["x"] - 0.7),
            n_trials=n_trials,
            storage=f"sqlite:///{tmp_path}/study.db",
            sampler=name,
        )
        return optimizer.optimize()[2]

    with warnings_of_a_grid(name):
        assert len(search(4).trials) == 4
        study = search(9)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 9
    assert study.trials[0].params == {"x": 0.5, "n": 3}
    assert len({tuple(trial.params.items()) for trial in study.trials}) > 5


def warnings_of_a_grid(name: str) -> Any:
    """A grid of 72 points is told to be larger than the study."""
    if name == "grid":
        return pytest.warns(UserWarning, match="the grid takes 72 trials, more than n_trials")
    return nullcontext()


def test_qmc_goes_on_in_its_sequence_after_a_resume() -> None:
    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0.0, 1.0) + trial.suggest_int("n", 0, 7)

    def run(study: optuna.Study, n_known: int) -> list[dict[str, Any]]:
        study.sampler = build_sampler("qmc", 1, n_known=n_known)
        study.optimize(objective, n_trials=3)
        return [trial.params for trial in study.trials]

    study = optuna.create_study()
    first = run(study, 0)
    both = run(study, 3)
    whole = optuna.create_study(sampler=build_sampler("qmc", 1))
    whole.optimize(objective, n_trials=6)
    assert both[:3] == first
    # The first trial, before anything is known of the space, is drawn.
    assert both[1:] == [trial.params for trial in whole.trials][1:]


@pytest.mark.parametrize(
    ("sampler", "attribute", "value"),
    [
        ({"name": "tpe", "n_startup_trials": 5}, "_n_startup_trials", 5),
        ({"name": "tpe", "multivariate": False}, "_multivariate", False),
        ({"name": "tpe", "n_ei_candidates": 7}, "_n_ei_candidates", 7),
        ({"name": "gp", "deterministic_objective": True}, "_deterministic", True),
        ({"name": "qmc", "qmc_type": "halton"}, "_qmc_type", "halton"),
        ({"name": "qmc", "scramble": False}, "_scramble", False),
        ({"name": "nsga2", "population_size": 12}, "population_size", 12),
    ],
)
def test_parameters_reach_the_sampler_of_optuna(sampler: Any, attribute: str, value: Any) -> None:
    assert getattr(build_sampler(sampler, 0), attribute) == value


def test_a_parameter_leaves_the_other_defaults_as_they_are() -> None:
    plain = build_sampler("qmc", 0)
    halton = build_sampler({"name": "qmc", "qmc_type": "halton"}, 0)
    for attribute in ("_seed", "_scramble"):
        assert getattr(halton, attribute) == getattr(plain, attribute)


@pytest.mark.parametrize(("n_trials", "size"), [(4, 2), (40, 10), (1_000, 50)])
def test_a_generation_is_a_quarter_of_the_study(n_trials: int, size: int) -> None:
    assert build_sampler("nsga2", 0, n_trials=n_trials).population_size == size  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ("randm", r"^tuning\.sampler: must be one of .* mean 'random'\?$"),
        ({"name": "randm"}, r"^tuning\.sampler\.name: must be one of .* mean 'random'\?$"),
        ({"name": "tpe", "multivarate": True}, r"\.multivarate: is not a .* mean 'multivariate'\?"),
        ({"name": "tpe", "multivariate": "yes"}, r"\.multivariate: must be true or false"),
        ({"name": "tpe", "n_startup_trials": 2.5}, r"\.n_startup_trials: must be an integer"),
        (
            {"name": "tpe", "n_ei_candidates": 0},
            r"\.n_ei_candidates: must be at least 1, but got 0",
        ),
        ({"name": "tpe", "seed": 3}, r"\.seed: must not be set here\. Set tuning\.seed instead\."),
        ({"name": "tpe", "prior_weight": 1.0}, r"\.prior_weight: must not be .* has deprecated it"),
        (
            {"name": "tpe", "multivariate": False, "group": True},
            r"^tuning\.sampler: must be accepted by TPESampler \(.*group.*\), but got {'multivari",
        ),
        ({"name": "qmc", "qmc_type": "sobl"}, r"must be accepted by QMCSampler \(.*sobol.*\), but"),
        ({"name": "nsga2", "population_size": 1}, r"must be accepted by NSGAIISampler \(.*\)"),
        (
            {"name": "nsga2", "crossover": "uniform"},
            r"\.crossover: must not be set .* Python object",
        ),
        (
            {"name": "grid", "space": {}},
            r"\.space: must not be set here\. Set tuning\.search_space",
        ),
        ({"name": "random", "bias": 1}, r"sampler\.bias: is not a parameter of RandomSampler"),
    ],
)
def test_wrong_samplers_are_refused_with_the_path(sampler: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build_sampler(sampler, 0)
    assert check_sampler(sampler) == list(caught.value.problems)


def test_all_problems_of_a_sampler_and_its_space_are_told() -> None:
    space = space_of({"x": {"suggest": "float", "low": 0.0, "high": 1.0}})
    problems = check_sampler({"name": "brute_force", "sed": 1}, space)
    assert [problem.path for problem in problems] == [
        ("tuning", "search_space", "x"),
        ("tuning", "sampler", "sed"),
    ]


@pytest.mark.skipif(HAS_CMAES, reason="the extra cmaes is installed")
def test_a_sampler_that_is_not_installed_is_told_with_its_extra() -> None:
    (problem,) = check_sampler("cmaes", space_of(NUMBERS))
    assert str(problem) == (
        "tuning.sampler: must be a sampler that is installed, but got 'cmaes'. "
        "cmaes needs a package that is not installed. Run: pip install 'rllama-sb3[cmaes]'"
    )


def test_cmaes_refuses_what_it_would_draw_at_random() -> None:
    kind = {"suggest": "categorical", "choices": ["a", "b"]}
    problems = check_sampler("cmaes", space_of({**NUMBERS, "kind": kind}))
    assert str(problems[-1]) == (
        "tuning.search_space.kind: must be a number to be searched by cmaes, not categorical. "
        "Use the sampler tpe or gp."
    )


@needs_cmaes
def test_parameters_reach_cmaes() -> None:
    assert build_sampler({"name": "cmaes", "popsize": 6}, 0)._popsize == 6  # type: ignore[attr-defined]
