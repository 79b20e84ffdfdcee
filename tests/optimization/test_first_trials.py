"""What a study begins with, before any trial is proposed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import optuna
import pytest
from tiny import tiny_experiment

from rllama_sb3 import train
from rllama_sb3.config import merge_configs, parse_experiment, read_yaml
from rllama_sb3.errors import ConfigError
from rllama_sb3.experiment import load_config
from rllama_sb3.optimization import BayesianRewardOptimizer

Space = dict[str, Any]

WEIGHT = {"suggest": "float", "low": 0.1, "high": 100.0, "log": True}
RATE = {"suggest": "float", "low": 1e-4, "high": 1e-2, "log": True}
SPACE: Space = {
    "reward_shaping": {"upright": {"weight_schedule": {"initial_weight": WEIGHT}}},
    "algorithm": {"params": {"learning_rate": RATE}},
}
WEIGHT_NAME = "reward_shaping.upright.weight_schedule.initial_weight"
RATE_NAME = "algorithm.params.learning_rate"


def experiment(space: Space = SPACE, **tuning: Any) -> Space:
    base = tiny_experiment()
    base["tuning"] |= {"search_space": space, "n_trials": 4, **tuning}
    return base


def build(
    space: Space = SPACE, values: Any = None, arguments: Space | None = None, **tuning: Any
) -> BayesianRewardOptimizer:
    """An optimizer whose trials are worth what ``values`` says of trial and config."""
    optimizer = BayesianRewardOptimizer(experiment(space, **tuning), **(arguments or {}))

    def value(trial: optuna.Trial) -> float:
        config = optimizer.generate_trial_config(trial)
        return float(values(trial, config)) if values is not None else 0.0

    # What a trial is worth is set here, and not trained for.
    optimizer._objective = value
    return optimizer


def configs_of(optimizer: BayesianRewardOptimizer) -> list[Space]:
    study = optimizer.optimize()[2]
    return [optimizer.generate_trial_config(trial) for trial in study.trials]


def rates_of(study: optuna.Study) -> list[float]:
    return [trial.params[RATE_NAME] for trial in study.trials]


# The config, and the same without shaping


def test_the_first_trials_are_the_config_and_the_same_without_shaping(tmp_path: Path) -> None:
    base = parse_experiment(experiment(n_trials=2))
    optimizer = BayesianRewardOptimizer(base, out=tmp_path)
    study = optimizer.optimize()[2]
    assert [t.user_attrs["origin"] for t in study.trials] == ["base config", "shaping off"]
    trained = [read_yaml(tmp_path / f"trials/000{n}/config.yaml").data for n in (0, 1)]
    assert trained[0]["reward_shaping"] == base.to_dict()["reward_shaping"]
    assert trained[1]["reward_shaping"] == {}
    for section in ("env", "algorithm", "training", "evaluation"):
        assert trained[1][section] == trained[0][section]
    # It is replayed from what the study knows of it.
    unshaped = study.trials[1]
    config = optimizer.generate_trial_config(unshaped)
    assert train(config, seed=unshaped.user_attrs["seeds"][0]).env_return == unshaped.value


def test_where_there_is_no_shaping_there_is_no_trial_without_it() -> None:
    base = experiment({"algorithm": SPACE["algorithm"]}, n_trials=2) | {"reward_shaping": {}}
    optimizer = BayesianRewardOptimizer(base)
    optimizer._objective = lambda trial: len(optimizer.generate_trial_config(trial))
    study = optimizer.optimize()[2]
    assert [t.user_attrs.get("origin") for t in study.trials] == ["base config", None]


def test_an_objective_of_ones_own_knows_best_what_its_config_means() -> None:
    seen: list[Space] = []
    optimizer = BayesianRewardOptimizer(
        {"reward_shaping": {"weight": 1.0}},
        {"reward_shaping": {"weight": {"suggest": "float", "low": 0.0, "high": 2.0}}},
        lambda trial: seen.append(optimizer.generate_trial_config(trial)) or 0.0,  # type: ignore[func-returns-value]
        n_trials=2,
    )
    optimizer.optimize()
    assert all("weight" in config["reward_shaping"] for config in seen)


@pytest.mark.parametrize(("sampler", "n_trials"), [("tpe", 6), ("gp", 5)])
def test_the_sampler_proposes_the_same_whatever_came_out_without_shaping(
    sampler: str, n_trials: int
) -> None:
    def run(value_without: float) -> list[float]:
        def values(trial: optuna.Trial, config: Space) -> float:
            if not config["reward_shaping"]:
                return value_without
            rate: float = config["algorithm"]["params"]["learning_rate"]
            return -abs(rate - 3e-3)

        optimizer = build(values=values, n_trials=n_trials, sampler=sampler)
        return rates_of(optimizer.optimize()[2])

    assert run(-1000.0) == run(1000.0)


def test_a_pruner_compares_with_the_trial_without_shaping_too() -> None:
    values = [0.0, 10.0, 4.0, 6.0]

    def report(trial: optuna.Trial, config: Space) -> float:
        trial.report(values[trial.number], 2)
        if trial.should_prune():
            raise optuna.TrialPruned
        return values[trial.number]

    pruner = {"name": "median", "n_startup_trials": 2}
    study = build(values=report, pruner=pruner, sampler="random").optimize()[2]
    # The median of the config's own 0 and of the 10 without shaping is 5.
    assert [trial.state.name for trial in study.trials[2:]] == ["PRUNED", "COMPLETE"]


def test_a_grid_has_a_trial_for_each_point_and_the_one_without_shaping() -> None:
    batches = {"suggest": "categorical", "choices": [16, 32, 64]}
    # A grid of fewer or more trials than n_trials would be warned of.
    study = build(
        {"algorithm": {"params": {"batch_size": batches}}}, sampler="grid", n_trials=4
    ).optimize()[2]
    tried = [trial.params["algorithm.params.batch_size"] for trial in study.trials]
    assert tried[:2] == [32, 32]
    assert sorted(tried[2:]) == [16, 64]


def test_the_best_config_is_the_unshaped_one_where_that_is_best(tmp_path: Path) -> None:
    def values(trial: optuna.Trial, config: Space) -> float:
        return 0.0 if config["reward_shaping"] else 1.0

    optimizer = build(values=values, arguments={"out": tmp_path})
    best_params, best_value, _ = optimizer.optimize()
    assert best_value == 1.0
    assert best_params["reward_shaping"] == {}
    assert optimizer.best_config["reward_shaping"] == {}
    best = load_config(tmp_path / "best.yaml")
    assert best.reward_shaping == {}
    assert best.tuning.search_space == {"algorithm": SPACE["algorithm"]}


def test_the_table_says_where_a_trial_is_from_and_leaves_out_what_took_no_part(
    tmp_path: Path,
) -> None:
    entries = [{"algorithm": {"params": {"learning_rate": 5e-3}}}]
    build(arguments={"out": tmp_path}, enqueue=entries).optimize()
    with (tmp_path / "trials.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert [row["origin"] for row in rows] == [
        "base config",
        "shaping off",
        "tuning.enqueue[0]",
        "",
    ]
    assert (rows[0][WEIGHT_NAME], rows[1][WEIGHT_NAME]) == ("5.0", "")
    assert rows[0][RATE_NAME] == rows[1][RATE_NAME] == "0.001"


def test_a_trial_without_shaping_that_failed_is_run_again_as_such(tmp_path: Path) -> None:
    storage = {"storage": f"sqlite:///{tmp_path}/study.db"}

    def fail(trial: optuna.Trial, config: Space) -> float:
        return 1.0 if config["reward_shaping"] else 1 / 0

    with pytest.raises(ZeroDivisionError):
        build(values=fail, arguments=storage).optimize()
    configs = configs_of(build(arguments=storage))
    assert [bool(config["reward_shaping"]) for config in configs[:4]] == [True, False, False, True]


# tuning.enqueue


def test_enqueued_trials_follow_in_their_order_and_say_only_what_is_different() -> None:
    entries = [
        {"algorithm": {"params": {"learning_rate": 2e-4}}},
        {"reward_shaping": {"upright": {"weight_schedule": {"initial_weight": 50.0}}}},
    ]
    base = parse_experiment(experiment(enqueue=entries)).to_dict()
    configs = configs_of(build(enqueue=entries))
    assert configs[2:] == [merge_configs(base, entry) for entry in entries]


def test_an_enqueued_trial_that_is_the_config_itself_is_not_run_twice() -> None:
    entries = [{"algorithm": {"params": {"learning_rate": 1e-3}}}]
    study = build(enqueue=entries).optimize()[2]
    assert [t.user_attrs.get("origin") for t in study.trials[:3]] == [
        "base config",
        "shaping off",
        None,
    ]


def test_an_enqueued_value_out_of_range_is_tried_all_the_same_and_told() -> None:
    entries = [{"algorithm": {"params": {"learning_rate": 0.5}}}]
    with pytest.warns(UserWarning, match=r"enqueue\[0\]: the value of algorithm\.params\.learning"):
        optimizer = build(enqueue=entries)
    assert rates_of(optimizer.optimize()[2])[2] == 0.5


def test_trials_may_be_enqueued_when_a_study_goes_on(tmp_path: Path) -> None:
    storage = {"storage": f"sqlite:///{tmp_path}/study.db"}
    entries = [{"algorithm": {"params": {"learning_rate": rate}}} for rate in (2e-4, 4e-4)]
    build(arguments=storage, enqueue=entries[:1], n_trials=3).optimize()
    study = build(arguments=storage, enqueue=entries, n_trials=4).optimize()[2]
    assert rates_of(study)[2:] == [2e-4, 4e-4]


ALGORITHMS: Space = {
    "algorithm": {
        "name": {"suggest": "categorical", "choices": ["PPO", "DQN"]},
        "params": {
            "learning_rate": RATE,
            "n_steps": {
                "suggest": "categorical",
                "choices": [32, 64],
                "when": {"algorithm.name": "PPO"},
            },
            "n_epochs": {
                "suggest": "categorical",
                "choices": [1],
                "when": {"algorithm.name": "PPO"},
            },
            "batch_size": [
                {"suggest": "categorical", "choices": [32, 64], "when": {"algorithm.name": "PPO"}},
                {"suggest": "categorical", "choices": [16, 32], "when": {"algorithm.name": "DQN"}},
            ],
            "train_freq": {
                "suggest": "int",
                "low": 1,
                "high": 8,
                "when": {"algorithm.name": "DQN"},
            },
        },
    }
}


def test_another_choice_brings_its_defaults_and_leaves_behind_what_went_with_the_first() -> None:
    entries = [
        {"algorithm": {"name": "DQN"}},
        {"algorithm": {"name": "DQN", "params": {"train_freq": 2}}},
    ]
    configs = configs_of(build(ALGORITHMS, enqueue=entries))
    # 32 is the default of DQN; the config's own learning rate goes with both.
    expected = {"learning_rate": 1e-3, "batch_size": 32, "train_freq": 4}
    assert configs[2]["algorithm"]["params"] == expected
    assert configs[3]["algorithm"]["params"] == {**expected, "train_freq": 2}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"algorithm": {"params": {"learning_rat": 1e-3}}},
            r"enqueue\[0\]\.algorithm\.params\.learning_rat: must be a path of the search space\. "
            r"Did you mean 'algorithm\.params\.learning_rate'\?",
        ),
        ({"training": {"seed": 3}}, r"training\.seed: must be searched, as trials of a study"),
        (
            {"algorithm": {"params": {"train_freq": 4}}},
            "train_freq: does not apply beside the",
        ),
        (
            {"algorithm": {"params": {"n_steps": 100}}},
            r"n_steps: must be one of the choices that are searched, \[32, 64\], but got 100",
        ),
        (
            {"algorithm": {"params": {"learning_rate": "fast"}}},
            r"learning_rate: must be a number that can be searched as float by its logarithm",
        ),
        ({"algorithm": {"params": {"learning_rate": 0}}}, "must be a number that can be searched"),
        ({}, r"enqueue\[0\]: must be a mapping that says what differs"),
    ],
)
def test_a_wrong_enqueued_trial_is_told_before_anything_starts(entry: Space, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(ALGORITHMS, enqueue=[entry])


def test_an_enqueued_config_that_cannot_run_is_told_before_anything_starts() -> None:
    steps = {"suggest": "int", "low": 8, "high": 64}
    entry = {"algorithm": {"params": {"n_steps": -8}}}
    with pytest.raises(ConfigError, match=r"^tuning\.enqueue\[0\]\.algorithm"):
        build({"algorithm": {"params": {"n_steps": steps}}}, enqueue=[entry])


def test_trials_of_an_objective_of_ones_own_are_enqueued_too() -> None:
    base: Space = {"x": 1.0, "tuning": {"enqueue": [{"x": 0.25}]}}
    optimizer = BayesianRewardOptimizer(
        base,
        {"x": lambda trial: trial.suggest_float("ex", 0.0, 2.0)},
        lambda trial: float(optimizer.generate_trial_config(trial)["x"]),
        n_trials=2,
    )
    assert [trial.params["ex"] for trial in optimizer.optimize()[2].trials] == [1.0, 0.25]
    with pytest.raises(ConfigError, match=r"tuning\.enqueue: must be a list"):
        BayesianRewardOptimizer({**base, "tuning": {"enqueue": 3}}, {}, lambda trial: 0.0)
