"""What an algorithm says of itself to the reward, and what must agree between the two."""

from __future__ import annotations

import math
import warnings
from typing import Literal

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.her import HerReplayBuffer

from rllama_sb3.buffers import RelabelingBuffer
from rllama_sb3.errors import ConfigError, Problem, RllamaError
from rllama_sb3.rewards.weights import Learner, RewardDescription


def describe_learner(model: BaseAlgorithm) -> Learner:
    """Returns what rewards have to know of an algorithm.

    Raises:
        RllamaError: It would learn from other rewards than it is paid.
    """
    buffer: ReplayBuffer | None = getattr(model, "replay_buffer", None)
    if isinstance(buffer, HerReplayBuffer):
        raise RllamaError(
            "HerReplayBuffer computes rewards anew from the environment's compute_reward, "
            "without the shaping, and would mix both. Use another replay buffer, or put the "
            "shaping into compute_reward."
        )
    stored: bool | Literal["varying"] = "varying" if buffer is not None else False
    return Learner(
        gamma=getattr(model, "gamma", None),
        bootstrap_truncated=getattr(buffer, "handle_timeout_termination", True),
        record_components=isinstance(buffer, RelabelingBuffer) or stored,
    )


def check_discounting(model: BaseAlgorithm, reward: RewardDescription) -> None:
    """Sees that all who discount rewards do so by the γ of the algorithm.

    Raises:
        ConfigError: An n-step buffer does not; or there is a potential, and ``VecNormalize``, which
            scales rewards, does not.

    Warns:
        UserWarning: ``VecNormalize`` cuts rewards, so that potentials no longer add up.
    """
    gamma = getattr(model, "gamma", None)
    buffer = getattr(model, "replay_buffer", None)
    if isinstance(buffer, NStepReplayBuffer) and buffer.gamma != gamma:
        remedy = "Pass replay_buffer_kwargs={'n_steps': ..., 'gamma': ...} with the same value."
        raise _disagreement("replay_buffer_kwargs", buffer.gamma, gamma, remedy)
    normalize = model.get_vec_normalize_env()
    if normalize is None or not normalize.norm_reward or not reward.policy_invariant:
        return
    if gamma is not None and normalize.gamma != gamma:
        remedy = "Pass VecNormalize(..., gamma=model.gamma)."
        raise _disagreement("VecNormalize", normalize.gamma, gamma, remedy)
    if math.isfinite(normalize.clip_reward):
        warnings.warn(
            f"VecNormalize cuts rewards at {normalize.clip_reward:g}, and cut rewards do not add "
            "up to differences of potentials, so that the shaping may change which policies are "
            "best. Pass VecNormalize(..., clip_reward=float('inf')).",
            UserWarning,
            stacklevel=2,
        )


def check_continuation(model: BaseAlgorithm, reward: RewardDescription) -> None:
    """Sees that what an earlier training left in the replay buffer is still true.

    Raises:
        RllamaError: Saving memory, Stable-Baselines3 has cut the last trajectory, and there is a
            potential.
    """
    buffer: ReplayBuffer | None = getattr(model, "replay_buffer", None)
    if buffer is None or not buffer.optimize_memory_usage or not reward.policy_invariant:
        return
    # As in OffPolicyAlgorithm._setup_learn, which says that the last stored step is terminal: the
    # next observation is overwritten. A terminal state has the potential 0, but that of the state
    # it led to was paid, and cannot be told from the rest any more.
    if buffer.size() and model.num_timesteps == 0:
        raise RllamaError(
            "with optimize_memory_usage, learn(reset_num_timesteps=True) turns the last step in "
            "the replay buffer into a terminal one, whose potential has been paid and should not "
            "have been. Use reset_num_timesteps=False, or empty the buffer by "
            "model.replay_buffer.reset(), or leave optimize_memory_usage out"
        )


def _disagreement(who: str, value: float, gamma: float | None, remedy: str) -> ConfigError:
    rule = f"must be the algorithm's own, {gamma!r}"
    return ConfigError(Problem((who, "gamma"), rule, value, remedy))
