"""Whether everything that discounts in an experiment discounts by the same γ.

A potential keeps the optimal policies only under the learner's own γ. Training sees to that for
``PotentialShaping``; what a file gives a γ of its own (a component of the user's, a wrapper, a
replay buffer) nobody else sees to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

import gymnasium as gym
from gymnasium.wrappers import NormalizeReward
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, unwrap_vec_normalize

from rllama_sb3.algorithms import bootstraps_truncated, discount_factor, replay_discount_factor
from rllama_sb3.analysis.findings import Finding, Severity
from rllama_sb3.config import ExperimentConfig
from rllama_sb3.envs.factory import build_vec_env
from rllama_sb3.envs.wrapper import RewardShapingWrapper
from rllama_sb3.rewards import PotentialShaping
from rllama_sb3.rewards.component import get_component_factory

_MAY_CHANGE_TASK: Final = "If that is a discount factor, it should be the same."


@dataclass(frozen=True)
class Discount:
    """One γ of an experiment.

    Attributes:
        name: Whose it is.
        gamma: The discount factor.
        where: Dotted keys of the experiment that say it.
        severity: What it is where it differs from the algorithm's: a problem if the agent learns
            another task then, a warning if it may.
        consequence: What follows then, as a sentence.
    """

    name: str
    gamma: float
    where: str
    severity: Severity = "problem"
    consequence: str = ""


def find_discounts(config: ExperimentConfig, model: Any = None) -> tuple[Discount, ...]:
    """Returns every γ of an experiment, the algorithm's first; empty where that has none.

    Those of the environments are read from training environments that are built as for a training.

    Args:
        config: A config that can be trained.
        model: A trained model that is to be checked along with it.
    """
    gamma = discount_factor(config.algorithm)
    if gamma is None:
        return ()
    own = Discount(f"algorithm {config.algorithm.name}", gamma, "algorithm.params.gamma")
    venv = build_vec_env(
        config.env,
        n_envs=1,
        seed=config.training.seed,
        reward_shaping=config.to_dict()["reward_shaping"],
        gamma=gamma,
        total_timesteps=config.training.total_timesteps,
        bootstrap_truncated=bootstraps_truncated(config.algorithm),
    )
    found = [own, *_of_replay(config), *_of_envs(venv, config), *_of_components(config)]
    venv.close()
    trained_with = getattr(model, "gamma", None)
    if _is_gamma(trained_with):
        consequence = "It was trained for another horizon than this experiment has."
        found.append(Discount("trained model", trained_with, "model", "warning", consequence))
    return tuple(found)


def discount_findings(config: ExperimentConfig, discounts: tuple[Discount, ...]) -> list[Finding]:
    """Returns where γ disagrees, and what is special about it."""
    if not discounts:
        text = f"{config.algorithm.name} has no discount factor."
        return [Finding("note", "algorithm", text)]
    own, *others = discounts
    findings = [
        Finding(
            other.severity,
            other.where,
            f"γ of the {other.name} is {other.gamma:g}, but that of the {own.name} is "
            f"{own.gamma:g}. {other.consequence}",
        )
        for other in others
        if other.gamma != own.gamma
    ]
    if own.gamma == 1.0:
        text = "γ is 1: returns are finite only if all episodes end."
        findings.append(Finding("note", own.where, text))
    elif own.gamma == 0.0:
        text = "γ is 0: the agent sees the next reward only, and potentials advise nothing."
        findings.append(Finding("note", own.where, text))
    if not bootstraps_truncated(config.algorithm):
        text = (
            "The future of truncated episodes is not estimated, so that potentials are 0 there as "
            "on termination, and a time limit is part of the task."
        )
        findings.append(Finding("note", "algorithm.params.replay_buffer_kwargs", text))
    return findings


def _of_replay(config: ExperimentConfig) -> Iterator[Discount]:
    gamma = replay_discount_factor(config.algorithm)
    if gamma is not None:
        where = "algorithm.params.replay_buffer_kwargs.gamma"
        consequence = "Its sums of rewards then do not fit the values that follow them."
        yield Discount("replay buffer", gamma, where, "problem", consequence)


def _of_envs(venv: VecEnv, config: ExperimentConfig) -> Iterator[Discount]:
    normalize = unwrap_vec_normalize(venv)
    scaled = "Rewards are scaled by another return than the agent's."
    if normalize is not None and normalize.norm_reward:
        yield Discount("VecNormalize", normalize.gamma, "env.normalize", "warning", scaled)
    assert isinstance(venv.unwrapped, DummyVecEnv)
    env = venv.unwrapped.envs[0]
    while isinstance(env, gym.Wrapper):
        name = type(env).__name__
        if isinstance(env, RewardShapingWrapper):
            yield from _of_shaper(env, config)
        elif isinstance(env, NormalizeReward):
            yield Discount(name, env.gamma, "env.wrappers", "warning", scaled)
        elif _is_gamma(gamma := getattr(env, "gamma", None)):
            yield Discount(name, gamma, "env.wrappers", "warning", _MAY_CHANGE_TASK)
        env = env.env


def _of_shaper(env: RewardShapingWrapper[Any, Any], config: ExperimentConfig) -> Iterator[Discount]:
    for name, component in env.shaper.composer.components.items():
        if isinstance(component, PotentialShaping) and env.shaper.gamma is not None:
            # A file can have further shapers among the wrappers of its environment.
            where = f"reward_shaping.{name}" if name in config.reward_shaping else "env.wrappers"
            consequence = "A potential changes the task then."
            yield Discount(f"potential {name!r}", env.shaper.gamma, where, "problem", consequence)


def _of_components(config: ExperimentConfig) -> Iterator[Discount]:
    for name, component in config.reward_shaping.items():
        gamma = component.params.get("gamma")
        if not _is_gamma(gamma):
            continue
        where = f"reward_shaping.{name}.params.gamma"
        factory = get_component_factory(component.class_)
        if getattr(factory, "policy_invariant", False):
            consequence = "It does not preserve the optimal policy then."
            yield Discount(f"component {name!r}", gamma, where, "problem", consequence)
        else:
            # A parameter of that name may as well be the width of a kernel.
            yield Discount(f"component {name!r}", gamma, where, "warning", _MAY_CHANGE_TASK)


def _is_gamma(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
