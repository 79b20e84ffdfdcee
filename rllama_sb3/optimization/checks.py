"""Whether the section ``tuning`` names what there is, with what goes together."""

from __future__ import annotations

from optuna.pruners import BasePruner, WilcoxonPruner
from optuna.samplers import BaseSampler

from rllama_sb3.config.models import TuningConfig
from rllama_sb3.errors import Problem
from rllama_sb3.optimization.named import Named, given_name
from rllama_sb3.optimization.pruners import check_pruner
from rllama_sb3.optimization.samplers import check_sampler
from rllama_sb3.optimization.search_space import SearchSpace
from rllama_sb3.optimization.values import check_objective


def check_tuning(
    tuning: TuningConfig,
    n_evaluations: int | None,
    space: SearchSpace | None = None,
    *,
    sampler: Named | BaseSampler | None = None,
    pruner: Named | BasePruner | None = None,
) -> list[Problem]:
    """Returns everything that is wrong with how a search is to be made, but for its space.

    Args:
        tuning: The section.
        n_evaluations: Evaluations of one training, or None where that is not known.
        space: What is searched, or None where that cannot be known.
        sampler: Instead of the section's.
        pruner: Instead of the section's.

    Example:
        >>> for problem in check_tuning(TuningConfig(pruner="medain", objective="lst"), 10):
        ...     print(problem.path)
        ('tuning', 'pruner')
        ('tuning', 'objective')
    """
    sampler = tuning.sampler if sampler is None else sampler
    pruner = tuning.pruner if pruner is None else pruner
    space = SearchSpace(()) if space is None else space
    n_seeds = tuning.seeds_per_trial
    return [
        *check_sampler(sampler, space),
        *check_pruner(pruner, n_evaluations=n_evaluations, n_seeds=n_seeds),
        *check_objective(tuning.objective, n_evaluations),
        *_check_penalty(tuning, pruner),
    ]


def _check_penalty(tuning: TuningConfig, pruner: Named | BasePruner) -> list[Problem]:
    path = ("tuning", "variance_penalty")
    penalty = tuning.variance_penalty
    if penalty == 0.0:
        return []
    if tuning.seeds_per_trial == 1:
        rule = "must be 0 with one seed per trial, which has no spread"
        remedy = "Raise tuning.seeds_per_trial to 2 or more."
        return [Problem(path, rule, penalty, remedy)]
    name = given_name(pruner)
    if name == "wilcoxon" or isinstance(name, WilcoxonPruner):
        # A trial that is worse on every seed, but steadier, may be worth more.
        rule = "must be 0 with the pruner wilcoxon, which compares seed by seed and sees no spread"
        return [Problem(path, rule, penalty, "Choose another pruner, such as halving.")]
    return []
