"""Whether one config is better than another, and how sure that is; what a config pays its agent.

What checks a config before it is trained is in :mod:`rllama_sb3.analysis.check`. It is not imported
here, since it needs torch: the processes of a comparison import this package before they ignore
Ctrl-C, and should not take long until then.
"""

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
