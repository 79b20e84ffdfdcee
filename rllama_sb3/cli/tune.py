"""``rllama-sb3 tune``: searches reward and hyperparameters together, and checks what was found."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rllama_sb3.cli.app import INTERRUPTED
from rllama_sb3.cli.options import (
    ConfigFile,
    Imports,
    Jobs,
    Overrides,
    file_name,
    import_modules,
    settings,
)

if TYPE_CHECKING:
    from rich.console import Console

    from rllama_sb3.config import ExperimentConfig
    from rllama_sb3.optimization import BayesianRewardOptimizer


def tune(
    config: ConfigFile,
    n_trials: Annotated[
        int | None,
        typer.Option(
            help="Trials of the study in total, instead of tuning.n_trials.", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Instead of tuning.seed, which all others follow.", show_default=False),
    ] = None,
    study_name: Annotated[
        str | None, typer.Option(help="What the study is called.", show_default="as the file")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The folder for results.", show_default="runs/tune/<study name>"),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="RLLAMA_SB3_STORAGE",
            help="Where the study is kept, of which other machines may run trials too.",
            show_default="study.db in the folder",
            show_envvar=True,
        ),
    ] = None,
    warm_start: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Try first what another search found: a best.yaml, a folder of results, or "
            "URL#STUDY.",
            show_default=False,
        ),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(help="Train what was found, and the file's config, on test seeds."),
    ] = True,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that run trials side by side.", show_default="cores"),
    ] = None,
    n_jobs: Jobs = None,
    overrides: Overrides = None,
    imports: Imports = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show only the result of the search.")
    ] = False,
) -> None:
    """Search reward and hyperparameters together.

    Trials are judged by the env return, and the best are compared on seeds that no trial saw.

    The same command again goes on where it stopped, or reports a search that is finished.
    """
    modules = import_modules(imports or ())
    from loky import cpu_count

    from rllama_sb3.cli.console import get_console, say
    from rllama_sb3.cli.search_report import own_command, say_places

    own = settings(overrides, tuning__n_trials=n_trials, tuning__seed=seed)
    console = get_console()
    name = config.stem if study_name is None else study_name
    out = out or Path("runs") / "tune" / file_name(name)
    storage = storage or f"sqlite:///{out / 'study.db'}"
    try:
        experiment, optimizer = _search(
            console,
            config,
            own,
            name,
            storage,
            out,
            warm_start=warm_start,
            n_workers=workers or cpu_count(),
            imports=modules,
            quiet=quiet,
        )
        winner = None
        if compare:
            winner = _compare(console, experiment, optimizer, out, n_jobs=n_jobs, imports=modules)
    except KeyboardInterrupt:
        say(
            console,
            f"Interrupted. What was finished is kept in {out}; the same command continues:",
            own_command(sys.argv[1:], storage),
        )
        raise typer.Exit(INTERRUPTED) from None
    say_places(console, out, storage, winner)


def _search(
    console: Console,
    file: Path,
    overrides: Sequence[str],
    study_name: str,
    storage: str,
    out: Path,
    *,
    warm_start: str | None,
    n_workers: int,
    imports: Sequence[str],
    quiet: bool,
) -> tuple[ExperimentConfig, BayesianRewardOptimizer]:
    """Runs the trials that are missing, and says what came out."""
    import optuna

    from rllama_sb3.cli.console import say
    from rllama_sb3.cli.pareto_table import render_front
    from rllama_sb3.cli.search_report import describe_search, describe_unpruned
    from rllama_sb3.cli.study_display import StudyDisplay
    from rllama_sb3.config import parse_experiment
    from rllama_sb3.experiment import load_config, located_in
    from rllama_sb3.optimization import BayesianRewardOptimizer
    from rllama_sb3.optimization.study.ranking import best_trial, pareto_front

    # Its own lines would go between those of the display, and say the same.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    experiment = load_config(file, overrides=overrides)
    display = StudyDisplay(console, experiment, quiet=quiet)
    with located_in(file, overrides):
        optimizer = BayesianRewardOptimizer(
            experiment,
            study_name=study_name,
            storage=storage,
            out=out,
            warm_start=warm_start,
            n_workers=min(n_workers, experiment.tuning.n_trials),
            imports=imports,
            on_poll=display.update,
        )
        if not quiet:
            algorithm, env_id = experiment.algorithm.name, experiment.env.id
            say(console, f"Tuning {algorithm} on {env_id}: study {study_name!r} in {out}")
            # As the first trial has it, with the defaults of what is searched.
            unpruned = describe_unpruned(parse_experiment(optimizer.base_config))
            if unpruned is not None:
                say(console, unpruned)
        with display.shown(optimizer.search_space):
            _, _, study = optimizer.optimize()
    best = best_trial(study)
    assert best is not None  # Or the search would have ended with an error.
    say(console, describe_search(study.get_trials(deepcopy=False), best))
    if experiment.tuning.objectives:
        front = pareto_front(study)
        say(console, f"No trial is better in all objectives than these {len(front)}, pareto.csv:")
        console.print(render_front(front, list(experiment.tuning.objectives)))
    return experiment, optimizer


def _compare(
    console: Console,
    experiment: ExperimentConfig,
    optimizer: BayesianRewardOptimizer,
    out: Path,
    *,
    n_jobs: int | None,
    imports: Sequence[str],
) -> Path | None:
    """Trains the best configs and the base on test seeds, and says what holds there.

    Returns:
        The config of the winner, where that is a trial that was not the best in the search.
    """
    from rllama_sb3.analysis.candidates import BASE_NAME, choose_candidates, file_of_winner
    from rllama_sb3.cli.compare import run_comparison, show_comparison
    from rllama_sb3.cli.console import say

    candidates = choose_candidates(experiment, optimizer)
    if BASE_NAME not in candidates:
        say(console, "Your config diverged in the search, and is left out of what follows.")
    say(
        console,
        "A value from the search is partly luck. So the best configs and yours are now trained "
        f"again on test seeds ({experiment.tuning.n_test_seeds}) that the search has not seen:",
    )
    comparison = run_comparison(
        console,
        candidates,
        n_seeds=experiment.tuning.n_test_seeds,
        out=out,
        n_jobs=n_jobs,
        imports=imports,
    )
    show_comparison(console, comparison, out)
    return file_of_winner(comparison.best.name, optimizer, out)
