"""A study behind the storage proxy."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import objectives
import optuna
import pytest
from command_line import run, start
from optuna.storages import get_storage
from optuna.storages._grpc.server import make_server
from other_host import OTHER_HOST

from rllama_sb3.errors import ConfigError
from rllama_sb3.optimization import BayesianRewardOptimizer, open_storage
from rllama_sb3.optimization.storage import open_database, patience
from rllama_sb3.optimization.storage.proxy import ProxyClient, proxy_url, serving
from rllama_sb3.optimization.study.owner import OWNER, claim

SPACE = {"rate": {"suggest": "float", "low": 0.0, "high": 1.0, "name": "rate"}}


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        free: int = probe.getsockname()[1]
        return free


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


@pytest.fixture
def proxy(database: str, port: int) -> Iterator[str]:
    with serving(open_database(database, heartbeat=1), host="localhost", port=port, n_threads=1):
        yield f"grpc://localhost:{port}"


def build(storage: str, **arguments: Any) -> BayesianRewardOptimizer:
    known: dict[str, Any] = {"n_trials": 4, "sampler": "random"}
    return BayesianRewardOptimizer(
        {"rate": 0.5}, SPACE, objectives.quick, storage=storage, **(known | arguments)
    )


def counts(study: optuna.Study) -> Counter[str]:
    return Counter(trial.state.name for trial in study.trials)


def test_a_search_through_the_proxy_is_one_in_its_database(proxy: str, database: str) -> None:
    study = build(proxy).optimize()[2]
    assert isinstance(study._storage, ProxyClient)
    direct = optuna.load_study(study_name="rllama_sb3", storage=open_storage(database))
    assert direct.trials == study.trials
    assert counts(direct) == {"COMPLETE": 4}
    assert not any("sign_of_life" in key for t in direct.trials for key in t.system_attrs)
    # The same search goes on without the proxy.
    assert counts(build(database, n_trials=5).optimize()[2]) == {"COMPLETE": 5}


def test_workers_go_through_the_proxy_too(proxy: str, tmp_path: Path) -> None:
    study = build(proxy, n_workers=1, out=tmp_path / "out").optimize()[2]
    assert counts(study) == {"COMPLETE": 4}
    assert study.trials[0].user_attrs[OWNER]["pid"] != os.getpid()


def test_the_trial_of_a_worker_that_died_behind_the_proxy_is_taken_over(proxy: str) -> None:
    leave_running(build(proxy, n_trials=1).optimize()[2])
    study = build(proxy, n_trials=3).optimize()[2]
    assert counts(study) == {"COMPLETE": 3, "FAIL": 1}
    assert study.trials[1].state.name == "FAIL"
    again = [trial for trial in study.trials if trial.user_attrs.get("retry_of") == 1]
    assert [trial.params for trial in again] == [study.trials[1].params]


def leave_running(study: optuna.Study) -> None:
    """Leaves a trial as a worker on another machine does that is killed in the middle of it."""
    trial = optuna.Trial(study, study._storage.create_new_trial(study._study_id))
    claim(trial, 0)
    trial.set_user_attr(OWNER, trial.user_attrs[OWNER] | {"machine": OTHER_HOST})
    trial.suggest_float("rate", 0.0, 1.0)
    assert isinstance(study._storage, ProxyClient)
    if study._storage.get_heartbeat_interval() is not None:
        study._storage.record_heartbeat(trial._trial_id)


def test_behind_optunas_own_proxy_nobody_waits_for_other_machines(database: str, port: int) -> None:
    with ThreadPoolExecutor(2) as pool:
        server = make_server(get_storage(open_database(database)), "localhost", port, pool)
        server.start()
        try:
            proxy = f"grpc://localhost:{port}"
            leave_running(build(proxy, n_trials=1).optimize()[2])
            study = build(proxy, n_trials=3).optimize()[2]
            assert counts(study) == {"COMPLETE": 3, "RUNNING": 1}
        finally:
            server.stop(0).wait()


def test_a_proxy_that_is_started_again_is_waited_for(
    database: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "_LONGEST_WAIT", 0.1)
    settings: dict[str, Any] = {"host": "localhost", "port": port, "n_threads": 1}
    with serving(open_database(database), **settings):
        study = build(f"grpc://localhost:{port}").optimize()[2]
        before = study.trials
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: study.trials)
        with serving(open_database(database), **settings):
            assert answer.result(timeout=30) == before


def test_a_proxy_that_does_not_answer_is_told(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rllama_sb3.optimization.storage.proxy._FIRST_ANSWER_SECONDS", 0.2)
    with pytest.raises(ConfigError, match="must be a storage proxy that answers, but got 'grpc"):
        open_storage(f"grpc://localhost:{port}")


def test_an_address_may_be_of_ipv6(database: str, port: int) -> None:
    with serving(open_database(database), host="::1", port=port, n_threads=1):
        assert optuna.get_all_study_names(open_storage(proxy_url("::1", port))) == []


def test_what_cannot_be_served_is_refused(database: str, port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("localhost", port))
        taken.listen()
        busy = run("storage-proxy", "--storage", database, "--port", str(port))
    assert busy.exit_code == 2
    assert "must be an address to listen on that is free (Address already in use)" in busy.output
    other = run("storage-proxy", "--storage", f"grpc://localhost:{port}")
    assert other.exit_code == 2
    assert "must be a URL of a database, not of another proxy" in other.output


def test_ctrl_c_ends_the_proxy(tmp_path: Path, database: str, port: int) -> None:
    process = start("storage-proxy", "--storage", database, "--port", str(port), cwd=tmp_path)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == f"Serving {database} at grpc://localhost:{port}. Ctrl-C ends it.\n"
    assert counts(build(f"grpc://localhost:{port}", n_trials=1).optimize()[2]) == {"COMPLETE": 1}
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=20)
    assert (rest, process.returncode) == ("Interrupted.\n", 130)
