"""``rllama-sb3 schema``: the JSON schema of the experiment file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rllama_sb3.cli.options import Imports, import_modules
from rllama_sb3.errors import ConfigError, Problem


def schema(
    out: Annotated[
        Path | None, typer.Option(help="Write to this file.", show_default="standard output")
    ] = None,
    imports: Imports = None,
) -> None:
    """Print the JSON schema of the experiment file.

    Editors complete and check experiment files by it.
    """
    import_modules(imports or ())
    text = json.dumps(_build_schema(), indent=2)
    if out is None:
        typer.echo(text)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        rule = f"must be a file that can be written ({error.strerror})"
        raise ConfigError(Problem((), rule, str(out), "Choose another.", "--out")) from None
    typer.echo(f"Wrote {out}")
    typer.echo("Editors with the YAML language server use it by the first line of a file:")
    typer.echo(f"# yaml-language-server: $schema={out}")


def _build_schema() -> dict[str, Any]:
    from rllama_sb3.algorithms import CONTRIB_ALGORITHMS, CORE_ALGORITHMS
    from rllama_sb3.config import experiment_schema
    from rllama_sb3.optimization.named import named_schemas
    from rllama_sb3.optimization.pruners import pruner_schemas
    from rllama_sb3.optimization.samplers import SAMPLERS
    from rllama_sb3.rewards import component_registry
    from rllama_sb3.rewards.component import load_entry_points
    from rllama_sb3.rewards.parameters import parameters_schema
    from rllama_sb3.rewards.schedules import schedule_registry, schedule_schema

    load_entry_points()
    return experiment_schema(
        {name: parameters_schema(factory) for name, factory in component_registry().items()},
        {name: schedule_schema(name) for name in schedule_registry()},
        (*CORE_ALGORITHMS, *CONTRIB_ALGORITHMS),
        named_schemas(SAMPLERS),
        pruner_schemas(),
    )
