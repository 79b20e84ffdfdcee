"""``rllama-sb3 train``: one training run, watched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rllama_sb3.cli.app import INTERRUPTED
from rllama_sb3.cli.options import (
    ConfigFile,
    Imports,
    Overrides,
    file_name,
    import_modules,
    next_folder,
    settings,
)

if TYPE_CHECKING:
    from rllama_sb3.training import TrainResult


def train(
    config: ConfigFile,
    seed: Annotated[
        int | None, typer.Option(help="Instead of training.seed.", show_default=False)
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Instead of training.total_timesteps.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A new folder for the run.", show_default="runs/train/<env>_<algorithm>_<n>"
        ),
    ] = None,
    overrides: Overrides = None,
    imports: Imports = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only the result.")] = False,
) -> None:
    """Train one agent, judged by the env return on the way."""
    import_modules(imports or ())
    from rllama_sb3 import training
    from rllama_sb3.callbacks.progress import ProgressCallback, TrainingProgress
    from rllama_sb3.cli.console import get_console, say, shell_line
    from rllama_sb3.cli.training_display import TrainingDisplay
    from rllama_sb3.experiment import load_config

    own = settings(overrides, training__seed=seed, training__total_timesteps=steps)
    experiment = load_config(config, overrides=own)
    if out is None:
        name = f"{file_name(experiment.env.id)}_{file_name(experiment.algorithm.name)}"
        out = next_folder(Path("runs") / "train", name)
    console = get_console()
    progress = TrainingProgress(experiment.training.total_timesteps)
    display = TrainingDisplay(progress, console, experiment.evaluation.n_evaluations, quiet=quiet)
    if not quiet:
        say(console, f"Training {experiment.algorithm.name} on {experiment.env.id} in {out}")
    try:
        with display.shown():
            result = training.train(
                experiment,
                callbacks=[ProgressCallback(progress, display.update)],
                out=out,
                on_evaluation=display.show_evaluation,
            )
    except KeyboardInterrupt:
        say(
            console,
            f"Stopped after {progress.n_steps:,} of {progress.total_timesteps:,} steps.",
            f"The model so far, its evaluations and logs are in {out}",
            f"Judge it:    {shell_line('rllama-sb3', 'evaluate', out)}",
            f"Train anew:  {shell_line('rllama-sb3', 'train', out / 'config.yaml')}",
        )
        raise typer.Exit(INTERRUPTED) from None
    say(console, *_render_result(result, out))


def _render_result(result: TrainResult, out: Path) -> list[str]:
    from rllama_sb3.cli.console import format_duration, format_number, shell_line

    last = result.evaluations[-1]
    best = max(result.evaluations, key=lambda evaluation: evaluation.mean)
    took = f"{result.n_steps:,} steps in {format_duration(result.seconds)}"
    return [
        f"env return {format_number(last.mean)} ± {format_number(last.std)} over "
        f"{len(last.env_returns)} episodes, after {took}",
        f"best evaluation {format_number(best.mean)} at {best.global_step:,} steps",
        f"Everything is in {out}: model.zip, best_model.zip, evaluations.csv, config.yaml",
        f"Judge it:    {shell_line('rllama-sb3', 'evaluate', out)}",
        f"See curves:  {shell_line('tensorboard', '--logdir', out)}",
    ]
