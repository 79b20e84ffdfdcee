"""``rllama-sb3 replay``: trains a trial of a search again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rllama_sb3.cli.app import FAILED
from rllama_sb3.cli.options import Imports, Jobs, import_modules
from rllama_sb3.errors import ConfigError, Problem

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from rllama_sb3.analysis.replay import Replay


def replay(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            help="The folder of a search, or the URL of a database of studies.",
            show_default=False,
        ),
    ],
    trial: Annotated[int, typer.Option(min=0, help="The number of the trial.")],
    study_name: Annotated[
        str | None,
        typer.Option(help="Which study, where there are several.", show_default="the only one"),
    ] = None,
    new_seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Train on so many seeds that no search has seen, instead."),
    ] = None,
    n_jobs: Jobs = None,
    imports: Imports = None,
) -> None:
    """Train a trial of a search again.

    Its evaluations come out the same to the last bit, or the exit code is 1. With --new-seeds it is
    trained on seeds that no search has seen, which tells how good it is without the luck that chose
    it.
    """
    modules = import_modules(imports or ())
    chosen = _find_trial(study, study_name, trial)
    if new_seeds is not None:
        _train_on_new_seeds(chosen, new_seeds, n_jobs, modules)
        return
    from rllama_sb3.analysis.replay import replay as train_again
    from rllama_sb3.cli.console import format_number, get_console, say

    console = get_console()
    say(console, f"Training trial {trial} again ...")
    found = train_again(
        chosen,
        on_evaluation=lambda evaluation: say(
            console,
            f"evaluation at {evaluation.global_step:,} steps: "
            f"env return {format_number(evaluation.mean)}",
        ),
    )
    say(console, *_describe(found))
    if not found.is_identical:
        raise typer.Exit(FAILED)


def _describe(found: Replay) -> list[str]:
    from rllama_sb3.cli.console import format_number

    lines = []
    for index, (then, now) in enumerate(zip(found.recorded, found.curves, strict=True)):
        for (step, old), (_, new) in zip(then, now, strict=False):
            if old != new:
                lines.append(
                    f"seed {index}, {step:,} steps: env return {new!r}, but it was {old!r}."
                )
    n_evaluations = sum(map(len, found.recorded))
    if not found.is_identical:
        lines.append(
            f"Trial {found.number} did not come out the same. Another machine, or other versions "
            "of torch or NumPy, can do that; see run.json in the folder of the trial."
        )
    elif found.recorded_value is None:
        lines.append(
            f"All {n_evaluations} evaluations came out the same to the last bit. The trial had "
            f"ended as {found.state}; trained to its end it is worth {format_number(found.value)}."
        )
    else:
        lines.append(
            f"The value {found.value!r} and all {n_evaluations} evaluations came out the same, to "
            "the last bit."
        )
    return lines


def _train_on_new_seeds(
    trial: FrozenTrial, n_seeds: int, n_jobs: int | None, imports: Sequence[str]
) -> None:
    from rllama_sb3.analysis.replay import config_of
    from rllama_sb3.cli.compare import run_comparison
    from rllama_sb3.cli.comparison_table import render_comparison
    from rllama_sb3.cli.console import format_number, get_console, say
    from rllama_sb3.optimization.study import main_value

    console = get_console()
    comparison = run_comparison(
        console,
        {f"trial {trial.number}": config_of(trial)},
        n_seeds=n_seeds,
        out=None,
        n_jobs=n_jobs,
        imports=imports,
    )
    console.print(render_comparison(comparison))
    value = main_value(trial)
    searched = "no value" if value is None else format_number(value)
    say(console, f"In the search it came to {searched}, on the seeds that the search saw.")


def _find_trial(place: str, study_name: str | None, number: int) -> FrozenTrial:
    import optuna

    from rllama_sb3.optimization.storage import open_storage
    from rllama_sb3.optimization.storage_url import shown_path

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if "://" not in place:
        file = Path(place) / "study.db"
        if not file.is_file():
            rule = "must be the folder of a search with its study.db, or the URL of its storage"
            raise ConfigError(Problem(("STUDY",), rule, shown_path(place)))
        place = f"sqlite:///{file}"
    storage = open_storage(place)
    names = sorted(study.study_name for study in storage.get_all_studies())
    if study_name is None and len(names) == 1:
        study_name = names[0]
    if study_name not in names:
        rule = f"must be one of {', '.join(names) or 'no studies'}"
        raise ConfigError(Problem(("--study-name",), rule, study_name))
    trials = optuna.load_study(study_name=study_name, storage=storage).get_trials(deepcopy=False)
    if number >= len(trials):
        rule = f"must be the number of one of {len(trials)} trials, from 0 on"
        raise ConfigError(Problem(("--trial",), rule, number))
    return trials[number]
