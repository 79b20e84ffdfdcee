"""Measures what a second worker is worth: the same 8 trials by one, by two, and in threads.

The trials are PPO trainings on CartPole, given in the file (the config as it stands, the same
without shaping, and six of ``tuning.enqueue``), so that no sampler chooses. Each study is new, and
runs as one command from its start to its end: ``rllama-sb3 tune --workers 1``, the same with 2, and
Optuna's own ``study.optimize(n_jobs=2)``, which are two threads of one process. They take turns, so
that the machine's drift falls on all alike: read the ratios, not the absolute times. Two workers
need both cores: where others use them too, the load that is printed is far above 2, and the ratios
say little.

One worker and two have to come to the same evaluations, to the last bit, or this ends with an
error. Threads share the random numbers that Stable-Baselines3 seeds; how many of their trials come
out otherwise is printed. Run: python scripts/bench_parallel.py
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from rich.console import Console
from rich.table import Table

from rllama_sb3 import load_config
from rllama_sb3.config import dump_yaml
from rllama_sb3.optimization import BayesianRewardOptimizer, open_storage
from rllama_sb3.optimization.first_trials import UNSHAPED_ORIGIN, is_unshaped
from rllama_sb3.optimization.objective import TrainingObjective
from rllama_sb3.optimization.study.attributes import EVALUATIONS, ORIGIN

ONE, TWO, THREADS = "1 worker", "2 workers", "n_jobs=2, threads"
VARIANTS = (ONE, TWO, THREADS)
STUDY = "parallel"
RATE = "algorithm.params.learning_rate"
BASE_RATE = 1e-3
OTHER_RATES = (3e-4, 5e-4, 7e-4, 1.5e-3, 2e-3, 3e-3)
N_TRIALS = 2 + len(OTHER_RATES)

# What a trial came to: its evaluations, by its learning rate and whether it was shaped.
Outcomes = Mapping[tuple[float, bool], Any]


@dataclass(frozen=True)
class Run:
    """One study from the start of its command to the end of it.

    Attributes:
        seconds: How long it took.
        starting: How long of that before the first trial began.
        ending: How long of that after the last trial had ended.
        processor: Processor seconds of all its processes.
        outcomes: What the trials came to.
    """

    seconds: float
    starting: float
    ending: float
    processor: float
    outcomes: Outcomes


def experiment(n_steps: int) -> dict[str, Any]:
    """Returns the experiment; its trials take the same number of steps."""
    return {
        "env": {"id": "CartPole-v1", "n_envs": 8},
        "reward_shaping": {
            "env": {"class": "EnvReward"},
            "balance": {"class": "PotentialShaping", "params": {"potential": "-abs(obs[2])"}},
        },
        "algorithm": {
            "name": "PPO",
            "params": {"learning_rate": BASE_RATE, "n_steps": 32, "batch_size": 256},
        },
        "training": {"total_timesteps": n_steps},
        "evaluation": {"n_episodes": 5, "n_evaluations": 5},
        "tuning": {
            "n_trials": N_TRIALS,
            "pruner": "none",
            "search_space": {
                "algorithm": {
                    "params": {"learning_rate": {"suggest": "float", "low": 1e-4, "high": 1e-2}}
                }
            },
            "enqueue": [{"algorithm": {"params": {"learning_rate": r}}} for r in OTHER_RATES],
        },
    }


def run_threads(file: Path, out: Path) -> None:
    """Runs the trials as Optuna does by itself, in two threads of this process."""
    torch.set_num_threads(1)  # as in the workers
    optimizer = BayesianRewardOptimizer(load_config(file))
    study = optuna.create_study(
        study_name=STUDY,
        storage=open_storage(_url(out)),
        pruner=optuna.pruners.NopPruner(),
        direction="maximize",
    )
    for rate, origin in [(BASE_RATE, ""), (BASE_RATE, UNSHAPED_ORIGIN)]:
        study.enqueue_trial({RATE: rate}, user_attrs={ORIGIN: origin})
    for rate in OTHER_RATES:
        study.enqueue_trial({RATE: rate})
    objective = TrainingObjective(optimizer.generate_trial_config, out)
    study.optimize(objective, n_trials=N_TRIALS, n_jobs=2, gc_after_trial=True)


def command_of(variant: str, file: Path, out: Path) -> list[str]:
    """Returns the command that runs the whole study."""
    if variant == THREADS:
        return [sys.executable, __file__, "--in-threads", str(file), str(out)]
    n_workers = "1" if variant == ONE else "2"
    own = ["--workers", n_workers, "--study-name", STUDY, "--out", str(out), "--no-compare"]
    return [sys.executable, "-m", "rllama_sb3", "tune", str(file), *own]


def run_study(variant: str, file: Path, out: Path) -> Run:
    """Runs one study, new, and reads what its database says of its trials.

    Raises:
        SystemExit: The command failed, or not every trial came to a value.
    """
    out.mkdir(parents=True)
    log = out / "output.txt"
    with log.open("wb") as output:
        clock, began = time.time(), time.perf_counter()
        process = subprocess.Popen(
            command_of(variant, file, out),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{variant} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
    study = optuna.load_study(study_name=STUDY, storage=open_storage(_url(out)))
    trials = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    if len(study.trials) != N_TRIALS or len(trials) != N_TRIALS:
        raise SystemExit(f"{variant}: {len(trials)} of {len(study.trials)} trials are complete")
    first = min(t.datetime_start.timestamp() for t in trials if t.datetime_start)
    last = max(t.datetime_complete.timestamp() for t in trials if t.datetime_complete)
    return Run(
        seconds=seconds,
        starting=first - clock,
        ending=clock + seconds - last,
        processor=usage.ru_utime + usage.ru_stime,
        outcomes={(t.params[RATE], is_unshaped(t)): t.user_attrs[EVALUATIONS] for t in trials},
    )


def run_rounds(file: Path, out: Path, n_rounds: int, console: Console) -> dict[str, list[Run]]:
    """Runs every variant in each round, in an order that turns.

    Raises:
        SystemExit: A trial of workers came to something else than before.
    """
    runs: dict[str, list[Run]] = {name: [] for name in VARIANTS}
    for turn in range(n_rounds):
        shift = turn % len(VARIANTS)
        for name in (*VARIANTS[shift:], *VARIANTS[:shift]):
            load = os.getloadavg()[0]  # what others did, and the last study
            run = run_study(name, file, out / f"{turn}_{VARIANTS.index(name)}")
            console.print(f"round {turn}, {name}: {run.seconds:.1f} s (load before: {load:.1f})")
            runs[name].append(run)
    of_workers = [run.outcomes for name in (ONE, TWO) for run in runs[name]]
    if any(outcomes != of_workers[0] for outcomes in of_workers):
        raise SystemExit("the same trials came to different evaluations in workers")
    return runs


def n_different(run: Run, reference: Run) -> int:
    """Returns how many trials came to other evaluations."""
    return sum(run.outcomes[key] != known for key, known in reference.outcomes.items())


def render(runs: Mapping[str, Sequence[Run]], title: str) -> Table:
    """Returns the table: medians over rounds, and ratios within rounds."""
    table = Table(title=title)
    for heading in ("8 trials by", "times as fast", "range", "seconds", "start", "end"):
        table.add_column(heading, justify="left" if heading == "8 trials by" else "right")
    for heading in ("processor s", "other results"):
        table.add_column(heading, justify="right")
    for name, own in runs.items():
        ratios = [one.seconds / run.seconds for one, run in zip(runs[ONE], own, strict=True)]
        parts = [[run.seconds, run.starting, run.ending, run.processor] for run in own]
        different = [n_different(run, runs[ONE][0]) for run in own]
        table.add_row(
            name,
            f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f} to {max(ratios):.2f}",
            *(f"{statistics.median(column):.1f}" for column in zip(*parts, strict=True)),
            ", ".join(f"{n}" for n in different),
        )
    return table


def _url(out: Path) -> str:
    return f"sqlite:///{out / 'study.db'}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="rounds of all three")
    parser.add_argument("--steps", type=int, default=90_000, help="environment steps of a trial")
    parser.add_argument("--in-threads", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if arguments.in_threads:
        run_threads(*arguments.in_threads)
        return
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "experiment.yaml"
        file.write_text(dump_yaml(experiment(arguments.steps)))
        runs = run_rounds(file, Path(folder), arguments.repeats, console)
    title = f"medians of {arguments.repeats} rounds, {arguments.steps:,} steps a trial"
    console.print(render(runs, title))


if __name__ == "__main__":
    main()
