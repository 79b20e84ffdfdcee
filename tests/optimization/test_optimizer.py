from __future__ import annotations

import copy
import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from rllama_sb3.errors import ConfigError, RllamaError
from rllama_sb3.optimization import BayesianRewardOptimizer
from rllama_sb3.optimization.owner import OWNER, this_machine

BASE: dict[str, Any] = {"agent": {"rate": 0.5, "gamma": 0.99, "name": "q"}, "episodes": 10}
SPACE: dict[str, Any] = {
    "agent": {
        "rate": lambda trial: trial.suggest_float("rate", 0.0, 1.0),
        "gamma": {"suggest": "float", "low": 0.001, "high": 0.2, "transform": "one_minus"},
    }
}


def build(objective: Any = None, **arguments: Any) -> BayesianRewardOptimizer:
    """An optimizer whose objective prefers a rate of 0.7."""
    optimizer: BayesianRewardOptimizer

    def prefer(trial: optuna.Trial) -> float:
        rate: float = optimizer.generate_trial_config(trial)["agent"]["rate"]
        return -abs(rate - 0.7)

    known = {"base_config": BASE, "search_space": SPACE, "n_trials": 4}
    optimizer = BayesianRewardOptimizer(
        objective_function=objective or prefer, **(known | arguments)
    )
    return optimizer


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_the_result_is_a_nested_fragment_that_merges_into_the_base() -> None:
    optimizer = build(n_trials=6)
    best_params, best_value, study = optimizer.optimize()
    assert best_value == study.best_value == -abs(best_params["agent"]["rate"] - 0.7)
    assert best_params["agent"]["gamma"] == pytest.approx(
        1 - study.best_params["agent.gamma"], abs=1e-12
    )
    assert optimizer.best_config == {"agent": {**best_params["agent"], "name": "q"}, "episodes": 10}
    assert optimizer.best_params == best_params


def test_the_first_trial_is_the_base_config_exactly() -> None:
    seen: list[dict[str, Any]] = []
    optimizer = build(lambda trial: seen.append(optimizer.generate_trial_config(trial)) or 0.0)
    optimizer.optimize()
    assert seen[0] == BASE
    assert seen[1] != BASE


def test_the_first_trial_is_the_base_config_also_out_of_range() -> None:
    seen: list[float] = []

    def objective(trial: optuna.Trial) -> float:
        seen.append(SPACE["agent"]["rate"](trial))
        return seen[-1]

    optimizer = build(objective, base_config={"agent": {"rate": 9.0, "gamma": 0.99}}, n_trials=2)
    with pytest.warns(UserWarning, match=r"search_space\.agent\.rate: the config's 9\.0 lies"):
        best_params, best_value, _ = optimizer.optimize()
    assert seen[0] == best_value == best_params["agent"]["rate"] == 9.0


def test_the_base_is_never_changed() -> None:
    base = copy.deepcopy(BASE)
    optimizer = build(base_config=base)
    config = optimizer.generate_trial_config(optuna.create_study().ask())
    config["agent"]["name"] = config["new"] = "changed"
    optimizer.optimize()
    assert base == BASE == optimizer.base_config


def test_an_objective_gets_its_further_arguments() -> None:
    optimizer = build(lambda trial, offset: offset, objective_kwargs={"offset": 3.0}, n_trials=1)
    assert optimizer.optimize()[1] == 3.0


def test_an_objective_that_uses_part_of_the_space_gets_a_fragment_of_that_part() -> None:
    optimizer = build(lambda trial: SPACE["agent"]["rate"](trial))
    best_params, best_value, _ = optimizer.optimize()
    assert best_params == {"agent": {"rate": best_value}}


def test_minimize_finds_the_least_value() -> None:
    optimizer = build(lambda trial: trial.number, direction="minimize")
    assert optimizer.optimize()[1] == 0.0


def test_the_same_seed_gives_the_same_study() -> None:
    def run(seed: int) -> list[dict[str, Any]]:
        return [trial.params for trial in build(seed=seed).optimize()[2].trials]

    assert run(0) == run(0)
    assert run(0)[0] == run(1)[0]
    assert run(0)[1:] != run(1)[1:]


