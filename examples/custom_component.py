"""Write components of your own: a plain function, and a class that remembers something.

Both get a name that a YAML file can use too, when the module is named on the command line and
lies in the current folder or is installed:

    rllama-sb3 train my_experiment.yaml --import custom_component
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from stable_baselines3 import SAC

from rllama_sb3 import (
    RewardComponent,
    RewardShapingCallback,
    RewardShapingWrapper,
    Transition,
    register_component,
)


@register_component
def upright(transition: Transition, sharpness: float = 1.0) -> float:
    """Pays up to 1 while the pendulum stands; its cosine is the first observation."""
    return float(max(0.0, transition.next_obs[0]) ** sharpness)


@register_component
class Steadiness(RewardComponent):
    """Pays for every step in a row that the pendulum stays above the horizontal."""

    def __init__(self, per_step: float = 0.01, most: float = 1.0) -> None:
        self.per_step, self.most = per_step, most
        self.n_steps = 0

    def reset(self, obs: Any, info: Any) -> None:
        """Forgets the row at the start of an episode."""
        self.n_steps = 0

    def compute(self, transition: Transition) -> float:
        """Grows from step to step, and falls back to 0 with the pendulum."""
        self.n_steps = self.n_steps + 1 if transition.next_obs[0] > 0 else 0
        return min(self.per_step * self.n_steps, self.most)


REWARD = {
    "env": {"class": "EnvReward"},
    "upright": {
        "class": "upright",
        "params": {"sharpness": 2.0},
        # Guides the first half of the training, then leaves the environment's reward alone.
        "weight_schedule": {
            "initial_weight": 2.0,
            "schedule_type": "linear",
            "final_weight": 0.0,
            "end_step": "50%",
        },
    },
    "steady": {"class": "Steadiness", "weight_schedule": {"initial_weight": 0.5}},
}

if __name__ == "__main__":
    n_steps = 10_000
    env = RewardShapingWrapper(gym.make("Pendulum-v1"), REWARD, total_timesteps=n_steps)
    model = SAC("MlpPolicy", env, learning_starts=500, tensorboard_log="runs/custom_component")
    model.learn(n_steps, callback=RewardShapingCallback(), log_interval=4)
