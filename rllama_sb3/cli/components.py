"""``rllama-sb3 components``: what a config can name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rllama_sb3.cli.options import Imports, import_modules

if TYPE_CHECKING:
    from rich.table import Table


def components(imports: Imports = None) -> None:
    """List the components and schedules for configs.

    Each with its parameters, their defaults, and what it is.
    """
    import_modules(imports or ())
    from rllama_sb3.cli.console import get_console
    from rllama_sb3.rewards import component_registry
    from rllama_sb3.rewards.component import load_entry_points
    from rllama_sb3.rewards.schedules import schedule_registry

    load_entry_points()
    console = get_console()
    console.print(_render_table("Components", "class", component_registry()))
    console.print(_render_table("Schedules", "schedule_type", schedule_registry()))


def _render_table(title: str, key: str, registry: Mapping[str, Callable[..., Any]]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in (key, "parameters", "what it is"):
        table.add_column(heading, overflow="fold")
    for name, factory in sorted(registry.items()):
        table.add_row(name, _render_parameters(factory), _first_line(factory))
    return table


def _render_parameters(factory: Callable[..., Any]) -> str:
    from rllama_sb3.rewards.signature import parameters_of

    return ", ".join(
        parameter.name if parameter.required else f"{parameter.name}={parameter.default!r}"
        for parameter in parameters_of(factory)
    )


def _first_line(factory: Callable[..., Any]) -> str:
    doc = inspect.getdoc(factory) or ""
    return doc.partition("\n")[0].removesuffix("::").rstrip(":")
