"""What a trial is worth: one number from the evaluations of each of its seeds.

By ``tuning.objective`` a seed is worth::

    last      its last evaluation: what the user gets
    best      its best one, which rewards luck among noisy evaluations
    auc       the mean of all, the area under the learning curve: rewards learning fast
    mean-k    the mean of its last k, such as mean-3: what the user gets, with less luck in it

and by ``tuning.variance_penalty`` λ its trial is worth::

    mean - λ · sd

over the values of its seeds, where sd is their sample standard deviation, with n - 1 in the
denominator. So a config that is good on every seed beats one that is as good on the average. A
penalty on the spread goes back to Dierkes et al. 2024, "Combining Automated Optimisation of
Hyperparameters and Reward Shape".

A trial that is not over has the value that it would have if it ended now: the same formulas, over
the evaluations so far of the seed that runs, and over that seed and those before it; a first seed
has no sd, and is not penalised. That is what a pruner is told. After as many evaluations of as
many seeds the formula is the same in every trial, so that values at equal steps can be compared,
and the last one told is the value of the trial.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from rllama_sb3.errors import ConfigError, Path, Problem, did_you_mean

OBJECTIVES: Final = ("last", "best", "auc", "mean-k")
_MEAN_OF_LAST: Final = re.compile(r"mean-([1-9][0-9]*)")


def value_of_seed(means: Sequence[float], objective: str) -> float:
    """Returns what one training is worth, or would be if it ended now.

    Args:
        means: The mean env return of each evaluation so far, at least one; NaN makes a NaN.
        objective: One that :func:`check_objective` accepts.

    Example:
        >>> [value_of_seed([1.0, 9.0, 5.0], name) for name in ("last", "best", "auc", "mean-2")]
        [5.0, 9.0, 5.0, 7.0]
    """
    if objective == "best":
        return float(np.max(means))
    if objective == "auc":
        return float(np.mean(means))
    return float(np.mean(means[-_n_last(objective) :]))


def value_of_trial(
    values: Sequence[float], variance_penalty: float = 0.0, *, direction: str = "maximize"
) -> float:
    """Returns what the values of seeds make together, or would make if the trial ended now.

    Args:
        values: The value of each seed so far, at least one.
        variance_penalty: λ, at least 0.
        direction: Which way is better; where that is ``minimize`` the penalty is added.

    Example:
        >>> value_of_trial([8.0, 10.0, 12.0]), value_of_trial([8.0, 10.0, 12.0], 0.5)
        (10.0, 9.0)
    """
    mean = float(np.mean(values))
    if len(values) < 2 or variance_penalty == 0.0:
        return mean
    penalty = variance_penalty * float(np.std(values, ddof=1))
    return mean - penalty if direction == "maximize" else mean + penalty


def check_objective(
    objective: str, n_evaluations: int | None, path: Path = ("tuning", "objective")
) -> list[Problem]:
    """Returns what is wrong with the name of an objective, if anything is.

    Args:
        objective: The name.
        n_evaluations: Evaluations of one training, or None where that is not known.
        path: Where it stands in the config.

    Example:
        >>> for problem in check_objective("mean-12", 10):
        ...     print(problem)
        tuning.objective: must not average more evaluations than there are, 10, but got 'mean-12'.
    """
    if objective in OBJECTIVES[:-1]:
        return []
    found = _MEAN_OF_LAST.fullmatch(objective)
    if found is None:
        rule = f"must be one of {', '.join(OBJECTIVES)}"
        remedy = did_you_mean(objective, OBJECTIVES)
        if objective.startswith("mean"):
            remedy = "Write a number for k, such as mean-3."
        return [Problem(path, rule, objective, remedy if not remedy.startswith("Known") else "")]
    if n_evaluations is not None and int(found[1]) > n_evaluations:
        rule = f"must not average more evaluations than there are, {n_evaluations}"
        return [Problem(path, rule, objective)]
    return []


def _n_last(objective: str) -> int:
    if objective == "last":
        return 1
    found = _MEAN_OF_LAST.fullmatch(objective)
    if found is None:
        raise ConfigError(*check_objective(objective, None))
    return int(found[1])
