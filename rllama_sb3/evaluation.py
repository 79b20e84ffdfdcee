"""Judges a policy by the return of the original environment."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, unwrap_vec_normalize

from rllama_sb3.callbacks.env_return import (
    EnvReturnHook,
    EvaluationResult,
    check_env_return_is_known,
    frozen_normalization,
    judged_as_trained,
)
from rllama_sb3.envs.shaped_envs import begin_training, is_shaped
from rllama_sb3.errors import ConfigError, Problem
from rllama_sb3.rewards.weights import Learner

if TYPE_CHECKING:
    from stable_baselines3.common.type_aliases import PolicyPredictor

__all__ = ["EvaluationResult", "evaluate"]


def evaluate(
    model: PolicyPredictor,
    env: gym.Env[Any, Any] | VecEnv,
    *,
    n_episodes: int = 20,
    deterministic: bool = True,
    seed: int | None = None,
) -> EvaluationResult:
    """Runs a policy for some episodes, and returns their env returns.

    The environments of a ``VecEnv`` are stepped together, each for its equal share of the
    episodes, so that short episodes are not counted more often than long ones. The env return is
    the original environment's wherever ``Monitor`` stands, shaped or not.

    Args:
        model: Anything with Stable-Baselines3's ``predict``.
        env: A Gymnasium environment or a ``VecEnv``. Where the model still has its training
            environment, the statistics of a ``VecNormalize`` there are copied to the one here.
        n_episodes: How many episodes, at least 1. The standard error of their mean is 0.22 of
            the standard deviation over episodes with 20 of them, 0.10 with 100.
        deterministic: Whether to take the policy's most likely action.
        seed: Seeds the environments, for the same first states each time.

    Raises:
        ConfigError: ``n_episodes`` is less than 1, the env return cannot be known, or the model was
            trained on normalised observations and ``env`` gives raw ones.

    Example:
        >>> class Right:
        ...     def predict(self, observation, state=None, episode_start=None, deterministic=True):
        ...         return [1] * len(observation), None
        >>> evaluate(Right(), gym.make("CartPole-v1"), n_episodes=2, seed=0).lengths.tolist()
        [8, 10]
    """
    if n_episodes < 1:
        raise ConfigError(Problem(("n_episodes",), "must be at least 1", n_episodes))
    venv = env if isinstance(env, VecEnv) else DummyVecEnv([lambda: env])
    hook = EnvReturnHook()
    run_episodes(model, venv, hook, n_episodes=n_episodes, deterministic=deterministic, seed=seed)
    return hook.result()


def run_episodes(
    model: PolicyPredictor,
    venv: VecEnv,
    hook: EnvReturnHook,
    *,
    n_episodes: int,
    deterministic: bool,
    seed: int | None,
) -> None:
    """Runs a policy as :func:`evaluate` does, and shows a hook each step of each environment.

    Args:
        model: As there.
        venv: The environments.
        hook: Is called after each step of each environment.
        n_episodes: As there.
        deterministic: As there.
        seed: As there.

    Raises:
        ConfigError: As there, but for ``n_episodes``.
    """
    check_env_return_is_known(venv)
    share_normalization(model, venv)
    if is_shaped(venv):
        # Only the env return counts here, but potentials cannot be paid without γ.
        learner = Learner(gamma=getattr(model, "gamma", None))
        begin_training(venv, getattr(model, "num_timesteps", 0), learner)
    if seed is not None:
        venv.seed(seed)
    with frozen_normalization(venv):
        evaluate_policy(
            judged_as_trained(model, venv),
            venv,
            n_eval_episodes=n_episodes,
            deterministic=deterministic,
            callback=hook,
            warn=False,
        )


def share_normalization(model: Any, venv: VecEnv) -> None:
    """Copies the statistics of the observations that a model was trained on, if it still has them.

    Raises:
        ConfigError: It was trained on normalised observations, and ``venv`` gives raw ones.
    """
    trained_on = model.get_vec_normalize_env() if hasattr(model, "get_vec_normalize_env") else None
    normalize = unwrap_vec_normalize(venv)
    if trained_on is None or trained_on is normalize or not trained_on.norm_obs:
        return
    if normalize is not None:
        normalize.obs_rms = deepcopy(trained_on.obs_rms)
    else:
        rule = "must normalise observations as in training, but has no VecNormalize"
        remedy = "Wrap it in VecNormalize(..., training=False, norm_reward=False)."
        raise ConfigError(Problem(("env",), rule, remedy=remedy))
