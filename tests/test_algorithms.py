from __future__ import annotations

import builtins
from typing import Any

import gymnasium as gym
import pytest
import torch
from stable_baselines3 import DQN, PPO, HerReplayBuffer
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.env_util import make_vec_env

from rllama_sb3 import ConfigError
from rllama_sb3.algorithms import (
    CONTRIB_ALGORITHMS,
    CORE_ALGORITHMS,
    algorithm_class,
    bootstraps_truncated,
    build_algorithm,
    check_algorithm,
    check_algorithm_fits,
    check_algorithm_sees_reward,
    discount_factor,
    replay_discount_factor,
)
from rllama_sb3.buffers import RelabelingNStepReplayBuffer
from rllama_sb3.config import AlgorithmConfig

PPO_PARAMS = {
    "learning_rate": 1e-3,
    "n_steps": 8,
    "batch_size": 8,
    "clip_range_vf": None,
    "device": "cpu",
    "target_kl": 0.1,
    "policy_kwargs": {"net_arch": {"pi": [8], "vf": [8]}, "activation_fn": "Tanh"},
}


def messages(name: str, algorithm_policy: str = "MlpPolicy", /, **params: Any) -> list[str]:
    config = AlgorithmConfig(name=name, policy=algorithm_policy, params=params)
    return [str(problem) for problem in check_algorithm(config)]


@pytest.mark.parametrize("name", CORE_ALGORITHMS)
def test_every_algorithm_is_found_by_its_name(name: str) -> None:
    assert algorithm_class(name).__name__ == name
    assert messages(name) == []


@pytest.mark.parametrize("name", CONTRIB_ALGORITHMS)
def test_every_contributed_algorithm_is_found_by_its_name(name: str) -> None:
    pytest.importorskip("sb3_contrib")
    policy = "MlpLstmPolicy" if name == "RecurrentPPO" else "MlpPolicy"
    assert messages(name, policy) == []


def test_a_contributed_algorithm_names_its_extra_when_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = builtins.__import__

    def without_contrib(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "sb3_contrib":
            raise ImportError(name)
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_contrib)
    (message,) = messages("TQC")
    assert message.startswith("algorithm.name: must be an algorithm that is installed")
    assert "pip install 'rllama-sb3[contrib]'" in message


def test_an_unknown_algorithm_gets_a_suggestion() -> None:
    assert messages("POP") == [
        "algorithm.name: must be an algorithm, but got 'POP'. Did you mean 'PPO'?"
    ]


def test_good_arguments_have_no_problems() -> None:
    assert messages("PPO", **PPO_PARAMS) == []
    assert messages("DQN", train_freq=[4, "step"], buffer_size=100) == []
    assert messages("SAC", ent_coef="auto_0.1", optimize_memory_usage=False) == []


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"gama": 0.9}, "params.gama: is not a parameter of PPO. Did you mean 'gamma'?"),
        ({"learning_rate": "fast"}, "params.learning_rate: must be"),
        ({"n_steps": 8.5}, "params.n_steps: must be"),
        ({"n_steps": True}, "params.n_steps: must be"),
        ({"gamma": 1.5}, "params.gamma: must be in [0, 1], but got 1.5"),
        ({"seed": 3}, "params.seed: must not be set here. Set training.seed instead."),
        ({"env": "CartPole-v1"}, "params.env: must not be set here. Set the section env"),
        ({"policy": "MlpPolicy"}, "params.policy: must not be set here. Set algorithm.policy"),
        ({"verbose": 1}, "params.verbose: must not be set here."),
        ({"tensorboard_log": "logs"}, "params.tensorboard_log: must not be set here."),
        (
            {"policy_kwargs": {"activation_fn": "Tanhh"}},
            "params.policy_kwargs.activation_fn: must be the name of a class of torch.nn, "
            "but got 'Tanhh'. Did you mean 'Tanh'?",
        ),
        (
            {"policy_kwargs": {"net_arc": [8]}},
            "params.policy_kwargs.net_arc: is unknown. Did you mean 'net_arch'?",
        ),
    ],
)
def test_a_wrong_argument_is_named(params: dict[str, Any], message: str) -> None:
    (found,) = messages("PPO", **params)
    assert found.startswith(f"algorithm.{message}")


def test_all_problems_of_an_algorithm_are_found_at_once() -> None:
    found = messages("PPO", "MlpPolicie", seed=1, gama=0.9, n_steps="8")
    assert [line.split(":")[0] for line in found] == [
        "algorithm.policy",
        "algorithm.params.seed",
        "algorithm.params.gama",
        "algorithm.params.n_steps",
    ]
    assert "Did you mean 'MlpPolicy'?" in found[0]


def fits(name: str, env_id: str, n_envs: int = 1, **params: Any) -> list[str]:
    config = AlgorithmConfig(name=name, params=params)
    return [str(p) for p in check_algorithm_fits(config, gym.make(env_id), n_envs)]


@pytest.mark.parametrize(
    ("name", "env_id", "others"),
    [
        ("DQN", "Pendulum-v1", "A2C or DDPG or PPO or SAC or TD3"),
        ("SAC", "CartPole-v1", "A2C or DQN or PPO"),
    ],
)
def test_a_wrong_action_space_names_the_algorithms_that_fit(
    name: str, env_id: str, others: str
) -> None:
    (message,) = fits(name, env_id)
    assert message.startswith("algorithm.name: must be able to learn in the action space ")
    assert message.endswith(f"but got '{name}'. Use {others}.")


