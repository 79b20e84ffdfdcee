"""Opens the storage of a study by its URL, and says what is wrong with either."""

from __future__ import annotations

import random
import time
from pathlib import Path as FilePath
from typing import Any, Final

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage, get_storage
from sqlalchemy.engine import URL

from rllama_sb3.errors import ConfigError, MissingExtraError, Problem
from rllama_sb3.optimization.storage.database import HEARTBEAT_SECONDS, StudyDatabase
from rllama_sb3.optimization.storage.patience import Patience, reason_of
from rllama_sb3.optimization.storage.patient_database import PatientDatabase, is_away
from rllama_sb3.optimization.storage.url import (
    EXAMPLE,
    PROXY,
    WHERE,
    is_file,
    parse_url,
    redact_url,
)

# Seconds that a writer waits for another one, such as the dashboard, before it gives up.
_SQLITE_TIMEOUT: Final = 60
# What tells in a minute, not in two hours, that the server's machine is gone.
_LIBPQ_DRIVERS: Final = ("postgresql+psycopg", "postgresql+psycopg2")
_LIBPQ_TIMEOUTS: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_MOST_TRIES_TO_SET_UP: Final = 5


def open_storage(
    storage: str | BaseStorage | None,
    *,
    heartbeat: int = HEARTBEAT_SECONDS,
    is_known: bool = False,
    may_make: bool = True,
) -> BaseStorage:
    """Opens the storage of a study, and sees that it answers.

    Trials in a database give a sign of life from time to time while they run. One that has given
    none for four times as long, and is silent still when it is looked at again, is failed by
    whoever starts a trial next, and tried again, at most twice
    (``RetryHeartbeatStaleTrialCallback``). So the trials of a machine that is gone are taken over
    by the others.

    A server that goes away later is asked again for five minutes
    (:mod:`rllama_sb3.optimization.storage.patience`).

    Args:
        storage: ``None`` for memory only, an Optuna storage, or a URL: ``sqlite:///folder/study.db``
            (the folder is made), ``postgresql://user:password@host/database``, ``mysql://...``, or
            ``grpc://host:port`` of ``rllama-sb3 storage-proxy``.
        heartbeat: Seconds from one sign of life to the next; behind a proxy that is for it to say.
        is_known: Whether it has answered before. Then it is waited for now too.
        may_make: Whether a file that is not there is made.

    Raises:
        ConfigError: The URL is malformed or of another kind, or what it names cannot be reached
            or is not a study database. The message has no password in it.
        MissingExtraError: The PostgreSQL driver is not installed.

    Example:
        >>> type(open_storage(None)).__name__
        'InMemoryStorage'
        >>> open_storage("mongodb://localhost/study")
        Traceback (most recent call last):
        ...
        rllama_sb3.errors.ConfigError: storage: must be a URL of sqlite, postgresql, mysql or ...
    """
    if storage is None:
        return InMemoryStorage()
    if not isinstance(storage, str):
        if not isinstance(storage, BaseStorage):
            rule = "must be a URL, an Optuna storage or None"
            raise ConfigError(Problem(WHERE, rule, storage, EXAMPLE))
        return get_storage(storage)
    url = parse_url(storage)
    if url.get_backend_name() == PROXY:
        return _open_proxy(url, is_known)
    if not may_make and is_file(storage) and not FilePath(url.database or "").is_file():
        raise ConfigError(Problem(WHERE, "must be a file that is there", redact_url(url)))
    return get_storage(_open_database(url, heartbeat, is_known))


def open_database(
    storage: str, *, heartbeat: int = HEARTBEAT_SECONDS, n_connections: int = 1
) -> RDBStorage:
    """Opens the database of a study as :func:`open_storage` does, without Optuna's cache.

    Args:
        storage: The URL of a database.
        heartbeat: As there.
        n_connections: How many connections to a server are kept open.

    Raises:
        ConfigError: As there; or the URL is that of a proxy.
        MissingExtraError: As there.
    """
    url = parse_url(storage)
    if url.get_backend_name() == PROXY:
        rule = "must be a URL of a database, not of another proxy"
        raise ConfigError(Problem(WHERE, rule, redact_url(url)))
    return _open_database(url, heartbeat, n_connections=n_connections)


