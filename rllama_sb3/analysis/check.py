"""Looks at an experiment before it is trained: at what its reward pays, and for what.

The experiment is built as for a training, and episodes are rolled with random actions and, where
one is given, with a trained model. From them come the range and the share of each component, and
whether the shaped return puts episodes in the order of the env return.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import VecEnv

from rllama_sb3.algorithms import bootstraps_truncated, sees_action_masks
from rllama_sb3.analysis.agreement import Agreement, agreement_findings, compute_agreements
from rllama_sb3.analysis.comparison import AnyConfig, read_experiment
from rllama_sb3.analysis.discounts import Discount, discount_findings, find_discounts
from rllama_sb3.analysis.effects import (
    ComponentReport,
    effect_findings,
    report_component,
    value_findings,
    with_values,
)
from rllama_sb3.analysis.env_checks import CHECKERS, Outcome, check_environment
from rllama_sb3.analysis.episodes import Actor, Episodes
from rllama_sb3.analysis.findings import Finding, collected_warnings
from rllama_sb3.analysis.policies import random_policy, trained_policy
from rllama_sb3.analysis.rollouts import RollSettings, build_rollout_env, roll_episodes
from rllama_sb3.config import ExperimentConfig, parse_experiment, read_yaml
from rllama_sb3.errors import ConfigError, Problem
from rllama_sb3.evaluation import share_normalization
from rllama_sb3.rewards import build_shaper
from rllama_sb3.saved_model import find_model, load_model
from rllama_sb3.seeding import evaluation_seed
from rllama_sb3.training import check_runnable

if TYPE_CHECKING:
    from stable_baselines3.common.type_aliases import PolicyPredictor

_SEVERITIES: Final = ("problem", "warning", "note")
# What the random numbers of NumPy's older kind can be seeded with.
_N_SEEDS: Final = 2**32


@dataclass(frozen=True)
class CheckReport:
    """What a check of an experiment found.

    Attributes:
        components: Each component of the reward, in the order of the experiment; empty when
            nothing is shaped.
        random: The episodes of random actions.
        trained: Those of the trained model; ``None`` when there are none.
        agreements: Whether shaped and env return agree over the episodes.
        discounts: Every γ, the algorithm's first; empty when it has none.
        bootstraps_truncated: Whether the algorithm estimates the future of truncated episodes.
        env_checks: What became of the ``check_env`` of Gymnasium and of Stable-Baselines3.
        findings: What there is to say, problems first.
    """

    components: tuple[ComponentReport, ...]
    random: Episodes
    trained: Episodes | None
    agreements: tuple[Agreement, ...]
    discounts: tuple[Discount, ...]
    bootstraps_truncated: bool
    env_checks: Mapping[str, Outcome]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem; there may be warnings."""
        return all(finding.severity != "problem" for finding in self.findings)


def check(
    config: AnyConfig,
    *,
    n_episodes: int = 20,
    model: PolicyPredictor | str | os.PathLike[str] | None = None,
    seed: int | None = None,
    max_episode_steps: int = 10_000,
    on_episode: Callable[[Actor, int], None] | None = None,
) -> CheckReport:
    """Checks what an experiment pays its agent, without training anything.

    The same config and seed give the same report. Random numbers of the process and filters of
    warnings are afterwards as they were before.

    Args:
        config: The experiment; a path is read as an experiment file.
        n_episodes: How many episodes of each policy, at least 1; with fewer than 5 no disagreement
            of returns can be told from chance.
        model: A trained model to roll episodes with as well: the folder of a training or a study,
            a model in one, or anything with Stable-Baselines3's ``predict``. It acts as
            ``evaluation.deterministic`` says.
        seed: Seeds the episodes, in [0, 2**32); by default those that judge a training.
        max_episode_steps: After how many steps an episode is cut.
        on_episode: Called after each episode with who acted, and how many episodes they have done.

    Raises:
        ConfigError: The config cannot be trained, or another argument cannot be used. What is
            wrong with a reward that a training would start with is in the report instead.

    Example:
        >>> report = check(
        ...     {
        ...         "env": {"id": "CartPole-v1"},
        ...         "reward_shaping": {
        ...             "env": {"class": "EnvReward"},
        ...             "time": {"class": "StepPenalty", "params": {"penalty": -2.0}},
        ...         },
        ...         "algorithm": {"name": "PPO"},
        ...         "training": {"total_timesteps": 1_000},
        ...     },
        ...     n_episodes=10,
        ... )
        >>> report.ok, report.agreements[0].value, report.agreements[0].disagrees
        (True, -1.0, True)
        >>> print(report.components[1].effect)
        can change the optimal policy
    """
    config = read_experiment(config)
    problems = [*_check_arguments(n_episodes, seed, max_episode_steps), *check_runnable(config)]
    if problems:
        raise ConfigError(*problems)
    seed = evaluation_seed(config.training.seed) if seed is None else seed
    settings = RollSettings(n_episodes, seed, max_episode_steps, on_episode)
    with collected_warnings() as of_reward:
        components, findings = _report_components(config)
    with collected_warnings() as of_envs:
        rolled, acting = _roll(config, model, settings)
        discounts = find_discounts(config, acting)
    components = with_values(components, *rolled)
    agreements = [a for episodes in rolled for a in compute_agreements(components, episodes)]
    findings = [
        *(Finding("warning", "reward_shaping", text) for text in of_reward),
        *effect_findings(components),
        *findings,
        *(found for component in components for found in value_findings(component, rolled)),
        *agreement_findings(agreements),
        *discount_findings(config, discounts),
        *(found for episodes in rolled for found in _episode_findings(episodes, settings)),
        *(Finding("note", "env", text) for text in of_envs if text not in of_reward),
    ]
    env_checks, found = _check_env(config, rolled, settings)
    findings += found
    return CheckReport(
        components=tuple(components),
        random=rolled[0],
        trained=rolled[1] if len(rolled) > 1 else None,
        agreements=tuple(agreements),
        discounts=discounts,
        bootstraps_truncated=bootstraps_truncated(config.algorithm),
        env_checks=env_checks,
        findings=_in_order(findings),
    )


