"""``rllama-sb3 storage-proxy``: one process between many workers and the database."""

from __future__ import annotations

import time
from typing import Annotated

import typer


def storage_proxy(
    storage: Annotated[
        str,
        typer.Option(
            metavar="URL",
            envvar="RLLAMA_SB3_STORAGE",
            help="The database of the studies.",
            show_default=False,
            show_envvar=True,
        ),
    ],
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for all of this machine.")
    ] = "localhost",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="The port to listen on.")] = 13_000,
) -> None:
    """Stand between the workers of a search and its database.

    For more workers than the database takes connections. On the other machines:
    tune ... --storage grpc://<this machine>:<port>. There is no password: let nobody reach the port
    who may not change the studies.

    Ctrl-C ends it; searches wait some minutes for another one at the same place.
    """
    import optuna

    from rllama_sb3.cli.console import get_console, say
    from rllama_sb3.optimization.storage import open_database
    from rllama_sb3.optimization.storage.proxy import N_THREADS, proxy_url, serving
    from rllama_sb3.optimization.storage.url import is_file, shown_storage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    console = get_console()
    # Processes that write to one file at the same moment wait for each other, and not in turn.
    n_threads = 1 if is_file(storage) else N_THREADS
    database = open_database(storage, n_connections=n_threads)
    with serving(database, host=host, port=port, n_threads=n_threads):
        address = proxy_url(host, port)
        say(console, f"Serving {shown_storage(storage)} at {address}. Ctrl-C ends it.")
        while True:
            time.sleep(3600)
