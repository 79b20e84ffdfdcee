"""Searching for the values of a config, reward and algorithm together, with Optuna.

Where to read, from what is searched to who searches:

- **What is searched**: the :mod:`.search_space`, its stock spaces and constraints.
- **Who proposes and who stops**: :mod:`.samplers`, :mod:`.exhaustive`, :mod:`.pruners`.
- **What comes first**: :mod:`.first_trials`, :mod:`.warm_start`.
- **What a trial is worth**: :mod:`.objective`, :mod:`.values`, :mod:`.measures`.
- **Where it is recorded**: the :mod:`.study`, and the :mod:`.storage` that keeps it.
- **Who runs it**: :mod:`.optimizer` puts a :mod:`.search` together; a :mod:`.trial_loop` runs its
  trials, here or in the processes of :mod:`.workers`, each a :mod:`.worker`; :mod:`.results` and
  :mod:`.failures` are what it leaves. :mod:`.named` reads what is given by name and parameters.
"""

from rllama_sb3.optimization.checks import check_tuning
from rllama_sb3.optimization.objective import TrainingObjective
from rllama_sb3.optimization.optimizer import BayesianRewardOptimizer
from rllama_sb3.optimization.pruners import build_pruner
from rllama_sb3.optimization.samplers import build_sampler
from rllama_sb3.optimization.search_space import SearchSpace, build_search_space, check_search_space
from rllama_sb3.optimization.storage import open_storage

__all__ = [
    "BayesianRewardOptimizer",
    "SearchSpace",
    "TrainingObjective",
    "build_pruner",
    "build_sampler",
    "build_search_space",
    "check_search_space",
    "check_tuning",
    "open_storage",
]
