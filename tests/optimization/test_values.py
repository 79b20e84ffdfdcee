from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllama_sb3.errors import ConfigError
from rllama_sb3.optimization.values import check_objective, value_of_seed, value_of_trial

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("objective", "value"),
    [("last", 2.0), ("best", 9.0), ("auc", 5.0), ("mean-1", 2.0), ("mean-3", 4.0), ("mean-4", 5.0)],
)
def test_a_seed_is_worth_what_the_objective_says(objective: str, value: float) -> None:
    assert value_of_seed([8.0, 1.0, 9.0, 2.0], objective) == value


@given(VALUES)
def test_the_mean_of_the_last_lies_between_the_last_and_the_mean_of_all(
    means: list[float],
) -> None:
    assert value_of_seed(means, "mean-1") == value_of_seed(means, "last")
    assert value_of_seed(means, f"mean-{len(means)}") == value_of_seed(means, "auc")
    # A training that has not had k evaluations yet is worth the mean of those that it had.
    assert value_of_seed(means, "mean-99") == value_of_seed(means, "auc")


@pytest.mark.parametrize("objective", ["last", "best", "auc", "mean-2"])
def test_an_evaluation_that_is_not_a_number_leaves_no_value(objective: str) -> None:
    assert math.isnan(value_of_seed([1.0, math.nan], objective))


def test_the_penalty_is_the_sample_standard_deviation() -> None:
    # Of 1, 2, 3, 4 the squares are 5 in sum: the variance is 5/3 of a sample, 5/4 of a population.
    assert value_of_trial([1.0, 2.0, 3.0, 4.0], 3.0) == pytest.approx(2.5 - 3.0 * math.sqrt(5 / 3))
    assert value_of_trial([0.0, 2.0], 1.0) == pytest.approx(1.0 - math.sqrt(2.0))


@given(VALUES, st.floats(0.0, 10.0))
def test_a_penalty_never_raises_a_value_and_spares_what_does_not_vary(
    values: list[float], penalty: float
) -> None:
    assert value_of_trial(values, penalty) <= value_of_trial(values)
    constant = [values[0]] * len(values)
    assert value_of_trial(constant, penalty) == pytest.approx(value_of_trial(constant))


def test_one_seed_has_no_spread() -> None:
    assert value_of_trial([7.0], 5.0) == 7.0


def test_of_two_that_are_as_good_on_the_average_the_steady_one_is_worth_more() -> None:
    assert value_of_trial([5.0, 5.0, 5.0], 0.1) > value_of_trial([0.0, 5.0, 10.0], 0.1)


@pytest.mark.parametrize("objective", ["last", "best", "auc", "mean-1", "mean-10"])
def test_known_objectives_are_accepted(objective: str) -> None:
    assert check_objective(objective, 10) == []


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("lst", "must be one of last, best, auc, mean-k, but got 'lst'. Did you mean 'last'?"),
        ("mean", "must be one of last, best, auc, mean-k, but got 'mean'. Write a number for k, "),
        ("mean-0", "must be one of last, best, auc, mean-k, but got 'mean-0'. Write a number for "),
        ("mean-k", "must be one of last, best, auc, mean-k, but got 'mean-k'. Write a number for "),
        ("mean-3 ", "must be one of last, best, auc, mean-k, but got 'mean-3 '. Write a number "),
        ("mean-11", "must not average more evaluations than there are, 10, but got 'mean-11'."),
    ],
)
def test_other_objectives_are_told(objective: str, said: str) -> None:
    (problem,) = check_objective(objective, 10)
    assert str(problem).startswith(f"tuning.objective: {said}")


def test_an_objective_that_was_not_checked_gives_no_value() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'last'"):
        value_of_seed([1.0], "lst")
