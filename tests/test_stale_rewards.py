"""What relabeling is for: a task on which stale rewards end in the wrong policy.

One decision makes an episode. To work is worth 1, and to play nothing; but playing is praised by a
bonus of 10, which fades to nothing before two thirds of the training are over. The last third is
there to learn what is right, from a replay buffer that still holds all there was.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer

from rllama_sb3 import RelabelingReplayBuffer, RewardShapingCallback, RewardShapingWrapper

WORK, PLAY = 0, 1
TOTAL = 900
PRAISE: dict[str, Any] = {
    "env": {"class": "EnvReward"},
    "praise": {
        "class": "InfoReward",
        "params": {"key": "played"},
        "weight_schedule": {
            "initial_weight": 10.0,
            "schedule_type": "linear",
            "final_weight": 0.0,
            "start_step": TOTAL // 2,
            "end_step": TOTAL * 2 // 3,
        },
    },
}
Observation = NDArray[np.float32]


class Decision(gym.Env[Observation, int]):
    """The task above."""

    observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        played = int(action) == PLAY
        return np.ones(1, np.float32), float(not played), True, False, {"played": float(played)}


def learned_action(seed: int, callback: RewardShapingCallback | None) -> tuple[int, type[Any]]:
    """Trains on the praised task, and returns what is then done, and the class of the buffer."""
    model = DQN(
        "MlpPolicy",
        RewardShapingWrapper(Decision(), PRAISE),
        learning_rate=5e-2,
        buffer_size=TOTAL,
        learning_starts=20,
        train_freq=2,
        target_update_interval=50,
        exploration_fraction=0.5,
        exploration_final_eps=0.2,
        # Two numbers, one for each action: as much as there is to learn.
        policy_kwargs={"net_arch": []},
        seed=seed,
        device="cpu",
    )
    model.learn(TOTAL, callback=callback)
    action, _ = model.predict(np.ones(1, np.float32), deterministic=True)
    return int(action), type(model.replay_buffer)


@pytest.mark.parametrize("seed", range(5))
def test_stale_rewards_end_in_the_wrong_policy_and_relabeled_ones_in_the_right_one(
    seed: int,
) -> None:
    # Without the callback the wrapper counts by itself, and the buffer is Stable-Baselines3's own.
    assert learned_action(seed, None) == (PLAY, ReplayBuffer)
    assert learned_action(seed, RewardShapingCallback()) == (WORK, RelabelingReplayBuffer)
