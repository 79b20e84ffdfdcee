"""Runs the environment checkers of Gymnasium and Stable-Baselines3 on a shaped environment."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import partial
from typing import Any, Final, Literal

import gymnasium as gym
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from rllama_sb3.algorithms import bootstraps_truncated, discount_factor, sees_action_masks
from rllama_sb3.analysis.findings import Finding, collected_warnings
from rllama_sb3.analysis.rollouts import fixed_randomness
from rllama_sb3.config import ExperimentConfig
from rllama_sb3.envs.factory import build_env
from rllama_sb3.envs.wrapper import RewardShapingWrapper

Env = gym.Env[Any, Any]
Outcome = Literal["passed", "failed", "left out"]

CHECKERS: Final[Mapping[str, Callable[[Env], None]]] = {
    # Closing needs env.spec.make(), which wrappers that record no arguments do not have.
    "Gymnasium": partial(gymnasium_check_env, skip_render_check=True, skip_close_check=True),
    "Stable-Baselines3": partial(sb3_check_env, skip_render_check=True),
}
# Gymnasium advises to check an environment without wrappers; those are what is checked here.
_KNOWN_ADVICE: Final = "is different from the unwrapped version"


def check_environment(
    config: ExperimentConfig, seed: int
) -> tuple[dict[str, Outcome], list[Finding]]:
    """Runs both checkers, without rendering, since nothing here renders.

    Args:
        config: A config that can be trained.
        seed: Seeds the actions that the checkers try.

    Returns:
        For each checker what became of it, and a problem for each that failed, with what they
        advise as notes.
    """
    outcomes: dict[str, Outcome] = {}
    findings: list[Finding] = []
    excuses = _excuses(config)
    for checker, run in CHECKERS.items():
        if checker in excuses:
            outcomes[checker] = "left out"
            text = f"{checker}'s check_env was left out: {excuses[checker]}."
            findings.append(Finding("note", "env", text))
        else:
            outcomes[checker], found = _run(checker, run, config, seed)
            findings += found
    return outcomes, findings


def _excuses(config: ExperimentConfig) -> dict[str, str]:
    """Returns for checkers that would fail without anything being wrong, why they would."""
    with collected_warnings():
        env = build_env(config.env)
        is_masked = sees_action_masks(config.algorithm) and env.has_wrapper_attr("action_masks")
        has_goals = hasattr(env.unwrapped, "compute_reward")
        env.close()
    if is_masked:
        return dict.fromkeys(CHECKERS, "it tries actions that the masks of the env do not allow")
    if has_goals and config.reward_shaping:
        reason = (
            "it wants rewards of a goal env to be its compute_reward's, which shaped ones are not"
        )
        return {"Stable-Baselines3": reason}
    return {}


class ForgetfulShaping(RewardShapingWrapper[Any, Any]):
    """A shaper that begins each episode as if it were the first.

    The checkers repeat an episode and want the same rewards, but a weight that moves and a
    component that counts visits rightly pay others by then.
    """

    def __init__(self, env: Env, reward_shaping: Any, **arguments: Any) -> None:
        super().__init__(env, reward_shaping, **arguments)
        self._unused = copy.deepcopy(self.shaper)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the environment, and takes a shaper that was never used."""
        self.shaper = copy.deepcopy(self._unused)
        return super().reset(seed=seed, options=options)


def _run(
    checker: str, check: Callable[[Env], None], config: ExperimentConfig, seed: int
) -> tuple[Outcome, list[Finding]]:
    findings = []
    with collected_warnings():
        # What building it warns of was told when episodes were rolled.
        env = _build(config)
    env.action_space.seed(seed)
    with (
        fixed_randomness(seed),
        collected_warnings() as advice,
        redirect_stdout(io.StringIO()) as printed,
    ):
        try:
            check(env)
        except Exception as error:
            # Checkers assert; what the environment itself raises in their hands can be anything.
            reason = " ".join(str(error).split()) or type(error).__name__
            text = f"{checker}'s check_env failed ({type(error).__name__}): {reason}"
            findings.append(Finding("problem", "env", text))
        finally:
            env.close()
    outcome: Outcome = "failed" if findings else "passed"
    told = [*advice, *filter(None, map(str.strip, printed.getvalue().splitlines()))]
    findings += [Finding("note", "env", text) for text in told if _KNOWN_ADVICE not in text]
    return outcome, findings


def _build(config: ExperimentConfig) -> Env:
    env = build_env(config.env)
    _freeze_statistics(env)
    components = config.to_dict()["reward_shaping"]
    if not components:
        return env
    return ForgetfulShaping(
        env,
        components,
        gamma=discount_factor(config.algorithm),
        total_timesteps=config.training.total_timesteps,
        bootstrap_truncated=bootstraps_truncated(config.algorithm),
    )


def _freeze_statistics(env: Env) -> None:
    """Keeps NormalizeObservation and the like from learning, so that steps can be repeated."""
    while isinstance(env, gym.Wrapper):
        if hasattr(env, "update_running_mean"):
            env.update_running_mean = False
        env = env.env
