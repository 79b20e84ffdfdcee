"""``rllama-sb3 tune``: a search over reward and algorithm, watched, and judged on new seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    from optuna.trial import FrozenTrial
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
    study_name: Annotated[
        str | None, typer.Option(help="The study to begin or go on with.", show_default="<CONFIG>")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Where the study is kept: a URL of SQLite, PostgreSQL or MySQL.",
            show_default="sqlite:///<out>/study.db",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The folder for results.", show_default="runs/tune/<study>"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Instead of tuning.seed.", show_default=False)
    ] = None,
    compare: Annotated[
        bool, typer.Option(help="Train the best configs again on test seeds at the end.")
    ] = True,
    n_jobs: Jobs = None,
    overrides: Overrides = None,
    imports: Imports = None,
) -> None:
    """Search reward and hyperparameters together.

    The first trial is the config as it stands. The same command goes on with a study that was
    interrupted, and reports one that is complete. At the end the best configs, the one of the
    file and the same without shaping are trained on seeds that the search never saw.
    """
    modules = import_modules(imports or ())
    import optuna

    from rllama_sb3.cli.console import get_console
    from rllama_sb3.experiment import load_config

    # What it would log is shown in the table, or raised as an error.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    own = settings(overrides, tuning__n_trials=n_trials, tuning__seed=seed)
    experiment = load_config(config, overrides=own)
    name = study_name or file_name(config.stem)
    folder = out or Path("runs") / "tune" / file_name(name)
    url = storage or f"sqlite:///{folder / 'study.db'}"
    search = _Search(get_console(), experiment, name, folder, url)
    try:
        search.run()
        if compare:
            search.compare(n_jobs, modules)
    except KeyboardInterrupt:
        search.say_interrupted()
        raise typer.Exit(INTERRUPTED) from None
    search.say_where_things_are()


@dataclass
class _Search:
    """One call of the command."""

    console: Console
    experiment: ExperimentConfig
    name: str
    out: Path
    storage: str

    def run(self) -> None:
        """Runs the trials that the study lacks."""
        from rllama_sb3.callbacks.progress import ProgressCallback, TrainingProgress
        from rllama_sb3.cli.console import say
        from rllama_sb3.cli.tuning_display import TuningDisplay
        from rllama_sb3.optimization import BayesianRewardOptimizer

        progress = TrainingProgress(self.experiment.training.total_timesteps)
        display = TuningDisplay(self.console, self.experiment.tuning, progress)
        self.optimizer = BayesianRewardOptimizer(
            self.experiment,
            study_name=self.name,
            storage=self.storage,
            out=self.out,
            on_trial_start=display.start_trial,
            on_evaluation=display.show_evaluation,
            callbacks=[display.end_trial],
            training_callbacks=[ProgressCallback(progress, display.update)],
        )
        display.values_of = self._values_of
        say(self.console, f"Tuning {self.experiment.env.id} in {self.out}, study {self.name!r}")
        with display.shown():
            self.optimizer.optimize()
        display.say_result()

    def compare(self, n_jobs: int | None, imports: Sequence[str]) -> None:
        """Trains the base, the base without shaping and the best configs on test seeds."""
        from rllama_sb3.cli.compare import run_comparison, show_comparison
        from rllama_sb3.cli.console import say
        from rllama_sb3.config import parse_experiment

        tuning = self.experiment.tuning
        experiments = {"your config": self.experiment}
        if self.experiment.reward_shaping:
            unshaped = {**self.experiment.to_dict(), "reward_shaping": {}}
            experiments["without shaping"] = parse_experiment(unshaped)
        for trial in best_trials(self.optimizer, tuning.n_top_configs):
            config = self.optimizer.generate_trial_config(trial)
            experiments[f"tuned, trial {trial.number}"] = parse_experiment(config)
        say(
            self.console,
            "",
            f"Training {len(experiments)} configs again on {tuning.n_test_seeds} test seeds:",
        )
        comparison = run_comparison(
            self.console,
            experiments,
            n_seeds=tuning.n_test_seeds,
            out=self.out,
            n_jobs=n_jobs,
            imports=imports,
        )
        show_comparison(self.console, comparison, self.out)

    def say_interrupted(self) -> None:
        """Says what is kept, and how to go on."""
        from rllama_sb3.cli.console import say

        say(
            self.console,
            "",
            f"Interrupted. Every trial that has ended is kept in {self.out}; "
            "the same command goes on from there.",
        )

    def say_where_things_are(self) -> None:
        """Says which files there are, and what to do with them."""
        from rllama_sb3.cli.console import say_pairs, shell_line
        from rllama_sb3.optimization.storage import shown_storage

        best = self.out / "best.yaml"
        dashboard = shell_line("optuna-dashboard", shown_storage(self.storage))
        say_pairs(
            self.console,
            f"\nEverything is in {self.out}:",
            [
                ("best config", shell_line("rllama-sb3", "train", best)),
                ("best model", str(self.out / "best_model.zip")),
                ("all trials", str(self.out / "trials.csv")),
                ("curves", shell_line("tensorboard", "--logdir", self.out / "trials")),
                ("dashboard", f"{dashboard}   (pip install 'rllama-sb3[dashboard]')"),
            ],
        )

    def _values_of(self, trial: FrozenTrial) -> dict[str, Any]:
        return self.optimizer.search_space.replay(trial.params, trial.number)


def best_trials(optimizer: BayesianRewardOptimizer, n: int) -> list[FrozenTrial]:
    """Returns the best complete trials, best first, without the base config and repetitions."""
    from optuna.trial import TrialState

    assert optimizer.study is not None
    complete = optimizer.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    complete.sort(key=lambda trial: trial.value or 0.0, reverse=True)
    seen = [optimizer.base_config]
    best: list[FrozenTrial] = []
    for trial in complete:
        config = optimizer.generate_trial_config(trial)
        if config not in seen:
            seen.append(config)
            best.append(trial)
    return best[:n]