def test_samplers_and_pruners_of_optuna_are_taken_as_they_are() -> None:
    sampler, pruner = optuna.samplers.RandomSampler(0), optuna.pruners.NopPruner()
    study = build(sampler=sampler, pruner=pruner).optimize()[2]
    assert study.sampler is sampler
    assert study.pruner is pruner


def test_callbacks_see_each_trial_start_and_end() -> None:
    log: list[str] = []
    build(
        n_trials=2,
        on_trial_start=lambda trial: log.append(f"start {trial.number}"),
        callbacks=[lambda study, trial: log.append(f"end {trial.number}")],
    ).optimize()
    assert log == ["start 0", "end 0", "start 1", "end 1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_trials": 0}, "n_trials: must be a whole number of at least 1, but got 0"),
        ({"direction": "up"}, "direction: must be maximize or minimize, but got 'up'"),
        ({"study_name": ""}, "study_name: must be text, but got ''"),
        ({"base_config": [1]}, r"base_config: must be a mapping or an ExperimentConfig"),
        ({"search_space": {"agnet": {}}}, r"search_space\.agnet: .* Did you mean 'agent'\?"),
        ({"sampler": "tpee"}, r"tuning\.sampler: must be one of"),
        ({"pruner": "medain"}, r"tuning\.pruner: must be one of"),
        ({"sampler": {}}, r"tuning\.sampler\.name: missing key"),
        ({"pruner": {"name": "median", "startup": 1}}, r"tuning\.pruner\.startup: is not a param"),
        ({"sampler": "grid"}, r"search_space\.agent\.rate: must have a step, as the sampler grid"),
    ],
)
def test_wrong_arguments_are_told_before_anything_starts(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**arguments)


def test_a_search_space_may_stand_in_the_config() -> None:
    base = {**BASE, "tuning": {"search_space": {"episodes": {"suggest": "int"}}}}
    with pytest.raises(ConfigError, match=r"tuning\.search_space\.episodes\.low: missing key"):
        build(base_config=base, search_space=None)


def test_an_error_in_the_objective_stops_the_search_and_is_kept_as_the_reason() -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 1:
            raise ZeroDivisionError("by zero\nand more")
        return 1.0

    optimizer = build(objective)
    with pytest.raises(ZeroDivisionError, match="by zero"):
        optimizer.optimize()
    assert optimizer.study is not None
    assert states(optimizer.study) == ["COMPLETE", "FAIL"]
    assert optimizer.study.trials[1].user_attrs["failure"] == "ZeroDivisionError: by zero"
    assert optimizer.best_config["episodes"] == 10


def test_when_no_trial_has_a_value_the_error_says_what_happened() -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            return math.nan
        raise optuna.TrialPruned("no components")

    message = r"no trial .* came to a value \(1 fail, 2 pruned\)\. .*: no components"
    with pytest.raises(RllamaError, match=message):
        build(objective, n_trials=3).optimize()


def test_there_is_no_best_config_before_the_search() -> None:
    with pytest.raises(RllamaError, match="before optimize"):
        _ = build().best_config


# Studies that go on


