"""Measures what a search is worth: repeats it, and judges each winner on seeds it never saw.

Each search has a seed of its own, and with it its own tuning and test seeds. After each, the config
of the file, the same without shaping and the best one found are trained again on its test seeds.
Run: python scripts/bench_tuning.py configs/mountain_car.yaml --n-searches 3 --plot search.png

Finished trials and trainings are kept below --out: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table

from rllama_sb3 import compare, load_config
from rllama_sb3.analysis.statistics import mean_interval, probability_of_improvement
from rllama_sb3.optimization import BayesianRewardOptimizer

BASE, UNSHAPED, TUNED = "the config as it stands", "the same without shaping", "tuned"


@dataclass
class Search:
    """One search and what became of its winner.

    Attributes:
        values: The value of each trial on the tuning seeds, pruned ones as NaN.
        env_returns: For each config the env return of each test seed.
    """

    values: list[float]
    env_returns: dict[str, np.ndarray]


def run_search(config_file: Path, seed: int, out: Path) -> Search:
    """Searches once, and trains base, unshaped and tuned config on test seeds."""
    config = load_config(config_file, overrides=[f"tuning.seed={seed}"])
    optimizer = BayesianRewardOptimizer(
        config, storage=f"sqlite:///{out / 'study.db'}", out=out / "search"
    )
    _, _, study = optimizer.optimize()
    comparison = compare(
        {
            BASE: config,
            UNSHAPED: {**config.to_dict(), "reward_shaping": {}},
            TUNED: optimizer.best_config,
        },
        n_seeds=config.tuning.n_test_seeds,
        out=out,
    )
    complete = optuna.trial.TrialState.COMPLETE
    return Search(
        values=[t.value if t.state == complete else float("nan") for t in study.trials],
        env_returns={row.name: row.env_returns for row in comparison.rows},
    )


def render_table(searches: list[Search], title: str) -> Table:
    """Returns mean env return and 95 % bootstrap interval over searches and test seeds."""
    pooled = {
        name: np.concatenate([search.env_returns[name] for search in searches])
        for name in (BASE, UNSHAPED, TUNED)
    }
    n_runs = len(pooled[BASE])
    table = Table(title=title)
    for heading in ("config", f"mean env return, {n_runs} runs", "95 % interval", "P(beats it)"):
        table.add_column(heading)
    for name, scores in pooled.items():
        low, high = mean_interval(scores)
        better = "" if name == BASE else f"{probability_of_improvement(scores, pooled[BASE]):.2f}"
        table.add_row(name, f"{scores.mean():.1f}", f"[{low:.1f}, {high:.1f}]", better)
    return table


def plot(searches: list[Search], file: Path, title: str) -> None:
    """Draws the best value so far of each search, and the runs on test seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for number, search in enumerate(searches):
        trials = np.arange(len(search.values))
        best = np.fmax.accumulate(np.array(search.values))
        left.plot(trials, search.values, "o", color=f"C{number}", alpha=0.35, markersize=4)
        left.step(trials, best, where="post", color=f"C{number}", label=f"search {number}")
    left.set(
        xlabel="trial (0: the config, 1: the same without shaping)",
        ylabel="env return",
        title="Searches",
    )
    left.legend(frameon=False, fontsize=8)
    for position, name in enumerate((UNSHAPED, BASE, TUNED)):
        for number, search in enumerate(searches):
            scores = search.env_returns[name]
            x = position + np.linspace(-0.12, 0.12, len(scores))
            right.plot(x, scores, "o", color=f"C{number}", alpha=0.6, markersize=4)
        pooled = np.concatenate([search.env_returns[name] for search in searches])
        right.hlines(pooled.mean(), position - 0.3, position + 0.3, color="black")
    right.set_xticks(range(3), ["no shaping", "the config", "tuned"])
    right.set(title="Trained again on seeds no search saw")
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(file, dpi=130)


def main() -> None:
    """Runs the searches, one after the other, and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--n-searches", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/bench_tuning"))
    parser.add_argument("--plot", type=Path, help="a PNG file to draw the result into")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    console = Console()
    searches: list[Search] = []
    for seed in range(arguments.n_searches):
        out = arguments.out / arguments.config.stem / str(seed)
        searches.append(run_search(arguments.config, seed, out))
        console.print(f"search {seed}: {searches[-1].env_returns}")
    title = f"{arguments.config.stem}: {len(searches)} searches"
    console.print(render_table(searches, title))
    if arguments.plot is not None:
        plot(searches, arguments.plot, title)


if __name__ == "__main__":
    main()
