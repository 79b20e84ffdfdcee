"""Statistics against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rllama_sb3.analysis.statistics import (
    Interval,
    bootstrap_interval,
    difference_of,
    interquartile_mean,
    mean,
    mean_interval,
    probability_of_improvement,
    rank_correlation,
)

scores = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12)


def test_iqm_leaves_out_a_quarter_at_each_end() -> None:
    assert interquartile_mean([1e9, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -1e9]) == 3.5


def test_iqm_rounds_the_quarter_down() -> None:
    # A quarter of five scores is one.
    assert interquartile_mean([-100.0, 1.0, 2.0, 3.0, 100.0]) == 2.0


@pytest.mark.parametrize("n_scores", [1, 2, 3])
def test_iqm_of_fewer_than_four_scores_is_their_mean(n_scores: int) -> None:
    values = [1.0, 10.0, 100.0][:n_scores]
    assert interquartile_mean(values) == pytest.approx(np.mean(values))


@given(scores)
def test_iqm_lies_among_the_scores(values: list[float]) -> None:
    iqm = float(interquartile_mean(values))
    assert min(values) - 1e-6 <= iqm <= max(values) + 1e-6


def test_probability_of_improvement_counts_pairs_and_halves_ties() -> None:
    # Pairs of (2, 3) with (1, 2, 4): 2>1, 2=2, 2<4, 3>1, 3>2, 3<4.
    assert probability_of_improvement([2.0, 3.0], [1.0, 2.0, 4.0]) == pytest.approx(3.5 / 6)


@given(scores, scores)
def test_probabilities_of_improvement_of_both_sides_add_up_to_one(
    ours: list[float], theirs: list[float]
) -> None:
    both = probability_of_improvement(ours, theirs) + probability_of_improvement(theirs, ours)
    assert both == pytest.approx(1.0)


def test_statistics_are_vectorised_along_an_axis() -> None:
    rows = np.arange(24.0).reshape(3, 8)
    assert interquartile_mean(rows, axis=-1).tolist() == [3.5, 11.5, 19.5]
    other = rows + 8.0
    assert probability_of_improvement(other, rows, axis=-1).tolist() == [1.0, 1.0, 1.0]


def test_interval_of_a_mean_is_near_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, size=400)
    low, high = mean_interval(values)
    half = 1.96 * values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)


def test_a_wider_confidence_level_gives_a_wider_interval() -> None:
    values = [1.0, 2.0, 4.0, 8.0, 16.0]
    narrow = bootstrap_interval(values, confidence_level=0.5)
    wide = bootstrap_interval(values, confidence_level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_the_same_scores_give_the_same_interval() -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    assert bootstrap_interval(values) == bootstrap_interval(values)


def test_the_interval_of_a_difference_resamples_each_config_by_itself() -> None:
    ours, theirs = [10.0, 10.0, 10.0, 10.0], [1.0, 1.0, 1.0, 1.0]
    found = bootstrap_interval(ours, theirs, statistic=difference_of(mean))
    assert found == Interval(9.0, 9.0)


def test_an_unknown_score_is_not_left_out_as_the_end_of_the_others() -> None:
    assert math.isnan(interquartile_mean([1.0, 2.0, 3.0, 4.0, math.nan]))
    both = interquartile_mean([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, math.nan]])
    assert both[0] == 2.5
    assert math.isnan(both[1])


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan], [1.0, math.inf]])
def test_scores_that_say_nothing_about_other_seeds_have_no_interval(values: list[float]) -> None:
    assert all(math.isnan(end) for end in bootstrap_interval(values))


def test_an_interval_contains_its_ends() -> None:
    assert 1.0 in Interval(1.0, 2.0)
    assert 2.5 not in Interval(1.0, 2.0)
    assert "1.5" not in Interval(1.0, 2.0)


def test_rank_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 5, size=(2, 30))  # with ties
    found = rank_correlation(first, second)
    assert found.value == pytest.approx(stats.spearmanr(first, second).statistic)


def test_the_p_value_of_few_scores_is_exact() -> None:
    # Of the 24 orders of four scores, one is the opposite.
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]).p_opposed == pytest.approx(1 / 24)
    assert rank_correlation([1, 2, 3, 4], [1, 2, 3, 4]).p_opposed == pytest.approx(1.0)


def test_opposite_orders_of_many_scores_are_no_chance() -> None:
    up = np.arange(20.0)
    assert rank_correlation(up, -up).p_opposed < 0.001


@pytest.mark.parametrize("constant", [[2.0] * 3, [0.1 + 0.2, 0.3, 0.3]])
def test_a_score_that_is_the_same_for_all_has_no_order(constant: list[float]) -> None:
    found = rank_correlation(constant, [1.0, 2.0, 3.0])
    assert math.isnan(found.value)
    assert math.isnan(found.p_opposed)
