from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import optuna
import pytest

from rllama_sb3.config import read_yaml
from rllama_sb3.errors import ConfigError
from rllama_sb3.optimization import BayesianRewardOptimizer
from rllama_sb3.optimization.objective import trial_folder
from rllama_sb3.optimization.results import ResultsFolder

BASE: dict[str, Any] = {"x": 0.5, "keep": {"me": 1}}
SPACE: dict[str, Any] = {"x": {"suggest": "float", "low": 0.0, "high": 1.0}}
VALUES = [1.0, 3.0, 2.0, 4.0]
BEST = ("best_model.zip", "best.yaml")


def build(out: Path, objective: Any = None, **arguments: Any) -> BayesianRewardOptimizer:
    def by_number(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0.0, 1.0)
        return VALUES[trial.number]

    known: dict[str, Any] = {"base_config": BASE, "search_space": SPACE, "n_trials": 4}
    return BayesianRewardOptimizer(
        objective_function=objective or by_number, out=out, **(known | arguments)
    )


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_results_are_on_disk_after_every_trial(tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []

    def look(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        best = read_yaml(tmp_path / "best.yaml").data
        assert best == {"x": study.best_params["x"], "keep": {"me": 1}}
        seen.append((len(rows_of(tmp_path)), best["x"]))

    study = build(tmp_path, callbacks=[look]).optimize()[2]
    assert [n for n, _ in seen] == [1, 2, 3, 4]
    assert seen[2][1] == study.trials[1].params["x"]
    assert not list(tmp_path.glob(".*"))


def test_the_best_config_says_where_it_is_from(tmp_path: Path) -> None:
    build(tmp_path, study_name="my study").optimize()
    text = (tmp_path / "best.yaml").read_text()
    assert text.startswith("# The best config so far of the study 'my study':\n# trial 3, value 4")


def test_the_table_has_values_parameters_and_reasons(tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        if trial.number == 1:
            raise optuna.TrialPruned("hopeless")
        if trial.number == 2:
            raise ValueError("broken")
        return x

    with pytest.raises(ValueError, match="broken"):
        build(tmp_path, objective).optimize()
    first, second, third = rows_of(tmp_path)
    assert (first["number"], first["state"], first["value"], first["x"]) == (
        "0",
        "complete",
        "0.5",
        "0.5",
    )
    assert float(first["seconds"]) >= 0.0
    assert (second["state"], second["value"], second["reason"]) == ("pruned", "", "hopeless")
    assert (third["state"], third["reason"]) == ("fail", "ValueError: broken")


def test_the_table_has_the_values_of_the_config_whatever_is_searched(tmp_path: Path) -> None:
    one_minus = {"suggest": "float", "low": 0.001, "high": 0.5, "transform": "one_minus"}
    name, rates = {"suggest": "categorical", "choices": ["a", "b"]}, {"suggest": "float"}
    space = {
        "gamma": {**one_minus, "name": "distance"},
        "kind": name,
        "rate": [
            {**rates, "low": 0.0, "high": 1.0, "when": {"kind": "a"}},
            {**rates, "low": 2.0, "high": 3.0, "when": {"kind": "b"}},
        ],
        "size": lambda trial: 2 ** trial.suggest_int("log2", 1, 4),
    }
    base = {"gamma": 0.99, "kind": "a", "rate": 0.5, "size": 4}
    optimizer = build(
        tmp_path,
        lambda trial: (
            trial.suggest_float("own", 0, 1) + optimizer.generate_trial_config(trial)["size"]
        ),
        base_config=base,
        search_space=space,
    )
    study = optimizer.optimize()[2]
    assert study.trials[0].params["distance"] == 0.01
    header, *rows = csv.reader((tmp_path / "trials.csv").read_text().splitlines())
    assert header[3:8] == ["gamma", "kind", "rate", "log2", "own"]
    assert rows[0][3:7] == ["0.99", "a", "0.5", "2"]
    for row, trial in zip(rows, study.trials, strict=True):
        config = optimizer.generate_trial_config(trial)
        assert row[3:6] == [str(config[key]) for key in ("gamma", "kind", "rate")]
    assert {row[4] for row in rows} == {"a", "b"}


def test_a_space_of_callables_is_left_out_of_the_best_config(tmp_path: Path) -> None:
    space = {"x": lambda trial: trial.suggest_float("x", 0.0, 1.0)}
    base = {**BASE, "tuning": {"search_space": space, "n_trials": 4}}
    build(tmp_path, base_config=base, search_space=None).optimize()
    best = read_yaml(tmp_path / "best.yaml").data
    assert best["tuning"] == {"search_space": {}, "n_trials": 4}


def test_a_folder_with_another_study_is_refused_and_kept(tmp_path: Path) -> None:
    build(tmp_path).optimize()
    before = (tmp_path / "trials.csv").read_text()
    with pytest.raises(ConfigError, match=r"out: must not hold another study's results"):
        build(tmp_path).optimize()
    assert (tmp_path / "trials.csv").read_text() == before


def test_a_study_goes_on_in_its_folder(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    build(tmp_path, storage=storage, n_trials=2).optimize()
    build(tmp_path, storage=storage, n_trials=3).optimize()
    assert len(rows_of(tmp_path)) == 3


def test_a_folder_that_cannot_be_made_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="out: must be a folder that can be made"):
        build(tmp_path / "file" / "out").optimize()


# Two machines and one folder


def test_a_folder_in_which_another_machine_begins_the_same_study_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study()
    known = study.get_trials

    def get_trials(**arguments: Any) -> Any:
        trials = known(**arguments)
        (tmp_path / "trials.csv").touch()  # as the other one does that has enqueued the first ones
        return trials

    monkeypatch.setattr(study, "get_trials", get_trials)
    folder_for(tmp_path).check_free_for(study)
    with pytest.raises(ConfigError, match="must not hold another study's results; it has trials"):
        folder_for(tmp_path).check_free_for(study)


def folder_for(path: Path) -> ResultsFolder:
    return ResultsFolder(path, lambda trial: {"x": trial.params["x"]})


def end_trial(study: optuna.Study, out: Path, value: float) -> None:
    """Ends a trial that has a model, which says whose it is."""
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    run = trial_folder(out, trial.number)
    run.mkdir(parents=True)
    (run / "model.zip").write_text(f"model of {trial.number}")
    study.tell(trial, value)


@pytest.mark.parametrize("undone", [("best_model.zip",), ("best.yaml",), BEST])
def test_what_a_machine_that_is_behind_has_undone_is_done_again(
    tmp_path: Path, undone: tuple[str, ...]
) -> None:
    study = optuna.create_study(direction="maximize")
    mine = folder_for(tmp_path)
    end_trial(study, tmp_path, 1.0)
    mine.update(study)
    earlier = {name: (tmp_path / name).read_bytes() for name in BEST}
    end_trial(study, tmp_path, 2.0)
    mine.update(study)
    for name in undone:
        (tmp_path / name).write_bytes(earlier[name])
    mine.update(study)
    assert (tmp_path / "best_model.zip").read_text() == "model of 1"
    assert "# trial 1, value 2.0" in (tmp_path / "best.yaml").read_text()


def test_what_is_as_it_should_be_is_left_alone(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")
    end_trial(study, tmp_path, 1.0)
    files = [tmp_path / name for name in (*BEST, "trials.csv")]
    folder_for(tmp_path).update(study)
    before = [path.stat().st_ino for path in files]
    folder_for(tmp_path).update(study)
    assert [path.stat().st_ino for path in files] == before