def test_the_number_of_trials_is_the_total_of_all_runs(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    assert len(build(storage=storage, n_trials=3).optimize()[2].trials) == 3
    study = build(storage=storage, n_trials=5).optimize()[2]
    assert len(study.trials) == 5
    assert len({trial.params["rate"] for trial in study.trials}) == 5
    assert len(build(storage=storage, n_trials=4).optimize()[2].trials) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"search_space": {"agent": {"rate": {"suggest": "float", "low": 0, "high": 2}}}},
            r"(?s)tuning\.search_space\.agent\.rate: must be .*agent\.gamma: must be",
        ),
        (
            {"base_config": {**BASE, "episodes": 11}},
            r"^episodes: must be 10, as the study 'rllama_sb3' has it, but got 11\. Choose another",
        ),
        ({"direction": "minimize"}, "study_name: must be a study in the direction 'minimize'"),
    ],
)
def test_a_study_of_another_search_is_refused_and_kept(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    before = build(storage=storage).optimize()[2].trials
    with pytest.raises(ConfigError, match=message):
        build(storage=storage, **arguments).optimize()
    study = build(storage=storage).optimize()[2]
    assert study.trials == before


def test_a_study_of_another_program_is_refused(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    other = optuna.create_study(study_name="rllama_sb3", storage=storage, direction="maximize")
    other.optimize(lambda trial: 0.0, n_trials=1)
    with pytest.raises(ConfigError, match="another program made it"):
        build(storage=storage).optimize()


def test_the_number_of_trials_in_the_config_may_change(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    for n_trials in (2, 3):
        base = {**BASE, "tuning": {"n_trials": n_trials, "n_test_seeds": n_trials}}
        study = build(base_config=base, storage=storage, n_trials=n_trials).optimize()[2]
    assert len(study.trials) == 3


def test_objects_and_nan_in_a_config_do_not_make_it_another_one(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    for _ in range(2):
        base = {**BASE, "agent_class": object(), "none": math.nan, "sizes": (1, 2)}
        build(base_config=base, storage=storage).optimize()


def interrupt_at(number: int) -> Any:
    def objective(trial: optuna.Trial) -> float:
        rate = SPACE["agent"]["rate"](trial)
        if trial.number == number:
            raise KeyboardInterrupt
        return rate

    return objective


@pytest.mark.parametrize("number", [0, 2])
def test_an_interrupted_trial_is_run_again_and_not_counted(tmp_path: Path, number: int) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    optimizer = build(interrupt_at(number), storage=storage)
    with pytest.raises(KeyboardInterrupt):
        optimizer.optimize()
    assert optimizer.study is not None
    assert states(optimizer.study) == ["COMPLETE"] * number + ["FAIL"]
    study = build(interrupt_at(-1), storage=storage).optimize()[2]
    assert states(study) == ["COMPLETE"] * number + ["FAIL"] + ["COMPLETE"] * (4 - number)
    assert study.trials[number].user_attrs["failure"] == "interrupted"
    again = study.trials[number + 1]
    assert again.user_attrs["retry_of"] == number
    assert again.params["rate"] == study.trials[number].params["rate"]


def leave_running(storage: str) -> float:
    """Leaves a trial as a process does that was killed in the middle of it; returns its rate."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    trial = optuna.load_study(study_name="rllama_sb3", storage=storage).ask()
    owner = {"machine": this_machine(), "pid": gone.pid, "since": None, "worker": 0}
    trial.set_user_attr(OWNER, owner)
    return trial.suggest_float("rate", 0.0, 1.0)


def test_a_trial_left_running_by_a_kill_is_closed_and_run_again(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    build(storage=storage, n_trials=2).optimize()
    rate = leave_running(storage)
    study = build(storage=storage).optimize()[2]
    assert states(study) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert study.trials[2].user_attrs["failure"] == "the process ended while it ran"
    assert study.trials[3].params["rate"] == rate


def test_a_trial_that_ends_the_process_each_time_is_given_up(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    study = build(storage=storage, n_trials=1).optimize()[2]
    rate = leave_running(storage)
    for _ in range(5):

        def objective(trial: optuna.Trial) -> float:
            if trial.suggest_float("rate", 0.0, 1.0) == rate:
                raise KeyboardInterrupt
            return 0.0

        try:
            study = build(objective, storage=storage).optimize()[2]
        except KeyboardInterrupt:
            continue
    n_tries = sum(trial.params.get("rate") == rate for trial in study.trials)
    assert n_tries == 3
    assert states(study).count("COMPLETE") == 4


def test_a_base_trial_that_failed_is_run_again_when_its_bug_is_fixed(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    with pytest.raises(ZeroDivisionError):
        build(lambda trial: SPACE["agent"]["rate"](trial) / 0, storage=storage).optimize()
    study = build(storage=storage).optimize()[2]
    assert study.trials[0].state == TrialState.FAIL
    assert study.trials[1].params["rate"] == 0.5
    assert study.trials[1].state == TrialState.COMPLETE


def test_a_quiet_search_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build().optimize()
