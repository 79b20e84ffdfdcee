"""The application: quick help, exit codes, and how errors reach the user."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import typer
from command_line import run, start
from typer.testing import CliRunner

import rllama_sb3
from rllama_sb3.cli.app import app as real_app
from rllama_sb3.errors import ConfigError, Problem, RllamaError

COMMANDS = ["init", "check", "train", "tune", "evaluate", "compare", "components", "schema"]


def fail_with(error: BaseException) -> typer.Typer:
    """The application, with a command that raises."""
    app = typer.Typer(cls=real_app.info.cls, pretty_exceptions_enable=False)
    app.callback()(lambda: None)

    @app.command()
    def broken() -> None:
        raise error

    return app


def test_help_lists_the_commands_in_the_order_of_their_use() -> None:
    lines = run("--help").stdout.splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ") and line.split()]
    assert [word for word in listed if word in COMMANDS] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_help_answers_well_under_half_a_second() -> None:
    command = [sys.executable, "-m", "rllama_sb3", "--help"]
    root = Path(rllama_sb3.__file__).parents[1]
    before = os.times()
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    after = os.times()
    # The time it needs; a clock would measure what else the machine does.
    user = after.children_user - before.children_user
    system = after.children_system - before.children_system
    assert user + system < 0.4


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, rllama_sb3.cli; "
        "heavy = {'numpy', 'torch', 'optuna', 'gymnasium', 'pydantic', 'scipy', 'yaml', 'rich'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = Path(rllama_sb3.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_told() -> None:
    assert run("--version").stdout == f"rllama-sb3 {rllama_sb3.__version__}\n"


def test_bad_input_is_one_line_for_each_problem_and_exit_code_2() -> None:
    error = ConfigError(Problem(("env", "id"), "must be text", 3), Problem(("a",), "unknown key"))
    result = CliRunner().invoke(fail_with(error), ["broken"])
    assert result.exit_code == 2
    assert result.stderr == "env.id: must be text, but got 3.\na: unknown key.\n"
    assert result.stdout == ""


def test_a_failure_is_its_message_and_exit_code_1() -> None:
    result = CliRunner().invoke(fail_with(RllamaError("it failed")), ["broken"])
    assert (result.exit_code, result.stderr) == (1, "it failed\n")


def test_ctrl_c_is_exit_code_130() -> None:
    result = CliRunner().invoke(fail_with(KeyboardInterrupt()), ["broken"])
    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")


def test_an_error_that_nobody_planned_keeps_its_traceback() -> None:
    result = CliRunner().invoke(fail_with(ZeroDivisionError("oops")), ["broken"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_warnings_for_the_user_come_without_their_place_in_the_code() -> None:
    app = fail_with(RllamaError("x"))

    @app.command()
    def warning() -> None:
        print(warnings.formatwarning("look out", UserWarning, "file.py", 3), end="")
        print(warnings.formatwarning("old", DeprecationWarning, "file.py", 3), end="")

    usual = warnings.formatwarning
    result = CliRunner().invoke(app, ["warning"])
    assert result.stdout.startswith("warning: look out\nfile.py:3: DeprecationWarning: old")
    assert warnings.formatwarning is usual


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "No such command 'trian'"),
        (["train"], "Missing argument 'CONFIG'"),
        (["train", "nope.yaml"], "nope.yaml: must be an existing file"),
    ],
)
def test_the_process_ends_with_2_on_bad_input(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    process = start(*arguments, cwd=tmp_path)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert message in output
    assert "Traceback" not in output
    assert list(tmp_path.iterdir()) == []
