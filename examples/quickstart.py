"""Shape the reward of an environment, and train PPO on it. Watch: tensorboard --logdir runs."""

import gymnasium as gym
from stable_baselines3 import PPO

from rllama_sb3 import RewardShapingCallback, RewardShapingWrapper

reward = {
    "env": {"class": "EnvReward"},
    "height": {"class": "PotentialShaping", "params": {"potential": "100 * sin(3 * obs[0])"}},
}
env = RewardShapingWrapper(gym.make("MountainCar-v0"), reward)
model = PPO("MlpPolicy", env, gamma=0.99, tensorboard_log="runs/quickstart")
model.learn(50_000, callback=RewardShapingCallback())
model.save("runs/quickstart/model")
