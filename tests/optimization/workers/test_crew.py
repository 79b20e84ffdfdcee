"""A search in several processes, and what befalls them."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import objectives
import optuna
import pytest
from command_line import children_of, wait_until_gone
from study_file import wait_for_trials

from rllama_sb3.errors import ConfigError, RllamaError
from rllama_sb3.optimization import BayesianRewardOptimizer
from rllama_sb3.optimization.study.owner import OWNER
from rllama_sb3.optimization.study.progress import n_finished

BASE = {"rate": 0.5}
SPACE = {"rate": {"suggest": "float", "low": 0.0, "high": 1.0, "name": "rate"}}


def build(
    tmp_path: Path, objective: Callable[..., float] = objectives.quick, **arguments: Any
) -> BayesianRewardOptimizer:
    known: dict[str, Any] = {
        "base_config": BASE,
        "search_space": SPACE,
        "objective_function": objective,
        "n_trials": 6,
        "n_workers": 2,
        "sampler": "random",
        "storage": f"sqlite:///{tmp_path}/study.db",
        "out": tmp_path / "out",
    }
    return BayesianRewardOptimizer(**(known | arguments))


def counts(study: optuna.Study) -> Counter[str]:
    return Counter(trial.state.name for trial in study.trials)


def failure(tmp_path: Path, number: int) -> str:
    """What is kept of a trial that failed."""
    return (tmp_path / "out" / "failures" / f"{number:04d}.txt").read_text()


@pytest.fixture(autouse=True)
def _no_orphans() -> Any:
    """Whatever a test does to the workers, none is left of them."""
    before = set(children_of(os.getpid()))
    yield
    assert wait_until_gone(list(set(children_of(os.getpid())) - before)) == []


def test_workers_share_the_trials_of_a_study(tmp_path: Path) -> None:
    slow = functools.partial(objectives.quick, seconds=0.3)
    study = build(tmp_path, slow, n_trials=8).optimize()[2]
    # Both may start a last trial in the same instant.
    assert counts(study)["COMPLETE"] in (8, 9)
    assert set(counts(study)) == {"COMPLETE"}
    assert {trial.user_attrs[OWNER]["worker"] for trial in study.trials} == {0, 1}
    # The first trial is the base, and no two are the same.
    assert study.trials[0].params == {"rate": 0.5}
    assert len({trial.params["rate"] for trial in study.trials}) == len(study.trials)
    logs = sorted((tmp_path / "out" / "workers").iterdir())
    assert len(logs) == 2
    assert "Trial 0 finished" in logs[0].read_text() + logs[1].read_text()
    assert (tmp_path / "out" / "best.yaml").exists()


def test_a_finished_study_starts_no_worker(tmp_path: Path) -> None:
    build(tmp_path, n_trials=2, n_workers=None).optimize()
    started = time.monotonic()
    study = build(tmp_path, n_trials=2).optimize()[2]
    assert counts(study) == {"COMPLETE": 2}
    assert time.monotonic() - started < 2.0


def test_a_lambda_is_understood_in_another_process(tmp_path: Path) -> None:
    study = build(
        tmp_path,
        lambda trial: SPACE and trial.suggest_float("own", 1.0, 2.0),
        search_space={"rate": lambda trial: trial.suggest_float("rate", 0.0, 1.0)},
        n_trials=2,
        n_workers=1,
    ).optimize()[2]
    assert counts(study) == {"COMPLETE": 2}


def test_the_trial_of_a_killed_worker_is_tried_again(tmp_path: Path) -> None:
    killed = functools.partial(objectives.killed_once, marker=str(tmp_path / "killed"))
    study = build(tmp_path, killed, n_trials=4, n_workers=1).optimize()[2]
    assert counts(study) == {"COMPLETE": 4, "FAIL": 1}
    failed = study.trials[2]
    assert failed.user_attrs["failure"].startswith("its worker was ended by SIGKILL")
    again = [t for t in study.trials if t.user_attrs.get("retry_of") == 2]
    assert [trial.params for trial in again] == [failed.params]
    assert "SIGKILL" in (tmp_path / "out" / "trials.csv").read_text()
    assert "its worker was ended by SIGKILL" in failure(tmp_path, 2)
    assert "about to die" in failure(tmp_path, 2)
    assert f"rate = {failed.params['rate']!r}" in failure(tmp_path, 2)


def test_values_that_end_the_process_each_time_are_given_up(tmp_path: Path) -> None:
    study = build(tmp_path, objectives.always_killed, n_trials=4, n_workers=1).optimize()[2]
    # Tried three times; the last one counts as a trial that failed.
    assert counts(study) == {"COMPLETE": 3, "FAIL": 3}
    assert len({trial.params["rate"] for trial in study.trials if trial.state.name == "FAIL"}) == 1


def test_a_bug_stops_every_worker_with_its_traceback(tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    broken = functools.partial(objectives.broken, marker=str(mended))
    with pytest.raises(RllamaError, match="(?s)trial . raised.*objectives.py.*the bug of the user"):
        build(tmp_path, broken, n_trials=50).optimize()
    study = optuna.load_study(study_name="rllama_sb3", storage=f"sqlite:///{tmp_path}/study.db")
    n_failed = counts(study)["FAIL"]
    # The other worker may have been at a trial of its own.
    assert 1 <= n_failed <= 2
    assert len(study.trials) <= 4
    failures = sorted((tmp_path / "out" / "failures").iterdir())
    assert len(failures) >= 1
    assert "ZeroDivisionError: the bug of the user" in failures[0].read_text()
    assert "rate = " in failures[0].read_text()

    mended.touch()
    study = build(tmp_path, broken).optimize()[2]
    assert n_finished(study) in (6, 7)
    assert counts(study)["COMPLETE"] >= 4


@pytest.mark.parametrize(
    ("what", "words"), [("numpy", "Unable to allocate"), ("torch", "can't allocate memory")]
)
def test_a_trial_that_eats_memory_fails_and_the_search_goes_on(
    tmp_path: Path, what: str, words: str
) -> None:
    hungry = functools.partial(objectives.eats_memory, what=what)
    study = build(tmp_path, hungry, n_trials=3, n_workers=1).optimize()[2]
    assert counts(study) == {"COMPLETE": 2, "FAIL": 1}
    assert words in study.trials[1].user_attrs["failure"]
    assert words in (tmp_path / "out" / "trials.csv").read_text()
    assert "objectives.py" in failure(tmp_path, 1)
    # It went on in the same process.
    assert len({trial.user_attrs[OWNER]["pid"] for trial in study.trials}) == 1


def test_a_trial_that_hangs_is_ended_and_the_search_goes_on(tmp_path: Path) -> None:
    study = build(
        tmp_path, objectives.hangs, n_trials=3, n_workers=1, trial_timeout=1.0
    ).optimize()[2]
    assert counts(study) == {"COMPLETE": 2, "FAIL": 1}
    assert study.trials[1].user_attrs["failure"] == "took longer than 1 seconds"
    assert failure(tmp_path, 1).startswith(f"trial 1\nrate = {study.trials[1].params['rate']!r}\n")
    # The first line is the innermost: where it hung.
    where = failure(tmp_path, 1).partition("most recent call first")[2].splitlines()[1]
    assert "objectives.py" in where
    assert "in hangs" in where


def test_a_trial_without_a_finite_value_fails_and_the_search_goes_on(tmp_path: Path) -> None:
    study = build(tmp_path, objectives.diverges, n_trials=3, n_workers=1).optimize()[2]
    assert counts(study) == {"COMPLETE": 2, "FAIL": 1}
    assert "no finite value" in (tmp_path / "out" / "trials.csv").read_text()
    assert failure(tmp_path, 1).splitlines()[-1] == "no finite value, but nan"


@pytest.mark.parametrize("what", ["study", "file"])
def test_a_full_disk_ends_the_search_which_goes_on_when_there_is_room(
    tmp_path: Path, what: str
) -> None:
    room = tmp_path / "room"
    file = None if what == "study" else str(tmp_path / what)
    full = functools.partial(objectives.fills_the_disk, file=file, room=str(room))
    with pytest.raises(RllamaError, match="could not write to the disk, which is full") as caught:
        build(tmp_path, full, n_trials=3, n_workers=1).optimize()
    assert "the same command again" in str(caught.value)
    assert caught.value.__context__ is None
    room.touch()
    study = build(tmp_path, full, n_trials=3, n_workers=1).optimize()[2]
    assert counts(study) == {"COMPLETE": 3, "FAIL": 1}
    assert n_finished(study) == 3
    failed = study.trials[1]
    # The worker itself could say why only where it could write to the study.
    reason = "its worker could not write to the disk" if what == "study" else "File too large"
    assert failed.user_attrs["failure"] == reason
    assert reason in failure(tmp_path, 1)
    again = [trial for trial in study.trials if trial.user_attrs.get("retry_of") == 1]
    assert [trial.params for trial in again] == [failed.params]


SEARCH = """
import functools, sys
import objectives
from rllama_sb3.optimization import BayesianRewardOptimizer

