"""Tune the reward of FrozenLake with an objective of your own, and plot what the search found.

The agent is tabular Q-learning, the search space that of the optimization guide: a goal reward
and a fading step penalty. A trial is judged by how often the greedy agent reaches the goal, not
by the reward it was trained on: that one grows with its own weights.

    python examples/optimizer_demo.py --n-trials 30
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import optuna
import optuna.visualization as vis

from rllama_sb3.optimization import BayesianRewardOptimizer
from rllama_sb3.rewards import build_shaper

BASE_CONFIG: dict[str, Any] = {
    "reward_shaping": {
        "goal_reward": {
            "class": "GoalReward",
            "params": {"target_reward": 1.0},
            "weight_schedule": {"initial_weight": 10.0, "schedule_type": "constant"},
        },
        "step_penalty": {
            "class": "StepPenalty",
            "params": {"penalty": -0.01},
            "weight_schedule": {
                "initial_weight": 1.0,
                "schedule_type": "exponential",
                "decay_rate": 0.9995,
                "decay_steps": 1,
                "min_weight": 0.0,
            },
        },
    },
    "agent_params": {"learning_rate": 0.1},
    "training": {"num_episodes": 2_000, "max_steps_per_episode": 100},
}

SEARCH_SPACE: dict[str, Any] = {
    "reward_shaping": {
        "goal_reward": {
            "params": {
                "target_reward": lambda trial: trial.suggest_float("goal_target_reward", 0.5, 5.0)
            },
            "weight_schedule": {
                "initial_weight": lambda trial: trial.suggest_float(
                    "goal_initial_weight", 1.0, 50.0, log=True
                )
            },
        },
        "step_penalty": {
            "params": {"penalty": lambda trial: trial.suggest_float("penalty_value", -0.5, -0.001)},
            "weight_schedule": {
                "initial_weight": lambda trial: trial.suggest_float(
                    "penalty_initial_weight", 0.1, 10.0
                ),
                "decay_rate": lambda trial: trial.suggest_float("penalty_decay_rate", 0.99, 0.9999),
            },
        },
    },
    # Algorithm and reward are tuned together; this leaf is written as plain data.
    "agent_params": {
        "learning_rate": {"suggest": "float", "low": 0.01, "high": 1.0, "log": True},
    },
}

GAMMA = 0.99
N_SEEDS = 3


def q_learning(config: dict[str, Any], seed: int) -> np.ndarray:
    """Returns the action values after ε-greedy Q-learning on the shaped reward."""
    rng = np.random.default_rng(seed)
    env = gym.make("FrozenLake-v1")
    shaper = build_shaper(config["reward_shaping"], gamma=GAMMA)
    rate = config["agent_params"]["learning_rate"]
    n_episodes = config["training"]["num_episodes"]
    q = np.zeros((env.observation_space.n, env.action_space.n))
    global_step = 0
    for episode in range(n_episodes):
        state, _ = env.reset(seed=seed if episode == 0 else None)
        epsilon = max(0.05, 1.0 - episode / (0.7 * n_episodes))
        for _ in range(config["training"]["max_steps_per_episode"]):
            shaper.update_weights(global_step)
            values = q[state] + rng.random(4) * 1e-9  # ties are broken at random
            action = int(rng.integers(4) if rng.random() < epsilon else values.argmax())
            next_state, reward, terminated, truncated, info = env.step(action)
            context = {"terminated": terminated, "truncated": truncated}
            shaped = shaper.shape(float(reward), info, context)
            future = 0.0 if terminated else GAMMA * q[next_state].max()
            q[state, action] += rate * (shaped + future - q[state, action])
            state = next_state
            global_step += 1
            if terminated or truncated:
                break
    return q


def success_rate(q: np.ndarray, n_episodes: int, seed: int) -> float:
    """Returns how often the greedy policy reaches the goal of the original environment."""
    env = gym.make("FrozenLake-v1")
    n_reached = 0.0
    for episode in range(n_episodes):
        state, _ = env.reset(seed=seed + episode)
        terminated = truncated = False
        while not (terminated or truncated):
            state, reward, terminated, truncated, _ = env.step(int(q[state].argmax()))
            n_reached += float(reward)
    return n_reached / n_episodes


def main() -> None:
    """Runs the search, prints what it found, and writes the plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-trials", type=int, default=30)
    parser.add_argument("--episodes", type=int, default=2_000, help="training episodes of a trial")
    parser.add_argument("--out", type=Path, default=Path("runs/optimizer_demo"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    base_config = {
        **BASE_CONFIG,
        "training": {**BASE_CONFIG["training"], "num_episodes": arguments.episodes},
    }

    def objective(trial: optuna.trial.Trial) -> float:
        config = optimizer.generate_trial_config(trial)
        rates = [
            success_rate(q_learning(config, seed), n_episodes=200, seed=10_000)
            for seed in range(N_SEEDS)
        ]
        print(f"trial {trial.number}: {np.mean(rates):.3f}")
        return float(np.mean(rates))

    optimizer = BayesianRewardOptimizer(
        base_config=base_config,
        search_space=SEARCH_SPACE,
        objective_function=objective,
        n_trials=arguments.n_trials,
        study_name="frozen_lake",
        storage=f"sqlite:///{arguments.out / 'study.db'}",
        direction="maximize",
    )
    best_params, best_value, study = optimizer.optimize()

    print(f"\nBest success rate: {best_value:.3f}, with")
    print(json.dumps(best_params, indent=2))
    plots = {
        "history": vis.plot_optimization_history(study),
        "importances": vis.plot_param_importances(study),
        "slices": vis.plot_slice(study, params=["penalty_decay_rate", "goal_initial_weight"]),
    }
    for name, figure in plots.items():
        figure.write_html(arguments.out / f"{name}.html")
    print(f"Plots and study: {arguments.out}")


if __name__ == "__main__":
    main()
