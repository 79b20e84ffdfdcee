"""Measures what shaping costs: per step, for one environment and for many, and in whole training.

Everything is timed in one process and in turns, so that the machine's drift falls on all alike:
read the differences and ratios, not the absolute times. Run: python scripts/bench_overhead.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from rllama_sb3 import RewardShapingCallback, RewardShapingWrapper, VecRewardShaping

Subject = TypeVar("Subject")

ENV_ID = "CartPole-v1"
CONSTANT = {
    "env": {"class": "EnvReward"},
    "time": {"class": "StepPenalty", "params": {"penalty": -0.01}},
    "fall": {"class": "TerminationPenalty", "params": {"penalty": -1.0}},
}
SCHEDULED = {
    **CONSTANT,
    "time": {
        **CONSTANT["time"],
        "weight_schedule": {
            "initial_weight": 1.0,
            "schedule_type": "linear",
            "final_weight": 0.0,
            "end_step": 10_000_000,
        },
    },
}
# The same work, but the same rewards as without it: both trainings take the same steps.
NEUTRAL = {
    name: {**entry, "weight_schedule": {"initial_weight": float(name == "env")}}
    for name, entry in CONSTANT.items()
}
EXPRESSION = {
    "env": {"class": "EnvReward"},
    "upright": {"class": "ExpressionReward", "params": {"expression": "1 - abs(next_obs[2])"}},
    "advice": {"class": "PotentialShaping", "params": {"potential": "-abs(obs[0])"}},
}


# For many environments: a weight that moves, an expression and a potential among five.
FIVE = {
    **SCHEDULED,
    "steady": {"class": "ExpressionReward", "params": {"expression": "1 - abs(next_obs[1])"}},
    "advice": {"class": "PotentialShaping", "params": {"potential": "-abs(obs[0])"}},
}
# Episodes of these two are short and long; what an episode's end costs counts in one only.
MANY_ENV_IDS = ("CartPole-v1", "MountainCar-v0")


class HandWritten(gym.Wrapper[Any, Any, Any, Any]):
    """The three terms of CONSTANT as one would fuse them by hand, without any accounting."""

    def step(self, action: Any) -> Any:
        """Adds the penalties of CONSTANT to the reward."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        reward = float(reward) - 0.01 - (1.0 if terminated else 0.0)
        return obs, reward, terminated, truncated, info


def make_envs() -> dict[str, Callable[[], gym.Env[Any, Any]]]:
    """Returns by name how to make each environment that is timed."""

    def bare() -> gym.Env[Any, Any]:
        return gym.make(ENV_ID, disable_env_checker=True)

    return {
        "bare environment": bare,
        "TransformReward": lambda: gym.wrappers.TransformReward(bare(), lambda r: r - 0.01),
        "hand-written, three terms": lambda: HandWritten(bare()),
        "RewardShapingWrapper, three terms": lambda: RewardShapingWrapper(bare(), CONSTANT),
        "  one of them scheduled": lambda: RewardShapingWrapper(bare(), SCHEDULED),
        "  an expression and a potential": lambda: RewardShapingWrapper(
            bare(), EXPRESSION, gamma=0.99
        ),
    }


def time_steps(env: gym.Env[Any, Any], n_steps: int) -> float:
    """Returns µs per step, resets included, under a fixed sequence of actions."""
    env.reset(seed=0)
    start = time.perf_counter()
    for step in range(n_steps):
        *_, terminated, truncated, _ = env.step(step & 1)
        if terminated or truncated:
            env.reset()
    return (time.perf_counter() - start) / n_steps * 1e6


def make_venvs(env_id: str, n_envs: int) -> dict[str, VecEnv]:
    """Returns by name each ``VecEnv`` that is timed."""

    def bare(**arguments: Any) -> VecEnv:
        return make_vec_env(env_id, n_envs=n_envs, seed=0, **arguments)

    reward = {"reward_shaping": FIVE, "gamma": 0.99}
    return {
        "bare VecEnv": bare(),
        "RewardShapingWrapper around each": bare(
            wrapper_class=RewardShapingWrapper, wrapper_kwargs=reward
        ),
        "VecRewardShaping": VecRewardShaping(bare(), FIVE, gamma=0.99),
    }