def _make_parent(url: URL) -> None:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return
    path = FilePath(url.database)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        rule = f"must be a file in a folder that can be made ({error.strerror})"
        raise ConfigError(Problem(WHERE, rule, str(path), "Choose another place.")) from error
    if path.is_dir():
        raise ConfigError(Problem(WHERE, "must be a file, not a folder", str(path), EXAMPLE))


def _open_proxy(url: URL, is_known: bool) -> BaseStorage:
    from rllama_sb3.optimization.storage.proxy import DEFAULT_PORT, ProxyClient

    def connect() -> BaseStorage:
        client: BaseStorage = ProxyClient(url.host or "localhost", url.port or DEFAULT_PORT)
        return client

    try:
        if is_known:
            return Patience(lambda error: isinstance(error, ConnectionError)).ask(connect)
        return connect()
    except ConnectionError:
        rule = "must be a storage proxy that answers"
        remedy = "See that `rllama-sb3 storage-proxy` runs there, and that host and port are right."
        raise ConfigError(Problem(WHERE, rule, redact_url(url), remedy)) from None


def _open_database(
    url: URL, heartbeat: int, is_known: bool = False, n_connections: int = 1
) -> RDBStorage:
    if url.get_backend_name() == "sqlite":
        _make_parent(url)
        remedy = (
            "See that the file is one of Optuna's, and that you may write to it and its folder."
        )
    else:
        remedy = "See that the server runs, and that host, database and user are right."
    shown = redact_url(url)

    def connect() -> RDBStorage:
        return _set_up(url, heartbeat, n_connections)

    try:
        return Patience(is_away).ask(connect) if is_known else connect()
    except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
        if url.drivername == "postgresql+psycopg":
            raise MissingExtraError("A study in PostgreSQL", "postgres") from error
        reason = reason_of(error.__cause__ or error)
        rule = f"must use a database driver that is installed ({reason})"
        how = "Install it with pip, or name another one, as in mysql+pymysql://."
        raise ConfigError(Problem(WHERE, rule, shown, how)) from error
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        reason = reason_of(error)
        rule = f"must be a database of studies that can be reached and written ({reason})"
        # From None: the cause may quote the URL as it is.
        raise ConfigError(Problem(WHERE, rule, shown, remedy)) from None


def _set_up(url: URL, heartbeat: int, n_connections: int) -> RDBStorage:
    """Connects to a database, and makes its tables unless they are there."""
    text = url.render_as_string(hide_password=False)
    for n_left in reversed(range(_MOST_TRIES_TO_SET_UP)):
        try:
            if url.get_backend_name() == "sqlite":
                arguments = {"connect_args": {"timeout": _SQLITE_TIMEOUT}}
                return StudyDatabase(text, arguments, heartbeat)
            return PatientDatabase(text, _server_arguments(url, n_connections), heartbeat)
        except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
            # Another process may be making the tables at this moment.
            if n_left == 0 or not _is_made_already(error):
                raise
            time.sleep(random.uniform(0.1, 0.5))
    raise AssertionError("the last try returns or raises")


def _server_arguments(url: URL, n_connections: int) -> dict[str, Any]:
    is_libpq = url.drivername in _LIBPQ_DRIVERS
    given = {name: value for name, value in _LIBPQ_TIMEOUTS.items() if name not in url.query}
    return {
        "pool_pre_ping": True,
        # Servers allow a hundred connections or so: one for each process, and another for the
        # moment in which its training and its sign of life both need one.
        "pool_size": n_connections,
        "connect_args": given if is_libpq else {},
    }


def _is_made_already(error: Exception) -> bool:
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, sqlalchemy.exc.IntegrityError) or "already exists" in str(cause)
