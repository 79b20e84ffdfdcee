"""Where a study is kept: in memory, in a file, in a database server, or behind a proxy of one."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path as FilePath
from typing import Any, Final

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage, get_storage
from sqlalchemy.engine import URL

from rllama_sb3.errors import ConfigError, MissingExtraError, Path, Problem, did_you_mean
from rllama_sb3.optimization.patience import Patience, reason_of
from rllama_sb3.optimization.patient_storage import PatientStorage, is_away
from rllama_sb3.optimization.study_database import HEARTBEAT_SECONDS, StudyDatabase

_WHERE: Final[Path] = ("storage",)
_SCHEMES: Final = ("sqlite", "postgresql", "mysql")
_PROXY: Final = "grpc"
_EXAMPLE: Final = "Write for example sqlite:///study.db."
# Arguments of a URL that are no secrets.
_SHOWN_ARGUMENTS: Final = ("host", "port", "sslmode")
_ARGUMENT: Final = re.compile(rf"([?&](?!(?:{'|'.join(_SHOWN_ARGUMENTS)})=)\w+=)[^&#\s]*")
# A password may have anything in it if it was not encoded; what names a file has none.
_CREDENTIALS: Final = re.compile(r"(?<!sqlite)://([^:/@\s]*)(\S*)@")
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
    (:mod:`rllama_sb3.optimization.patience`).

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
            raise ConfigError(Problem(_WHERE, rule, storage, _EXAMPLE))
        return get_storage(storage)
    url = _parse_url(storage)
    if url.get_backend_name() == _PROXY:
        return _open_proxy(url, is_known)
    if not may_make and is_file(storage) and not FilePath(url.database or "").is_file():
        raise ConfigError(Problem(_WHERE, "must be a file that is there", redact_url(url)))
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
    url = _parse_url(storage)
    if url.get_backend_name() == _PROXY:
        rule = "must be a URL of a database, not of another proxy"
        raise ConfigError(Problem(_WHERE, rule, redact_url(url)))
    return _open_database(url, heartbeat, n_connections=n_connections)


def is_file(storage: str) -> bool:
    """Whether a URL is that of a file, which is written by one process at a time."""
    return _parse_url(storage).get_backend_name() == "sqlite"


def redact_url(url: URL) -> str:
    """Returns a URL without its password.

    Example:
        >>> redact_url(sqlalchemy.make_url("postgresql://me:secret@host/study?sslkey=secret"))
        'postgresql://me:***@host/study'
    """
    # Drivers take passwords among the query's arguments too.
    shown = {name: value for name, value in url.query.items() if name in _SHOWN_ARGUMENTS}
    return url.set(query=shown).render_as_string(hide_password=True)


def hide_passwords(text: str) -> str:
    """Returns text, such as an argument of a command, without the passwords of URLs in it.

    Example:
        >>> hide_passwords("--warm-start=postgresql://me:secret@host/db?password=secret#study")
        '--warm-start=postgresql://me:***@host/db?password=***#study'
    """
    text = _CREDENTIALS.sub(lambda m: f"://{m[1]}:***@" if m[2] else m[0], text)
    return _ARGUMENT.sub(r"\1***", text) if "://" in text else text


def shown_path(text: str) -> str:
    """Returns what was given in place of a URL: most likely a path, unless it has an @.

    Example:
        >>> shown_path("study.db"), shown_path("me:secret@host/study")
        ('study.db', '<text with @>')
    """
    return "<text with @>" if "@" in text else text


def is_same_storage(one: str, other: str) -> bool:
    """Whether two URLs are of one storage, whoever asks and by whichever driver."""
    places = [_place_of(_parse_url(text)) for text in (one, other)]
    return places[0] == places[1]


def _place_of(url: URL) -> tuple[Any, ...]:
    if url.get_backend_name() == "sqlite":
        return (FilePath(url.database or "").resolve(),)
    # A socket's folder is given as an argument.
    host = url.host or url.query.get("host")
    return url.get_backend_name(), host, url.port, url.database


def shown_storage(storage: str) -> str:
    """Returns the URL of a storage that :func:`open_storage` opens, without its password.

    Example:
        >>> shown_storage("sqlite:///study.db")
        'sqlite:///study.db'
    """
    return redact_url(_parse_url(storage))


def _parse_url(text: str) -> URL:
    rule = "must be a URL of sqlite, postgresql, mysql or grpc (a storage proxy)"
    scheme, separator, _ = text.partition("://")
    if not separator or not re.fullmatch(r"[\w+.-]*", scheme):
        raise ConfigError(Problem(_WHERE, rule, shown_path(text), _EXAMPLE))
    known = (*_SCHEMES, _PROXY)
    if scheme.partition("+")[0] not in known:
        near = did_you_mean(scheme.partition("+")[0], known)
        remedy = near if near.startswith("Did") else _EXAMPLE
        raise ConfigError(Problem(_WHERE, rule, f"{scheme}://...", remedy))
    try:
        url = sqlalchemy.make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        remedy = "Write scheme://user:password@host:port/database, or sqlite:///file."
        # From None: the cause quotes the URL as it is.
        raise ConfigError(Problem(_WHERE, rule, f"{scheme}://...", remedy)) from None
    _check_parts(url)
    if url.drivername == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    return url


def _check_parts(url: URL) -> None:
    """Checks that a URL means what it seems to; what it does not may be half of a password."""
    shown = f"{url.drivername}://..."
    if url.get_backend_name() != "sqlite" and "@" in f"{url.host}{url.database}":
        rule = "must have one @, in front of the host"
        remedy = "Write %40 for an @ in the password, and %2F for a slash."
        raise ConfigError(Problem(_WHERE, rule, shown, remedy))
    is_proxy = url.get_backend_name() == _PROXY
    if is_proxy and (url.username or url.password or url.database or url.query):
        rule = "must be grpc://host:port and no more, as a proxy asks for no password or database"
        raise ConfigError(Problem(_WHERE, rule, shown))


def _make_parent(url: URL) -> None:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return
    path = FilePath(url.database)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        rule = f"must be a file in a folder that can be made ({error.strerror})"
        raise ConfigError(Problem(_WHERE, rule, str(path), "Choose another place.")) from error
    if path.is_dir():
        raise ConfigError(Problem(_WHERE, "must be a file, not a folder", str(path), _EXAMPLE))


def _open_proxy(url: URL, is_known: bool) -> BaseStorage:
    from rllama_sb3.optimization.storage_proxy import DEFAULT_PORT, ProxyClient

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
        raise ConfigError(Problem(_WHERE, rule, redact_url(url), remedy)) from None


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
        raise ConfigError(Problem(_WHERE, rule, shown, how)) from error
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        reason = reason_of(error)
        rule = f"must be a database of studies that can be reached and written ({reason})"
        # From None: the cause may quote the URL as it is.
        raise ConfigError(Problem(_WHERE, rule, shown, remedy)) from None


def _set_up(url: URL, heartbeat: int, n_connections: int) -> RDBStorage:
    """Connects to a database, and makes its tables unless they are there."""
    text = url.render_as_string(hide_password=False)
    for n_left in reversed(range(_MOST_TRIES_TO_SET_UP)):
        try:
            if url.get_backend_name() == "sqlite":
                arguments = {"connect_args": {"timeout": _SQLITE_TIMEOUT}}
                return StudyDatabase(text, arguments, heartbeat)
            return PatientStorage(text, _server_arguments(url, n_connections), heartbeat)
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
