"""``rllama-sb3 compare``: configs side by side on the same seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rllama_sb3.cli.app import INTERRUPTED
from rllama_sb3.cli.options import Imports, Jobs, Overrides, import_modules
from rllama_sb3.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from rllama_sb3.analysis import Comparison
    from rllama_sb3.config import ExperimentConfig


def compare(
    configs: Annotated[
        list[Path],
        typer.Argument(
            metavar="CONFIG...",
            help="Experiment files; the first is the one to beat.",
            show_default=False,
        ),
    ],
    n_seeds: Annotated[int, typer.Option(min=1, help="Test seeds for each config.")] = 5,
    out: Annotated[
        Path | None,
        typer.Option(help="A folder for results; finished runs there are not repeated."),
    ] = None,
    n_jobs: Jobs = None,
    overrides: Overrides = None,
    imports: Imports = None,
) -> None:
    """Compare configs by training them on the same seeds.

    They are judged by env return; the seeds are ones that no search has seen.
    """
    modules = import_modules(imports or ())
    from rllama_sb3.cli.console import get_console, say

    console = get_console()
    experiments = _load_all(configs, overrides or ())
    try:
        comparison = run_comparison(
            console, experiments, n_seeds=n_seeds, out=out, n_jobs=n_jobs, imports=modules
        )
    except KeyboardInterrupt:
        kept = "Pass --out to keep finished runs next time."
        if out is not None:
            kept = f"Finished runs are in {out}; the same command continues from there."
        say(console, f"Interrupted. {kept}")
        raise typer.Exit(INTERRUPTED) from None
    show_comparison(console, comparison, out)


def run_comparison(
    console: Console,
    experiments: Mapping[str, ExperimentConfig],
    *,
    n_seeds: int,
    out: Path | None,
    n_jobs: int | None,
    imports: Sequence[str],
) -> Comparison:
    """Compares configs, showing how far it is."""
    from rllama_sb3 import analysis
    from rllama_sb3.cli.comparison_display import ComparisonDisplay

    display = ComparisonDisplay(console, n_runs=len(experiments) * n_seeds)
    with display.shown():
        return analysis.compare(
            experiments,
            n_seeds=n_seeds,
            out=out,
            n_jobs=n_jobs,
            imports=imports,
            on_result=display.show_result,
        )


def show_comparison(console: Console, comparison: Comparison, out: Path | None) -> None:
    """Prints the table and the verdict, and writes both and a plot to a folder."""
    from rllama_sb3.analysis.plots import write_comparison_plot
    from rllama_sb3.cli.comparison_table import describe_winner, render_comparison
    from rllama_sb3.cli.console import say

    console.print(render_comparison(comparison))
    say(console, describe_winner(comparison))
    if out is not None:
        comparison.to_csv(out / "comparison.csv")
        write_comparison_plot(comparison, out / "comparison.html")
        say(console, f"Comparison: {out / 'comparison.csv'}, {out / 'comparison.html'}")


def _load_all(files: Sequence[Path], overrides: Sequence[str]) -> dict[str, ExperimentConfig]:
    from rllama_sb3.experiment import load_config

    loaded, problems = {}, []
    for file in files:
        try:
            loaded[_name_of(file, files)] = load_config(file, overrides=overrides)
        except ConfigError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise ConfigError(*problems)
    return loaded


def _name_of(file: Path, files: Sequence[Path]) -> str:
    same_stem = [other for other in files if other.stem == file.stem]
    return file.stem if len(same_stem) == 1 else str(file)