def _check_arguments(n_episodes: int, seed: int | None, max_episode_steps: int) -> list[Problem]:
    counts = {"n_episodes": n_episodes, "max_episode_steps": max_episode_steps}
    problems = [
        Problem((name,), "must be at least 1", count) for name, count in counts.items() if count < 1
    ]
    if seed is not None and not 0 <= seed < _N_SEEDS:
        problems.append(Problem(("seed",), "must be in [0, 2**32)", seed))
    return problems


def _report_components(
    config: ExperimentConfig,
) -> tuple[list[ComponentReport], list[Finding]]:
    if not config.reward_shaping:
        return [], []
    total_timesteps = config.training.total_timesteps
    shaper = build_shaper(config.to_dict()["reward_shaping"], total_timesteps=total_timesteps)
    reports, findings = [], []
    for name, component in config.reward_shaping.items():
        report, found = report_component(name, component.class_, shaper, total_timesteps)
        reports.append(report)
        findings += found
    return reports, findings


def _roll(
    config: ExperimentConfig, model: Any, settings: RollSettings
) -> tuple[list[Episodes], Any]:
    """Returns the episodes of random actions, then those of the model, and the model loaded."""
    with ExitStack() as stack:
        acting = venv_of_model = None
        if model is not None:
            # First, so that a model that cannot be used is told before anything takes long.
            acting, venv_of_model = _load(config, model, settings, stack)
        venv = build_rollout_env(config, settings)
        stack.callback(venv.close)
        masked = sees_action_masks(config.algorithm)
        policy = random_policy(venv, settings.seed, masked=masked)
        rolled = [roll_episodes(venv, policy, "random", settings)]
        if venv_of_model is not None and not rolled[0].failure:
            deterministic = config.evaluation.deterministic
            policy = trained_policy(acting, venv_of_model, deterministic=deterministic)
            rolled.append(roll_episodes(venv_of_model, policy, "trained", settings))
    return rolled, acting


def _load(
    config: ExperimentConfig, model: Any, settings: RollSettings, stack: ExitStack
) -> tuple[Any, VecEnv]:
    """Returns a model, and an environment that shows it what it was trained on."""
    if isinstance(model, str | os.PathLike):
        model_file, config_file = find_model(Path(model))
        trained_in = parse_experiment(read_yaml(config_file).data)
        venv = build_rollout_env(config, settings, normalize=trained_in.env.normalize)
        stack.callback(venv.close)
        model = load_model(model_file, trained_in.algorithm.name, venv)
    else:
        venv = build_rollout_env(config, settings, normalize=config.env.normalize)
        stack.callback(venv.close)
        share_normalization(model, venv)
    if hasattr(model, "observation_space"):
        try:
            check_for_correct_spaces(venv, model.observation_space, model.action_space)
        except ValueError as error:
            rule = f"must have been trained in the spaces of {config.env.id} ({error})"
            raise ConfigError(Problem(("model",), rule)) from error
    return model, venv


def _episode_findings(episodes: Episodes, settings: RollSettings) -> list[Finding]:
    findings = [] if episodes.failure is None else [episodes.failure]
    if episodes.n_cut:
        text = (
            f"{episodes.n_cut} of {episodes.describe()} had not ended after "
            f"{settings.max_episode_steps:,} steps, and were cut there. If the environment has no "
            "time limit, add one: wrappers: [TimeLimit: {max_episode_steps: ...}]."
        )
        findings.append(Finding("warning", "env", text))
    return findings


def _check_env(
    config: ExperimentConfig, rolled: list[Episodes], settings: RollSettings
) -> tuple[dict[str, Outcome], list[Finding]]:
    if any(episodes.failure for episodes in rolled):
        text = "check_env was left out, since episodes fail already."
        return dict.fromkeys(CHECKERS, "left out"), [Finding("note", "env", text)]
    return check_environment(config, settings.seed)


def _in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(dict.fromkeys(findings), key=lambda f: _SEVERITIES.index(f.severity)))
