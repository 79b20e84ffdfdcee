"""A search of several machines on one PostgreSQL server, and what befalls them."""

from __future__ import annotations

import functools
import multiprocessing
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import objectives
import optuna
import pytest
import sqlalchemy
from command_line import children_of, start, wait_until_gone
from optuna.storages import _CachedStorage
from other_host import OTHER_HOST, move_there
from postgres import Server
from tiny import tiny_yaml

from rllama_sb3.cli.search_report import own_command
from rllama_sb3.errors import ConfigError, RllamaError
from rllama_sb3.optimization import BayesianRewardOptimizer, open_storage
from rllama_sb3.optimization.study.owner import OWNER, this_machine
from rllama_sb3.optimization.study.progress import n_finished

SECRET = "s3cr3t-w0rd"
ODD = """@:/?#[]{x}%41 &=+"\\é"""
SPACE = {"rate": {"suggest": "float", "low": 0.0, "high": 1.0, "name": "rate"}}


def build(
    storage: str, objective: Callable[..., float], **arguments: Any
) -> BayesianRewardOptimizer:
    known: dict[str, Any] = {"n_trials": 6, "sampler": "random", "heartbeat": 1}
    return BayesianRewardOptimizer(
        {"rate": 0.5}, SPACE, objective, storage=storage, **(known | arguments)
    )


def counts(study: optuna.Study) -> Counter[str]:
    return Counter(trial.state.name for trial in study.trials)


def rates(study: optuna.Study) -> list[float]:
    return [trial.params["rate"] for trial in study.trials if trial.state.name == "COMPLETE"]


