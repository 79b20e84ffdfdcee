from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.logger import HumanOutputFormat, KVWriter, Logger, configure
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecNormalize
from stable_baselines3.her import HerReplayBuffer

from rllama_sb3 import ConfigError, RewardShapingCallback, RewardShapingWrapper, RllamaError
from rllama_sb3.rewards.weights import Learner

TOTAL = 24
# CartPole pays 1 for each step, so that the shaped reward is the weight itself.
FADING: dict[str, Any] = {
    "env": {
        "class": "EnvReward",
        "weight_schedule": {
            "initial_weight": 5.0,
            "schedule_type": "linear",
            "final_weight": 1.0,
            "end_step": TOTAL,
        },
    }
}


def weight_at(step: int) -> float:
    return 5.0 - 4.0 * min(step / TOTAL, 1.0)


def build_venv(n_envs: int, cls: Any = DummyVecEnv, **arguments: Any) -> VecEnv:
    return make_vec_env(
        "CartPole-v1",
        n_envs=n_envs,
        seed=0,
        vec_env_cls=cls,
        wrapper_class=RewardShapingWrapper,
        wrapper_kwargs={"reward_shaping": FADING, **arguments},
    )


def build_model(name: str, venv: VecEnv) -> BaseAlgorithm:
    if name == "PPO":
        return PPO("MlpPolicy", venv, n_steps=4, batch_size=4, n_epochs=1, seed=0)
    return DQN("MlpPolicy", venv, learning_starts=6, buffer_size=100, batch_size=4, seed=0)


class Kept(KVWriter):
    """A logger's output that keeps what it is given."""

    def __init__(self) -> None:
        self.values: list[dict[str, Any]] = []

    def write(self, key_values: dict[str, Any], key_excluded: Any, step: int = 0) -> None:
        self.values.append({**key_values, "step": step})

    def close(self) -> None:
        pass


def test_training_sends_one_message_to_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    venv = build_venv(3)
    sent: list[tuple[Any, ...]] = []
    plain = venv.env_method
    monkeypatch.setattr(
        venv, "env_method", lambda *args, **kwargs: sent.append(args) or plain(*args, **kwargs)
    )
    build_model("PPO", venv).learn(TOTAL, callback=RewardShapingCallback())
    assert sent == [("begin_training", 0, 3, Learner(0.99, True))]


def test_the_model_gives_its_discount_factor_to_the_potentials() -> None:
    venv = build_venv(1)
    model = PPO("MlpPolicy", venv, n_steps=4, batch_size=4, gamma=0.9)
    model.learn(4, callback=RewardShapingCallback())
    assert venv.get_attr("shaper")[0].gamma == 0.9


@pytest.mark.parametrize("cls", [DummyVecEnv, SubprocVecEnv])
def test_another_discount_factor_than_the_models_is_refused(cls: Any) -> None:
    venv = build_venv(1, cls, gamma=0.5)
    model = build_model("PPO", venv)
    with pytest.raises(ConfigError, match=r"gamma: .*0\.99.*0\.5"):
        model.learn(4, callback=RewardShapingCallback())
    venv.close()


@pytest.mark.parametrize("cls", [DummyVecEnv, SubprocVecEnv])
def test_training_in_unshaped_environments_is_refused(cls: Any) -> None:
    venv = make_vec_env("CartPole-v1", vec_env_cls=cls)
    model = build_model("PPO", venv)
    with pytest.raises(RllamaError, match="every training environment to be wrapped"):
        model.learn(4, callback=RewardShapingCallback())


def test_normalised_environments_are_reached_through_their_wrappers() -> None:
    venv = VecNormalize(build_venv(2))
    model = build_model("PPO", venv)
    model.learn(8, callback=RewardShapingCallback())
    steps = model.num_timesteps
    for shaper in venv.get_attr("shaper"):
        assert shaper.weights == {"env": pytest.approx(weight_at(steps))}


