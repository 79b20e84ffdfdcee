"""All who discount rewards do so by one γ, and nobody cuts what has to add up."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from counting import Counting
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from rllama_sb3 import (
    ConfigError,
    RelabelingNStepReplayBuffer,
    RewardShapingCallback,
    RewardShapingWrapper,
)

GAMMA = 0.9
TASK: dict[str, Any] = {"env": {"class": "EnvReward"}}
POTENTIAL: dict[str, Any] = {
    **TASK,
    "advice": {"class": "PotentialShaping", "params": {"potential": "obs[0]"}},
}
NO_CUT = float("inf")


def build_venv(reward: dict[str, Any]) -> VecEnv:
    return DummyVecEnv([lambda: RewardShapingWrapper(Counting(), reward)])


def build_normalized(reward: dict[str, Any], **arguments: Any) -> VecNormalize:
    return VecNormalize(build_venv(reward), **{"clip_reward": NO_CUT, "gamma": GAMMA, **arguments})


def build_dqn(venv: VecEnv, **arguments: Any) -> DQN:
    return DQN("MlpPolicy", venv, gamma=GAMMA, buffer_size=20, device="cpu", **arguments)


def build_ppo(venv: VecEnv) -> PPO:
    return PPO("MlpPolicy", venv, gamma=GAMMA, n_steps=4, batch_size=4, device="cpu")


def learn(model: BaseAlgorithm) -> None:
    model.learn(4, callback=RewardShapingCallback())


def test_a_buffer_of_returns_with_another_gamma_is_refused() -> None:
    model = build_dqn(
        build_venv(TASK),
        replay_buffer_class=NStepReplayBuffer,
        replay_buffer_kwargs={"n_steps": 3, "gamma": 0.99},
    )
    message = r"replay_buffer_kwargs\.gamma: must be the algorithm's own, 0\.9, but got 0\.99"
    with pytest.raises(ConfigError, match=message):
        learn(model)


@pytest.mark.parametrize("cls", [NStepReplayBuffer, RelabelingNStepReplayBuffer])
def test_a_buffer_of_returns_with_the_same_gamma_is_trained_from(cls: Any) -> None:
    kwargs = {"n_steps": 3, "gamma": GAMMA}
    model = build_dqn(build_venv(POTENTIAL), replay_buffer_class=cls, replay_buffer_kwargs=kwargs)
    learn(model)
    assert model.num_timesteps == 4


def test_the_number_of_steps_alone_gives_the_buffer_the_algorithms_gamma() -> None:
    model = build_dqn(build_venv(POTENTIAL), n_steps=3)
    learn(model)
    assert isinstance(model.replay_buffer, NStepReplayBuffer)
    assert model.replay_buffer.gamma == GAMMA


@pytest.mark.parametrize("build", [build_dqn, build_ppo])
def test_a_normalisation_by_another_gamma_is_refused_with_a_potential(build: Any) -> None:
    model = build(build_normalized(POTENTIAL, gamma=0.99))
    message = r"VecNormalize\.gamma: must be the algorithm's own, 0\.9, but got 0\.99"
    with pytest.raises(ConfigError, match=message):
        learn(model)


@pytest.mark.parametrize(
    ("reward", "arguments"),
    [
        (TASK, {"gamma": 0.99}),
        (POTENTIAL, {"gamma": 0.99, "norm_reward": False}),
        (POTENTIAL, {}),
    ],
    ids=["no potential", "rewards as they are", "the same"],
)
def test_a_normalisation_that_does_no_harm_is_let_be(
    reward: dict[str, Any], arguments: dict[str, Any]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for build in (build_dqn, build_ppo):
            learn(build(build_normalized(reward, **arguments)))


@pytest.mark.parametrize("build", [build_dqn, build_ppo])
def test_cut_rewards_are_warned_of_with_a_potential(build: Any) -> None:
    model = build(build_normalized(POTENTIAL, clip_reward=10.0))
    with pytest.warns(UserWarning, match=r"VecNormalize cuts rewards at 10, .*clip_reward=float"):
        learn(model)


@pytest.mark.parametrize(
    ("reward", "arguments"),
    [(TASK, {}), (POTENTIAL, {"norm_reward": False})],
    ids=["no potential", "rewards as they are"],
)
def test_cut_rewards_are_not_warned_of_where_nothing_has_to_add_up(
    reward: dict[str, Any], arguments: dict[str, Any]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learn(build_dqn(build_normalized(reward, clip_reward=10.0, **arguments)))
