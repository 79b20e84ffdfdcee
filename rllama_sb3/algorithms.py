"""Finds, checks and builds the Stable-Baselines3 algorithm that an experiment names."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any, Final

import gymnasium as gym
import stable_baselines3
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import configure
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.preprocessing import get_obs_shape
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from stable_baselines3.her import HerReplayBuffer

from rllama_sb3.buffers import can_relabel
from rllama_sb3.config.models import AlgorithmConfig
from rllama_sb3.errors import ConfigError, MissingExtraError, Path, Problem, did_you_mean
from rllama_sb3.rewards.parameters import parse_parameters
from rllama_sb3.rewards.signature import Parameter, parameters_of

CORE_ALGORITHMS: Final = ("A2C", "DDPG", "DQN", "PPO", "SAC", "TD3")
CONTRIB_ALGORITHMS: Final = ("ARS", "CrossQ", "MaskablePPO", "QRDQN", "RecurrentPPO", "TQC", "TRPO")

_PARAMS: Path = ("algorithm", "params")
_POLICY_KWARGS: Path = (*_PARAMS, "policy_kwargs")
# Arguments of every algorithm that an experiment says elsewhere.
_ELSEWHERE: Final = {
    "policy": "Set algorithm.policy instead.",
    "env": "Set the section env instead.",
    "seed": "Set training.seed instead.",
    "verbose": "Remove it: progress is shown by the command line or by a callback.",
    "tensorboard_log": "Remove it: logs go to the folder of the run.",
    "_init_setup_model": "Remove it.",
}
# Arguments of a policy that are classes, by where their names are looked up.
_CLASSES: Final[Mapping[str, Any]] = {"activation_fn": torch.nn, "optimizer_class": torch.optim}


def algorithm_class(name: str) -> type[BaseAlgorithm]:
    """Returns the algorithm of that name, of Stable-Baselines3 or of sb3-contrib.

    Raises:
        ConfigError: There is none, or sb3-contrib has it and is not installed.

    Example:
        >>> algorithm_class("PPO").__name__
        'PPO'
    """
    path: Path = ("algorithm", "name")
    if name in CORE_ALGORITHMS:
        found: type[BaseAlgorithm] = getattr(stable_baselines3, name)
        return found
    if name not in CONTRIB_ALGORITHMS:
        remedy = did_you_mean(name, [*CORE_ALGORITHMS, *CONTRIB_ALGORITHMS])
        raise ConfigError(Problem(path, "must be an algorithm", name, remedy))
    try:
        import sb3_contrib
    except ImportError as error:
        remedy = str(MissingExtraError(name, "contrib"))
        rule = "must be an algorithm that is installed"
        raise ConfigError(Problem(path, rule, name, remedy)) from error
    contributed: type[BaseAlgorithm] = getattr(sb3_contrib, name)
    return contributed


def algorithm_parameters(name: str) -> dict[str, Parameter]:
    """Returns what ``algorithm.params`` can hold for an algorithm, by key.

    Raises:
        ConfigError: As :func:`algorithm_class`.

    Example:
        >>> algorithm_parameters("PPO")["clip_range"].default
        0.2
    """
    parameters = parameters_of(algorithm_class(name))
    return {p.name: p for p in parameters if p.name not in _ELSEWHERE}


def check_algorithm(algorithm: AlgorithmConfig) -> list[Problem]:
    """Returns what is wrong with the name, the policy and the arguments of an algorithm.

    Example:
        >>> for problem in check_algorithm(AlgorithmConfig(name="PPO", params={"gama": 0.9})):
        ...     print(problem)
        algorithm.params.gama: is not a parameter of PPO. Did you mean 'gamma'?
    """
    try:
        cls = algorithm_class(algorithm.name)
    except ConfigError as error:
        return list(error.problems)
    problems: list[Problem] = []
    policy = cls.policy_aliases.get(algorithm.policy)
    if policy is None:
        remedy = did_you_mean(algorithm.policy, cls.policy_aliases)
        rule = f"must be a policy of {algorithm.name}"
        problems.append(Problem(("algorithm", "policy"), rule, algorithm.policy, remedy))
    ours = [key for key in algorithm.params if key in _ELSEWHERE]
    problems += [
        Problem((*_PARAMS, key), "must not be set here", remedy=_ELSEWHERE[key]) for key in ours
    ]
    params = {key: value for key, value in algorithm.params.items() if key not in _ELSEWHERE}
    try:
        parsed = parse_parameters(cls, params, _PARAMS, skip=_ELSEWHERE)
    except ConfigError as error:
        return [*problems, *error.problems]
    gamma = parsed.get("gamma", 0.0)
    if not 0 <= gamma <= 1:
        problems.append(Problem((*_PARAMS, "gamma"), "must be in [0, 1]", gamma))
    try:
        kwargs = _with_classes(params.get("policy_kwargs") or {})
    except ConfigError as error:
        return [*problems, *error.problems]
    if policy is not None:
        # The first arguments of a policy are the spaces and the learning rate.
        known = list(inspect.signature(policy).parameters)[2:]
        problems += [
            Problem((*_POLICY_KWARGS, key), "is unknown", remedy=did_you_mean(key, known))
            for key in kwargs
            if key not in known
        ]
    return problems


def check_algorithm_fits(
    algorithm: AlgorithmConfig, env: gym.Env[Any, Any], n_envs: int
) -> list[Problem]:
    """Returns why a checked algorithm cannot learn in that many of these environments.

    The algorithm is constructed without networks and buffers, which is quick.
    """
    try:
        get_obs_shape(env.observation_space)
    except NotImplementedError:
        # Constructed without buffers, an algorithm would not notice.
        rule = f"must have observations that can be learned from, not {env.observation_space}"
        return [Problem(("env",), rule, remedy="Try: wrappers: [FlattenObservation].")]
    venv = DummyVecEnv([lambda: _Spaces(env) for _ in range(n_envs)])
    reason = _refusal(algorithm, venv)
    if reason is None:
        return []
    if "action space" in reason:
        others = [
            name
            for name in CORE_ALGORITHMS
            if _refusal(AlgorithmConfig(name=name, policy=algorithm.policy), venv) is None
        ]
        rule = f"must be able to learn in the action space {env.action_space}"
        remedy = f"Use {' or '.join(others)}." if others else f"Stable-Baselines3 says: {reason}."
        return [Problem(("algorithm", "name"), rule, algorithm.name, remedy)]
    if "MultiInputPolicy" in reason:
        rule = "must fit the observations, which are a Dict"
        return [Problem(("algorithm", "policy"), rule, algorithm.policy, "Use MultiInputPolicy.")]
    return [Problem(("algorithm",), f"must be accepted by {algorithm.name} ({reason})")]


def check_algorithm_sees_reward(
    algorithm: AlgorithmConfig, *, weights_move: bool = False
) -> list[Problem]:
    """Returns why an algorithm would learn from another reward than the shaped one.

    Args:
        algorithm: A checked one.
        weights_move: Whether the weight of a component changes over time.
    """
    if algorithm.name == "ARS":
        rule = "must learn from each step's reward when there is a reward_shaping"
        remedy = "ARS reads whole episodes from Monitor, which records the env return."
        return [Problem(("algorithm", "name"), rule, "ARS", remedy)]
    buffer = algorithm.params.get("replay_buffer_class")
    if not (isinstance(buffer, type) and issubclass(buffer, ReplayBuffer)):
        return []
    path: Path = (*_PARAMS, "replay_buffer_class")
    if issubclass(buffer, HerReplayBuffer):
        rule = "must store the rewards it is given when there is a reward_shaping"
        remedy = "HerReplayBuffer computes rewards anew, without the shaping."
        return [Problem(path, rule, buffer.__name__, remedy)]
    if weights_move and not can_relabel(buffer):
        rule = "must weight stored rewards anew when a weight_schedule moves"
        remedy = "Leave it out, or use a RelabelingReplayBuffer."
        return [Problem(path, rule, buffer.__name__, remedy)]
    gamma, own = replay_discount_factor(algorithm), discount_factor(algorithm)
    if gamma not in (None, own):
        rule = f"must be the algorithm's own, {own!r}"
        remedy = "Leave the class out, and set n_steps instead: its buffer gets the same gamma."
        return [Problem((*_PARAMS, "replay_buffer_kwargs", "gamma"), rule, gamma, remedy)]
    return []


def discount_factor(algorithm: AlgorithmConfig) -> float | None:
    """Returns γ of a checked algorithm, or ``None`` where it has none.

    Example:
        >>> discount_factor(AlgorithmConfig(name="PPO"))
        0.99
    """
    parameter = inspect.signature(algorithm_class(algorithm.name)).parameters.get("gamma")
    if parameter is None:
        return None
    return float(algorithm.params.get("gamma", parameter.default))


def bootstraps_truncated(algorithm: AlgorithmConfig) -> bool:
    """Returns whether an algorithm estimates the future of truncated states.

    All do, but for replay buffers with ``handle_timeout_termination: false``, which saving memory
    by ``optimize_memory_usage`` needs.
    """
    buffer = algorithm.params.get("replay_buffer_kwargs") or {}
    return bool(buffer.get("handle_timeout_termination", True))


def sees_action_masks(algorithm: AlgorithmConfig) -> bool:
    """Returns whether an algorithm chooses among the actions that the environment allows only.

    Example:
        >>> sees_action_masks(AlgorithmConfig(name="PPO"))
        False
    """
    predict: Any = algorithm_class(algorithm.name).predict
    return "action_masks" in inspect.signature(predict).parameters


def replay_discount_factor(algorithm: AlgorithmConfig) -> float | None:
    """Returns the γ by which a replay buffer adds up rewards, or ``None`` where none does.

    Stable-Baselines3 hands its own to the buffer of n-step returns that it chooses; one that is
    chosen by ``replay_buffer_class`` has what ``replay_buffer_kwargs`` gives, or a default.

    Example:
        >>> replay_discount_factor(AlgorithmConfig(name="DQN", params={"n_steps": 3}))
        0.99
    """
    params = algorithm.params
    buffer = params.get("replay_buffer_class")
    if isinstance(buffer, type):
        # A subclass may pass it on among its **kwargs.
        named = (inspect.signature(c).parameters.get("gamma") for c in buffer.__mro__)
        default = next((parameter.default for parameter in named if parameter), None)
        gamma = (params.get("replay_buffer_kwargs") or {}).get("gamma", default)
        return float(gamma) if isinstance(gamma, int | float) else None
    is_off_policy = issubclass(algorithm_class(algorithm.name), OffPolicyAlgorithm)
    adds_up = is_off_policy and params.get("n_steps", 1) > 1
    return discount_factor(algorithm) if adds_up else None


def build_algorithm(
    algorithm: AlgorithmConfig,
    venv: VecEnv,
    *,
    seed: int,
    tensorboard_log: FilePath | str | None = None,
) -> BaseAlgorithm:
    """Builds an algorithm to learn in ``venv``.

    Args:
        algorithm: Which one. Lists become tuples where it asks for those, and the names of
            classes in ``policy_kwargs`` (``activation_fn: Tanh``) become the classes of torch.
        venv: The training environments.
        seed: Seeds Python's, NumPy's and torch's random numbers, and the environments.
        tensorboard_log: The folder for event files; they go into it, not into a folder below it.

    Raises:
        ConfigError: The algorithm is unknown, or refuses its arguments or the environment.
    """
    problems = check_algorithm(algorithm)
    if problems:
        raise ConfigError(*problems)
    try:
        model = _construct(algorithm, venv, seed=seed)
    except (AssertionError, NotImplementedError, TypeError, ValueError) as error:
        rule = f"must be accepted by {algorithm.name} ({_one_line(error)})"
        raise ConfigError(Problem(_PARAMS, rule, algorithm.params)) from error
    if tensorboard_log is not None:
        model.set_logger(configure(str(tensorboard_log), ["tensorboard"]))
    return model


def _construct(algorithm: AlgorithmConfig, venv: VecEnv, **arguments: Any) -> BaseAlgorithm:
    cls = algorithm_class(algorithm.name)
    params = parse_parameters(cls, algorithm.params, _PARAMS, skip=_ELSEWHERE)
    if params.get("policy_kwargs"):
        params["policy_kwargs"] = _with_classes(params["policy_kwargs"])
    if params.get("replay_buffer_kwargs"):
        # The algorithm adds to this one, and the config stays as it was written.
        params["replay_buffer_kwargs"] = dict(params["replay_buffer_kwargs"])
    model: BaseAlgorithm = cls(algorithm.policy, venv, **params, **arguments)
    return model


def _refusal(algorithm: AlgorithmConfig, venv: VecEnv) -> str | None:
    """What the constructor says against the arguments or the environment, if anything."""
    with warnings.catch_warnings():
        # The real construction warns again, where the user can see it.
        warnings.simplefilter("ignore")
        try:
            _construct(algorithm, venv, _init_setup_model=False)
        except (AssertionError, TypeError, ValueError) as error:
            return _one_line(error)
    return None


def _with_classes(policy_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Puts torch's classes in place of their names."""
    resolved = dict(policy_kwargs)
    problems: list[Problem] = []
    for key, module in _CLASSES.items():
        name = resolved.get(key)
        if not isinstance(name, str):
            continue
        base = torch.nn.Module if module is torch.nn else torch.optim.Optimizer
        found = getattr(module, name, None)
        if isinstance(found, type) and issubclass(found, base):
            resolved[key] = found
        else:
            rule = f"must be the name of a class of {module.__name__}"
            known = _names_of(module, base)
            problems.append(Problem((*_POLICY_KWARGS, key), rule, name, did_you_mean(name, known)))
    if problems:
        raise ConfigError(*problems)
    return resolved


def _names_of(module: Any, base: type) -> Iterable[str]:
    source = torch.nn.modules.activation if module is torch.nn else module
    return [
        name
        for name, value in vars(source).items()
        if isinstance(value, type) and issubclass(value, base) and value is not base
    ]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


class _Spaces(gym.Env[Any, Any]):
    """Has the spaces of an environment, and is never stepped."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self.observation_space = env.observation_space
        self.action_space = env.action_space
