from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from rllama_sb3 import RelabelingNStepReplayBuffer, train
from rllama_sb3.config import merge_configs, parse_experiment, read_yaml
from rllama_sb3.errors import ComponentError, ConfigError, RllamaError
from rllama_sb3.optimization import BayesianRewardOptimizer
from rllama_sb3.optimization.objective import min_prune_step, never_settled
from rllama_sb3.optimization.study.ranking import best_trial
from rllama_sb3.optimization.values import value_of_seed, value_of_trial
from rllama_sb3.rewards import register_component
from rllama_sb3.seeding import tuning_seed

BASE: dict[str, Any] = {
    "env": {"id": "CartPole-v1", "n_envs": 2},
    "reward_shaping": {
        "env": {"class": "EnvReward"},
        "time": {
            "class": "StepPenalty",
            "params": {"penalty": -0.01},
            "weight_schedule": {
                "initial_weight": 1.0,
                "schedule_type": "linear",
                "final_weight": 0.0,
                "end_step": "50%",
            },
        },
    },
    "algorithm": {
        "name": "PPO",
        "params": {"learning_rate": 3e-4, "gamma": 0.99, "n_steps": 16, "batch_size": 32},
    },
    "training": {"total_timesteps": 64},
    "evaluation": {"n_episodes": 2, "n_evaluations": 2, "n_envs": 2},
    "tuning": {
        "n_trials": 2,
        "search_space": {
            "reward_shaping": {
                "time": {"weight_schedule": {"initial_weight": {"suggest": "float"}}}
            },
            "algorithm": {
                "params": {"learning_rate": {"suggest": "float", "low": 1e-5, "high": 1e-2}}
            },
        },
    },
}
_WEIGHT = BASE["tuning"]["search_space"]["reward_shaping"]["time"]["weight_schedule"]
_WEIGHT["initial_weight"] |= {"low": 0.1, "high": 5.0, "log": True}
LEARNING_RATE = "algorithm.params.learning_rate"


def build(changes: dict[str, Any] | None = None, **arguments: Any) -> BayesianRewardOptimizer:
    return BayesianRewardOptimizer(merge_configs(BASE, changes or {}), **arguments)


class Break(BaseCallback):
    """Spoils the policy of one trial, as a learning rate that is far too high does."""

    def __init__(self, at_training: int, at_step: int = 0) -> None:
        super().__init__()
        self.at_training, self.at_step = at_training, at_step
        self.n_trainings = 0

    def _on_training_start(self) -> None:
        self.n_trainings += 1
        self._on_step()

    def _on_step(self) -> bool:
        is_here = self.n_trainings == self.at_training + 1
        if is_here and self.model.num_timesteps >= self.at_step:
            with torch.no_grad():
                next(iter(self.model.policy.parameters())).fill_(math.nan)
        return True


