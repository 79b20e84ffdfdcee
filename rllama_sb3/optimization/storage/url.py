"""URLs of storages: what they mean, and how they are shown without their passwords."""

from __future__ import annotations

import re
from pathlib import Path as FilePath
from typing import Any, Final

import sqlalchemy
from sqlalchemy.engine import URL

from rllama_sb3.errors import ConfigError, Path, Problem, did_you_mean

WHERE: Final[Path] = ("storage",)
EXAMPLE: Final = "Write for example sqlite:///study.db."
PROXY: Final = "grpc"
_SCHEMES: Final = ("sqlite", "postgresql", "mysql")
# Arguments of a URL that are no secrets.
_SHOWN_ARGUMENTS: Final = ("host", "port", "sslmode")
_ARGUMENT: Final = re.compile(rf"([?&](?!(?:{'|'.join(_SHOWN_ARGUMENTS)})=)\w+=)[^&#\s]*")
# A password may have anything in it if it was not encoded; what names a file has none.
_CREDENTIALS: Final = re.compile(r"(?<!sqlite)://([^:/@\s]*)(\S*)@")


def parse_url(text: str) -> URL:
    """Returns the URL of a storage in parts, with its driver.

    Raises:
        ConfigError: It is malformed or of another kind. The message has no password in it.
    """
    rule = "must be a URL of sqlite, postgresql, mysql or grpc (a storage proxy)"
    scheme, separator, _ = text.partition("://")
    if not separator or not re.fullmatch(r"[\w+.-]*", scheme):
        raise ConfigError(Problem(WHERE, rule, shown_path(text), EXAMPLE))
    known = (*_SCHEMES, PROXY)
    if scheme.partition("+")[0] not in known:
        near = did_you_mean(scheme.partition("+")[0], known)
        remedy = near if near.startswith("Did") else EXAMPLE
        raise ConfigError(Problem(WHERE, rule, f"{scheme}://...", remedy))
    try:
        url = sqlalchemy.make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        remedy = "Write scheme://user:password@host:port/database, or sqlite:///file."
        # From None: the cause quotes the URL as it is.
        raise ConfigError(Problem(WHERE, rule, f"{scheme}://...", remedy)) from None
    _check_parts(url)
    if url.drivername == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    return url


def is_file(storage: str) -> bool:
    """Whether a URL is that of a file, which is written by one process at a time."""
    return parse_url(storage).get_backend_name() == "sqlite"


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
    places = [_place_of(parse_url(text)) for text in (one, other)]
    return places[0] == places[1]


def shown_storage(storage: str) -> str:
    """Returns the URL of a storage that :func:`open_storage` opens, without its password.

    Example:
        >>> shown_storage("sqlite:///study.db")
        'sqlite:///study.db'
    """
    return redact_url(parse_url(storage))


def _check_parts(url: URL) -> None:
    """Checks that a URL means what it seems to; what it does not may be half of a password."""
    shown = f"{url.drivername}://..."
    if url.get_backend_name() != "sqlite" and "@" in f"{url.host}{url.database}":
        rule = "must have one @, in front of the host"
        remedy = "Write %40 for an @ in the password, and %2F for a slash."
        raise ConfigError(Problem(WHERE, rule, shown, remedy))
    is_proxy = url.get_backend_name() == PROXY
    if is_proxy and (url.username or url.password or url.database or url.query):
        rule = "must be grpc://host:port and no more, as a proxy asks for no password or database"
        raise ConfigError(Problem(WHERE, rule, shown))


def _place_of(url: URL) -> tuple[Any, ...]:
    if url.get_backend_name() == "sqlite":
        return (FilePath(url.database or "").resolve(),)
    # A socket's folder is given as an argument.
    host = url.host or url.query.get("host")
    return url.get_backend_name(), host, url.port, url.database
