"""Who stops a trial that falls behind.

A trial reports after each evaluation of each of its seeds, at the steps 1, 2, ..., up to
``n_evaluations * n_seeds``, what it would be worth if it ended there (see
:mod:`rllama_sb3.optimization.values`). A pruner compares it with other trials at equal steps,
within a seed and between two. ``median`` and ``percentile`` look at the best report of a trial so
far, which one lucky seed keeps high: between seeds, ``halving`` and ``wilcoxon`` see more.

In reinforcement learning learning curves cross, so all pruners leave a trial alone for the first
third of its first training, ``patient`` without another one for as long as its patience lasts; that
no trial is stopped while its weights are still being annealed is seen to by the objective.

``wilcoxon`` pairs trials seed by seed instead. For it a trial reports the value of each seed once,
at the step of the seed's index, and nothing while a seed is trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
    WilcoxonPruner,
)

from rllama_sb3.errors import ConfigError, Path, Problem
from rllama_sb3.optimization.named import Kind, Named, construct, name_of, named_schemas

_LEAST: Final = {"min_resource": 1, "reduction_factor": 2, "bootstrap_count": 0}
PRUNERS: Final[dict[str, Kind]] = {
    "median": Kind(MedianPruner),
    "percentile": Kind(PercentilePruner),
    "halving": Kind(SuccessiveHalvingPruner),
    "hyperband": Kind(HyperbandPruner, at_least=_LEAST),
    "patient": Kind(PatientPruner, {"wrapped_pruner": "Name a pruner under wrapped instead."}),
    "threshold": Kind(ThresholdPruner),
    "wilcoxon": Kind(WilcoxonPruner),
    "none": Kind(NopPruner),
}
# Those that judge the reports of a seed that runs, so that patience can be had with them.
WRAPPED: Final = ("median", "percentile", "halving", "hyperband", "threshold")
_WRAPPED: Final = "wrapped"
_N_STARTUP_TRIALS: Final = 5
_REDUCTION_FACTOR: Final = 3


def build_pruner(
    pruner: Named,
    *,
    n_evaluations: int | None = None,
    n_seeds: int = 1,
    path: Path = ("tuning", "pruner"),
) -> BasePruner:
    """Builds one of Optuna's pruners by name.

    With the warm-up W = max(1, ⌈``n_evaluations`` / 3⌉):

    - ``median``: stops a trial whose best report so far is below the median of the complete trials
      at the same step; from step W, and once 5 trials are complete.
    - ``percentile``: the same with another share than half: ``percentile: 25`` lets the best
      quarter go on.
    - ``halving``: asynchronous successive halving. At the steps W, 3W, 9W, ... only the best third
      of the trials that came so far goes on.
    - ``hyperband``: several brackets of successive halving that differ in when they begin; the
      least eager begins at the end of a trial.
    - ``patient``: asks the pruner that is ``wrapped`` only once a trial has not become better for
      ``patience`` steps; without one, that alone stops the trial.
    - ``threshold``: stops a trial whose report is below ``lower`` or above ``upper``; from step W.
    - ``wilcoxon``: stops a trial that Wilcoxon's signed-rank test finds worse than the best one,
      seed by seed, at p < ``p_threshold``. See :func:`least_seeds_for_wilcoxon`.
    - ``none``: stops nothing.

    Args:
        pruner: One of the names, or a mapping with a ``name`` and parameters of Optuna's class,
            which replace what is said above.
        n_evaluations: Evaluations of one training; None where that is not known, as with an
            objective of the user's own: then W is 1, and hyperband takes a complete trial's last
            step for the end.
        n_seeds: Trainings of one trial.
        path: Where the pruner stands in the config, for messages.

    Raises:
        ConfigError: There is no such pruner, or a parameter of it is wrong.

    Example:
        >>> type(build_pruner({"name": "patient", "patience": 2, "wrapped": "median"})).__name__
        'PatientPruner'
    """
    name = name_of(pruner, PRUNERS, path)
    n_steps = None if n_evaluations is None else n_evaluations * n_seeds
    defaults = _defaults(name, n_evaluations, n_steps)
    if name == "patient":
        pruner = dict(pruner) if isinstance(pruner, Mapping) else {"name": name}
        wrapped = pruner.pop(_WRAPPED, None)
        if wrapped is not None:
            here = (*path, _WRAPPED)
            name_of(wrapped, {key: PRUNERS[key] for key in WRAPPED}, here)
            defaults["wrapped_pruner"] = build_pruner(
                wrapped, n_evaluations=n_evaluations, n_seeds=n_seeds, path=here
            )
    found: BasePruner = construct(PRUNERS[name], defaults, pruner, path)
    _check_resources(name, defaults | _given(pruner), path)
    return found


def check_pruner(
    pruner: Named | BasePruner,
    *,
    n_evaluations: int | None = None,
    n_seeds: int | None = None,
    path: Path = ("tuning", "pruner"),
) -> list[Problem]:
    """Returns what is wrong with a pruner; one of Optuna's is taken as it is.

    Args:
        pruner: As for :func:`build_pruner`.
        n_evaluations: Evaluations of one training, or None where that is not known.
        n_seeds: Trainings of one trial, or None where that is not known.
        path: Where the pruner stands in the config.

    Example:
        >>> for problem in check_pruner("wilcoxon", n_seeds=4):
        ...     print(problem)
        tuning.seeds_per_trial: must be at least 5 for the pruner wilcoxon, but got 4. It can stop a
        trial after 4 seeds at the earliest, as with n seeds its p is 2^-n at best, and must be
        below p_threshold, 0.1; after the last seed there is nothing left to save. Raise it, or
        choose another pruner.
        >>> slow = {"name": "median", "n_warmup_steps": 10}
        >>> for problem in check_pruner(slow, n_evaluations=10, n_seeds=1):
        ...     print(problem)
        tuning.pruner.n_warmup_steps: must be lower, as the pruner stops no trial before the last of
        its 10 steps, but got 10. Lower it, or raise evaluation.n_evaluations: each is a step.
    """
    if isinstance(pruner, BasePruner):
        return []
    try:
        build_pruner(pruner, n_evaluations=n_evaluations, n_seeds=n_seeds or 1, path=path)
    except ConfigError as error:
        return list(error.problems)
    if n_seeds is None:
        return []
    if name_of(pruner, PRUNERS, path) == "wilcoxon":
        return _check_seeds(_given(pruner), n_seeds)
    if n_evaluations is None:
        return []
    return _check_first_step(pruner, n_evaluations, n_seeds, path)


def pruner_schemas() -> dict[str, dict[str, Any]]:
    """Returns for each pruner the JSON schema of the parameters that may stand beside its name.

    Example:
        >>> pruner_schemas()["percentile"]["required"]
        ['percentile']
    """
    schemas = named_schemas(PRUNERS)
    names: dict[str, Any] = {"enum": list(WRAPPED)}
    inner = {"type": "object", "properties": {"name": names}, "required": ["name"]}
    schemas["patient"]["properties"][_WRAPPED] = {"anyOf": [names, inner]}
    return schemas


def least_seeds_for_wilcoxon(p_threshold: float = 0.1, n_startup_steps: int = 2) -> int:
    """Returns the number of seeds after which ``wilcoxon`` can stop a trial at the earliest.

    The test is one-sided and exact. When a trial is worse on each of n seeds, one of the 2^n ways
    to give signs to the differences is as bad, so that p = 2^-n is the least that n seeds can give.
    It must be below ``p_threshold``: 4 seeds for 0.1.

    Args:
        p_threshold: Above 0.
        n_startup_steps: Seeds before which the pruner does not ask; it wants 2 in any case.

    Example:
        >>> [least_seeds_for_wilcoxon(p) for p in (0.2, 0.1, 0.05, 0.01)]
        [3, 4, 5, 7]
    """
    n_seeds = max(2, n_startup_steps)
    while 2.0**-n_seeds >= p_threshold:
        n_seeds += 1
    return n_seeds


def _defaults(name: str, n_evaluations: int | None, n_steps: int | None) -> dict[str, Any]:
    """Returns the arguments that are not left to Optuna."""
    warmup = 1 if n_evaluations is None else max(1, math.ceil(n_evaluations / 3))
    if name in ("median", "percentile"):
        return {"n_startup_trials": _N_STARTUP_TRIALS, "n_warmup_steps": warmup}
    if name == "threshold":
        return {"n_warmup_steps": warmup}
    if name == "halving":
        return {"min_resource": warmup, "reduction_factor": _REDUCTION_FACTOR}
    if name == "hyperband":
        last = "auto" if n_steps is None else n_steps
        return {
            "min_resource": warmup,
            "max_resource": last,
            "reduction_factor": _REDUCTION_FACTOR,
        }
    return {"wrapped_pruner": None} if name == "patient" else {}


def _given(pruner: Named) -> dict[str, Any]:
    return dict(pruner) if isinstance(pruner, Mapping) else {}


def _check_resources(name: str, arguments: Mapping[str, Any], path: Path) -> None:
    """Raises for what hyperband finds out at the first report only."""
    if name != "hyperband":
        return
    first, last = arguments["min_resource"], arguments["max_resource"]
    if isinstance(last, int) and first > last:
        rule = f"must not be greater than the last step, {last}"
        raise ConfigError(Problem((*path, "min_resource"), rule, first))


def _check_first_step(pruner: Named, n_evaluations: int, n_seeds: int, path: Path) -> list[Problem]:
    """Returns which given parameters let a pruner act only when nothing is left to save."""
    name, given = name_of(pruner, PRUNERS, path), _given(pruner)
    problems = []
    wrapped = given.get(_WRAPPED)
    if wrapped is not None:
        problems += _check_first_step(wrapped, n_evaluations, n_seeds, (*path, _WRAPPED))
    last = n_evaluations * n_seeds
    key, first, least = _first_step(name, _defaults(name, n_evaluations, last) | given, last)
    # Where no value of it would help, the number of evaluations is what is to blame.
    if key in given and first >= last > least:
        rule = f"must be lower, as the pruner stops no trial before the last of its {last} steps"
        remedy = "Lower it, or raise evaluation.n_evaluations: each is a step."
        problems.append(Problem((*path, key), rule, given[key], remedy))
    return problems


def _first_step(name: str, arguments: Mapping[str, Any], last: int) -> tuple[str, int, int]:
    """Returns what says when a pruner first stops a trial, that step, and the least it can be.

    Args:
        name: The pruner.
        arguments: What it is built with.
        last: The last step of a trial; how much later the first one is does not matter.
    """
    if name in ("median", "percentile", "threshold"):
        return "n_warmup_steps", arguments["n_warmup_steps"], 1
    if name == "patient":
        return "patience", arguments["patience"] + 2, 2  # one to be better than, one to compare
    if name == "hyperband":
        return "min_resource", arguments["min_resource"], 1
    if name == "halving":
        least = 1 if arguments["min_resource"] == "auto" else arguments["min_resource"]
        rate = min(arguments.get("min_early_stopping_rate", 0), last)
        key = "min_early_stopping_rate" if rate > 0 and least < last else "min_resource"
        return key, least * arguments["reduction_factor"] ** rate, 1
    return "", 0, 0


def _check_seeds(params: Mapping[str, Any], n_seeds: int) -> list[Problem]:
    p_threshold = params.get("p_threshold", 0.1)
    if p_threshold == 0:
        rule = "must be greater than 0, or no trial is ever stopped"
        return [Problem(("tuning", "pruner", "p_threshold"), rule, p_threshold)]
    first = least_seeds_for_wilcoxon(p_threshold, params.get("n_startup_steps", 2))
    if n_seeds > first:
        return []
    rule = f"must be at least {first + 1} for the pruner wilcoxon"
    remedy = (
        f"It can stop a trial after {first} seeds at the earliest, as with n seeds its p is 2^-n "
        f"at best, and must be below p_threshold, {p_threshold}; after the last seed there is "
        "nothing left to save. Raise it, or choose another pruner."
    )
    return [Problem(("tuning", "seeds_per_trial"), rule, n_seeds, remedy)]
