from __future__ import annotations

from typing import Any

import optuna
import pytest

from rllama_sb3.errors import ConfigError
from rllama_sb3.optimization import build_sampler
from rllama_sb3.optimization.samplers import SAMPLERS


def objective(trial: optuna.Trial) -> float:
    return (trial.suggest_float("x", 0.0, 1.0) - 0.7) ** 2 + trial.suggest_int("n", 0, 3)


def propose(name: str, seed: int, **arguments: Any) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=build_sampler(name, seed, n_trials=8, **arguments))
    study.optimize(objective, n_trials=4)
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", SAMPLERS)
def test_proposals_are_a_function_of_the_seed(name: str) -> None:
    assert propose(name, seed=1) == propose(name, seed=1)
    assert propose(name, seed=1) != propose(name, seed=2)


@pytest.mark.parametrize("name", ["tpe", "gp", "random"])
def test_a_resumed_study_and_another_worker_get_other_proposals(name: str) -> None:
    first = propose(name, seed=1)
    assert propose(name, seed=1, n_known=4)[0] != first[0]
    assert propose(name, seed=1, worker=1)[0] != first[0]


def test_qmc_goes_on_in_its_sequence_after_a_resume() -> None:
    study = optuna.create_study(sampler=build_sampler("qmc", 1))
    study.optimize(objective, n_trials=3)
    study.sampler = build_sampler("qmc", 1, n_known=3)
    study.optimize(objective, n_trials=3)
    assert [trial.params for trial in study.trials][1:4] == propose("qmc", seed=1)[1:]
    assert len({trial.params["x"] for trial in study.trials}) == 6


def test_an_unknown_sampler_is_told_with_a_guess() -> None:
    with pytest.raises(ConfigError, match=r"tuning\.sampler: must be one of .* mean 'random'\?"):
        build_sampler("randm", 0)
