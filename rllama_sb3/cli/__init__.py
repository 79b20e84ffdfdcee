"""The command ``rllama-sb3``: one short function for each command, which delegates.

What takes long to import is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

from rllama_sb3.cli.app import app
from rllama_sb3.cli.check import check
from rllama_sb3.cli.compare import compare
from rllama_sb3.cli.components import components
from rllama_sb3.cli.evaluate import evaluate
from rllama_sb3.cli.init import init
from rllama_sb3.cli.replay import replay
from rllama_sb3.cli.schema import schema
from rllama_sb3.cli.storage_proxy import storage_proxy
from rllama_sb3.cli.train import train
from rllama_sb3.cli.tune import tune

for _command in (
    init,
    check,
    train,
    tune,
    replay,
    evaluate,
    compare,
    components,
    schema,
    storage_proxy,
):
    app.command()(_command)


def main() -> None:
    """Runs the command line.

    It ends the process with 0, 1 (failed), 2 (bad input) or 130 (Ctrl-C, SIGTERM or SIGHUP).
    """
    app(prog_name="rllama-sb3")
