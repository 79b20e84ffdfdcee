"""Searching for the values of a config, reward and algorithm together, with Optuna.

Where to read, from what is searched to who searches:

- **What is searched**: :mod:`.search_space`, which :mod:`.space_parser` reads into :mod:`.leaves`
  of :mod:`.leaf_config`, with :mod:`.conditions` and :mod:`.dependencies` among them, and
  :mod:`.defaults` where the config is silent; :mod:`.stock_spaces`; :mod:`.constraints`.
  :mod:`.reach` and :mod:`.judge` find out beforehand what could not run.
- **Who proposes and who stops**: :mod:`.samplers`, :mod:`.exhaustive`, :mod:`.pruners`.
- **What comes first**: :mod:`.first_trials`, :mod:`.warm_start`.
- **What a trial is worth**: :mod:`.objective`, :mod:`.values`, :mod:`.measures`.
- **The study**: :mod:`.study`, its :mod:`.progress`, its :mod:`.retries`, the :mod:`.owner` of a
  trial; :mod:`.storage`, below it :mod:`.study_database`, :mod:`.patience`, :mod:`.storage_proxy`.
- **Who runs it**: :mod:`.optimizer` puts a :mod:`.search` together; a :mod:`.trial_loop` runs its
  trials, here or in :mod:`.workers`; :mod:`.results` and :mod:`.failures` are what it leaves.
"""

from rllama_sb3.optimization.checks import check_tuning
from rllama_sb3.optimization.objective import TrainingObjective
from rllama_sb3.optimization.optimizer import BayesianRewardOptimizer
from rllama_sb3.optimization.pruners import build_pruner
from rllama_sb3.optimization.samplers import build_sampler
from rllama_sb3.optimization.search_space import (
    SearchSpace,
    build_search_space,
    check_search_space,
)
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
