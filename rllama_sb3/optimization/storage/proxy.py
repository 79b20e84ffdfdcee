"""Optuna's gRPC storage proxy, with signs of life: hundreds of workers on one database.

Workers talk to the proxy, and it alone holds connections to the database. Optuna's proxy knows no
heartbeats, so trials of workers that die would run forever. Here a worker's sign of life reaches
the proxy as an attribute of its trial, is recorded by it as Optuna's heartbeat, and the proxy takes
over the trials that have gone silent. Workers behind a proxy and others that use the database
themselves can share a study.

Behind Optuna's own proxy (``optuna.storages.run_grpc_proxy_server``) there are no signs of life;
then a search waits for no trial of another machine, and may have as many too many at its end.
"""

from __future__ import annotations

import socket
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import Any, Final

import grpc
import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import GrpcStorageProxy, RDBStorage, _CachedStorage
from optuna.storages._grpc.server import make_server
from optuna.storages._heartbeat import BaseHeartbeat

from rllama_sb3.errors import ConfigError, Problem
from rllama_sb3.optimization.storage.patience import (
    ASKED_OF_ALL,
    Patience,
    PatientEnd,
    end_patience,
    patient,
)
from rllama_sb3.optimization.study.retries import take_over_silent_trials

DEFAULT_PORT: Final = 13000
# Requests that the proxy answers at the same time, each with a connection to the database.
N_THREADS: Final = 16
_SECONDS_TO_END: Final = 1.0
_FIRST_ANSWER_SECONDS: Final = 10.0

# What a client asks to learn how often signs of life are wanted, by an id that no study has.
_HEARTBEAT_QUESTION: Final = -1
_SIGN_OF_LIFE: Final = "rllama_sb3:sign_of_life"
_ASKED: Final = (
    *ASKED_OF_ALL,
    "create_new_trial",
    "set_trial_param",
    "get_all_trials",
)


@patient(_ASKED)
class ProxyClient(PatientEnd, GrpcStorageProxy, BaseHeartbeat):
    """A storage behind a proxy; it is asked again, for some minutes, when the proxy is away.

    Args:
        host: Where the proxy runs.
        port: Its port.

    Raises:
        ConnectionError: It does not answer.
    """

    def __init__(self, host: str, port: int) -> None:
        self.patience = Patience(_is_away)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(host=_in_address(host), port=port)
        self.wait_server_ready(timeout=_FIRST_ANSWER_SECONDS)
        try:
            self._interval: int | None = int(self.get_study_name_from_id(_HEARTBEAT_QUESTION))
        except KeyError:
            self._interval = None  # Optuna's own proxy

    def record_heartbeat(self, trial_id: int) -> None:
        """As of a database."""
        self.set_trial_system_attr(trial_id, _SIGN_OF_LIFE, True)

    def get_heartbeat_interval(self) -> int | None:
        """As of a database; None behind a proxy that takes no signs of life."""
        return self._interval

    def get_heartbeat_stale_trial_callback(self) -> None:
        """Nothing: the proxy takes over by itself."""

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        return []


class _ServedStorage(_CachedStorage):
    """A database with Optuna's cache, as the proxy serves it."""

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        if key == _SIGN_OF_LIFE:
            self.record_heartbeat(trial_id)
        else:
            super().set_trial_system_attr(trial_id, key, value)

    def get_study_name_from_id(self, study_id: int) -> str:
        if study_id == _HEARTBEAT_QUESTION:
            return str(self.get_heartbeat_interval())
        return super().get_study_name_from_id(study_id)


def proxy_url(host: str, port: int) -> str:
    """Returns the URL of a proxy's storage.

    Example:
        >>> proxy_url("::1", 13000)
        'grpc://[::1]:13000'
    """
    return f"grpc://{_in_address(host)}:{port}"


@contextmanager
def serving(
    database: RDBStorage, *, host: str, port: int, n_threads: int = N_THREADS
) -> Iterator[None]:
    """Serves a database as long as the block lasts.

    Args:
        database: The database, with heartbeats.
        host: The address to listen on. There are no passwords: whoever reaches it may do as he
            likes with the studies.
        port: The port to listen on.
        n_threads: Requests that are answered at the same time.

    Raises:
        ConfigError: The address is not there to be listened on.
    """
    _check_free(host, port)
    storage = _ServedStorage(database)
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(storage, over))
    with ThreadPoolExecutor(n_threads) as pool:
        server = make_server(storage, _in_address(host), port, pool)
        server.start()
        watch.start()
        try:
            yield
        finally:
            over.set()
            end_patience(storage)  # of requests that wait for the database
            server.stop(_SECONDS_TO_END).wait()
            watch.join()


def _watch(storage: _CachedStorage, over: threading.Event) -> None:
    """Takes over silent trials, in place of the clients."""
    while not over.wait(storage.get_heartbeat_interval()):
        # The database may be away; then the clients are told, and it may come back.
        with suppress(StorageInternalError):
            for summary in storage.get_all_studies():
                study = optuna.load_study(study_name=summary.study_name, storage=storage)
                take_over_silent_trials(study)


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _check_free(host: str, port: int) -> None:
    # gRPC shares a port with whoever listens there already, and clients would reach either.
    try:
        place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(place[0], place[1])) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place[4])
    except OSError as error:
        rule = f"must be an address to listen on that is free ({error.strerror})"
        remedy = "Choose another --host or --port."
        raise ConfigError(Problem((), rule, f"{host}:{port}", remedy)) from error


def _is_away(error: BaseException) -> bool:
    return isinstance(error, grpc.RpcError) and error.code() == grpc.StatusCode.UNAVAILABLE
