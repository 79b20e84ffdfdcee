"""``rllama-sb3 check``: looks at a reward before anything is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rllama_sb3.cli.app import FAILED
from rllama_sb3.cli.options import ConfigFile, Imports, Overrides, import_modules


def check(
    config: ConfigFile,
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes to roll.")] = 20,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN_OR_MODEL",
            help="Roll a trained model as well: a training's or study's folder, or a model.zip.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seeds the episodes.", show_default="follows training.seed"),
    ] = None,
    overrides: Overrides = None,
    imports: Imports = None,
) -> None:
    """Check what a reward pays, before training on it.

    Rolls episodes of random actions, and reports what each component pays and whether it can
    change the task. Ends with exit code 1 when there is a real problem.
    """
    import_modules(imports or ())
    from rllama_sb3.analysis.check import check as run_check
    from rllama_sb3.cli.check_display import CheckDisplay, show_report
    from rllama_sb3.cli.console import get_console, say
    from rllama_sb3.experiment import load_config

    experiment = load_config(config, overrides=overrides or ())
    console = get_console()
    steps = f"{experiment.training.total_timesteps:,} steps"
    say(console, f"Checking {config}: {experiment.algorithm.name} on {experiment.env.id}, {steps}")
    display = CheckDisplay(console, n_episodes=episodes)
    with display.shown():
        report = run_check(
            experiment, n_episodes=episodes, model=model, seed=seed, on_episode=display.update
        )
    show_report(console, report)
    if not report.ok:
        raise typer.Exit(FAILED)
