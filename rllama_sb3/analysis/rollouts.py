"""Rolls episodes of an experiment, to see what its components give in them.

All weights are 1 here. The values of components do not depend on weights, so that what any weights
make of the same episodes can be computed afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from rllama_sb3.algorithms import bootstraps_truncated, discount_factor
from rllama_sb3.analysis.episodes import Actor, EpisodeRecord, Episodes
from rllama_sb3.analysis.findings import Finding
from rllama_sb3.analysis.policies import Policy
from rllama_sb3.config import EnvConfig, ExperimentConfig, NormalizeConfig
from rllama_sb3.envs.factory import build_vec_env, choose_shaping
from rllama_sb3.errors import ComponentError

# The environment's own reward, where an experiment shapes nothing.
_UNSHAPED: Final = {"env": {"class": "EnvReward"}}


@dataclass(frozen=True)
class RollSettings:
    """Which episodes to roll.

    Attributes:
        n_episodes: How many.
        seed: Seeds everything random, in [0, 2**32).
        max_episode_steps: After how many steps an episode is cut.
        on_episode: Called after each episode with who acted and how many there were.
    """

    n_episodes: int
    seed: int
    max_episode_steps: int
    on_episode: Callable[[Actor, int], None] | None = None


class CutEpisodes(gym.Wrapper[Any, Any, Any, Any]):
    """Truncates episodes that have gone on for too long, and says in ``info["cut"]`` that it did.

    Args:
        env: An environment.
        max_episode_steps: After how many steps.
    """

    def __init__(self, env: gym.Env[Any, Any], max_episode_steps: int) -> None:
        super().__init__(env)
        self._max_episode_steps = max_episode_steps
        self._n_steps = 0

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """Resets the environment and the count."""
        self._n_steps = 0
        return self.env.reset(**arguments)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the environment, and truncates an episode that has not ended by the last step."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._n_steps += 1
        if self._n_steps >= self._max_episode_steps and not (terminated or truncated):
            return obs, reward, False, True, {**info, "cut": True}
        return obs, reward, terminated, truncated, info


def build_rollout_env(
    config: ExperimentConfig,
    settings: RollSettings,
    *,
    normalize: bool | NormalizeConfig = False,
) -> VecEnv:
    """Builds one environment to roll episodes in: that of the training, with all weights 1.

    Args:
        config: The experiment.
        settings: Which episodes it is for.
        normalize: What the policy was trained on; random actions need no scaling.
    """
    cut = {f"{__name__}:{CutEpisodes.__name__}": {"max_episode_steps": settings.max_episode_steps}}
    changes = {"wrappers": [*config.env.wrappers, cut], "normalize": normalize}
    env: EnvConfig = config.env.model_copy(update=changes)
    components = config.to_dict()["reward_shaping"] or _UNSHAPED
    return build_vec_env(
        env,
        n_envs=1,
        seed=settings.seed,
        shaping=choose_shaping(config.env, components),
        reward_shaping={name: _without_weight(entry) for name, entry in components.items()},
        gamma=discount_factor(config.algorithm),
        bootstrap_truncated=bootstraps_truncated(config.algorithm),
        training=False,
        record_components=True,
    )


def roll_episodes(venv: VecEnv, policy: Policy, actor: Actor, settings: RollSettings) -> Episodes:
    """Rolls episodes, as far as the environment and the components go along.

    The same seed gives the same episodes, also where a policy, a component or an environment draws
    from the random numbers of the process; those are afterwards as they were before.

    Args:
        venv: As :func:`build_rollout_env` builds it, seeded, for the same settings.
        policy: Who acts.
        actor: What to call it.
        settings: Which episodes.
    """
    record = EpisodeRecord()
    with fixed_randomness(settings.seed):
        try:
            for n_ended in _steps(venv, policy, record, settings.n_episodes):
                if settings.on_episode is not None:
                    settings.on_episode(actor, n_ended)
        except _RollFailed as error:
            text = f"In {actor} episode {len(record.lengths) + 1}, {error}."
            return record.to_episodes(actor, Finding("problem", error.where, text))
    return record.to_episodes(actor, None)


@contextmanager
def fixed_randomness(seed: int) -> Iterator[None]:
    """Seeds the random numbers of the process, and puts them back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    # To ask a device that nobody uses would start it.
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if in_use else ()
    with torch.random.fork_rng(devices):
        set_random_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


class _RollFailed(Exception):
    """The environment or a component raised; ``where`` says in which section."""

    def __init__(self, where: str, text: str) -> None:
        super().__init__(text)
        self.where = where


def _steps(venv: VecEnv, policy: Policy, record: EpisodeRecord, n_episodes: int) -> Iterator[int]:
    """Steps until all episodes have ended; yields their number at the end of each."""
    obs = _attempt(venv.reset)
    starts = np.ones(1, dtype=bool)
    while len(record.lengths) < n_episodes:
        actions = policy(obs, starts)
        obs, _, starts, infos = _attempt(partial(venv.step, actions))
        record.add_step(infos[0]["reward_components"])
        if starts[0]:
            record.end_episode(infos[0])
            yield len(record.lengths)


def _attempt(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ComponentError as error:
        raise _RollFailed("reward_shaping", str(error)) from error
    except Exception as error:
        # The report has to say so; what the user's environment raises can be anything.
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise _RollFailed("env", f"the environment raised {reason}") from error


def _without_weight(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "weight_schedule"}
