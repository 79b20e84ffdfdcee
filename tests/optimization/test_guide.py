"""The program of the optimization guide, with an agent filled in, runs as it is written there.

What the guide leaves open is a small tabular agent here. What it prints is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import optuna
import optuna.visualization as vis
import pytest
import yaml

from rllama_sb3 import RllamaError, build_shaper
from rllama_sb3.optimization import BayesianRewardOptimizer
from rllama_sb3.rewards import GoalReward, RewardComposer, RewardShaper, StepPenalty

BASE_CONFIG = """
reward_shaping:
  goal_reward:
    class: GoalReward
    params: { target_reward: 1.0 }
    weight_schedule:
      initial_weight: 10.0
      schedule_type: constant
  step_penalty:
    class: StepPenalty
    params: { penalty: -0.01 }
    weight_schedule:
      initial_weight: 1.0
      schedule_type: exponential
      decay_rate: 0.9995
      decay_steps: 1
      min_weight: 0.0
training:
  num_episodes: 10
  max_steps_per_episode: 100
agent_params:
  learning_rate: 0.1
"""

component_registry = {"GoalReward": GoalReward, "StepPenalty": StepPenalty}

search_space: dict[str, Any] = {
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
    "agent_params": {
        "learning_rate": lambda trial: trial.suggest_float("lr", 1e-5, 1e-2, log=True)
    },
}


class Agent:
    """ε-greedy Q-learning on the 16 fields of FrozenLake."""

    def __init__(self, learning_rate: float) -> None:
        self.rng = np.random.default_rng(0)
        self.learning_rate = learning_rate
        self.q = np.zeros((16, 4))

    def select_action(self, state: int) -> int:
        return int(self.rng.integers(4) if self.rng.random() < 0.2 else self.q[state].argmax())

    def update(self, state: int, action: int, reward: float, next_state: int, over: bool) -> None:
        target = reward + (0.0 if over else 0.99 * self.q[next_state].max())
        self.q[state, action] += self.learning_rate * (target - self.q[state, action])


def merge_configs(base: dict[str, Any], suggestions: dict[str, Any]) -> dict[str, Any]:
    merged = base.copy()
    for key, value in suggestions.items():
        if isinstance(value, dict):
            if key not in merged or not isinstance(merged[key], dict):
                merged[key] = {}
            merged[key] = merge_configs(merged.get(key, {}), value)
        else:
            merged[key] = value
    return merged


def objective(
    trial: optuna.trial.Trial,
    base_config: dict[str, Any],
    search_space: dict[str, Any],
    component_registry: dict[str, Any],
) -> float:
    suggested_params: dict[str, Any] = {}

    def apply_suggestions(
        space: dict[str, Any], base: dict[str, Any], target: dict[str, Any]
    ) -> None:
        for key, value in space.items():
            if isinstance(value, dict):
                target[key] = {}
                apply_suggestions(value, base.get(key, {}), target[key])
            elif callable(value):
                target[key] = value(trial)
            else:
                target[key] = base.get(key)

    apply_suggestions(search_space, base_config, suggested_params)
    trial_config = merge_configs(base_config, suggested_params)

    env = gym.make("FrozenLake-v1")
    agent = Agent(**trial_config.get("agent_params", {}))
    reward_shaping_config = trial_config.get("reward_shaping", {})
    components = {}
    for name, comp_config in reward_shaping_config.items():
        cls_name = comp_config.get("class")
        params = comp_config.get("params", {})
        if cls_name in component_registry:
            components[name] = component_registry[cls_name](**params)
    if not components:
        raise optuna.TrialPruned("No components")
    composer = RewardComposer(components)
    shaper = RewardShaper(composer, reward_shaping_config)

    training_config = trial_config.get("training", {})
    num_episodes = training_config.get("num_episodes", 500)
    max_steps_episode = training_config.get("max_steps_per_episode", 100)
    all_episode_rewards: list[float] = []
    global_step = 0
    for episode in range(num_episodes):
        state, info = env.reset(seed=episode)
        terminated = truncated = False
        episode_shaped_reward = 0.0
        steps_in_episode = 0
        while not terminated and not truncated:
            shaper.update_weights(global_step)
            action = agent.select_action(state)
            next_state, raw_reward, terminated, truncated, info = env.step(action)
            context = {
                "global_step": global_step,
                "terminated": terminated,
                "truncated": truncated,
            }
            shaped_reward = shaper.shape(raw_reward, info, context)
            agent.update(state, action, shaped_reward, next_state, terminated or truncated)
            state = next_state
            episode_shaped_reward += shaped_reward
            steps_in_episode += 1
            global_step += 1
            if steps_in_episode >= max_steps_episode:
                truncated = True
        all_episode_rewards.append(episode_shaped_reward)
    env.close()
    return float(np.mean(all_episode_rewards[-max(1, num_episodes // 10) :]))


@pytest.fixture
def base_config(tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "base_config.yaml"
    file.write_text(BASE_CONFIG)
    loaded: dict[str, Any] = yaml.safe_load(file.read_text())
    return loaded


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def optimizer_of(base_config: dict[str, Any], tmp_path: Path, n_trials: int) -> Any:
    return BayesianRewardOptimizer(
        base_config=base_config,
        search_space=search_space,
        objective_function=objective,
        objective_kwargs={
            "base_config": base_config,
            "search_space": search_space,
            "component_registry": component_registry,
        },
        n_trials=n_trials,
        study_name="rllama_reward_tuning",
        storage=f"sqlite:///{tmp_path}/rllama_tuning.db",
        direction="maximize",
    )


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
# The step size of the agent in the file lies outside of the range that the guide searches.
@pytest.mark.filterwarnings("ignore:.*learning_rate.*:UserWarning")
def test_the_program_of_the_guide_runs_and_is_resumed(
    base_config: dict[str, Any], tmp_path: Path
) -> None:
    optimizer = optimizer_of(base_config, tmp_path, n_trials=4)
    best_params, best_value, study = optimizer.optimize()

    assert len(study.trials) == 4
    assert best_value == study.best_value
    assert json.loads(json.dumps(best_params, indent=2)) == best_params
    goal = best_params["reward_shaping"]["goal_reward"]
    assert goal["params"]["target_reward"] == study.best_params["goal_target_reward"]
    assert goal["weight_schedule"]["initial_weight"] == study.best_params["goal_initial_weight"]

    # The fragment merges into the base, and what it leads to is a reward that can be built.
    assert optimizer.best_config == merge_configs(base_config, best_params)
    assert build_shaper(optimizer.best_config["reward_shaping"]).composer.names == (
        "goal_reward",
        "step_penalty",
    )

    vis.plot_optimization_history(study)
    vis.plot_param_importances(study)
    vis.plot_slice(study, params=["penalty_decay_rate", "goal_initial_weight"])

    _, _, study = optimizer_of(base_config, tmp_path, n_trials=6).optimize()
    assert len(study.trials) == 6


def test_an_objective_that_prunes_every_trial_is_said_to_have_done_so(
    base_config: dict[str, Any],
) -> None:
    def prune(trial: optuna.trial.Trial) -> float:
        search_space["reward_shaping"]["step_penalty"]["params"]["penalty"](trial)
        raise optuna.TrialPruned("Exception during training: no agent")

    optimizer = BayesianRewardOptimizer(
        base_config,
        {"reward_shaping": {"step_penalty": search_space["reward_shaping"]["step_penalty"]}},
        prune,
        n_trials=2,
    )
    with pytest.raises(RllamaError, match="no trial .* came to a value .*2 pruned.*no agent"):
        optimizer.optimize()
