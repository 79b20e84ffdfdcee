"""Measures what relabeling costs: whole DQN trainings, and the memory of a stored step.

Two trainings run in turns in one process, so that the machine's drift falls on both alike: read
the ratio, not the absolute times. Both are paid the same and take the same steps; they differ in
the replay buffer, and in the raw values that the environments record for one of them.
Run: python scripts/bench_replay.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.env_util import make_vec_env

from rllama_sb3 import RewardShapingCallback, RewardShapingWrapper

ENV_ID = "CartPole-v1"
# A weight moves, but that of a value that is 0: the rewards stay the same.
REWARD: dict[str, Any] = {
    "env": {"class": "EnvReward"},
    "fall": {"class": "TerminationPenalty", "params": {"penalty": 0.0}},
    "time": {
        "class": "StepPenalty",
        "params": {"penalty": 0.0},
        "weight_schedule": {
            "initial_weight": 1.0,
            "schedule_type": "linear",
            "final_weight": 0.0,
            "end_step": 10_000_000,
        },
    },
}


class Unchanged(RewardShapingCallback):
    """Leaves the buffer as it is, stale rewards and all: what relabeling is compared with."""

    def _on_training_start(self) -> None:
        plain = self.model.replay_buffer  # type: ignore[attr-defined]
        super()._on_training_start()
        self.model.replay_buffer = plain  # type: ignore[attr-defined]
        self.training_env.set_attr("_record_components", False)


CALLBACKS = {"Stable-Baselines3's": Unchanged, "relabeling": RewardShapingCallback}


def train(
    callback: RewardShapingCallback, n_steps: int, n_envs: int, train_freq: int
) -> tuple[ReplayBuffer, float]:
    """Returns the buffer, and the processor seconds that ``DQN.learn`` took."""
    venv = make_vec_env(
        ENV_ID,
        n_envs=n_envs,
        seed=0,
        wrapper_class=RewardShapingWrapper,  # type: ignore[arg-type]
        wrapper_kwargs={"reward_shaping": REWARD},
    )
    model = DQN("MlpPolicy", venv, buffer_size=50_000, train_freq=train_freq, seed=0, device="cpu")
    # It runs in this thread alone, so that its processor time is free of what others do.
    start = time.process_time()
    model.learn(n_steps, callback=callback)
    seconds = time.process_time() - start
    assert model.replay_buffer is not None
    return model.replay_buffer, seconds


def bytes_per_step(buffer: ReplayBuffer) -> float:
    """Returns the memory of all arrays of a buffer, by step of an environment that it can hold."""
    n_bytes: int = sum(getattr(value, "nbytes", 0) for value in vars(buffer).values())
    return n_bytes / (buffer.buffer_size * buffer.n_envs)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25, help="pairs of trainings")
    parser.add_argument("--steps", type=int, default=6_000, help="steps of each training")
    parser.add_argument("--n-envs", type=int, default=1, help="environments of each training")
    parser.add_argument("--train-freq", type=int, default=4, help="steps between gradient steps")
    arguments = parser.parse_args()
    setting = arguments.n_envs, arguments.train_freq

    torch.set_num_threads(1)
    train(RewardShapingCallback(), 1_000, *setting)  # the first one pays for imports and caches
    seconds: dict[str, list[float]] = {name: [] for name in CALLBACKS}
    memory: dict[str, float] = {}
    for turn in range(arguments.rounds):
        for name in list(CALLBACKS)[:: 1 if turn % 2 else -1]:
            buffer, spent = train(CALLBACKS[name](), arguments.steps, *setting)
            seconds[name].append(spent)
            memory[name] = bytes_per_step(buffer)

    console = Console()
    title = f"DQN on {ENV_ID}, {arguments.n_envs} environment(s), {len(REWARD)} components"
    table = Table("buffer", "µs a step", "bytes a step", title=title)
    for name, values in seconds.items():
        per_step = statistics.median(values) / arguments.steps * 1e6
        table.add_row(name, f"{per_step:.0f}", f"{memory[name]:.0f}")
    console.print(table)
    theirs, ours = seconds.values()
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    console.print(
        f"relabeling / Stable-Baselines3's training time = {statistics.median(ratios):.3f} "
        f"(median of {len(ratios)} pairs, {min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
