"""Who proposes the next trial."""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

from rllama_sb3.errors import ConfigError, Path, Problem, did_you_mean

SAMPLERS: Final = ("tpe", "gp", "qmc", "random")
_MOST_STARTUP_TRIALS: Final = 10


def build_sampler(
    name: str,
    seed: int | None,
    *,
    n_trials: int = 40,
    n_known: int = 0,
    worker: int = 0,
    conditional: bool = False,
    path: Path = ("tuning", "sampler"),
) -> BaseSampler:
    """Builds one of Optuna's samplers by name.

    - ``tpe``: tree-structured Parzen estimators over all parameters jointly. Learns from pruned
      trials too. The default: cheap, and at ease with categorical parameters.
    - ``gp``: a Gaussian process. Finds more in few trials of few continuous parameters; learns
      from complete trials only, so it goes well with ``pruner: none``.
    - ``qmc``: a scrambled Sobol sequence. Learns nothing, covers the space evenly.
    - ``random``: independent uniform draws.

    The first two draw at random until they have seen a quarter of the study, at least 2 trials and
    at most 10.

    Args:
        name: One of the above.
        seed: Of the study; None for different proposals each time.
        n_trials: How many trials the study will have.
        n_known: How many it has. A sampler that starts afresh would repeat its proposals after
            a resume; the seed is therefore mixed with this number.
        worker: Index of the process among those that share the study, mixed in likewise.
        conditional: Whether trials differ in which parameters they have. TPE then models those
            that go together jointly; ``gp`` models what all trials have, and draws the rest.
        path: Where the name stands in the config, for messages.

    Raises:
        ConfigError: There is no such sampler.

    Example:
        >>> type(build_sampler("tpe", seed=0)).__name__
        'TPESampler'
    """
    n_startup_trials = max(2, min(_MOST_STARTUP_TRIALS, n_trials // 4))
    own = None if seed is None else _mix(seed, worker, n_known)
    if name == "tpe":
        return _build_tpe(conditional, seed=own, n_startup_trials=n_startup_trials)
    if name == "gp":
        return GPSampler(
            seed=own, n_startup_trials=n_startup_trials, warn_independent_sampling=False
        )
    if name == "qmc":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # All of a study's samplers walk one sequence: its seed is the study's alone. The place
            # in it is kept in the study.
            return QMCSampler(
                seed=seed,
                scramble=True,
                independent_sampler=RandomSampler(seed=own),
                warn_asynchronous_seeding=False,
                warn_independent_sampling=False,
            )
    if name == "random":
        return RandomSampler(seed=own)
    rule = f"must be one of {', '.join(SAMPLERS)}"
    raise ConfigError(Problem(path, rule, name, _remedy(name)))


def _build_tpe(conditional: bool, **arguments: Any) -> TPESampler:
    if not conditional:
        return TPESampler(**arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # In groups it models also what only some of the trials have.
        return TPESampler(**arguments, multivariate=True, group=True)


def _remedy(name: object) -> str:
    remedy = did_you_mean(name, SAMPLERS)
    return remedy if remedy.startswith("Did") else ""


def _mix(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
