"""Who proposes the next trial."""

from __future__ import annotations

import importlib.util
from typing import Any, Final

import numpy as np
from optuna.distributions import CategoricalDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from rllama_sb3.errors import ConfigError, MissingExtraError, Path, Problem
from rllama_sb3.optimization.exhaustive import BruteForceSampler, GridSampler
from rllama_sb3.optimization.named import Kind, Named, construct, name_of, params_of
from rllama_sb3.optimization.search_space import SearchSpace
from rllama_sb3.optimization.search_space.finite import check_finite

_OURS: Final = {
    "seed": "Set tuning.seed instead.",
    "independent_sampler": "Remove it: what cannot be proposed jointly is drawn at random.",
    "constraints_func": "Remove it: Optuna has replaced it by Trial.set_constraint.",
}
_NOT_IN_A_FILE: Final = "Remove it: it takes a Python object. Pass a sampler of Optuna's instead."
_DEPRECATED: Final = "Remove it: Optuna has deprecated it."


def _withheld(reason: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, reason)


SAMPLERS: Final[dict[str, Kind]] = {
    "tpe": Kind(
        TPESampler,
        _OURS
        | _withheld(_DEPRECATED, "consider_prior", "prior_weight", "consider_magic_clip")
        | _withheld(_DEPRECATED, "consider_endpoints", "warn_independent_sampling")
        | _withheld(_NOT_IN_A_FILE, "gamma", "weights"),
        {"n_startup_trials": 0, "n_ei_candidates": 1},
    ),
    "gp": Kind(GPSampler, _OURS, {"n_startup_trials": 0}),
    "cmaes": Kind(
        CmaEsSampler,
        _OURS
        | _withheld(_DEPRECATED, "x0", "sigma0", "restart_strategy", "inc_popsize")
        | _withheld(_NOT_IN_A_FILE, "source_trials"),
        {"n_startup_trials": 0, "popsize": 2},
    ),
    "qmc": Kind(QMCSampler, _OURS),
    "random": Kind(RandomSampler, _OURS),
    "nsga2": Kind(
        NSGAIISampler,
        _OURS
        | _withheld(_NOT_IN_A_FILE, "mutation", "crossover", "elite_population_selection_strategy")
        | _withheld(_NOT_IN_A_FILE, "child_generation_strategy", "after_trial_strategy"),
    ),
    "grid": Kind(GridSampler, _OURS | {"space": "Set tuning.search_space instead."}),
    "brute_force": Kind(BruteForceSampler, _OURS),
}
_MOST_STARTUP_TRIALS: Final = 10
_MOST_PER_GENERATION: Final = 50
_NO_SPACE: Final = SearchSpace(())


