"""Talks to whatever shapes the rewards of a ``VecEnv``: the wrappers, or their vectorised twin."""

from __future__ import annotations

import cloudpickle
from stable_baselines3.common.vec_env import VecEnv

from rllama_sb3.envs.vec_wrapper import VecRewardShaping, shaping_wrappers
from rllama_sb3.rewards.weights import Learner, RewardDescription


def is_shaped(venv: VecEnv) -> bool:
    """Whether all environments pay a shaped reward."""
    return _twin(venv) is not None or venv.has_attr("begin_training")


def begin_training(venv: VecEnv, global_step: int, learner: Learner) -> RewardDescription:
    """Tells shaped environments the time and who learns: one message to each.

    Args:
        venv: Environments that :func:`is_shaped` says yes to.
        global_step: Steps taken so far, summed over all environments.
        learner: What the algorithm says of itself.

    Returns:
        What the reward consists of.

    Raises:
        ConfigError: The reward was built for another γ, or for other bootstrapping.
    """
    twin = _twin(venv)
    if twin is not None:
        return twin.begin_training(global_step, learner)
    answers = venv.env_method("begin_training", global_step, venv.num_envs, learner)
    description: RewardDescription = cloudpickle.loads(answers[0])
    return description


def _twin(venv: VecEnv) -> VecRewardShaping | None:
    return next((wrapper for wrapper in shaping_wrappers(venv) if wrapper.shaper), None)
