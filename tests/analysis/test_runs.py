"""Results that survive an interruption, and processes that do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_experiment

from rllama_sb3.analysis.runs import ResultsFile, TestRun, run_key
from rllama_sb3.config import parse_experiment
from rllama_sb3.errors import ConfigError

CONFIG = parse_experiment(tiny_experiment())


def with_changes(**changes: object) -> str:
    return run_key(parse_experiment(tiny_experiment(**changes)), 0)


def test_what_bears_on_a_training_is_in_its_key() -> None:
    assert run_key(CONFIG, 0) != run_key(CONFIG, 1)
    assert with_changes(algorithm={"params": {"learning_rate": 0.1}}) != run_key(CONFIG, 0)
    assert with_changes(evaluation={"n_episodes": 3}) != run_key(CONFIG, 0)


def test_what_does_not_is_not() -> None:
    assert with_changes(tuning={"n_trials": 9}, training={"seed": 3}) == run_key(CONFIG, 0)
    # Deterministic evaluations leave no trace in a training.
    assert with_changes(evaluation={"n_evaluations": 9}) == run_key(CONFIG, 0)


def test_evaluations_that_draw_random_numbers_are_in_the_key() -> None:
    few = with_changes(evaluation={"deterministic": False})
    many = with_changes(evaluation={"deterministic": False, "n_evaluations": 9})
    assert few != many


def test_results_are_read_back(tmp_path: Path) -> None:
    file = ResultsFile(tmp_path / "new" / "runs.csv")
    assert file.read() == {}
    file.append(TestRun("a, b", 1, "k1", 1.5))
    file.append(TestRun("c", 2, "k2", -0.1))
    assert ResultsFile(file.path).read() == {"k1": 1.5, "k2": -0.1}


# The last one of -123.4.
CUT = ["k2", "k2,a,2", "k2,a,2,", "k2,a,2,-12"]


@pytest.mark.parametrize("cut", CUT)
def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path, cut: str) -> None:
    file = ResultsFile(tmp_path / "runs.csv")
    file.append(TestRun("a", 1, "k1", 1.5))
    with file.path.open("a") as text:
        text.write(cut)
    assert ResultsFile(file.path).read() == {"k1": 1.5}


@pytest.mark.parametrize("cut", CUT)
def test_a_result_after_a_line_that_was_cut_off_is_kept(tmp_path: Path, cut: str) -> None:
    file = ResultsFile(tmp_path / "runs.csv")
    file.append(TestRun("a", 1, "k1", 1.5))
    with file.path.open("a") as text:
        text.write(cut)
    ResultsFile(file.path).append(TestRun("b", 3, "k3", 2.5))
    assert ResultsFile(file.path).read() == {"k1": 1.5, "k3": 2.5}


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="out: must be in a folder that can be made"):
        ResultsFile(tmp_path / "file" / "runs.csv")