def learn_and_keep(name: str, total: int, callback: BaseCallback) -> list[dict[str, Any]]:
    model = build_model(name, build_venv(2))
    kept = Kept()
    model.set_logger(Logger(None, [kept]))
    model.learn(total, callback=callback, log_interval=1)
    return kept.values


@pytest.mark.parametrize("name", ["PPO", "DQN"])
def test_returns_components_and_weights_are_logged(name: str) -> None:
    episodes: list[dict[str, Any]] = []
    watch = ConvertCallback(
        lambda locals_, _: (
            episodes.extend(
                info["reward_shaping"] for info in locals_["infos"] if "reward_shaping" in info
            )
            or True
        )
    )
    logged = learn_and_keep(name, 120, CallbackList([RewardShapingCallback(), watch]))
    with_episode = [values for values in logged if "reward/env_return" in values]
    first = with_episode[0]
    n_first = (
        1
        if name == "DQN"
        else next(
            n
            for n in range(1, len(episodes) + 1)
            if np.mean([e["env_return"] for e in episodes[:n]]) == first["reward/env_return"]
        )
    )
    for key, part in (("env_return", "env_return"), ("shaped_return", "shaped_return")):
        mean = np.mean([episode[part] for episode in episodes[:n_first]])
        assert first[f"reward/{key}"] == pytest.approx(mean)
    assert first["reward/env/raw"] == first["reward/env_return"]
    assert first["reward/env/weighted"] == pytest.approx(first["reward/shaped_return"])
    for values in with_episode:
        assert values["reward/env/weight"] == weight_at(values["step"])


def test_a_long_name_does_not_break_the_printed_table(tmp_path: Path) -> None:
    name = "a_component_whose_name_is_longer_than_the_table"
    venv = make_vec_env(
        "CartPole-v1",
        wrapper_class=RewardShapingWrapper,
        wrapper_kwargs={"reward_shaping": {name: {"class": "EnvReward"}}},
    )
    model = PPO("MlpPolicy", venv, n_steps=64, batch_size=64, n_epochs=1)
    model.set_logger(configure(str(tmp_path), ["log"]))
    assert isinstance(model.logger.output_formats[0], HumanOutputFormat)
    model.learn(128, callback=RewardShapingCallback())
    model.logger.close()
    assert "shaped_return" in (tmp_path / "log.txt").read_text()


def test_being_told_twice_that_training_ended_does_no_harm() -> None:
    callback = RewardShapingCallback()
    build_model("PPO", build_venv(1)).learn(4, callback=callback)
    callback.on_training_end()


def test_continuous_actions_are_trained_off_policy() -> None:
    venv = make_vec_env(
        lambda: gym.make("Pendulum-v1", max_episode_steps=10),
        wrapper_class=RewardShapingWrapper,
        wrapper_kwargs={"reward_shaping": {"env": {"class": "EnvReward"}}},
    )
    model = SAC("MlpPolicy", venv, learning_starts=8, batch_size=4, buffer_size=50)
    kept = Kept()
    model.set_logger(Logger(None, [kept]))
    model.learn(20, callback=RewardShapingCallback(), log_interval=1)
    assert kept.values[0]["reward/env/weight"] == 1.0


def test_a_buffer_that_computes_rewards_anew_is_refused() -> None:
    env = RewardShapingWrapper(BitFlippingEnv(n_bits=4), {"env": {"class": "EnvReward"}})
    model = DQN("MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer, buffer_size=100)
    with pytest.raises(RllamaError, match="HerReplayBuffer computes rewards anew"):
        model.learn(10, callback=RewardShapingCallback())


@pytest.mark.parametrize("bootstraps", [True, False])
def test_potentials_learn_whether_truncated_states_have_a_future(bootstraps: bool) -> None:
    env = RewardShapingWrapper(gym.make("CartPole-v1"), {"env": {"class": "EnvReward"}})
    model = DQN(
        "MlpPolicy",
        env,
        buffer_size=100,
        replay_buffer_kwargs={"handle_timeout_termination": bootstraps},
    )
    model.learn(2, callback=RewardShapingCallback())
    assert env.shaper.bootstrap_truncated is bootstraps
