"""Composing, scheduling and shaping rewards; needs neither Stable-Baselines3 nor torch."""

from rllama_sb3.rewards.build import build_shaper, check_reward_shaping
from rllama_sb3.rewards.builtin import (
    ActionPenalty,
    ActionRatePenalty,
    CountBonus,
    DistanceReward,
    EnvReward,
    ExpressionReward,
    GoalReward,
    InfoReward,
    StepPenalty,
    SurvivalBonus,
    TerminationPenalty,
)
from rllama_sb3.rewards.component import (
    RewardComponent,
    component_registry,
    register_component,
)
from rllama_sb3.rewards.composer import RewardComposer
from rllama_sb3.rewards.potential import PotentialShaping
from rllama_sb3.rewards.potential_functions import register_potential
from rllama_sb3.rewards.schedules import WeightSchedule, build_schedule, register_schedule
from rllama_sb3.rewards.shaper import RewardShaper
from rllama_sb3.rewards.transition import Transition, TransitionBatch
from rllama_sb3.rewards.vectorized import VectorizedComponent

__all__ = [
    "ActionPenalty",
    "ActionRatePenalty",
    "CountBonus",
    "DistanceReward",
    "EnvReward",
    "ExpressionReward",
    "GoalReward",
    "InfoReward",
    "PotentialShaping",
    "RewardComponent",
    "RewardComposer",
    "RewardShaper",
    "StepPenalty",
    "SurvivalBonus",
    "TerminationPenalty",
    "Transition",
    "TransitionBatch",
    "VectorizedComponent",
    "WeightSchedule",
    "build_schedule",
    "build_shaper",
    "check_reward_shaping",
    "component_registry",
    "register_component",
    "register_potential",
    "register_schedule",
]
