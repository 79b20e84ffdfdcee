"""Whether one config is better than another, and how sure that is."""

from rllama_sb3.analysis.comparison import Comparison, ComparisonRow, compare
from rllama_sb3.analysis.statistics import (
    Interval,
    bootstrap_interval,
    interquartile_mean,
    mean,
    mean_interval,
    probability_of_improvement,
)

__all__ = [
    "Comparison",
    "ComparisonRow",
    "Interval",
    "bootstrap_interval",
    "compare",
    "interquartile_mean",
    "mean",
    "mean_interval",
    "probability_of_improvement",
]
