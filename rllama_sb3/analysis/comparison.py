"""Trains configs again on seeds that no search has seen, and compares their env returns.

The best value of a study is partly luck: with one seed, the best of 100 equal configs looks 2.5
standard deviations better than it is. So a claim about a config rests on new training runs, the
same seeds for every config, one process for each run.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rllama_sb3.analysis.runs import ResultsFile, TestRun, run_all, run_key
from rllama_sb3.analysis.statistics import (
    MIN_IQM_SCORES,
    Interval,
    bootstrap_interval,
    difference_of,
    interquartile_mean,
    mean,
    mean_interval,
    probability_of_improvement,
)
from rllama_sb3.config import ExperimentConfig, parse_experiment, read_yaml
from rllama_sb3.errors import ConfigError, Problem
from rllama_sb3.seeding import test_seed

AnyConfig = ExperimentConfig | Mapping[str, Any] | str | os.PathLike[str]

_COLUMNS: Final = (
    "config",
    "n_seeds",
    "n_diverged",
    "iqm",
    "iqm_low",
    "iqm_high",
    "mean",
    "mean_low",
    "mean_high",
    "difference",
    "difference_low",
    "difference_high",
    "probability_of_improvement",
)
_UNKNOWN: Final = Interval(math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class ComparisonRow:
    """How one config did on the test seeds.

    Attributes:
        name: What the config is called.
        seeds: The seeds it was trained with.
        env_returns: For each seed the mean env return of the trained model, NaN where the training
            diverged. Then all below is NaN too, since nothing replaces a missing score honestly.
        mean: Their mean.
        mean_interval: 95 % bootstrap interval of the mean.
        iqm: Their interquartile mean; with fewer than 4 seeds it is the mean.
        interval: 95 % bootstrap interval of the IQM.
        difference: How much the IQM is above that of the first config; 0 for the first itself. NaN,
            as the next two, also where the first config diverged.
        difference_interval: 95 % bootstrap interval of the difference; NaN for the first config.
        probability_of_improvement: How likely a run of this config beats one of the first; NaN for
            the first config.
    """

    name: str
    seeds: tuple[int, ...]
    env_returns: NDArray[np.float64]
    mean: float
    mean_interval: Interval
    iqm: float
    interval: Interval
    difference: float
    difference_interval: Interval
    probability_of_improvement: float

    @property
    def n_diverged(self) -> int:
        """On how many seeds the training diverged."""
        return int(np.isnan(self.env_returns).sum())


@dataclass(frozen=True, eq=False)
class Comparison:
    """Configs side by side; the first is the one that the others are measured against.

    Attributes:
        rows: One for each config, in the order given.
    """

    rows: tuple[ComparisonRow, ...]

    @property
    def base(self) -> ComparisonRow:
        """The first config."""
        return self.rows[0]

    @property
    def best(self) -> ComparisonRow:
        """The config with the highest IQM, of those that never diverged; of equal ones, the first.

        Where all diverged it is the first.
        """
        return max(self.rows, key=lambda row: -math.inf if math.isnan(row.iqm) else row.iqm)

    @property
    def uses_iqm(self) -> bool:
        """Whether there are seeds enough for an IQM that differs from the mean."""
        return len(self.base.seeds) >= MIN_IQM_SCORES

    def row(self, name: str) -> ComparisonRow:
        """Returns the row of a config.

        Raises:
            KeyError: There is none of that name.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes one row for each config: its IQM, mean and intervals, and how it compares."""
        beside = Path(f"{os.fspath(path)}.partial")
        with beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            for row in self.rows:
                numbers = (
                    *(row.iqm, *row.interval, row.mean, *row.mean_interval, row.difference),
                    *(*row.difference_interval, row.probability_of_improvement),
                )
                # Nothing is said about a number that cannot be told, rather than "nan".
                told = ["" if math.isnan(number) else number for number in numbers]
                writer.writerow([row.name, len(row.seeds), row.n_diverged, *told])
        os.replace(beside, path)


def compare(
    configs: Mapping[str, AnyConfig],
    *,
    n_seeds: int = 5,
    seeds: Sequence[int] | None = None,
    out: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    imports: Sequence[str] = (),
    on_result: Callable[[TestRun], None] | None = None,
) -> Comparison:
    """Trains every config on every seed, and compares them by env return.

    Each training runs in a process of its own. In a script, call this below
    ``if __name__ == "__main__":``, since those processes import the script.

    Args:
        configs: By name; a path is read as an experiment file. The others are measured against the
            first.
        n_seeds: How many seeds to train each with, at least 1.
        seeds: Which; by default the test seeds of the first config's ``tuning.seed``, which no
            search with that seed has seen.
        out: A folder for the results. Each run is written to ``comparison_runs.csv`` there when it
            is finished, and a later call takes from it what it has: equal config, equal seed. A
            component whose *code* changed is not noticed; remove the file then.
        n_jobs: Runs at the same time; by default as many as this process may use cores.
        imports: Modules for the processes to import first: those that register components and
            environments.
        on_result: Called with each :class:`TestRun`, first those that were finished before.

    Returns:
        The comparison. A config whose training diverges on a seed is in it, but never the best.

    Raises:
        ConfigError: A config, a count or ``out`` cannot be used. Nothing has started.
        RllamaError: A training failed; says which config and which seed.
        KeyboardInterrupt: All processes have been ended; what was finished is in ``out``.
    """
    parsed = _parse_all(configs)
    used = _choose_seeds(parsed, n_seeds, seeds)
    results = None if out is None else ResultsFile(Path(out) / "comparison_runs.csv")
    known = {} if results is None else results.read()
    runs = [
        TestRun(name, seed, run_key(config, seed), known.get(run_key(config, seed)))
        for name, config in parsed.items()
        for seed in used
    ]
    finished = run_all(runs, parsed, results, n_jobs=n_jobs, imports=imports, on_result=on_result)
    scores = {
        name: np.array([finished[run_key(config, seed)] for seed in used])
        for name, config in parsed.items()
    }
    return compute_comparison(scores, used)


def compute_comparison(
    scores: Mapping[str, NDArray[np.float64] | Sequence[float]], seeds: Sequence[int]
) -> Comparison:
    """Computes the statistics of scores that are known already.

    Args:
        scores: By config name, one score for each seed. The first is the base.
        seeds: The seeds of the scores.

    Example:
        >>> comparison = compute_comparison({"base": [1.0, 2.0], "tuned": [4.0, 5.0]}, [0, 1])
        >>> comparison.best.name, comparison.best.difference
        ('tuned', 3.0)
    """
    base = np.asarray(next(iter(scores.values())), dtype=float)
    rows = []
    for position, (name, values) in enumerate(scores.items()):
        own = np.asarray(values, dtype=float)
        is_base = position == 0
        rows.append(
            ComparisonRow(
                name=name,
                seeds=tuple(seeds),
                env_returns=own,
                mean=float(mean(own)),
                mean_interval=mean_interval(own),
                iqm=float(interquartile_mean(own)),
                interval=bootstrap_interval(own),
                difference=float(interquartile_mean(own) - interquartile_mean(base)),
                difference_interval=_UNKNOWN
                if is_base
                else bootstrap_interval(own, base, statistic=difference_of(interquartile_mean)),
                probability_of_improvement=math.nan
                if is_base
                else float(probability_of_improvement(own, base)),
            )
        )
    return Comparison(tuple(rows))


def read_experiment(config: AnyConfig) -> ExperimentConfig:
    """Returns the config that a mapping or a file describes; one that is a config already as it is.

    Raises:
        ConfigError: It is not one. Whether it can be trained is not looked at.
    """
    if isinstance(config, ExperimentConfig):
        return config
    if isinstance(config, Mapping):
        return parse_experiment(config)
    document = read_yaml(config)
    try:
        return parse_experiment(document.data)
    except ConfigError as error:
        raise ConfigError(*document.attach(error.problems)) from None


def _parse_all(configs: Mapping[str, AnyConfig]) -> dict[str, ExperimentConfig]:
    if not configs:
        raise ConfigError(Problem(("configs",), "must name at least one config", {}))
    parsed: dict[str, ExperimentConfig] = {}
    problems: list[Problem] = []
    for name, config in configs.items():
        try:
            parsed[name] = read_experiment(config)
        except ConfigError as error:
            problems += [
                problem if problem.location else problem.at(name) for problem in error.problems
            ]
    if problems:
        raise ConfigError(*problems)
    return parsed


def _choose_seeds(
    parsed: Mapping[str, ExperimentConfig], n_seeds: int, seeds: Sequence[int] | None
) -> tuple[int, ...]:
    if seeds is not None:
        if not seeds or len(set(seeds)) < len(seeds):
            rule = "must be one or more different seeds"
            raise ConfigError(Problem(("seeds",), rule, list(seeds)))
        return tuple(seeds)
    if n_seeds < 1:
        raise ConfigError(Problem(("n_seeds",), "must be at least 1", n_seeds))
    root = next(iter(parsed.values())).tuning.seed
    return tuple(test_seed(root, index) for index in range(n_seeds))
