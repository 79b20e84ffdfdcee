"""Names of what is recorded of trials beside what Optuna records."""

from __future__ import annotations

from typing import Final

FAILURE: Final = "failure"
"""Why a trial failed or was pruned, in a line."""

DIVERGED: Final = "diverged"
"""Set where a training diverged: the value of the trial was made up for the sampler."""

INTERRUPTED: Final = "interrupted"
"""Set where a trial was cut off, and does not count."""

ORIGIN: Final = "origin"
"""Where the values of a trial come from that the sampler did not propose."""

BASE_ORIGIN: Final = "base config"
"""The origin of the first trial."""

RETRY_OF: Final = "retry_of"
"""The number of the trial that is tried again."""

REPEATS: Final = "repeats"
"""The number of the trial that this one is the same as, having been enqueued twice."""

FIXED: Final = "fixed_params"
"""Where Optuna keeps what an enqueued trial is to try, among its own attributes."""

# What a training records.
CONFIG: Final = "config"
SEEDS: Final = "seeds"
SEED_VALUES: Final = "seed_values"
EVALUATIONS: Final = "evaluations"
SECONDS: Final = "seconds"
N_STEPS: Final = "n_steps"
MEASURED: Final = "measured"
