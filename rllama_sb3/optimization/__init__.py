"""Searching for the values of a config, reward and algorithm together, with Optuna."""

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