def test_what_the_constructor_refuses_is_found_for_the_real_number_of_environments() -> None:
    assert fits("PPO", "CartPole-v1", n_envs=2, n_steps=1, batch_size=2) == []
    (message,) = fits("PPO", "CartPole-v1", n_envs=1, n_steps=1, batch_size=2)
    assert message.startswith("algorithm: must be accepted by PPO (`n_steps * n_envs` must be")


def test_dict_observations_need_their_own_policy() -> None:
    class Dicts(gym.Env[Any, Any]):
        observation_space = gym.spaces.Dict({"a": gym.spaces.Box(-1, 1, (2,))})
        action_space = gym.spaces.Discrete(2)

    (problem,) = check_algorithm_fits(AlgorithmConfig(name="PPO"), Dicts(), 1)
    assert problem.path == ("algorithm", "policy")
    assert problem.remedy == "Use MultiInputPolicy."


@pytest.mark.parametrize(
    "config",
    [
        AlgorithmConfig(name="ARS"),
        AlgorithmConfig(name="SAC", params={"replay_buffer_class": HerReplayBuffer}),
    ],
)
def test_what_does_not_learn_from_step_rewards_is_refused_with_shaping(
    config: AlgorithmConfig,
) -> None:
    (problem,) = check_algorithm_sees_reward(config)
    assert "when there is a reward_shaping" in problem.rule


def test_the_discount_factor_is_the_configs_or_the_algorithms_own() -> None:
    assert discount_factor(AlgorithmConfig(name="DQN")) == 0.99
    assert discount_factor(AlgorithmConfig(name="DQN", params={"gamma": 1})) == 1.0


def test_an_algorithm_without_discount_has_no_discount_factor() -> None:
    pytest.importorskip("sb3_contrib")
    assert discount_factor(AlgorithmConfig(name="ARS")) is None


def test_a_buffer_that_ignores_time_limits_does_not_bootstrap() -> None:
    params = {"replay_buffer_kwargs": {"handle_timeout_termination": False}}
    assert bootstraps_truncated(AlgorithmConfig(name="DQN"))
    assert not bootstraps_truncated(AlgorithmConfig(name="DQN", params=params))


@pytest.mark.parametrize(
    "params",
    [
        {"n_steps": 3},
        {"n_steps": 1},
        {"replay_buffer_class": NStepReplayBuffer},
        {"replay_buffer_class": NStepReplayBuffer, "replay_buffer_kwargs": {"gamma": 0.8}},
        {"replay_buffer_class": RelabelingNStepReplayBuffer},
        {"replay_buffer_class": ReplayBuffer},
    ],
)
def test_the_discount_factor_of_a_replay_buffer_is_the_one_that_it_is_built_with(
    params: dict[str, Any],
) -> None:
    config = AlgorithmConfig(name="DQN", params={"gamma": 0.95, "buffer_size": 100, **params})
    model = build_algorithm(config, make_vec_env("CartPole-v1"), seed=0)
    assert replay_discount_factor(config) == getattr(model.replay_buffer, "gamma", None)  # type: ignore[attr-defined]


def test_an_algorithm_that_learns_on_policy_has_no_replay_buffer() -> None:
    assert replay_discount_factor(AlgorithmConfig(name="PPO", params={"n_steps": 64})) is None


def test_plain_values_become_what_the_algorithm_takes() -> None:
    venv = make_vec_env("CartPole-v1")
    model = build_algorithm(AlgorithmConfig(name="PPO", params=PPO_PARAMS), venv, seed=7)
    assert isinstance(model, PPO)
    assert model.seed == 7
    assert model.policy_kwargs["activation_fn"] is torch.nn.Tanh
    params = {"train_freq": [2, "episode"], "buffer_size": 100}
    dqn = build_algorithm(AlgorithmConfig(name="DQN", params=params), venv, seed=0)
    assert isinstance(dqn, DQN)
    assert dqn.train_freq.unit.value == "episode"


def test_building_leaves_the_config_as_it_was_written() -> None:
    params = {
        "buffer_size": 100,
        "policy_kwargs": {"activation_fn": "ReLU"},
        "replay_buffer_kwargs": {},
        "n_steps": 3,
    }
    config = AlgorithmConfig(name="DQN", params=params)
    before = config.model_dump()
    build_algorithm(config, make_vec_env("CartPole-v1"), seed=0)
    assert config.model_dump() == before


def test_what_only_the_networks_find_is_an_error_of_the_config() -> None:
    config = AlgorithmConfig(name="PPO", policy="CnnPolicy")
    with pytest.raises(ConfigError, match=r"algorithm\.params: must be accepted by PPO"):
        build_algorithm(config, make_vec_env("CartPole-v1"), seed=0)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({}, "optimize_memory_usage = True and handle_timeout_termination = True"),
        (
            {"replay_buffer_kwargs": {"handle_timeout_termination": False}, "n_steps": 3},
            "NStepReplayBuffer doesn't support optimize_memory_usage=True",
        ),
    ],
)
def test_what_only_the_replay_buffer_finds_is_an_error_of_the_config(
    params: dict[str, Any], reason: str
) -> None:
    params = {"optimize_memory_usage": True, "buffer_size": 100, **params}
    config = AlgorithmConfig(name="DQN", params=params)
    with pytest.raises(
        ConfigError, match=rf"algorithm\.params: must be accepted by DQN .*{reason}"
    ):
        build_algorithm(config, make_vec_env("CartPole-v1"), seed=0)


def test_a_warning_of_the_algorithm_reaches_the_user() -> None:
    config = AlgorithmConfig(name="PPO", params={"n_steps": 10, "batch_size": 8})
    with pytest.warns(UserWarning, match="truncated mini-batch"):
        build_algorithm(config, make_vec_env("CartPole-v1"), seed=0)
