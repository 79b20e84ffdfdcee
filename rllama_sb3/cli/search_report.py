"""What is said before a search, and when it has ended: what came of it, and how to go on."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rllama_sb3.cli.console import format_number, say_pairs, shell_line
from rllama_sb3.optimization.named import given_name
from rllama_sb3.optimization.objective import never_settled
from rllama_sb3.optimization.storage.url import hide_passwords, shown_storage
from rllama_sb3.optimization.study.ranking import main_value, state_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from rich.console import Console

    from rllama_sb3.config import ExperimentConfig


def describe_unpruned(experiment: ExperimentConfig) -> str | None:
    """Returns why the pruner will stop no trial like the first, if it will not for its weights."""
    tuning = experiment.tuning
    if tuning.prune_during_anneal or given_name(tuning.pruner) == "none":
        return None
    if tuning.seeds_per_trial > 1 or experiment.evaluation.n_evaluations == 1:
        return None  # It is asked between seeds; or there is nothing to stop, whatever the weights.
    names = never_settled(experiment)
    if not names:
        return None
    return (
        "The pruner stops no trial like your config, as weights change until the end of the "
        f"training: {', '.join(names)}. Let their schedules end earlier, or set "
        "tuning.prune_during_anneal."
    )


def describe_search(trials: Sequence[FrozenTrial], best: FrozenTrial) -> str:
    """Returns how many trials came to what, and the best of them."""
    states = Counter(state_of(trial) for trial in trials if trial.state.is_finished())
    counts = ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
    value = format_number(main_value(best))
    return (
        f"Search finished: {sum(states.values())} trials ({counts}). The best value is "
        f"{value}, of trial {best.number}, on the seeds that the search saw."
    )


def say_places(console: Console, out: Path, storage: str, winner: Path | None) -> None:
    """Says where everything is, and what to do with it.

    Args:
        console: Where.
        out: The folder of the search.
        storage: The URL of its study.
        winner: The config that was best on test seeds, where that is not the best of the search.
    """
    shown = shown_storage(storage)
    say_pairs(
        console,
        "Where everything is:",
        [
            *([("best on test seeds", f"{winner}")] if winner is not None else []),
            ("best in the search", f"{out / 'best.yaml'}"),
            ("its model", f"{out / 'best_model.zip'}"),
            ("all trials", f"{out / 'trials.csv'}, {out / 'trials'}"),
            ("the study", shown),
        ],
    )
    dashboard = shell_line("optuna-dashboard", shown)
    if importlib.util.find_spec("optuna_dashboard") is None:
        dashboard += "   (after: pip install 'rllama-sb3[dashboard]')"
    say_pairs(
        console,
        "What next:",
        [
            ("train it", shell_line("rllama-sb3", "train", winner or out / "best.yaml")),
            ("judge it", shell_line("rllama-sb3", "evaluate", out)),
            ("see curves", shell_line("tensorboard", "--logdir", out)),
            ("see the study", dashboard),
            ("search on", "the same command with a larger --n-trials"),
        ],
    )


def own_command(arguments: Sequence[str], storage: str) -> str:
    """Returns a command as it can be shown: passwords of storages are left out."""
    known = (argument.replace(storage, shown_storage(storage)) for argument in arguments)
    shown = map(hide_passwords, known)
    return "  " + shell_line("rllama-sb3", *shown)
