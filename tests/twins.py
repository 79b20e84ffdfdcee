"""The same environments twice: each in a wrapper, and all of them in the vectorised twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from lingering import BONUS
from scripted import Episode, Scripted, Step
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from rllama_sb3 import RewardShapingWrapper, VecRewardShaping

FAILS: list[Episode] = [(1.0, [Step(1.0), Step(0.0)])]
FINE: list[Episode] = [(1.0, [Step(1.0), Step(1.0)])]
POTENTIAL: dict[str, Any] = BONUS | {
    "time": {"class": "PotentialShaping", "params": {"potential": "obs[0]"}}
}


def linear(initial: float, final: float, end: int) -> dict[str, Any]:
    """A weight that moves from one value to another, and stays there."""
    return {
        "initial_weight": initial,
        "schedule_type": "linear",
        "final_weight": final,
        "end_step": end,
    }


# An env reward of 1 for each step makes the reward the weight itself.
TOTAL = 24
FADING: dict[str, Any] = {"env": {"class": "EnvReward", "weight_schedule": linear(5.0, 1.0, TOTAL)}}


def weight_at(step: int) -> float:
    """The weight of FADING."""
    return 5.0 - 4.0 * min(step / TOTAL, 1.0)


def both(
    scripts: list[dict[str, Any]], reward: Any, **arguments: Any
) -> tuple[VecEnv, VecRewardShaping]:
    """The same environments twice: each in a wrapper, and all of them in the twin."""

    def build(script: dict[str, Any]) -> Any:
        return RewardShapingWrapper(Scripted(**script), reward, **arguments)

    wrapped = DummyVecEnv([partial(build, script) for script in scripts])
    plain = DummyVecEnv([partial(Scripted, **script) for script in scripts])
    return wrapped, VecRewardShaping(plain, reward, **arguments)


def set_global_step(wrapped: VecEnv, twin: VecRewardShaping, step: int) -> None:
    """Sets the clocks of both."""
    wrapped.env_method("set_global_step", step, wrapped.num_envs)
    twin.set_global_step(step)


def assert_same_step(wrapped: VecEnv, twin: VecEnv, actions: Any) -> np.ndarray:
    """Steps both; returns the rewards."""
    obs, rewards, dones, infos = wrapped.step(actions)
    twin_obs, twin_rewards, twin_dones, twin_infos = twin.step(actions)
    np.testing.assert_equal(twin_obs, obs)
    np.testing.assert_array_equal(twin_dones, dones)
    assert twin_rewards.dtype == np.float32
    np.testing.assert_allclose(twin_rewards, rewards, rtol=1e-5, atol=1e-5)
    for info, twin_info in zip(infos, twin_infos, strict=True):
        assert set(info) == set(twin_info)
        np.testing.assert_equal(
            twin_info.get("terminal_observation"), info.get("terminal_observation")
        )
        for key in ("reward_components", "reward_shaping"):
            assert flat(twin_info.get(key, {})) == pytest.approx(
                flat(info.get(key, {})), rel=1e-5, abs=1e-5, nan_ok=True
            )
    return np.array(twin_rewards)


def flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a nested mapping, by their paths."""
    values: dict[str, float] = {}
    for key, value in mapping.items():
        nested = isinstance(value, Mapping)
        values |= flat(value, f"{prefix}{key}.") if nested else {prefix + key: float(value)}
    return values


def one_step(obs: float, **flags: Any) -> list[Episode]:
    """Episodes of one step."""
    return [(1.0, [Step(obs, 1.0, **flags)])]


def twin_of(*scripts: Sequence[Episode], reward: Any, **arguments: Any) -> VecRewardShaping:
    """One environment for each script, in the twin."""
    return VecRewardShaping(
        DummyVecEnv([partial(Scripted, script) for script in scripts]), reward, **arguments
    )


def paid(twin: VecEnv, n_steps: int = 1) -> list[list[float]]:
    """The rewards of the next steps."""
    return [twin.step(np.zeros(twin.num_envs, int))[1].tolist() for _ in range(n_steps)]


def begin_and_step(venv: VecEnv, n_steps: int = 1) -> list[list[float]]:
    """The rewards of the first steps."""
    venv.reset()
    return paid(venv, n_steps)
