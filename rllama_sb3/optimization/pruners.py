"""Who stops a trial that falls behind.

A trial reports each evaluation of each of its seeds, at the steps 1, 2, ..., up to
``n_evaluations * n_seeds``. A pruner compares it with other trials at equal steps. In
reinforcement learning learning curves cross, so all of these leave a trial alone for the first
third of its first training; that no trial is stopped while its weights are still being annealed is
seen to by the objective.
"""

from __future__ import annotations

import math
from typing import Final

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)

from rllama_sb3.errors import ConfigError, Path, Problem, did_you_mean

PRUNERS: Final = ("median", "halving", "hyperband", "none")
_N_STARTUP_TRIALS: Final = 5
_REDUCTION_FACTOR: Final = 3


def build_pruner(
    name: str,
    *,
    n_evaluations: int | None = None,
    n_seeds: int = 1,
    path: Path = ("tuning", "pruner"),
) -> BasePruner:
    """Builds one of Optuna's pruners by name.

    With the warm-up W = max(1, ⌈``n_evaluations`` / 3⌉):

    - ``median``: stops a trial whose best evaluation so far is below the median of the complete
      trials at the same step; from step W, and once 5 trials are complete.
    - ``halving``: asynchronous successive halving. At the steps W, 3W, 9W, ... only the best third
      of the trials that came so far goes on.
    - ``hyperband``: several brackets of successive halving that differ in when they begin; the
      least eager begins at the end of a trial.
    - ``none``: stops nothing.

    Args:
        name: One of the above.
        n_evaluations: Evaluations of one training; None where that is not known, as with an
            objective of the user's own: then W is 1, and hyperband takes a complete trial's last
            step for the end.
        n_seeds: Trainings of one trial.
        path: Where the name stands in the config, for messages.

    Raises:
        ConfigError: There is no such pruner.

    Example:
        >>> type(build_pruner("none")).__name__
        'NopPruner'
    """
    warmup = 1 if n_evaluations is None else max(1, math.ceil(n_evaluations / 3))
    if name == "median":
        return MedianPruner(n_startup_trials=_N_STARTUP_TRIALS, n_warmup_steps=warmup)
    if name == "halving":
        return SuccessiveHalvingPruner(min_resource=warmup, reduction_factor=_REDUCTION_FACTOR)
    if name == "hyperband":
        return HyperbandPruner(
            min_resource=warmup,
            max_resource="auto" if n_evaluations is None else n_evaluations * n_seeds,
            reduction_factor=_REDUCTION_FACTOR,
        )
    if name == "none":
        return NopPruner()
    remedy = did_you_mean(name, PRUNERS)
    remedy = remedy if remedy.startswith("Did") else ""
    raise ConfigError(Problem(path, f"must be one of {', '.join(PRUNERS)}", name, remedy))