@pytest.fixture(autouse=True)
def _no_orphans() -> Iterator[None]:
    before = set(children_of(os.getpid()))
    yield
    started = set(children_of(os.getpid())) - before
    # The server of these tests is their child too.
    left = [pid for pid in started if b"rllama" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert wait_until_gone(left) == []


def test_two_machines_share_the_trials_of_a_study(postgres: Server, tmp_path: Path) -> None:
    storage = postgres.new_database()
    objective = functools.partial(objectives.meeting, folder=str(tmp_path))
    other = fork(search_elsewhere, storage, objective)
    study = build(storage, objective, n_trials=12).optimize()[2]
    other.join(30)
    assert other.exitcode == 0
    assert counts(study)["COMPLETE"] == n_finished(study) == 12
    assert counts(study)["RUNNING"] == counts(study)["WAITING"] == 0
    machines = {trial.user_attrs[OWNER]["machine"] for trial in study.trials}
    assert machines == {this_machine(), OTHER_HOST}
    # Each was run once, and none proposes what another has.
    runs = [int(line) for line in (tmp_path / "runs").read_text().split()]
    assert sorted(runs) == [t.number for t in study.trials if t.state.name == "COMPLETE"]
    assert len(set(rates(study))) == 12
    assert study.trials[0].params == {"rate": 0.5}


def fork(function: Callable[..., None], *arguments: Any) -> Any:
    """Runs a function in a process that has all that is imported here."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def search_elsewhere(storage: str, objective: Callable[..., float]) -> None:
    move_there()

    build(storage, objective, n_trials=12).optimize()


def test_the_trials_of_a_machine_that_was_killed_are_taken_over(
    postgres: Server, tmp_path: Path
) -> None:
    storage, marker = postgres.new_database(), tmp_path / "hangs"
    other = fork(hang_elsewhere, storage, str(marker))
    while not marker.exists():
        time.sleep(0.02)
    other.kill()
    other.join()
    study = build(storage, objectives.quick).optimize()[2]
    assert counts(study) == {"COMPLETE": 6, "FAIL": 1}
    assert study.trials[0].state.name == "FAIL"
    assert study.trials[0].user_attrs[OWNER]["machine"] == OTHER_HOST
    again = [trial for trial in study.trials if trial.user_attrs.get("retry_of") == 0]
    assert [trial.params for trial in again] == [study.trials[0].params] == [{"rate": 0.5}]
    assert again[0].user_attrs["origin"] == "base config"
    assert again[0].user_attrs[OWNER]["machine"] == this_machine()


def hang_elsewhere(storage: str, marker: str) -> None:
    move_there()

    def hang(trial: optuna.Trial) -> float:
        trial.suggest_float("rate", 0.0, 1.0)
        Path(marker).touch()
        time.sleep(3600)
        raise AssertionError("nobody waits so long")

    build(storage, hang).optimize()


def test_a_server_that_is_gone_for_ten_seconds_loses_nothing(
    postgres: Server, tmp_path: Path
) -> None:
    storage = postgres.new_database()
    outage: list[threading.Thread] = []
    before: list[optuna.trial.FrozenTrial] = []

    def fail_the_server(study: optuna.Study) -> None:
        if not outage and counts(study)["COMPLETE"] >= 2 and counts(study)["RUNNING"] == 2:
            before.extend(study.trials)
            postgres.stop()
            outage.append(threading.Timer(10.0, postgres.start))
            outage[0].start()

    # So long that both are at a trial, of which nothing is heard for longer than is waited for.
    objective = functools.partial(objectives.quick, seconds=0.8)
    optimizer = build(
        storage, objective, n_workers=2, out=tmp_path, n_trials=6, on_poll=fail_the_server
    )
    study = optimizer.optimize()[2]
    outage[0].join()
    assert counts(study) == {"COMPLETE": 6}
    assert len(set(rates(study))) == 6
    ended = [trial for trial in before if trial.state.is_finished()]
    assert len(ended) >= 2
    assert [study.trials[trial.number] for trial in ended] == ended
    logs = "".join(log.read_text() for log in (tmp_path / "workers").iterdir())
    assert "does not answer; asking again" in logs
    assert "answers again" in logs


@pytest.mark.parametrize("n_th", range(1, 8))
def test_a_connection_that_breaks_anywhere_in_a_reading_of_trials_is_made_anew(
    postgres: Server, n_th: int
) -> None:
    storage = open_storage(postgres.new_database())
    study = optuna.create_study(storage=storage)
    for _ in range(2):
        study.add_trial(optuna.trial.create_trial(value=1.0))
    engine = storage._backend.engine  # type: ignore[attr-defined]
    asked: list[str] = []

    def break_off(connection: Any, cursor: Any, statement: str, *further: Any) -> None:
        asked.append(statement)
        if len(asked) == n_th:
            postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()",
                engine.url.database,
            )

    sqlalchemy.event.listen(engine, "before_cursor_execute", break_off)
    assert len(storage._backend._get_trials(study._study_id, None, {1, 2}, -1)) == 2  # type: ignore[attr-defined]
    assert len(asked) >= n_th


def test_machines_that_start_together_make_one_study(postgres: Server) -> None:
    storage = postgres.new_database()
    at_once = multiprocessing.get_context("fork").Barrier(4)
    starting = [fork(begin_together, storage, at_once) for _ in range(4)]
    for process in starting:
        process.join(60)
    assert [process.exitcode for process in starting] == [0, 0, 0, 0]
    study = optuna.load_study(study_name="rllama_sb3", storage=open_storage(storage))
    assert counts(study)["COMPLETE"] == n_finished(study) == 8
    assert rates(study).count(0.5) == 1
    assert len(set(rates(study))) == 8


def begin_together(storage: str, at_once: Any) -> None:
    at_once.wait(30)
    build(storage, objectives.quick, n_trials=8).optimize()


# Passwords


def test_the_password_is_written_nowhere_by_two_machines_that_tune(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = postgres.new_database(SECRET)
    monkeypatch.setenv("RLLAMA_SB3_STORAGE", storage)
    (tmp_path / "experiment.yaml").write_text(tiny_yaml())
    (tmp_path / "elsewhere.py").write_text(
        "from rllama_sb3.optimization.study import owner\n"
        f"owner.this_machine = lambda: {OTHER_HOST!r}\n"
    )
    command = ["tune", "experiment.yaml", "--n-trials", "4", "--workers", "1", "--no-compare"]
    hosts = [
        start(*command, cwd=tmp_path),
        start(*command, "--import", "elsewhere", cwd=tmp_path),
    ]
    titles = watch_titles(hosts)
    output = "".join(process.communicate()[0] for process in hosts)
    assert [process.returncode for process in hosts] == [0, 0], output
    assert len(titles) >= 3
    assert_unsaid([*titles, output], tmp_path)
    assert "postgresql+psycopg://postgres:***@/study_" in output

    study = optuna.load_study(study_name="experiment", storage=open_storage(storage))
    assert counts(study)["COMPLETE"] + counts(study)["PRUNED"] == n_finished(study) == 4
    out = tmp_path / "runs" / "tune" / "experiment"
    assert (out / "best_model.zip").exists()
    assert f"trial {study.best_trial.number}," in (out / "best.yaml").read_text()
    assert len((out / "trials.csv").read_text().splitlines()) == 1 + len(study.trials)
    assert not list(out.glob(".*"))


def watch_titles(processes: list[subprocess.Popen[str]]) -> set[str]:
    """Returns what every process is called of those that these start, until these have ended."""
    titles = set()
    while any(process.poll() is None for process in processes):
        for process in processes:
            for pid in (process.pid, *children_of(process.pid)):
                with suppress(OSError):
                    titles.add(Path(f"/proc/{pid}/cmdline").read_text())
        time.sleep(0.1)
    return titles - {""}


def assert_unsaid(said: list[str], folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert not [text for text in said if SECRET in text]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_the_password_is_not_in_what_is_said_of_a_bug(postgres: Server, tmp_path: Path) -> None:
    storage = postgres.new_database(SECRET)
    titles: set[str] = set()

    def watch(study: optuna.Study) -> None:
        for pid in children_of(os.getpid()):
            titles.add(Path(f"/proc/{pid}/cmdline").read_text())

    broken = functools.partial(objectives.broken, marker=str(tmp_path / "mended"))
    with pytest.raises(RllamaError, match="the bug of the user") as caught:
        build(storage, broken, n_workers=1, out=tmp_path, on_poll=watch).optimize()
    assert any("rllama_sb3.optimization.worker" in title for title in titles)
    assert "the bug of the user" in (tmp_path / "failures" / "0001.txt").read_text()
    assert_unsaid([*titles, str(caught.value)], tmp_path)


def test_the_command_that_continues_is_shown_without_the_password() -> None:
    url = f"postgresql://me:{SECRET}@host/db"
    for option in (["--storage", url], [f"--storage={url}"]):
        shown = own_command(["tune", "a.yaml", *option], url)
        assert "rllama-sb3 tune a.yaml " in shown
        assert "postgresql+psycopg://me:***@host/db" in shown
        assert SECRET not in shown


def test_the_command_that_continues_is_shown_without_the_password_of_its_warm_start() -> None:
    source = f"postgresql://me:{SECRET}@host/db#earlier"
    shown = own_command(["tune", "a.yaml", "--warm-start", source], "sqlite:///study.db")
    assert SECRET not in shown
    assert "'postgresql://me:***@host/db#earlier'" in shown


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("right", "wrong"), "password authentication failed"),
        (("/postgres", "/no_such"), 'database "no_such" does not exist'),
        (("/rllama_sb3_pg_", "/no_such_"), "No such file or directory"),
    ],
)
def test_what_is_wrong_with_a_url_is_told_without_its_password(
    locked: str, change: tuple[str, str], words: str
) -> None:
    with pytest.raises(ConfigError, match=r"^storage: must be a database of studies") as caught:
        open_storage(locked.replace(*change))
    assert words in str(caught.value)
    assert "locked:***@" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_password_may_have_any_characters_in_it(
    locked: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = optuna.create_study(storage=open_storage(locked))
    assert isinstance(study._storage, _CachedStorage)
    engine = study._storage._backend.engine
    assert engine.url.password == f"right{SECRET}{ODD}"
    # And written by what is said of the connection nowhere.
    assert SECRET not in f"{study._storage._backend.engine!r}{caplog.text}"


@pytest.fixture(scope="module")
def locked(postgres: Server) -> str:
    """The URL of a user whose password is looked at."""
    password = f"right{SECRET}{ODD}"
    postgres.lock("locked", password)
    postgres.execute("GRANT ALL ON SCHEMA public TO locked")
    return postgres.url("postgres", quote(password, safe=""), "locked")
