"""Comparing configs: real trainings of two tiny ones, and statistics of known scores."""

from __future__ import annotations

import csv
import math
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_experiment, tiny_yaml

from rllama_sb3.analysis import compare
from rllama_sb3.analysis.comparison import compute_comparison
from rllama_sb3.analysis.runs import TestRun
from rllama_sb3.config import parse_experiment
from rllama_sb3.errors import ConfigError, RllamaError
from rllama_sb3.seeding import test_seed as seed_for_test
from rllama_sb3.training import train

UNSHAPED = tiny_experiment() | {"reward_shaping": {}}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TestRun]]:
    """A comparison whose results are on disk, and what it told while it ran."""
    out = tmp_path_factory.mktemp("comparison")
    told: list[TestRun] = []
    configs = {"shaped": tiny_experiment(), "same": tiny_experiment(), "unshaped": UNSHAPED}
    compare(configs, n_seeds=2, out=out, n_jobs=2, on_result=told.append)
    return out, told


def read_rows(out: Path) -> list[dict[str, str]]:
    with (out / "comparison_runs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_config_is_trained_with_every_test_seed(compared: tuple[Path, list[TestRun]]) -> None:
    _, told = compared
    seeds = {seed_for_test(0, 0), seed_for_test(0, 1)}
    for name in ("shaped", "same", "unshaped"):
        assert {run.seed for run in told if run.name == name} == seeds


def test_a_run_in_a_process_gives_what_train_gives_here(
    compared: tuple[Path, list[TestRun]],
) -> None:
    _, told = compared
    run = next(run for run in told if run.name == "shaped")
    assert train(tiny_experiment(), seed=run.seed).env_return == run.env_return


def test_equal_configs_are_trained_once(compared: tuple[Path, list[TestRun]]) -> None:
    out, told = compared
    assert len(read_rows(out)) == 4
    scores = {(run.name, run.seed): run.env_return for run in told}
    for seed in (seed_for_test(0, 0), seed_for_test(0, 1)):
        assert scores["shaped", seed] == scores["same", seed]


def test_finished_runs_are_not_repeated(
    compared: tuple[Path, list[TestRun]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, told = compared

    def refuse(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("rllama_sb3.analysis.runs._worker_pool", refuse)
    again: list[TestRun] = []
    # Neither the name nor what does not bear on a training makes a config another one.
    renamed = tiny_experiment(tuning={"n_trials": 77}, training={"seed": 5})
    comparison = compare({"renamed": renamed}, n_seeds=2, out=out, on_result=again.append)
    assert all(run.was_known for run in again)
    expected = [run.env_return for run in told if run.name == "shaped"]
    assert sorted(comparison.base.env_returns.tolist()) == sorted(expected)


def test_a_failed_training_names_its_config_and_seed() -> None:
    # It can be found only by running: the component fails at its second step.
    failing = tiny_experiment(
        reward_shaping={"bad": {"class": "ExpressionReward", "params": {"expression": "1 / 0.0"}}}
    )
    others = set(multiprocessing.active_children())
    with pytest.raises(RllamaError, match=r"training 'failing' with seed 11 failed: .*bad"):
        compare({"failing": failing}, seeds=[11], n_jobs=1)
    assert set(multiprocessing.active_children()) == others


def test_a_training_that_diverges_is_a_result_that_cannot_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = {
        "wild": tiny_experiment(algorithm={"params": {"learning_rate": 1e30}}),
        "tame": tiny_experiment(),
    }
    comparison = compare(configs, seeds=[11], n_jobs=1, out=tmp_path)
    assert [row.n_diverged for row in comparison.rows] == [1, 0]
    assert comparison.best.name == "tame"
    assert math.isnan(comparison.best.difference)
    # It would diverge again.
    monkeypatch.setattr("rllama_sb3.analysis.runs._train", None)
    again = compare(configs, seeds=[11], n_jobs=1, out=tmp_path)
    assert [row.n_diverged for row in again.rows] == [1, 0]


def test_all_bad_configs_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(tiny_yaml(training={"total_timesteps": 0}))
    with pytest.raises(ConfigError, match="at least 1") as caught:
        compare({"file": file, "data": tiny_experiment(env={"n_envs": 0})})
    first, second = caught.value.problems
    assert first.location.startswith(f"{file}:")
    assert second.location == "data"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_seeds": 0}, "n_seeds: must be at least 1"),
        ({"seeds": [1, 1]}, "seeds: must be one or more different seeds"),
        ({"seeds": []}, "seeds: must be one or more different seeds"),
    ],
)
def test_counts_and_seeds_are_checked(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare({"a": parse_experiment(tiny_experiment())}, **arguments)  # type: ignore[arg-type]


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ConfigError, match="configs: must name at least one config"):
        compare({})


def test_a_file_of_something_else_is_not_written_to(tmp_path: Path) -> None:
    file = tmp_path / "comparison_runs.csv"
    file.write_text("name,age\nme,7\n")
    with pytest.raises(ConfigError, match="must be a file of results, or not exist yet"):
        compare({"a": tiny_experiment()}, out=tmp_path)
    assert file.read_text() == "name,age\nme,7\n"


def test_the_others_are_measured_against_the_first() -> None:
    scores = {"base": [1.0, 2.0, 3.0, 4.0], "better": [11.0, 12.0, 13.0, 14.0]}
    comparison = compute_comparison(scores, [0, 1, 2, 3])
    base, better = comparison.rows
    assert comparison.best is better
    assert (better.mean, better.iqm, better.difference) == (12.5, 12.5, 10.0)
    assert better.probability_of_improvement == 1.0
    assert better.difference_interval.low > 0
    assert base.difference == 0.0
    assert math.isnan(base.probability_of_improvement)
    assert comparison.row("better") is better
    with pytest.raises(KeyError, match="worse"):
        comparison.row("worse")


def test_fewer_than_four_seeds_are_too_few_for_an_iqm() -> None:
    assert not compute_comparison({"a": [1.0, 2.0, 3.0]}, [0, 1, 2]).uses_iqm
    assert compute_comparison({"a": [1.0, 2.0, 3.0, 4.0]}, [0, 1, 2, 3]).uses_iqm


def test_the_summary_leaves_empty_what_cannot_be_told(tmp_path: Path) -> None:
    compute_comparison({"a": [1.0], "b": [2.0]}, [0]).to_csv(tmp_path / "summary.csv")
    with (tmp_path / "summary.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["config"], first["iqm"], first["iqm_low"]) == ("a", "1.0", "")
    assert (second["difference"], second["probability_of_improvement"]) == ("1.0", "1.0")
    assert np.isclose(float(second["mean"]), 2.0)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.csv"]