print("started", flush=True)
BayesianRewardOptimizer(
    {"rate": 0.5},
    {"rate": {"suggest": "float", "low": 0.0, "high": 1.0, "name": "rate"}},
    functools.partial(objectives.quick, seconds=0.5),
    n_trials=12, n_workers=2, sampler="random", storage="sqlite:///study.db", out="out",
).optimize()
"""


def start_search(tmp_path: Path) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(
        [str(Path(objectives.__file__).parent), os.environ.get("PYTHONPATH", "")]
    )
    return subprocess.Popen(
        [sys.executable, "-c", SEARCH],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        # Tests that run in the background ignore Ctrl-C, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize(
    "who",
    [
        pytest.param("parent", marks=pytest.mark.slow),
        pytest.param("worker", marks=pytest.mark.slow),
        "all",
    ],
)
def test_a_search_outlives_a_kill_of_any_of_its_processes(tmp_path: Path, who: str) -> None:
    process = start_search(tmp_path)
    wait_for_trials(tmp_path / "study.db", n_complete=2, n_running=2)
    workers = children_of(process.pid)
    assert len(workers) == 2
    if who != "parent":
        os.kill(workers[0], signal.SIGKILL)
    if who == "all":
        os.kill(workers[1], signal.SIGKILL)
    if who != "worker":
        process.kill()
    process.wait(timeout=60)
    assert wait_until_gone(workers) == []
    if who == "worker":
        assert process.returncode == 0
    else:
        assert start_search(tmp_path).wait(timeout=60) == 0
    study = optuna.load_study(study_name="rllama_sb3", storage=f"sqlite:///{tmp_path}/study.db")
    n_complete = counts(study)["COMPLETE"]
    assert n_complete in (12, 13)
    assert counts(study)["FAIL"] == (2 if who != "worker" else 1)
    assert counts(study)["RUNNING"] == counts(study)["WAITING"] == 0
    rates = [trial.params["rate"] for trial in study.trials if trial.state.name == "COMPLETE"]
    assert len(set(rates)) == n_complete


def test_ctrl_c_ends_the_workers_and_what_they_were_at_is_tried_again(tmp_path: Path) -> None:
    process = start_search(tmp_path)
    wait_for_trials(tmp_path / "study.db", n_complete=2, n_running=2)
    workers = children_of(process.pid)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    assert process.returncode not in (0, None)
    assert wait_until_gone(workers) == []
    study = optuna.load_study(study_name="rllama_sb3", storage=f"sqlite:///{tmp_path}/study.db")
    assert counts(study)["RUNNING"] == 0
    reasons = {t.user_attrs["failure"] for t in study.trials if t.state.name == "FAIL"}
    assert reasons == {"interrupted"}
    assert start_search(tmp_path).wait(timeout=60) == 0
    assert counts(study)["COMPLETE"] in (12, 13)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_workers": 0}, "n_workers: must be a whole number of at least 1"),
        ({"storage": None}, "storage: must be a URL where processes share the study"),
        ({"callbacks": [print]}, "callbacks: must be left out with worker processes"),
        ({"trial_timeout": 0}, "trial_timeout: must be a number of seconds greater than 0"),
        ({"trial_timeout": float("nan")}, "trial_timeout: must be a number of seconds"),
        ({"heartbeat": "15"}, "heartbeat: must be a number of seconds greater than 0"),
    ],
)
def test_what_processes_cannot_share_is_refused(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(tmp_path, **arguments)


def test_a_time_limit_without_workers_is_refused(tmp_path: Path) -> None:
    optimizer = build(tmp_path, n_workers=None, trial_timeout=1.0)
    with pytest.raises(ConfigError, match="trial_timeout: must be left out without worker"):
        optimizer.optimize()
    assert not (tmp_path / "study.db").exists()


def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(RllamaError, match="(?s)ended with exit code 1.*No module named 'no_such'"):
        build(tmp_path, imports=["no_such"]).optimize()
