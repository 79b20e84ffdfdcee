"""Reward engineering for Stable-Baselines3.

A reward is a set of named, weighted, scheduled components. ``RewardShapingWrapper`` pays it in any
Gymnasium environment, ``RewardShapingCallback`` advances its schedules and logs it in any
Stable-Baselines3 training, and ``BayesianRewardOptimizer`` tunes it together with the algorithm,
judged by the return of the original environment.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rllama_sb3.analysis.check import CheckReport, check
    from rllama_sb3.analysis.comparison import compare
    from rllama_sb3.buffers import (
        RelabelingDictReplayBuffer,
        RelabelingNStepReplayBuffer,
        RelabelingReplayBuffer,
    )
    from rllama_sb3.callbacks import RewardShapingCallback, TrialEvalCallback
    from rllama_sb3.config import load_reward_config
    from rllama_sb3.envs.vec_wrapper import VecRewardShaping
    from rllama_sb3.envs.wrapper import RewardShapingWrapper
    from rllama_sb3.errors import ConfigError, RllamaError
    from rllama_sb3.evaluation import evaluate
    from rllama_sb3.experiment import load_config
    from rllama_sb3.optimization import BayesianRewardOptimizer
    from rllama_sb3.rewards import (
        RewardComponent,
        RewardComposer,
        RewardShaper,
        Transition,
        build_shaper,
        register_component,
    )
    from rllama_sb3.training import train

__version__ = "0.1.0"

__all__ = [
    "BayesianRewardOptimizer",
    "CheckReport",
    "ConfigError",
    "RelabelingDictReplayBuffer",
    "RelabelingNStepReplayBuffer",
    "RelabelingReplayBuffer",
    "RewardComponent",
    "RewardComposer",
    "RewardShaper",
    "RewardShapingCallback",
    "RewardShapingWrapper",
    "RllamaError",
    "Transition",
    "TrialEvalCallback",
    "VecRewardShaping",
    "build_shaper",
    "check",
    "compare",
    "evaluate",
    "load_config",
    "load_reward_config",
    "register_component",
    "train",
]

# Loaded on first use: torch, Stable-Baselines3 and Optuna take over a second to import, which
# `rllama-sb3 --help` and a wrapped environment in a worker process need not pay.
_HOMES: Final = {
    "BayesianRewardOptimizer": "rllama_sb3.optimization",
    "CheckReport": "rllama_sb3.analysis.check",
    "ConfigError": "rllama_sb3.errors",
    "RelabelingDictReplayBuffer": "rllama_sb3.buffers",
    "RelabelingNStepReplayBuffer": "rllama_sb3.buffers",
    "RelabelingReplayBuffer": "rllama_sb3.buffers",
    "RewardComponent": "rllama_sb3.rewards",
    "RewardComposer": "rllama_sb3.rewards",
    "RewardShaper": "rllama_sb3.rewards",
    "RewardShapingCallback": "rllama_sb3.callbacks",
    "RewardShapingWrapper": "rllama_sb3.envs.wrapper",
    "RllamaError": "rllama_sb3.errors",
    "Transition": "rllama_sb3.rewards",
    "TrialEvalCallback": "rllama_sb3.callbacks",
    "VecRewardShaping": "rllama_sb3.envs.vec_wrapper",
    "build_shaper": "rllama_sb3.rewards",
    "check": "rllama_sb3.analysis.check",
    "compare": "rllama_sb3.analysis.comparison",
    "evaluate": "rllama_sb3.evaluation",
    "load_config": "rllama_sb3.experiment",
    "load_reward_config": "rllama_sb3.config",
    "register_component": "rllama_sb3.rewards",
    "train": "rllama_sb3.training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
