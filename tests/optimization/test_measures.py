"""Searches with several objectives, and the Pareto front that they lead to."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from command_line import run
from stable_baselines3.common.callbacks import BaseCallback
from tiny import tiny_experiment, tiny_yaml

from rllama_sb3.analysis.candidates import choose_candidates
from rllama_sb3.config import parse_experiment
from rllama_sb3.errors import ConfigError
from rllama_sb3.experiment import load_config
from rllama_sb3.optimization import BayesianRewardOptimizer
from rllama_sb3.optimization.study.attributes import EVALUATIONS
from rllama_sb3.optimization.values import value_of_trial

Space = dict[str, Any]

# Each step costs 0.5 and counts 1: this objective is minus half the env return in CartPole.
TIME: Space = {
    "class": "StepPenalty",
    "params": {"penalty": -0.5},
    "weight_schedule": {"initial_weight": 0.0},
}
COST: Space = {"cost": {"component": "time", "direction": "maximize"}}


def experiment(objectives: Space = COST, **tuning: Any) -> Space:
    known = {"objectives": objectives, "pruner": "none", "n_trials": 3}
    return tiny_experiment(reward_shaping={"time": TIME}, tuning=known | tuning)


def build(
    values: list[tuple[float, float]] | None = None,
    arguments: Space | None = None,
    objectives: Space = COST,
    **tuning: Any,
) -> BayesianRewardOptimizer:
    """An optimizer whose trials are worth ``values``, one after the other."""
    if values is not None:
        tuning = {"n_trials": len(values)} | tuning
    optimizer = BayesianRewardOptimizer(experiment(objectives, **tuning), **(arguments or {}))
    if values is not None:
        # What a trial is worth is set here, and not trained for.
        optimizer._objective = lambda trial: (
            optimizer.generate_trial_config(trial) and values[trial.number]
        )
    return optimizer


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_component_is_summed_over_episodes_whatever_its_weight(sampler: str) -> None:
    # The second trial has no shaping: it is measured by the same component.
    study = build(sampler=sampler).optimize()[2]
    assert len(study.trials) == 3
    for trial in study.trials:
        env_return, cost = trial.values
        assert cost == pytest.approx(-0.5 * env_return)
        assert trial.user_attrs["measured"] == {"cost": [cost]}


def test_what_is_measured_does_not_change_with_the_trial() -> None:
    penalty = {"suggest": "float", "low": -9.0, "high": -0.1}
    space = {"reward_shaping": {"time": {"params": {"penalty": penalty}}}}
    study = build(search_space=space).optimize()[2]
    searched = study.trials[2]
    assert searched.params["reward_shaping.time.params.penalty"] != -0.5
    assert searched.values[1] == pytest.approx(-0.5 * searched.values[0])


def test_how_far_a_trial_is_can_be_seen_although_nothing_is_reported() -> None:
    known: list[list[int]] = []
    optimizer = build(
        arguments={
            "on_evaluation": lambda trial, _: known.append(
                [len(curve) for curve in trial.user_attrs[EVALUATIONS]]
            )
        },
        n_trials=1,
        seeds_per_trial=2,
    )
    optimizer.optimize()
    assert known == [[1], [2], [2, 1], [2, 2]]


def test_the_seeds_of_a_trial_are_averaged_with_the_penalty_against_the_direction() -> None:
    objectives = {"cost": {"component": "time", "direction": "minimize"}}
    tuning: Space = {"n_trials": 1, "seeds_per_trial": 2, "variance_penalty": 1.0}
    trial = build(objectives=objectives, **tuning).optimize()[2].trials[0]
    measured = trial.user_attrs["measured"]["cost"]
    assert len(measured) == 2
    assert trial.values[1] == value_of_trial(measured, 1.0, direction="minimize")
    assert value_of_trial([8.0, 12.0], 1.0, direction="minimize") == pytest.approx(
        10.0 + math.sqrt(8.0)
    )


VALUES = [(3.0, -9.0), (1.0, -1.0), (2.0, -9.5), (2.0, -5.0), (4.0, -20.0)]


def test_the_result_is_the_front_of_which_the_greatest_env_return_is_the_best(
    tmp_path: Path,
) -> None:
    optimizer = build(VALUES, {"out": tmp_path})
    _, best_value, study = optimizer.optimize()
    assert best_value == 4.0
    assert {trial.number for trial in study.best_trials} == {0, 1, 3, 4}
    front = rows_of(tmp_path / "pareto.csv")
    assert [row["number"] for row in front] == ["4", "0", "3", "1"]
    assert [(float(row["value"]), float(row["cost"])) for row in front] == [
        VALUES[int(row["number"])] for row in front
    ]
    assert [row["cost"] for row in rows_of(tmp_path / "trials.csv")] == [
        str(cost) for _, cost in VALUES
    ]
    text = (tmp_path / "best.yaml").read_text()
    assert "# trial 4, value 4.0 on the seeds" in text
    assert "# It has cost -20.0. Of the trials in pareto.csv its env return is the" in text
    best = load_config(tmp_path / "best.yaml")
    assert best.to_dict() == parse_experiment(optimizer.best_config).to_dict()


def test_the_models_of_the_front_are_kept(tmp_path: Path) -> None:
    study = build(arguments={"out": tmp_path}).optimize()[2]
    front = {trial.number for trial in study.best_trials}
    kept = {int(path.parent.name) for path in tmp_path.glob("trials/*/model.zip")}
    assert kept == front


def test_the_front_is_what_is_compared_on_test_seeds() -> None:
    optimizer = build(VALUES, n_top_configs=9)
    optimizer.optimize()
    config = parse_experiment(experiment(n_top_configs=9))
    # Trials 0 and 1 are the config as it stands and the same without shaping.
    assert list(choose_candidates(config, optimizer))[2:] == ["trial 4", "trial 3"]


def test_a_study_of_several_objectives_goes_on_with_the_same_ones_only(tmp_path: Path) -> None:
    storage = {"storage": f"sqlite:///{tmp_path}/study.db"}
    build(VALUES, storage, n_trials=2).optimize()
    study = build(VALUES, storage, n_trials=4).optimize()[2]
    assert [tuple(trial.values) for trial in study.trials] == VALUES[:4]
    other = {"cost": {"component": "time", "direction": "minimize"}}
    with pytest.raises(ConfigError, match="must be a study in the direction 'maximize', 'minimize"):
        build(VALUES, storage, other).optimize()


class Break(BaseCallback):
    """Spoils the policy of the last training, as a learning rate that is far too high does."""

    def __init__(self) -> None:
        super().__init__()
        self.n_trainings = 0

    def _on_training_start(self) -> None:
        if self.n_trainings == 2:
            with torch.no_grad():
                next(iter(self.model.policy.parameters())).fill_(math.nan)
        self.n_trainings += 1

    def _on_step(self) -> bool:
        return True


def test_a_diverged_trial_is_worse_than_anything_seen_in_every_objective() -> None:
    study = build(arguments={"training_callbacks": [Break()]}).optimize()[2]
    *good, diverged = study.trials
    assert diverged.user_attrs["diverged"] is True
    for index in (0, 1):
        assert diverged.values[index] < min(trial.values[index] for trial in good)
    assert diverged.number not in {trial.number for trial in study.best_trials}


@pytest.mark.parametrize(
    ("tuning", "message"),
    [
        ({"pruner": "median"}, r"tuning\.pruner: must be none with several objectives.*'median'"),
        ({"pruner": {"name": "patient", "patience": 1, "wrapped": "median"}}, r"got 'patient'"),
        (
            {"objectives": {"cost": {"component": "tme", "direction": "maximize"}}},
            r"objectives\.cost\.component: must be a component .*'tme'\. Did you mean 'time'\?",
        ),
        (
            {"objectives": {"cost": {"component": "time", "direction": "up"}}},
            r"cost\.direction: must be one of maximize, minimize, but got 'up'",
        ),
        (
            {"objectives": {"value": {"component": "time", "direction": "maximize"}}},
            r"tuning\.objectives: must be a name: .*but got 'value'",
        ),
    ],
)
def test_wrong_objectives_are_told_before_anything_starts(tuning: Space, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BayesianRewardOptimizer(experiment(**tuning))


def test_another_search_can_start_from_a_front(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    front = build(VALUES, {"storage": storage}).optimize()[2]
    warm = build(VALUES, {"warm_start": storage}, n_trials=3).optimize()[2]
    assert warm.trials[2].params == front.trials[4].params


def test_the_command_shows_the_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    changes = experiment(n_trials=2)
    Path("experiment.yaml").write_text(tiny_yaml(**changes))
    result = run("tune", "experiment.yaml", "--no-compare", "--workers", "1")
    assert result.exit_code == 0, result.output
    shown = result.stdout.partition("No trial is better in all objectives")[2]
    assert "cost" in shown
    assert len(rows_of(Path("runs/tune/experiment/pareto.csv"))) >= 1
    assert " cost -" in result.stdout.partition("trial 0 (")[2]


def test_the_sampler_does_not_see_what_was_measured_without_shaping() -> None:
    def proposals(values: tuple[float, float]) -> list[float]:
        optimizer = build([(1.0, -1.0), values, *[(0.5, -2.0)] * 5])
        trials = optimizer.optimize()[2].trials
        return [trial.params["algorithm.params.learning_rate"] for trial in trials]

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    assert proposals((9.0, 9.0)) == proposals((-9.0, -9.0))
