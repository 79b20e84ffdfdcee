"""Turns a ``reward_shaping`` section into objects: the only place where strings become objects."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from rllama_sb3.config.models import ComponentConfig
from rllama_sb3.config.validation import problems_from_validation_error
from rllama_sb3.errors import ConfigError, Path, Problem
from rllama_sb3.rewards.component import RewardComponent, create_component
from rllama_sb3.rewards.composer import RewardComposer
from rllama_sb3.rewards.schedules import build_schedule
from rllama_sb3.rewards.shaper import RewardShaper

_SECTION: Path = ("reward_shaping",)


def build_shaper(
    reward_shaping_config: Mapping[str, Any],
    *,
    gamma: float | None = None,
    total_timesteps: int | None = None,
    bootstrap_truncated: bool | None = None,
) -> RewardShaper:
    """Builds components, composer and shaper from plain values.

    Args:
        reward_shaping_config: By name of the component ``class`` (a registered one), ``params``
            (its arguments) and ``weight_schedule``.
        gamma: The learner's discount factor, in [0, 1].
        total_timesteps: The length of the training in global steps.
        bootstrap_truncated: Whether the learner estimates the future of truncated states;
            ``None`` takes it for granted until a learner says otherwise.

    Raises:
        ConfigError: Anything in the section is wrong; all its problems are listed.

    Warns:
        UserWarning: No component knows the task: see :func:`warn_without_task`.

    Example:
        >>> shaper = build_shaper({
        ...     "env": {"class": "EnvReward"},
        ...     "time": {"class": "StepPenalty", "params": {"penalty": -0.1}},
        ... })
        >>> round(shaper.shape(raw_reward=1.0), 6)
        0.9
    """
    components, problems = _build_parts(reward_shaping_config, total_timesteps)
    if problems:
        raise ConfigError(*problems)
    warn_without_task(components)
    return RewardShaper(
        RewardComposer(components),
        reward_shaping_config,
        gamma=gamma,
        total_timesteps=total_timesteps,
        bootstrap_truncated=bootstrap_truncated,
    )


def check_reward_shaping(
    reward_shaping_config: Mapping[str, Any], *, total_timesteps: int | None = None
) -> list[Problem]:
    """Returns everything that is wrong with a ``reward_shaping`` section, or an empty list.

    Example:
        >>> for problem in check_reward_shaping({"env": {"class": "EnvRewrd"}}):
        ...     print(problem.rule, problem.value)
        must be a registered component EnvRewrd
    """
    return _build_parts(reward_shaping_config, total_timesteps)[1]


def warn_without_task(components: Mapping[str, RewardComponent]) -> None:
    """Warns when no component can tell a solved task from an unsolved one.

    The shaped reward is the sum of what is listed, and nothing else: the environment's own
    reward takes part only as a component.
    """
    if not any(component.pursues_task for component in components.values()):
        warnings.warn(
            f"The reward consists of {', '.join(components)}, none of which sees the environment's "
            "reward or its goal: the agent is paid the same whether or not it solves the task. "
            "Add a component such as env: {class: EnvReward} or goal: {class: GoalReward}.",
            UserWarning,
            stacklevel=3,
        )


def _build_parts(
    section: Mapping[str, Any], total_timesteps: int | None
) -> tuple[dict[str, RewardComponent], list[Problem]]:
    if not isinstance(section, Mapping) or not section:
        rule = "must name at least one component"
        remedy = "Write for example env: {class: EnvReward}."
        return {}, [Problem(_SECTION, rule, section, remedy)]
    components: dict[str, RewardComponent] = {}
    problems: list[Problem] = []
    for name, entry in section.items():
        path = (*_SECTION, name)
        try:
            config = ComponentConfig.model_validate(entry)
        except ValidationError as error:
            problems += problems_from_validation_error(error, path, ComponentConfig)
            continue
        try:
            components[name] = create_component(config.class_, config.params, path)
        except ConfigError as error:
            problems += error.problems
        try:
            build_schedule(
                config.weight_schedule.model_dump(),
                total_timesteps=total_timesteps,
                path=(*path, "weight_schedule"),
            )
        except ConfigError as error:
            problems += error.problems
    return components, problems
