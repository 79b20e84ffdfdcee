"""Talks to whatever shapes the rewards of a ``VecEnv``: the wrappers, or their vectorised twin."""

from __future__ import annotations

import cloudpickle
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv

from rllama_sb3.envs.vec_wrapper import VecRewardShaping, shaping_wrappers
from rllama_sb3.errors import ConfigError, RllamaError
from rllama_sb3.rewards.weights import Learner, RewardDescription


def is_shaped(venv: VecEnv) -> bool:
    """Whether all environments pay a shaped reward."""
    return _twin(venv) is not None or venv.has_attr("begin_training")


def begin_training(venv: VecEnv, global_step: int, learner: Learner) -> RewardDescription:
    """Tells shaped environments the time and who learns: one message to each.

    Args:
        venv: The environments.
        global_step: Steps taken so far, summed over all environments.
        learner: What the algorithm says of itself.

    Returns:
        What the reward consists of.

    Raises:
        ConfigError: The reward was built for another γ, or for other bootstrapping.
        RllamaError: Not every environment is shaped.
    """
    twin = _twin(venv)
    if twin is not None:
        return twin.begin_training(global_step, learner)
    # To ask processes whether they are shaped would be a message of its own.
    if not isinstance(venv.unwrapped, SubprocVecEnv) and not is_shaped(venv):
        raise _unshaped(venv)
    try:
        answers = venv.env_method("begin_training", global_step, venv.num_envs, learner)
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:
        # It ends of not having the method, and of nothing else: what is wrong is an answer.
        raise _unshaped(venv) from error
    for answer in map(cloudpickle.loads, answers):
        if isinstance(answer, ConfigError):
            raise answer
        description: RewardDescription = answer
    return description


def _unshaped(venv: VecEnv) -> RllamaError:
    return RllamaError(
        "RewardShapingCallback needs every training environment to be wrapped in a "
        f"RewardShapingWrapper, but got {venv}. Wrap them, for example with "
        "make_vec_env(..., wrapper_class=RewardShapingWrapper, "
        "wrapper_kwargs={'reward_shaping': ...}), or all of them in a VecRewardShaping, "
        "or leave the callback out."
    )


def _twin(venv: VecEnv) -> VecRewardShaping | None:
    return next((wrapper for wrapper in shaping_wrappers(venv) if wrapper.shaper), None)
