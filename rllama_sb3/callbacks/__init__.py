"""Stable-Baselines3 callbacks: what a training does about its reward, and about being judged."""

from rllama_sb3.callbacks.env_return import EvaluationResult
from rllama_sb3.callbacks.reward_shaping import EnvReturnCallback, RewardShapingCallback
from rllama_sb3.callbacks.trial_eval import Evaluation, TrialEvalCallback

__all__ = [
    "EnvReturnCallback",
    "Evaluation",
    "EvaluationResult",
    "RewardShapingCallback",
    "TrialEvalCallback",
]
