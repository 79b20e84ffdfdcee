"""Statistics for a handful of training runs, after Agarwal et al. 2021.

A score is the result of one training run, not of one episode: episodes of one run share its luck.
With few runs the mean alone misleads, so every number comes with an interval that says how far
another set of seeds could have moved it.

Source: Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(https://arxiv.org/abs/2108.13264).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

#: Fewest scores of which a quarter can be left out at each end.
MIN_IQM_SCORES: Final = 4

_TRIM: Final = 0.25
_N_RESAMPLES: Final = 9_999
# What is equal but for the rounding of its sums is equal.
_N_DIGITS: Final = 9

Statistic = Callable[..., Any]


class Interval(NamedTuple):
    """The ends of a confidence interval; both NaN where none can be told."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        """Whether a number lies within the interval, its ends included."""
        return isinstance(value, int | float) and self.low <= value <= self.high


def mean(scores: ArrayLike, axis: int = -1) -> Any:
    """Returns the mean along an axis.

    Example:
        >>> float(mean([1.0, 2.0, 6.0]))
        3.0
    """
    return np.mean(np.asarray(scores, dtype=float), axis=axis)


def interquartile_mean(scores: ArrayLike, axis: int = -1) -> Any:
    """Returns the mean of the middle half of the scores along an axis (IQM).

    A quarter of the scores, rounded down, is left out at each end, so that one failed or lucky
    seed does not decide. Fewer than 4 scores have no quarter: their IQM *is* their mean, and
    should be shown as such. With NaN among the scores it is NaN, not left out as an end.

    Example:
        >>> float(interquartile_mean([0.0, 4.0, 6.0, 1000.0]))
        5.0
        >>> float(interquartile_mean([0.0, 4.0, 1000.0])) == float(mean([0.0, 4.0, 1000.0]))
        True
    """
    array = np.asarray(scores, dtype=float)
    # Older versions of SciPy sort NaN to an end, and leave it out there.
    trimmed = stats.trim_mean(array, _TRIM, axis=axis)
    return np.where(np.isnan(array).any(axis=axis), np.nan, trimmed)[()]


def probability_of_improvement(scores: ArrayLike, base: ArrayLike, axis: int = -1) -> Any:
    """Returns how likely a run of one config beats a run of another.

    P(X > Y) = 1/(N·M) Σᵢ Σⱼ S(xᵢ, yⱼ) with S = 1 where xᵢ > yⱼ, ½ where they are equal, and 0
    otherwise: the Mann-Whitney U statistic over N·M (Agarwal et al. 2021). 0.5 says that
    neither is better; it says nothing about *how much* better one is.

    Args:
        scores: Scores of the config that might be better.
        base: Scores of the one that it is measured against.
        axis: The axis of the scores in both.

    Example:
        >>> float(probability_of_improvement([1.0, 2.0, 3.0], [2.0, 0.0]))
        0.75
    """
    better = np.moveaxis(np.asarray(scores, dtype=float), axis, -1)[..., :, np.newaxis]
    worse = np.moveaxis(np.asarray(base, dtype=float), axis, -1)[..., np.newaxis, :]
    return np.mean((np.sign(better - worse) + 1.0) / 2.0, axis=(-2, -1))


class RankCorrelation(NamedTuple):
    """Whether two scores put the same things in the same order.

    Attributes:
        value: Spearman's ρ, from −1 for the opposite order to 1 for the same; NaN where either
            score is the same for all.
        p_opposed: How likely a ρ as low as this is when the scores have nothing to do with each
            other; NaN where ρ is.
    """

    value: float
    p_opposed: float


def has_order(scores: ArrayLike) -> bool:
    """Returns whether not all scores are the same, but for the rounding of sums.

    Example:
        >>> has_order([0.1 + 0.2, 0.3]), has_order([0.2, 0.3])
        (False, True)
    """
    return bool(np.ptp(_without_noise(scores)) > 0.0)


def rank_correlation(first: ArrayLike, second: ArrayLike, *, seed: int = 0) -> RankCorrelation:
    """Returns Spearman's rank correlation of two scores of the same things, at least two.

    The p-value is that of a permutation test, exact where all orders can be tried (up to 7 things)
    and from 9,999 random ones otherwise, since the usual formula needs hundreds of things.
    Deterministic: the same scores give the same result.

    Args:
        first: One score of each thing.
        second: The other score of each, in the same order.
        seed: Seeds the permutations.

    Example:
        >>> rank_correlation([1.0, 2.0, 3.0, 4.0], [9.0, 7.0, 5.0, 1.0]).value
        -1.0
        >>> rank_correlation([1.0, 2.0, 3.0], [5.0, 5.0, 5.0])
        RankCorrelation(value=nan, p_opposed=nan)
    """
    if not (has_order(first) and has_order(second)):
        return RankCorrelation(float("nan"), float("nan"))
    ranks = [stats.rankdata(_without_noise(scores)) for scores in (first, second)]

    def pearson(rank: NDArray[np.float64], axis: int = -1) -> Any:
        # Of ranks it is Spearman's; vectorised over permutations, which spearmanr is not.
        return stats.pearsonr(rank, ranks[1], axis=axis).statistic

    test = stats.permutation_test(
        (ranks[0],),
        pearson,
        permutation_type="pairings",
        alternative="less",
        n_resamples=_N_RESAMPLES,
        vectorized=True,
        batch=1_000,
        rng=np.random.default_rng(seed),
    )
    value = stats.spearmanr(*ranks).statistic
    return RankCorrelation(round(float(value), _N_DIGITS), float(test.pvalue))


def _without_noise(scores: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(scores, dtype=float)
    largest = float(np.abs(array).max(initial=0.0))
    return np.round(array / largest, _N_DIGITS) if largest > 0.0 else array


def difference_of(statistic: Statistic) -> Statistic:
    """Returns the statistic of how much the first of two samples is above the second.

    Example:
        >>> float(difference_of(mean)([3.0, 5.0], [1.0]))
        3.0
    """

    def compute_difference(scores: ArrayLike, base: ArrayLike, axis: int = -1) -> Any:
        return statistic(scores, axis=axis) - statistic(base, axis=axis)

    return compute_difference


def bootstrap_interval(
    *samples: ArrayLike,
    statistic: Statistic = interquartile_mean,
    confidence_level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Returns the percentile bootstrap interval of a statistic of one or more samples.

    Each sample is resampled with replacement on its own (stratified), 9,999 times. Deterministic:
    the same scores give the same interval.

    Args:
        *samples: The scores of each config, one for each training run.
        statistic: A function of the samples with a keyword ``axis``, vectorised along it.
        confidence_level: In (0, 1).
        seed: Seeds the resampling.

    Returns:
        The interval; NaN at both ends when a sample has fewer than 2 scores or a score is not
        finite, because nothing can then be said about other seeds.

    Example:
        >>> bootstrap_interval([3.0, 3.0, 3.0])
        Interval(low=3.0, high=3.0)
        >>> bootstrap_interval([3.0])
        Interval(low=nan, high=nan)
    """
    arrays: Sequence[NDArray[np.float64]] = [np.asarray(s, dtype=float).ravel() for s in samples]
    if any(len(array) < 2 or not np.isfinite(array).all() for array in arrays):
        return Interval(float("nan"), float("nan"))
    found = stats.bootstrap(
        arrays,
        statistic,
        n_resamples=_N_RESAMPLES,
        confidence_level=confidence_level,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(found.low), float(found.high))


def mean_interval(scores: ArrayLike, confidence_level: float = 0.95) -> Interval:
    """Returns the bootstrap interval of the mean.

    Example:
        >>> 2.0 in mean_interval([1.0, 2.0, 3.0])
        True
    """
    return bootstrap_interval(scores, statistic=mean, confidence_level=confidence_level)
