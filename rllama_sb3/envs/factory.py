"""Builds the environments that an experiment describes, for training and for evaluation.

From the inside out: ``gym.make``, ``env.wrappers``, ``Monitor``, the shaper, the ``VecEnv``,
``VecNormalize``; or, with ``shaping: vec``, the shaper around the ``VecEnv``. ``Monitor`` stands
inside the shaper, so that ``rollout/ep_rew_mean`` is the env return. What is passed to worker
processes are objects, not names: a worker has imported nothing of the user's, and knows none of
the names that the user registered.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Literal

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Dict
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from rllama_sb3.config.models import EnvConfig, NormalizeConfig
from rllama_sb3.envs.processes import ProcessVecEnv
from rllama_sb3.envs.vec_wrapper import VecRewardShaping
from rllama_sb3.envs.wrapper import RewardShapingWrapper
from rllama_sb3.errors import ConfigError, Path, Problem, did_you_mean
from rllama_sb3.rewards.build import build_shaper
from rllama_sb3.rewards.component import get_component_factory
from rllama_sb3.rewards.potential import PotentialShaping
from rllama_sb3.rewards.vectorized import is_vectorized

Env = gym.Env[Any, Any]
WrapperClass = type[gym.Wrapper[Any, Any, Any, Any]]

# Packages that a file may name classes of without being told on the command line.
_TRUSTED: Final = frozenset({"gymnasium", "stable_baselines3", "rllama_sb3"})
# From here on the arithmetic of all environments takes less time than a wrapper around each.
_MANY_ENVS: Final = 8
_IMPORT_HINT: Final = "Name the module on the command line: --import {module}."


def build_env(env: EnvConfig) -> Env:
    """Builds one environment with its wrappers, without ``Monitor`` and shaper.

    Raises:
        ConfigError: The id, a wrapper or an argument is wrong; all problems are listed.

    Example:
        >>> build_env(EnvConfig(id="CartPole-v1", wrappers=["NormalizeObservation"]))
        <NormalizeObservation<TimeLimit<OrderEnforcing<PassiveEnvChecker<CartPoleEnv<CartPole-v1>>>>>>
    """
    spec, wrappers = _resolve(env)
    try:
        built = gym.make(spec, **env.kwargs)
    except Exception as error:
        raise ConfigError(_construction_problem(("env", "kwargs"), env.kwargs, error)) from error
    for index, (wrapper, kwargs) in enumerate(wrappers):
        try:
            built = wrapper(built, **kwargs)
        except Exception as error:
            path = ("env", "wrappers", index)
            raise ConfigError(_construction_problem(path, env.wrappers[index], error)) from error
    return built


def build_vec_env(
    env: EnvConfig,
    *,
    n_envs: int,
    seed: int,
    reward_shaping: Mapping[str, Any] | None = None,
    gamma: float | None = None,
    total_timesteps: int | None = None,
    vec_env: Literal["dummy", "subproc"] = "dummy",
    shaping: Literal["wrapper", "vec"] = "wrapper",
    bootstrap_truncated: bool = True,
    training: bool = True,
    record_components: bool = False,
) -> VecEnv:
    """Builds environments that are stepped together.

    Args:
        env: Which environment. Its ``n_envs``, ``vec_env`` and ``shaping`` are not looked at here:
            training and evaluation differ in them.
        n_envs: How many.
        seed: The first environment is seeded with it, the next with ``seed + 1``, and so on.
        reward_shaping: The components, or nothing to pay the environment's own reward.
        gamma: The algorithm's discount factor, for potentials and for ``VecNormalize``.
        total_timesteps: The length of the training, which shares such as ``80%`` are shares of.
        vec_env: ``dummy`` for one process, ``subproc`` for one each.
        shaping: Where rewards are computed; see :func:`choose_shaping`. With ``vec`` there is a
            ``VecRewardShaping`` also where there is no reward, since the wrappers of training and
            evaluation have to correspond.
        bootstrap_truncated: Whether the algorithm estimates the future of truncated states.
        training: ``False`` for evaluation: ``VecNormalize`` then neither learns nor scales rewards.
        record_components: Put the raw values of each step into ``info["reward_components"]``.

    Raises:
        ConfigError: The environment or the reward is wrong; all problems are listed.
    """
    spec, wrappers = _resolve(env)
    shaper = None
    if reward_shaping:
        shaper = build_shaper(
            reward_shaping,
            gamma=gamma,
            total_timesteps=total_timesteps,
            bootstrap_truncated=bootstrap_truncated,
        )
    around_each = None
    if shaper is not None and shaping == "wrapper":
        around_each = partial(
            RewardShapingWrapper, reward_shaping=shaper, record_components=record_components
        )
    venv: VecEnv = make_vec_env(
        partial(_make, spec, env.kwargs, wrappers),
        n_envs=n_envs,
        seed=seed,
        wrapper_class=around_each,
        vec_env_cls=ProcessVecEnv if vec_env == "subproc" else DummyVecEnv,
    )
    if shaping == "vec":
        venv = VecRewardShaping(venv, shaper, record_components=record_components)
    normalize = _normalization(env)
    if normalize is not None:
        venv = VecNormalize(
            venv,
            training=training,
            norm_obs=normalize.obs,
            norm_reward=normalize.reward and training,
            gamma=0.99 if gamma is None else gamma,
            # Cut rewards would no longer add up to a difference of potentials.
            clip_reward=float("inf") if reward_shaping else 10.0,
        )
    # The algorithm would turn images round by itself, but only in training: the wrappers of both
    # must be the same for the statistics of VecNormalize to be copied.
    return BaseAlgorithm._wrap_env(venv, monitor_wrapper=False)


def choose_shaping(env: EnvConfig, reward_shaping: Mapping[str, Any]) -> Literal["wrapper", "vec"]:
    """Returns where the rewards of a training are computed.

    ``auto`` computes those of many environments in one process together, where all components can
    do that: from about eight environments on, that is faster (``scripts/bench_overhead.py``).
    Environments in processes of their own compute their rewards there, side by side.

    Example:
        >>> choose_shaping(EnvConfig(id="CartPole-v1", n_envs=16), {"env": {"class": "EnvReward"}})
        'vec'
    """
    if env.shaping != "auto":
        return env.shaping
    classes = [get_component_factory(entry["class"]) for entry in reward_shaping.values()]
    together = all(
        cls is PotentialShaping or (isinstance(cls, type) and is_vectorized(cls)) for cls in classes
    )
    many = env.vec_env == "dummy" and env.n_envs >= _MANY_ENVS
    return "vec" if classes and many and together else "wrapper"


def check_env_config(env: EnvConfig) -> list[Problem]:
    """Returns what is wrong with the environment; builds it once to see that arguments fit.

    Example:
        >>> for problem in check_env_config(EnvConfig(id="CartPol-v1")):
        ...     print(problem)
        env.id: must be a registered environment, but got 'CartPol-v1'. Did you mean 'CartPole-v1'?
    """
    try:
        built = build_env(env)
    except ConfigError as error:
        return list(error.problems)
    normalize, space = _normalization(env), built.observation_space
    built.close()
    spaces = space.spaces.values() if isinstance(space, Dict) else [space]
    if normalize is not None and normalize.obs and not all(isinstance(s, Box) for s in spaces):
        rule = f"must leave observations alone that are no arrays of numbers, such as {space}"
        return [Problem(("env", "normalize"), rule, env.normalize, "Use {obs: false, ...}.")]
    return []


def _resolve(env: EnvConfig) -> tuple[EnvSpec, list[tuple[WrapperClass, dict[str, Any]]]]:
    """Turns the names into objects: the only place where a name of an env or wrapper is read."""
    problems: list[Problem] = []
    spec: EnvSpec | None = None
    wrappers: list[tuple[WrapperClass, dict[str, Any]]] = []
    try:
        spec = _find_spec(env.id)
    except ConfigError as error:
        problems += error.problems
    for index, item in enumerate(env.wrappers):
        path = ("env", "wrappers", index)
        name, kwargs = (item, {}) if isinstance(item, str) else next(iter(item.items()))
        try:
            wrappers.append((_find_wrapper(name, path), kwargs))
        except ConfigError as error:
            problems += error.problems
    if problems or spec is None:
        raise ConfigError(*problems)
    return spec, wrappers


def _find_spec(env_id: str) -> EnvSpec:
    module, _, name = env_id.rpartition(":")
    path: Path = ("env", "id")
    if module and module not in sys.modules:
        # gym.make would import the module; a file must not be able to do that.
        rule = "must be of a module that was imported"
        raise ConfigError(Problem(path, rule, env_id, _IMPORT_HINT.format(module=module)))
    if name not in gym.registry:
        remedy = did_you_mean(name, gym.registry)
        if remedy.startswith("Known"):
            remedy = _IMPORT_HINT.format(module="MODULE_THAT_REGISTERS_IT")
        raise ConfigError(Problem(path, "must be a registered environment", env_id, remedy))
    return gym.registry[name]


def _find_wrapper(name: str, path: Path) -> WrapperClass:
    module_name, separator, class_name = name.rpartition(":")
    if not separator:
        module_name, class_name = "gymnasium.wrappers", name
    if module_name not in sys.modules and module_name.partition(".")[0] not in _TRUSTED:
        rule = "must be of a module that was imported"
        raise ConfigError(Problem(path, rule, name, _IMPORT_HINT.format(module=module_name)))
    try:
        module = sys.modules.get(module_name) or importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(Problem(path, "must be of a module that exists", name)) from error
    try:
        found = getattr(module, class_name, None)
    except Exception as error:
        # Gymnasium loads some of its wrappers late, and they need packages of their own.
        rule = f"must be a wrapper that can be loaded ({error})"
        raise ConfigError(Problem(path, rule, name)) from error
    if not (isinstance(found, type) and issubclass(found, gym.Wrapper)):
        remedy = did_you_mean(class_name, _wrappers_in(module))
        raise ConfigError(Problem(path, f"must be a wrapper of {module_name}", name, remedy))
    return found


def _wrappers_in(module: Any) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, gym.Wrapper)
    ]


def _make(
    spec: EnvSpec, kwargs: dict[str, Any], wrappers: list[tuple[WrapperClass, dict[str, Any]]]
) -> Env:
    env = gym.make(spec, **kwargs)
    for wrapper, wrapper_kwargs in wrappers:
        env = wrapper(env, **wrapper_kwargs)
    return env


def _normalization(env: EnvConfig) -> NormalizeConfig | None:
    if isinstance(env.normalize, NormalizeConfig):
        return env.normalize if env.normalize.obs or env.normalize.reward else None
    return NormalizeConfig(obs=True, reward=False) if env.normalize else None


def _construction_problem(path: Path, value: Any, error: Exception) -> Problem:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return Problem(path, f"must be accepted by the environment ({reason.rstrip('.')})", value)