def build_sampler(
    sampler: Named,
    seed: int | None,
    *,
    space: SearchSpace = _NO_SPACE,
    n_trials: int = 40,
    n_known: int = 0,
    worker: int = 0,
    path: Path = ("tuning", "sampler"),
) -> BaseSampler:
    """Builds a sampler by name, one of Optuna's unless it says otherwise.

    - ``tpe``: tree-structured Parzen estimators over all parameters jointly; of those that only
      some trials have, over each group that goes together. Learns from pruned trials too. The
      default: cheap, and at ease with categorical parameters.
    - ``gp``: a Gaussian process. Finds more in few trials of few continuous parameters; learns
      from complete trials only, so it goes well with ``pruner: none``, and of what all have.
    - ``cmaes``: evolution of a normal distribution. For many trials of continuous parameters;
      refuses categorical ones, for which Optuna would draw at random. Needs the extra ``cmaes``.
    - ``qmc``: a scrambled Sobol sequence. Learns nothing, covers the space evenly.
    - ``random``: independent uniform draws.
    - ``nsga2``: a genetic algorithm, made for several objectives. A generation is a quarter of the
      study, at least 2 trials and at most 50, of which complete ones count.
    - ``grid``, ``brute_force``: every point of a finite space once, and no more; our own, see
      :mod:`rllama_sb3.optimization.exhaustive`. ``brute_force`` also copes with objectives that
      ask for parameters that no search space declares.

    ``tpe`` and ``gp`` draw at random until they have seen a quarter of the study, at least 2
    trials and at most 10.

    Args:
        sampler: One of the names, or a mapping with a ``name`` and parameters of that class, which
            replace what is said above.
        seed: Of the study; None for different proposals each time.
        space: What is searched.
        n_trials: How many trials the study will have.
        n_known: How many it has. A sampler that starts afresh would repeat its proposals after
            a resume; the seed is therefore mixed with this number.
        worker: Index of the process among those that share the study, mixed in likewise.
        path: Where the sampler stands in the config, for messages.

    Raises:
        ConfigError: There is no such sampler, a parameter of it is wrong, or it cannot search this
            space; all problems are listed.

    Example:
        >>> sampler = build_sampler({"name": "tpe", "n_startup_trials": 5}, seed=0)
        >>> type(sampler).__name__
        'TPESampler'
    """
    name = name_of(sampler, SAMPLERS, path)
    problems = _check_fit(name, space, path)
    params: dict[str, Any] = {}
    try:
        params = params_of(sampler, SAMPLERS[name], path)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(*problems)
    own = None if seed is None else _mix(seed, worker, n_known)
    defaults = _defaults(name, seed, own, n_trials, space)
    if name == "tpe" and space.is_conditional and params.get("multivariate", True):
        # Without groups it would draw at random what some of the trials do not have.
        defaults |= {"multivariate": True, "group": True}
    found: BaseSampler = construct(SAMPLERS[name], defaults, sampler, path)
    return found


def check_sampler(
    sampler: Named | BaseSampler,
    space: SearchSpace = _NO_SPACE,
    path: Path = ("tuning", "sampler"),
) -> list[Problem]:
    """Returns what is wrong with a sampler; one of Optuna's is taken as it is.

    Example:
        >>> for problem in check_sampler({"name": "tpe", "multivariat": True}):
        ...     print(problem)
        tuning.sampler.multivariat: is not a parameter of TPESampler. Did you mean 'multivariate'?
    """
    if isinstance(sampler, BaseSampler):
        return []
    try:
        build_sampler(sampler, 0, space=space, path=path)
    except ConfigError as error:
        return list(error.problems)
    return []


def _defaults(
    name: str, seed: int | None, own: int | None, n_trials: int, space: SearchSpace
) -> dict[str, Any]:
    """Returns the arguments that are not left to Optuna."""
    quarter = max(2, n_trials // 4)
    n_startup_trials = min(_MOST_STARTUP_TRIALS, quarter)
    if name == "tpe":
        return {"seed": own, "n_startup_trials": n_startup_trials}
    if name == "gp":
        quiet = {"warn_independent_sampling": False}
        return {"seed": own, "n_startup_trials": n_startup_trials, **quiet}
    if name == "nsga2":
        return {"seed": own, "population_size": min(_MOST_PER_GENERATION, quarter)}
    if name == "qmc":
        # All of a study's samplers walk one sequence: its seed is the study's alone. The place in
        # it is kept in the study.
        return {
            "seed": seed,
            "scramble": True,
            "independent_sampler": RandomSampler(seed=own),
            "warn_asynchronous_seeding": False,
            "warn_independent_sampling": False,
        }
    return {"seed": seed, "space": space} if name == "grid" else {"seed": own}


def _check_fit(name: str, space: SearchSpace, path: Path) -> list[Problem]:
    """Returns why a sampler cannot search a space."""
    if name in ("grid", "brute_force"):
        return check_finite(space, name)
    if name != "cmaes":
        return []
    problems = []
    if importlib.util.find_spec("cmaes") is None:
        # Optuna would find out at the second trial.
        rule = "must be a sampler that is installed"
        problems.append(Problem(path, rule, name, str(MissingExtraError(name, "cmaes"))))
    return problems + [
        Problem(
            (*space.where, *leaf.path),
            "must be a number to be searched by cmaes, not categorical",
            remedy="Use the sampler tpe or gp.",
        )
        for leaf in space.leaves
        if any(isinstance(d, CategoricalDistribution) for d in leaf.distributions().values())
    ]


def _mix(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
