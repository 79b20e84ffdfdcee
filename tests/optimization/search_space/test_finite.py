from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from rllama_sb3.errors import ConfigError
from rllama_sb3.optimization import build_search_space
from rllama_sb3.optimization.search_space.finite import check_finite, points_of, values_of

BASE = {"x": 0.5, "n": 3}
SAMPLERS = ["grid", "brute_force"]


@pytest.mark.parametrize(
    ("distribution", "values"),
    [
        (CategoricalDistribution(["a", None, 3]), ["a", None, 3]),
        (IntDistribution(1, 7, step=3), [1, 4, 7]),
        (IntDistribution(1, 3, log=True), [1, 2, 3]),
        (FloatDistribution(0.0, 0.3, step=0.1), [0.0, 0.1, 0.2, 0.3]),
        (FloatDistribution(1e-4, 3e-4, step=1e-4), [1e-4, 2e-4, 3e-4]),
    ],
)
def test_values_are_those_that_were_written(distribution: Any, values: list[Any]) -> None:
    assert values_of(distribution) == values


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_range_without_steps_is_refused_with_the_path(sampler: str) -> None:
    space = {
        "x": {"suggest": "float", "low": 0.0, "high": 1.0},
        "n": lambda trial: trial.suggest_float("n", 0.1, 1.0, log=True),
    }
    problems = check_finite(build_search_space(space, BASE), sampler)
    assert [str(problem) for problem in problems] == [
        f"tuning.search_space.{name}: must have a step, as the sampler {sampler} tries every "
        "value. Add step, or list the values: {suggest: categorical, choices: [...]}."
        for name in ("x", "n")
    ]


def test_a_callable_that_wants_a_real_trial_is_refused_by_the_grid_alone() -> None:
    def odd(trial: Any) -> int:
        return int(trial.study.study_name == "x") + int(trial.suggest_int("n", 0, 3))

    space = build_search_space({"n": odd}, BASE)
    (problem,) = check_finite(space, "grid")
    assert str(problem).startswith("tuning.search_space.n: must say beforehand what it suggests")
    assert check_finite(space, "brute_force") == []


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_grid_of_more_points_than_anybody_can_try_is_refused(sampler: str) -> None:
    space = {key: {"suggest": "int", "low": 0, "high": 10**9} for key in ("x", "n")}
    base = {"x": 1, "n": 1}
    problems = check_finite(build_search_space(space, base), sampler)
    assert str(problems[0]).startswith(
        f"tuning.search_space: must have at most 10000 points with the sampler {sampler}, "
        "but got 1000000002000000001."
    )


def test_a_range_without_steps_has_no_values() -> None:
    with pytest.raises(ConfigError, match=r"^lr: must have a step, as every value is tried\. Add"):
        values_of(FloatDistribution(0.0, 1.0), "lr")


def test_points_are_all_combinations() -> None:
    space = {
        "x": {"suggest": "float", "low": 0.0, "high": 0.5, "step": 0.5},
        "n": {"suggest": "categorical", "choices": [3, [1, 2]]},
    }
    points = points_of(build_search_space(space, BASE))
    # Optuna stores a list as text.
    assert points == [{"x": x, "n": n} for x in (0.0, 0.5) for n in (3, "[1, 2]")]
