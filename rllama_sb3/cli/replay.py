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
    from optuna.study import Study
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

    All its numbers come out the same to the last bit, or the exit code is 1. With --new-seeds it is
    trained on seeds that no search has seen, which tells how good it is without the luck that chose
    it.
    """
    modules = import_modules(imports or ())
    found_in = _find_study(study, study_name, trial)
    if new_seeds is not None:
        chosen = found_in.get_trials(deepcopy=False)[trial]
        _train_on_new_seeds(chosen, new_seeds, n_jobs, modules)
        return
    from rllama_sb3.analysis.replay import replay as train_again
    from rllama_sb3.cli.console import format_number, get_console, say

    console = get_console()
    say(console, f"Training trial {trial} again ...")
    found = train_again(
        found_in,
        trial,
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
    for index, (then, now) in enumerate(zip(found.recorded, found.curves, strict=False)):
        for (step, old), (_, new) in zip(then, now, strict=False):
            if old != new:
                lines.append(
                    f"seed {index}, {step:,} steps: env return {new!r}, but it was {old!r}."
                )
    n = sum(map(len, found.recorded))
    evaluations = "the only evaluation" if n == 1 else f"all {n} evaluations"
    if not found.is_identical:
        if found.state == "diverged" and found.values:
            lines.append("It had diverged, and does not now.")
        elif found.recorded_values not in ((), found.values):
            was, again = (", ".join(map(repr, v)) for v in (found.recorded_values, found.values))
            lines.append(f"It was worth {was}, and is worth {again or 'nothing: it diverges'}.")
        lines.append(
            f"Trial {found.number} did not come out the same. Another machine, or other versions "
            "of torch or NumPy, can do that; see run.json in the folder of the trial."
        )
    elif found.recorded_values:
        value = ", ".join(map(repr, found.values))
        lines.append(f"The value {value} and {evaluations} came out the same, to the last bit.")
    elif found.state == "diverged":
        lines.append(f"It diverged again, and {evaluations} came out the same, to the last bit.")
    else:
        end = f"it is worth {format_number(found.values[0])}" if found.values else "it diverges"
        lines.append(
            f"The trial had ended as {found.state}; {evaluations} until then came out the same, to "
            f"the last bit. Trained to its end {end}."
        )
    return lines


def _train_on_new_seeds(
    trial: FrozenTrial, n_seeds: int, n_jobs: int | None, imports: Sequence[str]
) -> None:
    from rllama_sb3.analysis.replay import config_of
    from rllama_sb3.cli.compare import run_comparison
    from rllama_sb3.cli.comparison_table import render_comparison
    from rllama_sb3.cli.console import format_number, get_console, say
    from rllama_sb3.optimization.study.ranking import has_diverged, main_value

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
    value = None if has_diverged(trial) else main_value(trial)
    searched = "no value" if value is None else format_number(value)
    say(console, f"In the search it came to {searched}, on the seeds that the search saw.")


def _find_study(place: str, study_name: str | None, number: int) -> Study:
    import optuna

    from rllama_sb3.optimization.storage import open_storage
    from rllama_sb3.optimization.storage.url import shown_path

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if "://" not in place:
        file = Path(place) / "study.db"
        if not file.is_file():
            rule = "must be the folder of a search with its study.db, or the URL of its storage"
            raise ConfigError(Problem(("STUDY",), rule, shown_path(place)))
        place = f"sqlite:///{file}"
    storage = open_storage(place, may_make=False)
    names = sorted(study.study_name for study in storage.get_all_studies())
    if study_name is None and len(names) == 1:
        study_name = names[0]
    if study_name not in names:
        if not names:
            raise ConfigError(Problem(("STUDY",), "must be a storage that has a study"))
        rule = f"must be one of {', '.join(names)}"
        raise ConfigError(Problem(("--study-name",), rule, study_name))
    study = optuna.load_study(study_name=study_name, storage=storage)
    n_trials = len(study.get_trials(deepcopy=False))
    if number >= n_trials:
        rule = f"must be the number of one of {n_trials} trials, from 0 on"
        raise ConfigError(Problem(("--trial",), rule, number))
    return study
