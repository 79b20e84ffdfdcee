from __future__ import annotations

import copy
import json
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from scripted import Scripted, Step
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.vec_env import DummyVecEnv

from rllama_sb3 import ConfigError, RewardShapingWrapper, build_shaper
from rllama_sb3.errors import ComponentError
from rllama_sb3.rewards.weights import Learner

REWARD = {
    "env": {"class": "EnvReward", "weight_schedule": {"initial_weight": 2.0}},
    "time": {"class": "StepPenalty", "params": {"penalty": -0.5}},
}
LINEAR = {"initial_weight": 1.0, "schedule_type": "linear", "final_weight": 0.0, "end_step": 10}
WEIGHT_ONLY = {
    "one": {
        "class": "StepPenalty",
        "params": {"penalty": 1.0},
        "weight_schedule": LINEAR,
    },
    "env": {"class": "EnvReward"},
}


class AnySpace(gym.Env[Any, Any]):
    """An environment of given spaces that samples its observations."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]):
        self.observation_space, self.action_space = observation_space, action_space
        self._step = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self._step = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self._step += 1
        return self.observation_space.sample(), 1.0, self._step == 5, False, {}


BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)
OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "box": BOX,
    "image": spaces.Box(0, 255, (36, 36, 3), np.uint8),
    "discrete": spaces.Discrete(4),
    "multi_discrete": spaces.MultiDiscrete([3, 4]),
    "multi_binary": spaces.MultiBinary(4),
    "dict": spaces.Dict({"position": BOX, "goal": spaces.Discrete(3)}),
}
ACTIONS: dict[str, spaces.Space[Any]] = {
    "discrete": spaces.Discrete(3),
    "box": spaces.Box(-1.0, 1.0, (2,), np.float32),
    "multi_discrete": spaces.MultiDiscrete([3, 4]),
    "multi_binary": spaces.MultiBinary(4),
}


def scripted(*steps: Step, **kwargs: Any) -> RewardShapingWrapper[Any, Any]:
    return RewardShapingWrapper(Scripted([(0.0, steps)]), REWARD, **kwargs)


@pytest.mark.parametrize("observations", OBSERVATIONS)
@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.filterwarnings("ignore::UserWarning")  # both checkers advise on what is unusual
def test_the_checkers_of_gymnasium_and_sb3_pass_on_every_space(
    observations: str, actions: str
) -> None:
    def env() -> RewardShapingWrapper[Any, Any]:
        inner = AnySpace(OBSERVATIONS[observations], ACTIONS[actions])
        return RewardShapingWrapper(inner, REWARD, record_components=True)

    gymnasium_check_env(env(), skip_render_check=True)
    sb3_check_env(env(), skip_render_check=True)


def test_each_reward_is_the_weighted_sum_and_nothing_else_changes() -> None:
    plain = Scripted([(0.0, [Step(3.0, 1.5), Step(4.0, -1.0, truncated=True)])])
    env = RewardShapingWrapper(plain, REWARD)
    assert env.reset()[0] == 0.0
    assert env.step(0) == (np.float32([3.0]), 2.5, False, False, {})
    obs, reward, terminated, truncated, _ = env.step(1)
    assert (obs, reward, terminated, truncated) == (4.0, -2.5, False, True)


def test_the_end_of_an_episode_tells_its_sums_and_no_earlier_step_does() -> None:
    env = scripted(Step(1.0, 1.0), Step(2.0, 3.0), Step(3.0, -0.5, terminated=True))
    for _ in range(2):  # the second episode starts from zero again
        env.reset()
        infos = [env.step(0)[4] for _ in range(3)]
        assert ["reward_shaping" in info for info in infos] == [False, False, True]
        assert infos[-1]["reward_shaping"] == {
            "env_return": 3.5,
            "shaped_return": 5.5,
            "length": 3,
            "components": {
                "env": {"raw": 3.5, "weighted": 7.0},
                "time": {"raw": -1.5, "weighted": -1.5},
            },
        }


def test_sums_hold_over_an_episode_longer_than_what_is_kept_in_memory() -> None:
    n_steps = 10_000
    steps = [Step(0.0, 0.1) for _ in range(n_steps - 1)] + [Step(0.0, 0.1, terminated=True)]
    env = scripted(*steps)
    env.reset()
    for _ in range(n_steps - 1):
        env.step(0)
    summary = env.step(0)[4]["reward_shaping"]
    assert summary["length"] == n_steps
    assert summary["env_return"] == pytest.approx(0.1 * n_steps, rel=1e-11)
    assert summary["components"]["time"] == {"raw": -5000.0, "weighted": -5000.0}


@pytest.mark.slow
def test_an_endless_episode_does_not_fill_the_memory() -> None:
    env = scripted(*[Step(0.0, 0.1)] * 60_000)
    env.reset()
    sizes = []
    tracemalloc.start()
    for step in range(60_000):
        env.step(0)
        if step % 10_000 == 9_999:
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert max(sizes[1:]) < 2e6


def test_recorded_components_travel_with_every_step() -> None:
    env = scripted(Step(1.0, 4.0), Step(1.0, 2.0, terminated=True), record_components=True)
    env.reset()
    assert env.step(0)[4]["reward_components"] == {"env": 4.0, "time": -0.5}
    assert env.step(0)[4]["reward_components"] == {"env": 2.0, "time": -0.5}


def test_recorded_values_pass_a_vec_env_without_a_copy_and_stay_what_they_were() -> None:
    steps = (Step(1.0, 4.0), Step(1.0, 2.0), Step(1.0, 0.0, terminated=True))
    venv = DummyVecEnv([lambda: scripted(*steps, record_components=True)])
    venv.reset()
    first, second = (venv.step(np.array([0]))[3][0]["reward_components"] for _ in range(2))
    assert (first, second) == ({"env": 4.0, "time": -0.5}, {"env": 2.0, "time": -0.5})
    assert copy.deepcopy(second) is second
    assert pickle.loads(pickle.dumps(second)) == second


def test_the_infos_of_the_environment_are_left_as_they_were() -> None:
    shared: dict[str, Any] = {"speed": 1.0}

    class Sharing(Scripted):
        def step(self, action: int) -> Any:
            return *super().step(action)[:4], shared

    env = RewardShapingWrapper(
        Sharing([(0.0, [Step(1.0, terminated=True)])]), REWARD, record_components=True
    )
    env.reset()
    assert env.step(0)[4]["speed"] == 1.0
    assert shared == {"speed": 1.0}


def test_a_component_sees_the_observation_before_and_after_the_action() -> None:
    moved = {
        "moved": {"class": "ExpressionReward", "params": {"expression": "next_obs[0] - obs[0]"}},
        "env": {"class": "EnvReward"},
    }
    env = RewardShapingWrapper(
        Scripted([(1.0, [Step(5.0), Step(2.0, terminated=True)]), (10.0, [Step(11.0)])]), moved
    )
    env.reset()
    assert [env.step(0)[1] for _ in range(2)] == [4.0, -3.0]
    env.reset()
    assert env.step(0)[1] == 1.0


def weights_paid(env: RewardShapingWrapper[Any, Any], n_steps: int) -> list[float]:
    return [float(env.step(0)[1]) for _ in range(n_steps)]


def test_the_clock_starts_at_zero_and_counts_steps_over_episodes() -> None:
    episode = [Step(0.0), Step(0.0), Step(0.0, terminated=True)]
    env = RewardShapingWrapper(Scripted([(0.0, episode)]), WEIGHT_ONLY)
    paid = []
    for _ in range(4):
        env.reset()
        paid += weights_paid(env, 3)
    assert paid == pytest.approx([max(0.0, 1 - t / 10) for t in range(12)])


def test_a_set_clock_counts_on_by_the_number_of_environments() -> None:
    env = RewardShapingWrapper(Scripted([(0.0, [Step(0.0)] * 9)]), WEIGHT_ONLY)
    env.reset()
    env.set_global_step(2, n_envs=3)
    assert weights_paid(env, 4) == pytest.approx([0.8, 0.5, 0.2, 0.0])
    env.set_global_step(7)
    assert weights_paid(env, 2) == pytest.approx([0.3, 0.2])


POTENTIAL = {
    "advice": {
        "class": "PotentialShaping",
        "params": {"potential": "obs[0]"},
        "weight_schedule": LINEAR,
    },
    "env": {"class": "EnvReward"},
}


def test_a_clock_set_after_a_reset_reweights_the_first_state() -> None:
    # Training resets the environments first, and tells the time after that.
    env = RewardShapingWrapper(Scripted([(8.0, [Step(6.0)])]), POTENTIAL, gamma=0.5)
    env.reset()
    env.set_global_step(5)
    assert env.step(0)[1] == pytest.approx(0.5 * 0.4 * 6.0 - 0.5 * 8.0)


def test_a_clock_set_within_an_episode_still_takes_back_what_was_paid() -> None:
    env = RewardShapingWrapper(Scripted([(8.0, [Step(6.0), Step(4.0)])]), POTENTIAL, gamma=0.5)
    env.reset()
    env.step(0)
    env.set_global_step(5)
    assert env.step(0)[1] == pytest.approx(0.5 * 0.4 * 4.0 - 0.9 * 6.0)


def test_training_tells_clock_and_gamma_and_learns_the_schedules_in_one_message() -> None:
    env = RewardShapingWrapper(Scripted([(8.0, [Step(6.0)])]), POTENTIAL)
    env.reset()
    description = cloudpickle.loads(env.begin_training(3, 2, Learner(gamma=0.5)))
    assert description.schedules["advice"](5) == 0.5
    assert description.policy_invariant == {"advice"}
    assert env.step(0)[1] == pytest.approx(0.5 * 0.5 * 6.0 - 0.7 * 8.0)


def test_another_learner_may_follow_but_not_contradict_the_user() -> None:
    free = RewardShapingWrapper(Scripted([(8.0, [Step(6.0)])]), POTENTIAL)
    for gamma in (0.99, 0.95):
        free.begin_training(0, 1, Learner(gamma))
        assert free.shaper.gamma == gamma
    bound = RewardShapingWrapper(
        Scripted([(8.0, [Step(6.0)])]), POTENTIAL, gamma=0.99, bootstrap_truncated=True
    )
    bound.begin_training(0, 1, Learner(0.99, True))
    refused = cloudpickle.loads(bound.begin_training(0, 1, Learner(0.95)))
    assert isinstance(refused, ConfigError)
    assert str(refused).startswith("gamma: must be the learner's own, 0.95")
    refused = cloudpickle.loads(bound.begin_training(0, 1, Learner(0.99, False)))
    assert str(refused).startswith("bootstrap_truncated: must be the learner's own, False")


def test_a_learner_that_does_not_bootstrap_is_paid_no_potential_at_a_truncation() -> None:
    env = RewardShapingWrapper(Scripted([(8.0, [Step(6.0, truncated=True)])]), POTENTIAL)
    env.begin_training(0, 1, Learner(0.5, False))
    env.reset()
    assert env.step(0)[1] == -8.0


def test_what_belongs_to_a_given_shaper_is_not_dropped_in_silence() -> None:
    env = Scripted([(8.0, [Step(6.0)])])
    with pytest.raises(ConfigError, match="total_timesteps: must be given to the RewardShaper"):
        RewardShapingWrapper(env, build_shaper(POTENTIAL), total_timesteps=10)
    wrapped = RewardShapingWrapper(
        env, build_shaper(POTENTIAL), gamma=0.5, bootstrap_truncated=False
    )
    assert (wrapped.shaper.gamma, wrapped.shaper.bootstrap_truncated) == (0.5, False)


def test_several_environments_built_from_one_shaper_share_no_state() -> None:
    shaper = build_shaper(POTENTIAL, gamma=0.5)
    first = RewardShapingWrapper(Scripted([(8.0, [Step(0.0)])]), shaper)
    second = RewardShapingWrapper(Scripted([(2.0, [Step(0.0)])]), shaper)
    first.reset()
    second.reset()
    first.set_global_step(5)
    assert first.step(0)[1] == -4.0
    assert second.step(0)[1] == -2.0
    assert shaper.global_step == 0


def test_the_spec_rebuilds_the_wrapped_environment_and_serialises() -> None:
    env = RewardShapingWrapper(gym.make("CartPole-v1"), REWARD, gamma=0.9, record_components=True)
    assert env.spec is not None
    assert json.loads(env.spec.to_json())["additional_wrappers"][-1]["name"] == (
        "RewardShapingWrapper"
    )
    for spec in (env.spec, gym.envs.registration.EnvSpec.from_json(env.spec.to_json())):
        rebuilt = gym.make(spec)
        rebuilt.reset(seed=1)
        env.reset(seed=1)
        assert rebuilt.step(0)[1] == env.step(0)[1] == 1.5
        assert rebuilt.get_wrapper_attr("shaper").gamma == 0.9


def test_a_file_with_a_reward_shaping_key_is_read(tmp_path: Path) -> None:
    file = tmp_path / "reward.yaml"
    file.write_text("reward_shaping:\n  env: {class: EnvReward}\n  time: {class: StepPenalty}\n")
    for path in (file, str(file)):
        env = RewardShapingWrapper(gym.make("CartPole-v1"), path)
        env.reset(seed=0)
        assert env.step(0)[1] == pytest.approx(0.99)


def test_a_wrong_file_says_in_which_line(tmp_path: Path) -> None:
    file = tmp_path / "reward.yaml"
    file.write_text("reward_shaping:\n  env: {class: EnvReward}\n  time: {class: StepPenlty}\n")
    with pytest.raises(ConfigError, match=r"reward.yaml:3: reward_shaping.time.class: .*'StepPenl"):
        RewardShapingWrapper(gym.make("CartPole-v1"), file)


def test_a_failing_component_stops_the_run_with_its_name_and_step() -> None:
    broken = {
        "env": {"class": "EnvReward"},
        "ratio": {"class": "ExpressionReward", "params": {"expression": "1 / next_obs[0]"}},
    }
    env = RewardShapingWrapper(Scripted([(1.0, [Step(1.0), Step(0.0)])]), broken)
    env.reset()
    env.step(0)
    with pytest.raises(
        ComponentError, match="at global step 1, component 'ratio' failed: .*division by zero"
    ):
        env.step(0)


def test_works_around_every_classic_control_environment() -> None:
    for env_id in ("CartPole-v1", "MountainCar-v0", "Pendulum-v1", "Acrobot-v1", "FrozenLake-v1"):
        env = RewardShapingWrapper(gym.make(env_id), REWARD)
        env.reset(seed=0)
        env.action_space.seed(0)
        terminated = truncated = False
        while not (terminated or truncated):
            *_, terminated, truncated, info = env.step(env.action_space.sample())
        assert info["reward_shaping"]["shaped_return"] == pytest.approx(
            2 * info["reward_shaping"]["env_return"] - 0.5 * info["reward_shaping"]["length"]
        )