def time_vec_steps(venv: VecEnv, n_steps: int) -> float:
    """Returns µs per step of one of the environments, under a fixed sequence of actions."""
    actions = [np.full(venv.num_envs, step) for step in (0, 1)]
    venv.seed(0)
    venv.reset()
    start = time.perf_counter()
    for step in range(n_steps):
        venv.step(actions[step & 1])
    return (time.perf_counter() - start) / (n_steps * venv.num_envs) * 1e6


def time_in_turns(
    subjects: Mapping[str, Subject], measure: Callable[[Subject], float], rounds: int
) -> dict[str, list[float]]:
    """Measures every subject in each of several rounds."""
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, subject in subjects.items():
            times[name].append(measure(subject))
    return times


def render(title: str, times: Mapping[str, list[float]]) -> Table:
    """Returns the table of medians, and how much they are above the first subject."""
    table = Table("per step of one environment", "µs", "above the first, µs", title=title)
    first = next(iter(times.values()))
    for name, values in times.items():
        above = statistics.median(a - b for a, b in zip(values, first, strict=True))
        table.add_row(name, f"{statistics.median(values):.2f}", f"{above:+.2f}")
    return table


def time_ppo(shaped: bool, n_steps: int) -> float:
    """Returns the processor seconds that ``PPO.learn`` takes on eight environments."""
    venv = make_vec_env(
        ENV_ID,
        n_envs=8,
        seed=0,
        wrapper_class=RewardShapingWrapper if shaped else None,
        wrapper_kwargs={"reward_shaping": NEUTRAL} if shaped else None,
    )
    model = PPO("MlpPolicy", venv, n_steps=128, batch_size=256, seed=0, device="cpu")
    # It runs in this thread alone, so that its processor time is free of what others do.
    start = time.process_time()
    model.learn(n_steps, callback=RewardShapingCallback() if shaped else None)
    return time.process_time() - start


def main() -> None:
    """Prints the tables and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="turns that everything is timed")
    parser.add_argument("--steps", type=int, default=20_000, help="environment steps of a turn")
    parser.add_argument(
        "--n-envs",
        type=int,
        nargs="+",
        default=[4, 8, 16, 64],
        help="how many are stepped together",
    )
    parser.add_argument("--ppo-rounds", type=int, default=7, help="pairs of PPO trainings")
    parser.add_argument("--ppo-steps", type=int, default=20_480, help="steps of each of them")
    arguments = parser.parse_args()
    console = Console()

    envs = {name: make() for name, make in make_envs().items()}
    times = time_in_turns(envs, lambda env: time_steps(env, arguments.steps), arguments.rounds)
    console.print(render(f"{ENV_ID}, one environment", times))
    for env_id in MANY_ENV_IDS:
        for n_envs in arguments.n_envs:
            venvs = make_venvs(env_id, n_envs)
            n_steps = max(arguments.steps // n_envs, 1)
            times = time_in_turns(venvs, partial(time_vec_steps, n_steps=n_steps), arguments.rounds)
            console.print(render(f"{env_id}, {n_envs} environments, five components", times))

    torch.set_num_threads(1)
    time_ppo(True, 2_048)  # the first training pays for imports and caches
    ratios = []
    for turn in range(arguments.ppo_rounds):
        order = (False, True) if turn % 2 else (True, False)
        seconds = {shaped: time_ppo(shaped, arguments.ppo_steps) for shaped in order}
        ratios.append(seconds[True] / seconds[False])
    console.print(
        f"PPO, 8 envs, {arguments.ppo_steps} steps: shaped / unshaped training time = "
        f"{statistics.median(ratios):.3f} (median of {len(ratios)} pairs, "
        f"{min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
