"""What ``algorithm: {search_space: default}`` searches."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from tiny import tiny_experiment

from rllama_sb3.algorithms import algorithm_parameters
from rllama_sb3.errors import ConfigError
from rllama_sb3.optimization import BayesianRewardOptimizer, check_search_space
from rllama_sb3.optimization.search_space.stock_spaces import STOCK_SPACES

Space = dict[str, Any]


def experiment(algorithm: Space, space: Space, **changes: Any) -> Space:
    base = tiny_experiment(**changes)
    base["algorithm"] = algorithm
    base["tuning"]["search_space"] = {"algorithm": space}
    if algorithm["name"] in ("SAC", "TD3"):
        base["env"]["id"] = "Pendulum-v1"
    return base


def build(algorithm: Space, space: Space, **arguments: Any) -> BayesianRewardOptimizer:
    return BayesianRewardOptimizer(experiment(algorithm, space), **arguments)


def leaf_of(optimizer: BayesianRewardOptimizer, key: str) -> Any:
    described = optimizer.search_space.fingerprint()
    return described[f"algorithm.params.{key}"]


def choices(*names: str) -> Space:
    return {"search_space": "default", "name": {"suggest": "categorical", "choices": [*names]}}


@pytest.mark.parametrize("name", STOCK_SPACES)
def test_a_stock_space_starts_at_the_defaults_of_the_algorithm_and_can_run(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # A default out of range would be told.
        # Both ends of each range are checked here.
        optimizer = build({"name": name}, {"search_space": "default"})
        own = optimizer.search_space.base_values(optimizer.base_config)
    assert set(own) == {f"algorithm.params.{key}" for key in STOCK_SPACES[name]}
    defaults = {key: algorithm_parameters(name)[key].default for key in STOCK_SPACES[name]}
    assert optimizer.base_config["algorithm"]["params"] == defaults
    replayed = optimizer.search_space.replay(own)
    assert optimizer.search_space.merge(optimizer.base_config, replayed) == optimizer.base_config


@pytest.mark.parametrize("name", STOCK_SPACES)
def test_every_stock_value_has_a_source(name: str) -> None:
    for key, stock in STOCK_SPACES[name].items():
        words = ("rl_zoo3", "Eimer", "SB3", "ours: ")
        assert any(word in stock.source for word in words), key


def test_the_configs_own_value_joins_the_choices_and_widens_the_range() -> None:
    params = {"n_steps": 100, "learning_rate": 0.01, "gamma": 0.5, "clip_range": 0.2}
    optimizer = build({"name": "PPO", "params": params}, {"search_space": "default"})
    assert leaf_of(optimizer, "n_steps")["choices"] == [32, 64, 100, 128, 256, 512, 1024, 2048]
    assert leaf_of(optimizer, "clip_range")["choices"] == [0.1, 0.2, 0.3, 0.4]
    assert leaf_of(optimizer, "learning_rate")["high"] == 0.01
    assert leaf_of(optimizer, "gamma")["high"] == 0.5
    for key, value in params.items():
        assert optimizer.base_config["algorithm"]["params"][key] == value


def test_a_value_that_no_range_can_reach_is_told() -> None:
    with pytest.raises(ConfigError, match=r"params\.gamma\.log: must be greater .* 0\.9999 there"):
        build({"name": "PPO", "params": {"gamma": 1.0}}, {"search_space": "default"})


def test_own_leaves_replace_stock_ones_and_add_to_them() -> None:
    leaves = {
        "n_epochs": {"suggest": "int", "low": 1, "high": 10},
        "vf_coef": {"suggest": "float", "low": 0.0, "high": 1.0},
    }
    optimizer = build({"name": "PPO"}, {"search_space": "default", "params": leaves})
    names = [name.rpartition(".")[2] for name in optimizer.search_space.names()]
    assert names == [*STOCK_SPACES["PPO"], "vf_coef"]
    assert leaf_of(optimizer, "n_epochs")["high"] == 10.0


def test_with_several_algorithms_each_has_its_own_parameters() -> None:
    optimizer = build({"name": "PPO", "params": {"n_steps": 100}}, choices("PPO", "DQN"))
    described = optimizer.search_space.fingerprint()
    ppo, dqn = {"algorithm.name": ["PPO"]}, {"algorithm.name": ["DQN"]}
    assert described["algorithm.params.n_steps"]["when"] == ppo
    assert 100 in described["algorithm.params.n_steps"]["choices"]
    assert described["algorithm.params.batch_size[0]"]["when"] == ppo
    assert described["algorithm.params.batch_size[1]"]["when"] == dqn
    assert "algorithm.params.learning_rate[DQN]" in optimizer.search_space.names()


def test_algorithms_share_the_leaves_that_are_the_same() -> None:
    described = build({"name": "SAC"}, choices("SAC", "TD3")).search_space.fingerprint()
    assert "when" not in described["algorithm.params.tau"]
    # TD3 of Eimer et al. has other batches.
    assert described["algorithm.params.batch_size[1]"]["when"] == {"algorithm.name": ["TD3"]}


def test_algorithms_are_searched_with_their_stock_spaces() -> None:
    base = experiment({"name": "A2C"}, choices("A2C", "DQN"))
    base["tuning"]["n_trials"] = 4
    optimizer = BayesianRewardOptimizer(base, sampler="random")
    study = optimizer.optimize()[2]
    for trial in study.trials:
        algorithm = optimizer.generate_trial_config(trial)["algorithm"]
        assert set(algorithm["params"]) == set(STOCK_SPACES[algorithm["name"]])
        assert trial.state.name == "COMPLETE"
    assert {trial.params["algorithm.name"] for trial in study.trials} == {"A2C", "DQN"}


@pytest.mark.parametrize(
    ("algorithm", "space", "message"),
    [
        ({"name": "PPO"}, {"search_space": "defualt"}, "must be default, but got 'defualt'"),
        (
            {"name": "DDPG"},
            {"search_space": "default"},
            "must be of an algorithm with a stock space, but got 'DDPG'. Known: A2C, DQN, PPO",
        ),
        ({"name": "PPO"}, choices("PPO", "TRPO"), "but got 'TRPO'"),
        (
            {"name": "PPO"},
            {"search_space": "default", "name": lambda trial: "PPO"},
            "needs to know the algorithms by name",
        ),
        ({}, {"search_space": "default"}, "needs to know the algorithms by name"),
    ],
)
def test_a_stock_space_that_is_not_there_is_told(
    algorithm: Space, space: Space, message: str
) -> None:
    problems = check_search_space({"algorithm": space}, {"algorithm": algorithm})
    told = [str(p) for p in problems if p.path[-1] == "search_space"]
    assert len(told) == 1
    assert message in told[0]
