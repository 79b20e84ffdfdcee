"""Where a study is kept: in memory, in a file, or in a database server."""

from __future__ import annotations

import warnings
from pathlib import Path as FilePath
from typing import Any, Final

import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import (
    BaseStorage,
    InMemoryStorage,
    RDBStorage,
    RetryHeartbeatStaleTrialCallback,
    get_storage,
)
from sqlalchemy.engine import URL

from rllama_sb3.errors import ConfigError, MissingExtraError, Path, Problem, did_you_mean
from rllama_sb3.optimization.patient_storage import PatientStorage

_WHERE: Final[Path] = ("storage",)
_SCHEMES: Final = ("sqlite", "postgresql", "mysql")
_EXAMPLE: Final = "Write for example sqlite:///study.db."
# Seconds that a writer waits for another one, such as the dashboard, before it gives up.
_SQLITE_TIMEOUT: Final = 60
HEARTBEAT_SECONDS: Final = 15
_GRACE: Final = 4
# How often a trial is tried again whose process was ended from outside.
MOST_RETRIES: Final = 2


def open_storage(
    storage: str | BaseStorage | None, *, heartbeat: int = HEARTBEAT_SECONDS
) -> BaseStorage:
    """Opens the storage of a study, and sees that it answers.

    Trials in a database give a sign of life from time to time while they run; one that has given
    none for four times as long is failed by whoever starts a trial next, and tried again, at most
    twice (``RetryHeartbeatStaleTrialCallback``). So the trials of a machine that is gone are taken
    over by the others.

    Args:
        storage: ``None`` for memory only, an Optuna storage, or a URL: ``sqlite:///folder/study.db``
            (the folder is made), ``postgresql://user:password@host/database``, ``mysql://...``.
        heartbeat: Seconds from one sign of life to the next.

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
        rllama_sb3.errors.ConfigError: storage: must be a URL of sqlite, postgresql or mysql, ...
    """
    if storage is None:
        return InMemoryStorage()
    if not isinstance(storage, str):
        if not isinstance(storage, BaseStorage):
            rule = "must be a URL, an Optuna storage or None"
            raise ConfigError(Problem(_WHERE, rule, storage, _EXAMPLE))
        return get_storage(storage)
    url = _parse_url(storage)
    if url.get_backend_name() == "sqlite":
        _make_parent(url)
    return _open(url, heartbeat)


def redact_url(url: URL) -> str:
    """Returns a URL without its password.

    Example:
        >>> redact_url(sqlalchemy.make_url("postgresql://me:secret@host/study?sslkey=secret"))
        'postgresql://me:***@host/study'
    """
    # Drivers take passwords among the query's arguments too.
    return url.set(query={}).render_as_string(hide_password=True)


def shown_storage(storage: str) -> str:
    """Returns the URL of a storage that :func:`open_storage` opens, without its password.

    Example:
        >>> shown_storage("sqlite:///study.db")
        'sqlite:///study.db'
    """
    return redact_url(_parse_url(storage))


def _parse_url(text: str) -> URL:
    rule = "must be a URL of sqlite, postgresql or mysql"
    scheme, separator, _ = text.partition("://")
    if not separator:
        # What has no scheme is most likely a path, and has no password either, unless it has an @.
        shown = "<text with @>" if "@" in text else text
        raise ConfigError(Problem(_WHERE, rule, shown, _EXAMPLE))
    if scheme.partition("+")[0] not in _SCHEMES:
        near = did_you_mean(scheme.partition("+")[0], _SCHEMES)
        remedy = near if near.startswith("Did") else _EXAMPLE
        raise ConfigError(Problem(_WHERE, rule, f"{scheme}://...", remedy))
    try:
        url = sqlalchemy.make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        remedy = "Write scheme://user:password@host:port/database, or sqlite:///file."
        # From None: the cause quotes the URL as it is.
        raise ConfigError(Problem(_WHERE, rule, f"{scheme}://...", remedy)) from None
    if url.drivername == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    return url


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


def _open(url: URL, heartbeat: int) -> BaseStorage:
    is_sqlite = url.get_backend_name() == "sqlite"
    arguments: dict[str, Any] = {"pool_pre_ping": True}
    if is_sqlite:
        arguments = {"connect_args": {"timeout": _SQLITE_TIMEOUT}}
    shown = redact_url(url)
    try:
        text = url.render_as_string(hide_password=False)
        # Optuna fills in {placeholders}.
        text = text.replace("{", "{{").replace("}", "}}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            backend = (RDBStorage if is_sqlite else PatientStorage)(
                text,
                engine_kwargs=arguments,
                heartbeat_interval=heartbeat,
                grace_period=_GRACE * heartbeat,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(MOST_RETRIES),
            )
        return get_storage(backend)
    except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
        if url.drivername == "postgresql+psycopg":
            raise MissingExtraError("A study in PostgreSQL", "postgres") from error
        rule, remedy = "must use a database driver that is installed", "Install it with pip."
        raise ConfigError(Problem(_WHERE, rule, shown, remedy)) from error
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        rule = f"must be a database of studies that can be reached and written ({_reason(error)})"
        remedy = (
            "See that the file is one of Optuna's, and that you may write to it and its folder."
            if is_sqlite
            else "See that the server runs, and that host, database and user are right."
        )
        # From None: the cause may quote the URL as it is.
        raise ConfigError(Problem(_WHERE, rule, shown, remedy)) from None


def _reason(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    original = getattr(cause, "orig", None) or cause or error
    lines = str(original).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(original).__name__