def test_reward_and_algorithm_are_tuned_together_and_leave_results(tmp_path: Path) -> None:
    optimizer = build({"tuning": {"seeds_per_trial": 2}}, out=tmp_path)
    best_params, best_value, study = optimizer.optimize()
    attrs = study.best_trial.user_attrs
    assert attrs["seeds"] == [tuning_seed(0, 0), tuning_seed(0, 1)]
    assert best_value == pytest.approx(sum(attrs["seed_values"]) / 2)
    assert [[step for step, _ in curve] for curve in attrs["evaluations"]] == [[32, 64]] * 2
    assert attrs["n_steps"] == 128
    assert attrs["seconds"] > 0.0
    assert set(best_params) == {"reward_shaping", "algorithm"}
    best = parse_experiment(read_yaml(tmp_path / "best.yaml").data)
    assert best.to_dict() == parse_experiment(optimizer.best_config).to_dict()
    assert best.tuning.search_space == BASE["tuning"]["search_space"]
    PPO.load(tmp_path / "best_model.zip")
    assert list(tmp_path.glob("trials/0001/seed_1/tensorboard/events*"))
    kept = {path.parts[-3] for path in tmp_path.glob("trials/*/*/model.zip")}
    assert kept == {f"{study.best_trial.number:04d}"}
    with (tmp_path / "trials.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert float(row["value_of_seed_1"]) == study.trials[0].user_attrs["seed_values"][1]
    assert float(row[LEARNING_RATE]) == 3e-4


def test_a_trial_can_be_trained_again_to_the_same_value(tmp_path: Path) -> None:
    optimizer = build(out=tmp_path)
    _, best_value, study = optimizer.optimize()
    best = read_yaml(tmp_path / "best.yaml").data
    again = train(best, seed=study.best_trial.user_attrs["seeds"][0])
    assert again.env_return == best_value


def test_the_first_trial_is_the_config_as_it_is() -> None:
    configs: list[dict[str, Any]] = []
    optimizer = build(
        {"tuning": {"n_trials": 1}},
        on_trial_start=lambda trial: configs.append(optimizer.generate_trial_config(trial)),
    )
    optimizer.optimize()
    assert configs == [parse_experiment(merge_configs(BASE, {"tuning": {"n_trials": 1}})).to_dict()]


@pytest.mark.parametrize("objective", ["last", "best", "auc", "mean-2"])
def test_the_value_is_what_the_objective_makes_of_the_evaluations(objective: str) -> None:
    changes = {
        "tuning": {"n_trials": 1, "objective": objective},
        "evaluation": {"n_evaluations": 4},
        "training": {"total_timesteps": 128},
    }
    _, value, study = build(changes).optimize()
    means = [mean for _, mean in study.best_trial.user_attrs["evaluations"][0]]
    assert len(set(means)) > 1
    expected = {
        "last": means[-1],
        "best": max(means),
        "auc": sum(means) / 4,
        "mean-2": (means[2] + means[3]) / 2,
    }
    assert value == pytest.approx(expected[objective])


@pytest.mark.parametrize("objective", ["last", "best", "auc"])
@pytest.mark.parametrize("penalty", [0.0, 0.5])
def test_what_is_reported_is_what_the_trial_would_be_worth_if_it_ended_there(
    objective: str, penalty: float
) -> None:
    tuning = {"n_trials": 1, "seeds_per_trial": 2, "variance_penalty": penalty}
    trial = build({"tuning": {**tuning, "objective": objective}}).optimize()[2].trials[0]
    first, second = ([mean for _, mean in curve] for curve in trial.user_attrs["evaluations"])
    assert first != second
    ends = [(first[:1],), (first,), (first, second[:1]), (first, second)]
    assert sorted(trial.intermediate_values) == [1, 2, 3, 4]
    for step, curves in enumerate(ends, 1):
        values = [value_of_seed(curve, objective) for curve in curves]
        expected = value_of_trial(values, penalty)
        assert trial.intermediate_values[step] == pytest.approx(expected)
    assert trial.intermediate_values[4] == trial.value


def test_a_penalty_takes_the_spread_of_the_seeds_off_the_value() -> None:
    tuning = {"n_trials": 1, "seeds_per_trial": 2, "variance_penalty": 0.5}
    _, value, study = build({"tuning": tuning}).optimize()
    one, other = study.best_trial.user_attrs["seed_values"]
    assert one != other
    # Of two values the sample standard deviation is their distance over the root of 2.
    assert value == pytest.approx((one + other) / 2 - 0.5 * abs(one - other) / math.sqrt(2))


def test_all_trials_train_from_the_same_seeds() -> None:
    trials = build({"tuning": {"n_trials": 4, "seeds_per_trial": 2}}).optimize()[2].trials
    assert [trial.user_attrs["seeds"] for trial in trials] == [
        [tuning_seed(0, i) for i in (0, 1)]
    ] * 4
    # The second one is the first without shaping.
    assert len({trial.params[LEARNING_RATE] for trial in trials}) == 3


class StopAt(optuna.pruners.BasePruner):
    def __init__(self, step: int) -> None:
        self.step = step

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.number > 0 and trial.last_step == self.step


@pytest.mark.parametrize(
    ("step", "n_steps", "reason"),
    [(1, 32, "pruned at global step 32 of seed 0"), (2, 64, "pruned after seed 0")],
)
def test_a_pruned_trial_stops_and_says_where(step: int, n_steps: int, reason: str) -> None:
    optimizer = build({"tuning": {"seeds_per_trial": 2}}, pruner=StopAt(step))
    trial = optimizer.optimize()[2].trials[1]
    assert trial.state == optuna.trial.TrialState.PRUNED
    assert trial.user_attrs["n_steps"] == n_steps
    assert trial.user_attrs["failure"] == reason


def test_pruning_waits_for_the_end_of_the_anneal_unless_told_otherwise() -> None:
    assert min_prune_step(parse_experiment(BASE)) == 32
    eager = merge_configs(BASE, {"tuning": {"prune_during_anneal": True}})
    assert min_prune_step(parse_experiment(eager)) == 0
    plain = {**BASE, "reward_shaping": {}}
    assert min_prune_step(parse_experiment(plain)) == 0
    later = {"weight_schedule": {"end_step": 10_000}}
    long = merge_configs(BASE, {"reward_shaping": {"time": later}})
    assert min_prune_step(parse_experiment(long)) == 64
    assert never_settled(parse_experiment(long)) == ["time"]
    assert never_settled(parse_experiment(BASE)) == []
    # The pruner is asked after the first of the two evaluations, at step 32, not after the last.
    late = merge_configs(BASE, {"reward_shaping": {"time": {"weight_schedule": {"end_step": 33}}}})
    assert never_settled(parse_experiment(late)) == ["time"]


def test_a_diverged_trial_is_worse_than_anything_seen() -> None:
    study = build(training_callbacks=[Break(at_training=1)]).optimize()[2]
    good, diverged = study.trials
    means = [mean for _, mean in good.user_attrs["evaluations"][0]]
    assert diverged.value is not None
    margin = (max(means) - min(means)) or max(1.0, abs(min(means)))
    assert diverged.value == pytest.approx(min(means) - margin)
    assert diverged.user_attrs["diverged"] is True
    reason = diverged.user_attrs["failure"]
    assert reason.startswith("seed 0 diverged: by global step 0 the policy has ")
    assert "(ValueError: Expected parameter logits" in reason
    assert study.best_trial.number == 0


def test_a_diverged_trial_is_not_the_best_even_if_all_others_turn_out_worse() -> None:
    optimizer = build({"tuning": {"n_trials": 3}})

    def value_of(trial: optuna.Trial) -> float:
        optimizer.generate_trial_config(trial)
        if trial.number == 0:
            trial.set_user_attr("diverged", True)
        return [0.0, -9.0, -5.0][trial.number]

    optimizer._objective = value_of
    _, value, study = optimizer.optimize()
    assert value == -5.0
    assert optimizer.best_config == optimizer.generate_trial_config(study.trials[2])


def test_a_diverged_trial_is_not_the_best_though_nothing_else_came_to_a_value(
    tmp_path: Path,
) -> None:
    # What diverges after its first evaluation is given a value before anything else has one.
    spoilt = Break(at_training=0, at_step=33)
    optimizer = build({"tuning": {"n_trials": 1}}, out=tmp_path, training_callbacks=[spoilt])
    with pytest.raises(RllamaError, match=r"came to a value \(1 diverged\).*seed 0 diverged"):
        optimizer.optimize()
    assert optimizer.study is not None
    assert optimizer.study.trials[0].state == TrialState.COMPLETE
    assert best_trial(optimizer.study) is None
    assert not (tmp_path / "best.yaml").exists()
    with (tmp_path / "trials.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["state"], float(row["value"])) == ("diverged", optimizer.study.trials[0].value)


def test_a_diverged_trial_is_worse_than_any_spread_of_seeds() -> None:
    tuning = {"seeds_per_trial": 2, "variance_penalty": 3.0}
    study = build({"tuning": tuning}, training_callbacks=[Break(at_training=2)]).optimize()[2]
    good, diverged = study.trials
    means = [mean for curve in good.user_attrs["evaluations"] for _, mean in curve]
    assert diverged.value == pytest.approx(min(means) - 4.0 * (max(means) - min(means)))
    assert diverged.value < value_of_trial([min(means), max(means)], 3.0)


class Paying(gym.Env[Any, int]):
    """Pays at random, ``pay`` at most, whatever is done."""

    observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, pay: float = 1.0) -> None:
        self.pay = pay

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(1, np.float32), self.pay * float(self.np_random.random()), True, False, {}


def test_wilcoxon_stops_a_bad_trial_after_four_seeds_and_no_good_one() -> None:
    gym.register("Paying-v0", Paying)
    search_space = {"env": {"kwargs": {"pay": {"suggest": "categorical", "choices": [1, 2, 0.5]}}}}
    config = {
        "env": {"id": "Paying-v0", "kwargs": {"pay": 1}},
        "algorithm": {"name": "A2C", "params": {"n_steps": 4}},
        "training": {"total_timesteps": 8},
        "evaluation": {"n_episodes": 1, "n_evaluations": 2},
        "tuning": {
            "n_trials": 3,
            "seeds_per_trial": 6,
            "sampler": "grid",
            "pruner": "wilcoxon",
            "search_space": search_space,
        },
    }
    trials = BayesianRewardOptimizer(config).optimize()[2].trials
    by_pay = {trial.params["env.kwargs.pay"]: trial for trial in trials}
    bad = by_pay[0.5]
    assert bad.state == TrialState.PRUNED
    assert bad.user_attrs["failure"] == "pruned after seed 3"
    assert bad.user_attrs["n_steps"] == 4 * 8
    for good in (by_pay[1], by_pay[2]):
        assert good.state == TrialState.COMPLETE
        # One report for each seed, which nothing within a seed disturbs.
        values = dict(enumerate(good.user_attrs["seed_values"]))
        assert good.intermediate_values == pytest.approx(values)
        assert sorted(values) == [0, 1, 2, 3, 4, 5]


def test_a_trial_that_diverges_before_anything_was_seen_fails() -> None:
    optimizer = build({"tuning": {"n_trials": 1}}, training_callbacks=[Break(at_training=0)])
    with pytest.raises(RllamaError, match=r"1 diverged\).*seed 0 diverged"):
        optimizer.optimize()


def test_a_component_that_fails_stops_the_search() -> None:
    @register_component(name="FailsInTheSearch")
    def fail(transition: Any) -> float:
        raise ZeroDivisionError("a bug")

    changes = {"reward_shaping": {"env": {"class": "FailsInTheSearch"}}}
    optimizer = build(changes)
    with pytest.raises(ComponentError, match="env"):
        optimizer.optimize()
    assert optimizer.study is not None
    assert optimizer.study.trials[0].user_attrs["failure"].startswith("ComponentError: ")


class Discounts(BaseCallback):
    """Notes who discounts by what in each training."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[set[float]] = []
        self.n_shaped = 0

    def _on_training_start(self) -> None:
        model: Any = self.model
        normalize = model.get_vec_normalize_env()
        gammas = {model.gamma, normalize.gamma, model.replay_buffer.gamma}
        if type(model.replay_buffer) is RelabelingNStepReplayBuffer:
            self.n_shaped += 1
            gammas |= {shaper.gamma for shaper in self.training_env.get_attr("shaper")}
        self.seen.append(gammas)

    def _on_step(self) -> bool:
        return True


def test_all_discount_by_the_gamma_that_a_trial_suggests() -> None:
    fading = BASE["reward_shaping"]["time"]["weight_schedule"]
    upright = {"class": "PotentialShaping", "params": {"potential": "-abs(obs[2])"}}
    params = {"gamma": 0.99, "n_steps": 3, "buffer_size": 50, "learning_starts": 10}
    gamma = {"suggest": "float", "low": 0.5, "high": 0.99}
    config = BASE | {
        "env": {"id": "CartPole-v1", "n_envs": 2, "normalize": {"reward": True}},
        "reward_shaping": {
            "env": {"class": "EnvReward"},
            "upright": {**upright, "weight_schedule": fading},
        },
        "algorithm": {"name": "DQN", "params": params},
        "tuning": {"n_trials": 4, "search_space": {"algorithm": {"params": {"gamma": gamma}}}},
    }
    discounts = Discounts()
    study = BayesianRewardOptimizer(config, training_callbacks=[discounts]).optimize()[2]
    suggested = [trial.params["algorithm.params.gamma"] for trial in study.trials]
    assert len(set(suggested)) == 3
    assert discounts.seen == [{value} for value in suggested]
    assert discounts.n_shaped == 3  # all but the second trial


def test_evaluations_are_told_as_they_come() -> None:
    seen: list[tuple[int, int]] = []
    build(on_evaluation=lambda trial, e: seen.append((trial.number, e.global_step))).optimize()
    assert seen == [(0, 32), (0, 64), (1, 32), (1, 64)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm": {"name": "PPPO"}}, r"algorithm\.name: .* Did you mean 'PPO'\?"),
        ({"env": {"id": "CartPol-v1"}}, r"env\.id: .*CartPole-v1"),
        ({"training": {"total_timesteps": 0}}, r"training\.total_timesteps: must be at least 1"),
    ],
)
def test_a_config_that_cannot_run_is_told_before_anything_starts(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(changes)


def test_an_empty_search_space_is_told() -> None:
    with pytest.raises(ConfigError, match="search_space: must name at least one value to search"):
        build(search_space={})


def test_the_env_return_is_never_minimized() -> None:
    with pytest.raises(ConfigError, match="direction: must be maximize"):
        build(direction="minimize")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            {
                "reward_shaping": {
                    "time": {
                        "weight_schedule": {
                            "schedule_type": {
                                "suggest": "categorical",
                                "choices": ["linear", "exponential"],
                            }
                        }
                    }
                }
            },
            r"schedule_type: must lead to configs that can run; at 'exponential': reward_shaping",
        ),
        (
            {"training": {"total_timesteps": lambda trial: trial.suggest_int("n", 0, 64)}},
            r"total_timesteps: must lead to configs that can run; at 0: training",
        ),
    ],
)
def test_values_that_cannot_run_are_told_before_anything_starts(
    space: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(search_space=space)
