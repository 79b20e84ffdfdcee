"""Arguments that several commands share, and what they have in common when they start."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from rllama_sb3.errors import ConfigError, Problem

ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The experiment file.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY.PATH=VALUE",
        help="Override a value of the file; can be repeated.",
        show_default=False,
    ),
]
Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        help="Import a module that registers components or environments; can be repeated.",
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("--n-jobs", min=1, help="Trainings at the same time.", show_default="cores"),
]


def import_modules(names: Iterable[str]) -> tuple[str, ...]:
    """Imports what ``--import`` names, also from the current folder; returns the names.

    Raises:
        ConfigError: A name is not one of a module, or the module does not exist. What goes wrong
            *inside* one is not hidden.
    """
    # A console script has its own folder on the path, where `python -m` has the current one.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    imported = []
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            rule, remedy = "must be the dotted name of a module", "Write my_package.rewards."
            raise ConfigError(Problem((), rule, name, remedy, "--import"))
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not _is_part_of(error.name, name):
                raise
            rule = f"must be a module that can be imported ({error})"
            remedy = f"It is looked for in the installed packages and in {os.getcwd()}."
            if name.endswith(".py"):
                remedy = "Name it without .py."
            problem = Problem((), rule, name, remedy, "--import")
            raise ConfigError(problem) from None
        imported.append(name)
    return tuple(imported)


def settings(overrides: Iterable[str] | None, **given: int | None) -> list[str]:
    """Returns overrides, followed by those of options that stand for a config value.

    Example:
        >>> settings(["env.n_envs=2"], training__seed=3, tuning__n_trials=None)
        ['env.n_envs=2', 'training.seed=3']
    """
    own = [f"{key.replace('__', '.')}={value}" for key, value in given.items() if value is not None]
    return [*(overrides or ()), *own]


def file_name(text: str) -> str:
    """Returns text as a part of a file name.

    Example:
        >>> file_name("ALE/Pong-v5")
        'ALE-Pong-v5'
    """
    return re.sub(r"[^\w.+-]+", "-", text).strip("-") or "unnamed"


def next_folder(parent: Path, stem: str) -> Path:
    """Returns ``parent/stem_<n>`` with the first n that is above all that exist."""
    taken = [
        int(path.name.removeprefix(f"{stem}_"))
        for path in (parent.iterdir() if parent.is_dir() else ())
        if path.name.startswith(f"{stem}_") and path.name.removeprefix(f"{stem}_").isdecimal()
    ]
    return parent / f"{stem}_{max(taken, default=0) + 1}"


def _is_part_of(missing: str | None, name: str) -> bool:
    return missing is not None and (name == missing or name.startswith(f"{missing}."))
