"""Makes ``evaluate_policy`` count the original environment's reward, wherever ``Monitor`` stands.

``evaluate_policy`` believes ``info["episode"]["r"]``, which is what ``Monitor`` saw. Outside the
shaper it saw the shaped return, which a policy can raise by doing worse at the task. The shaper
knows both returns, so its word replaces ``Monitor``'s there. One hook does it, called after each
step of each environment, for the evaluation callback and for :func:`rllama_sb3.evaluate` alike.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.type_aliases import PolicyPredictor
from stable_baselines3.common.vec_env import (
    VecEnv,
    VecMonitor,
    is_vecenv_wrapped,
    unwrap_vec_normalize,
)

from rllama_sb3.envs.shaped_envs import is_shaped
from rllama_sb3.errors import ConfigError, Problem

# Longer than episodes are; an environment without a time limit can hold up a training for ever.
LONG_EPISODE: Final = 100_000


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """The episodes that a policy was judged by.

    Attributes:
        env_returns: The return of each episode by the original environment's reward.
        lengths: The steps of each episode.

    Example:
        >>> result = EvaluationResult(np.array([1.0, 3.0]), np.array([10, 20]))
        >>> result.mean, result.std
        (2.0, 1.0)
    """

    env_returns: np.ndarray
    lengths: np.ndarray

    @property
    def mean(self) -> float:
        """The mean env return."""
        return float(np.mean(self.env_returns))

    @property
    def std(self) -> float:
        """The standard deviation of the env returns over episodes."""
        return float(np.std(self.env_returns))


class EnvReturnHook:
    """The callback of ``evaluate_policy``: corrects each finished episode, and remembers it."""

    def __init__(self) -> None:
        self._returns: list[float] = []
        self._lengths: list[int] = []

    def __call__(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        """Looks at one environment after one step; called before its episode is counted."""
        index = locals_["i"]
        if locals_["current_lengths"][index] == LONG_EPISODE:
            warnings.warn(
                f"An evaluation episode has gone on for {LONG_EPISODE:,} steps. If the "
                "environment has no time limit of its own, it may never end: set one with "
                "env.kwargs.max_episode_steps, or TimeLimit around the evaluation environment.",
                UserWarning,
                stacklevel=2,
            )
        if not locals_["dones"][index]:
            return
        info, monitored = locals_["info"], locals_["is_monitor_wrapped"]
        shaping = info.get("reward_shaping")
        if shaping is not None and not monitored:
            locals_["current_rewards"][index] = shaping["env_return"]
        if monitored and "episode" not in info:
            return  # the loss of a life, say: the episode goes on behind the wrapper that said so
        if shaping is not None and monitored and _monitor_saw_shaped_reward(info):
            info["episode"]["r"] = shaping["env_return"]
        if monitored:
            self._returns.append(float(info["episode"]["r"]))
            self._lengths.append(int(info["episode"]["l"]))
        else:
            self._returns.append(float(locals_["current_rewards"][index]))
            self._lengths.append(int(locals_["current_lengths"][index]))

    def result(self) -> EvaluationResult:
        """Returns the episodes counted so far."""
        return EvaluationResult(np.array(self._returns), np.array(self._lengths))


def check_env_return_is_known(venv: VecEnv) -> None:
    """Checks that the env return of an evaluation environment can be known.

    Raises:
        ConfigError: Rewards are normalised above, and nothing below records the original ones.
    """
    normalize = unwrap_vec_normalize(venv)
    if normalize is None or not normalize.norm_reward:
        return
    recorded = is_vecenv_wrapped(normalize.venv, VecMonitor) or all(
        normalize.venv.env_is_wrapped(Monitor)
    )
    if not recorded and not is_shaped(venv):
        rule = "must show the original reward, but VecNormalize scales it and no Monitor is inside"
        remedy = "Pass norm_reward=False to VecNormalize, or wrap each environment in Monitor."
        raise ConfigError(Problem(("eval_env",), rule, remedy=remedy))


@contextmanager
def frozen_normalization(venv: VecEnv) -> Iterator[None]:
    """Keeps ``VecNormalize`` from learning its statistics from evaluation episodes."""
    normalize = unwrap_vec_normalize(venv)
    if normalize is None:
        yield
        return
    before, normalize.training = normalize.training, False
    try:
        yield
    finally:
        normalize.training = before


def judged_as_trained(model: Any, venv: VecEnv) -> Any:
    """Returns the model, made to see action masks where it was trained with them.

    ``MaskablePPO`` takes the masks as an argument of ``predict``, which Stable-Baselines3's
    ``evaluate_policy`` knows nothing of.
    """
    masked = "action_masks" in inspect.signature(model.predict).parameters
    return _Masked(model, venv) if masked and venv.has_attr("action_masks") else model


class _Masked:
    def __init__(self, model: BaseAlgorithm | PolicyPredictor, venv: VecEnv) -> None:
        self._model: Any = model
        self._venv = venv

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def predict(self, observation: Any, **arguments: Any) -> Any:
        masks = np.stack(self._venv.env_method("action_masks"))
        return self._model.predict(observation, action_masks=masks, **arguments)


def _monitor_saw_shaped_reward(info: Mapping[str, Any]) -> bool:
    # A wrapper adds its key after those of the wrappers inside it. A Monitor inside the shaper is
    # left alone: between the two may stand a wrapper that clips rewards or cuts episodes.
    keys = list(info)
    if keys.index("episode") > keys.index("reward_shaping"):
        return True
    # Unless the key was there before: RecordEpisodeStatistics inside uses the same one.
    return bool(np.isclose(info["episode"]["r"], info["reward_shaping"]["shaped_return"], 1e-9))
