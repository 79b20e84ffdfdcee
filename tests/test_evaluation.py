from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import RecordEpisodeStatistics, TransformReward
from lingering import BONUS, FINISH, LINGER, N_STEPS, Always, Lingering
from scripted import Scripted, Step
from stable_baselines3 import PPO
from stable_baselines3.common.atari_wrappers import EpisodicLifeEnv
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from rllama_sb3 import ConfigError, RewardShapingWrapper, evaluate


def shaped(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    return RewardShapingWrapper(env, BONUS)


ORDERS: dict[str, Callable[[], gym.Env[Any, Any]]] = {
    "plain": Lingering,
    "plain, Monitor": lambda: Monitor(Lingering()),
    "shaped, no Monitor": lambda: shaped(Lingering()),
    "Monitor inside": lambda: shaped(Monitor(Lingering())),
    "Monitor outside": lambda: Monitor(shaped(Lingering())),
    "Monitor on both sides": lambda: Monitor(shaped(Monitor(Lingering()))),
    "Monitor outside, statistics inside": lambda: Monitor(
        shaped(RecordEpisodeStatistics(Lingering()))
    ),
    "Monitor outside, another reward between": lambda: Monitor(
        TransformReward(shaped(Lingering()), lambda reward: reward / 2)
    ),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("action", "env_return", "length"), [(FINISH, 100, 1), (LINGER, 0, 22)])
def test_env_return_is_counted_whatever_the_order_of_wrappers(
    order: str, action: int, env_return: float, length: int
) -> None:
    result = evaluate(Always(action), ORDERS[order](), n_episodes=3)
    assert result.env_returns.tolist() == [env_return] * 3
    assert result.lengths.tolist() == [length] * 3
    assert (result.mean, result.std) == (env_return, 0.0)


def test_without_the_correction_the_shaped_return_is_gamed() -> None:
    env = ORDERS["Monitor outside"]()
    gamed, _ = evaluate_policy(Always(LINGER), env, n_eval_episodes=3)
    honest, _ = evaluate_policy(Always(FINISH), env, n_eval_episodes=3)
    assert (honest, gamed) == (110, 220)


def test_a_monitor_of_the_vector_environment_is_corrected_too() -> None:
    venv = VecMonitor(DummyVecEnv([ORDERS["shaped, no Monitor"]] * 2))
    assert evaluate(Always(LINGER), venv, n_episodes=4).env_returns.tolist() == [0.0] * 4


def test_a_monitor_below_a_clipped_reward_keeps_its_own_word() -> None:
    env = shaped(TransformReward(Monitor(Lingering()), np.sign))
    assert evaluate(Always(FINISH), env, n_episodes=2).env_returns.tolist() == [100.0, 100.0]


class _TwoLives(Lingering):
    """Costs a life at half time, which ``EpisodicLifeEnv`` calls an end."""

    class _Emulator:
        def __init__(self, env: _TwoLives) -> None:
            self._env = env

        def lives(self) -> int:
            return 1 if self._env._time >= N_STEPS // 2 else 2

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return super().step(LINGER)  # also when EpisodicLifeEnv goes on with action 0

    @property
    def ale(self) -> _Emulator:
        return self._Emulator(self)


def test_the_loss_of_a_life_does_not_end_an_episode() -> None:
    env = shaped(EpisodicLifeEnv(Monitor(_TwoLives())))
    result = evaluate(Always(LINGER), env, n_episodes=1)
    assert result.lengths.tolist() == [N_STEPS]


def test_episodes_are_shared_evenly_among_environments() -> None:
    venv = make_vec_env("CartPole-v1", n_envs=3)
    assert len(evaluate(Always(0), venv, n_episodes=7).env_returns) == 7


def test_the_same_seed_gives_the_same_episodes() -> None:
    venv = make_vec_env("CartPole-v1", n_envs=2)
    first, second = (evaluate(Always(0), venv, n_episodes=6, seed=3) for _ in range(2))
    assert first.env_returns.tolist() == second.env_returns.tolist()


def test_a_normalised_reward_without_a_record_of_the_original_is_refused() -> None:
    venv = VecNormalize(DummyVecEnv([Lingering]))
    with pytest.raises(ConfigError, match=r"original reward.*norm_reward=False"):
        evaluate(Always(LINGER), venv)


@pytest.mark.parametrize("order", ["plain, Monitor", "shaped, no Monitor", "Monitor outside"])
def test_a_normalised_reward_is_seen_through_where_the_original_is_recorded(order: str) -> None:
    venv = VecNormalize(DummyVecEnv([ORDERS[order]]))
    assert evaluate(Always(FINISH), venv, n_episodes=2).env_returns.tolist() == [100.0, 100.0]


def test_normalisation_learns_nothing_from_evaluation() -> None:
    venv = VecNormalize(DummyVecEnv([ORDERS["plain, Monitor"]]))
    before = venv.obs_rms.count
    evaluate(Always(LINGER), venv, n_episodes=1)
    assert venv.obs_rms.count == before
    assert venv.training


def test_a_model_of_normalised_observations_brings_its_statistics_along() -> None:
    model = PPO("MlpPolicy", VecNormalize(make_vec_env("CartPole-v1")), n_steps=32, batch_size=32)
    model.learn(32)
    venv = VecNormalize(make_vec_env("CartPole-v1"), training=False, norm_reward=False)
    evaluate(model, venv, n_episodes=1)
    trained_on = model.get_vec_normalize_env()
    assert trained_on is not None
    np.testing.assert_array_equal(venv.obs_rms.mean, trained_on.obs_rms.mean)


def test_a_model_of_normalised_observations_is_not_shown_raw_ones() -> None:
    model = PPO("MlpPolicy", VecNormalize(make_vec_env("CartPole-v1")))
    with pytest.raises(ConfigError, match="must normalise observations as in training"):
        evaluate(model, make_vec_env("CartPole-v1"))


def test_at_least_one_episode_is_needed() -> None:
    with pytest.raises(ConfigError, match="n_episodes: must be at least 1, but got 0"):
        evaluate(Always(0), Lingering(), n_episodes=0)


class _Masked(Lingering):
    def action_masks(self) -> np.ndarray:
        return np.array([False, True])


def test_action_masks_hold_in_evaluation_as_in_training() -> None:
    contrib = pytest.importorskip("sb3_contrib")
    model = contrib.MaskablePPO("MlpPolicy", _Masked(), seed=0)
    assert evaluate(model, _Masked(), n_episodes=1, deterministic=False).lengths.tolist() == [22]


def test_an_episode_without_an_end_in_sight_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rllama_sb3.callbacks.env_return.LONG_EPISODE", 30)
    env = Scripted([(0.0, [Step(0.0)] * 40 + [Step(0.0, terminated=True)])])

    class Still:
        def predict(self, observation: Any, **_: Any) -> Any:
            return np.zeros(len(observation), int), None

    with pytest.warns(UserWarning, match="gone on for 30 steps.*max_episode_steps"):
        evaluate(Still(), env, n_episodes=1)


def test_shaped_environments_with_potentials_take_the_discount_factor_of_the_model() -> None:
    reward = {
        "env": {"class": "EnvReward"},
        "up": {"class": "PotentialShaping", "params": {"potential": "obs[0]"}},
    }
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, gamma=0.9)
    env = RewardShapingWrapper(gym.make("CartPole-v1"), reward)
    result = evaluate(model, env, n_episodes=2, seed=0)
    assert result.env_returns.tolist() == result.lengths.tolist()
    assert env.shaper.gamma == 0.9
