"""Experiments that are trained in a moment."""

from __future__ import annotations

from typing import Any

from rllama_sb3.config import dump_yaml, merge_configs

LEARNING_RATE = {"suggest": "float", "low": 1e-4, "high": 1e-2, "log": True}


def tiny_experiment(**changes: Any) -> dict[str, Any]:
    """A CartPole experiment of two updates; ``changes`` are laid over it."""
    base = {
        "env": {"id": "CartPole-v1", "n_envs": 2},
        "reward_shaping": {
            "env": {"class": "EnvReward"},
            "upright": {
                "class": "PotentialShaping",
                "params": {"potential": "-abs(obs[2])"},
                "weight_schedule": {"initial_weight": 5.0},
            },
        },
        "algorithm": {
            "name": "PPO",
            "params": {"n_steps": 32, "batch_size": 32, "n_epochs": 1, "learning_rate": 1e-3},
        },
        "training": {"total_timesteps": 128},
        "evaluation": {"n_episodes": 2, "n_evaluations": 2, "n_envs": 2},
        "tuning": {
            "n_trials": 2,
            "n_top_configs": 1,
            "n_test_seeds": 2,
            "search_space": {"algorithm": {"params": {"learning_rate": LEARNING_RATE}}},
        },
    }
    return merge_configs(base, changes)


def tiny_yaml(**changes: Any) -> str:
    """The same as the text of an experiment file."""
    return dump_yaml(tiny_experiment(**changes))
