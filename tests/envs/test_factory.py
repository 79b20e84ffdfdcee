from __future__ import annotations

import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.callbacks import ConvertCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    SubprocVecEnv,
    VecNormalize,
    VecTransposeImage,
    unwrap_vec_normalize,
)

from rllama_sb3 import (
    ConfigError,
    RewardComponent,
    RewardShapingWrapper,
    VecRewardShaping,
    train,
)
from rllama_sb3.config import EnvConfig, parse_experiment
from rllama_sb3.envs.factory import build_env, build_vec_env, check_env_config, choose_shaping
from rllama_sb3.envs.shaped_envs import begin_training
from rllama_sb3.rewards import EnvReward, PotentialShaping, Transition, register_component
from rllama_sb3.rewards.schedules import register_schedule
from rllama_sb3.rewards.weights import Learner

REWARD: dict[str, Any] = {"env": {"class": "EnvReward", "weight_schedule": {"initial_weight": 3.0}}}


def messages(**env: Any) -> list[str]:
    return [str(problem) for problem in check_env_config(EnvConfig(**env))]


def test_the_monitor_stands_inside_the_shaper() -> None:
    venv = build_vec_env(EnvConfig(id="CartPole-v1"), n_envs=2, seed=0, reward_shaping=REWARD)
    outermost = venv.envs[0]  # type: ignore[attr-defined]
    assert isinstance(outermost, RewardShapingWrapper)
    assert isinstance(outermost.env, Monitor)


@pytest.mark.parametrize("reward_shaping", [None, {}])
def test_without_components_there_is_no_shaper(reward_shaping: Any) -> None:
    venv = build_vec_env(
        EnvConfig(id="CartPole-v1"), n_envs=1, seed=0, reward_shaping=reward_shaping
    )
    assert not venv.has_attr("shaper")


def test_environments_share_no_component() -> None:
    venv = build_vec_env(EnvConfig(id="CartPole-v1"), n_envs=2, seed=0, reward_shaping=REWARD)
    first, second = venv.get_attr("shaper")
    assert first is not second
    assert first.composer.components["env"] is not second.composer.components["env"]


def test_wrappers_stand_below_the_monitor_in_the_order_given() -> None:
    env = EnvConfig(
        id="CartPole-v1",
        wrappers=[
            {"TimeLimit": {"max_episode_steps": 7}},
            "gymnasium.wrappers:ClipReward",
            {"stable_baselines3.common.atari_wrappers:MaxAndSkipEnv": {"skip": 2}},
        ],
        kwargs={"disable_env_checker": True},
    )
    with pytest.raises(ValueError, match="min_reward"):
        build_env(EnvConfig(id="CartPole-v1", wrappers=["ClipReward"]))
    env = env.model_copy(update={"wrappers": [env.wrappers[0], env.wrappers[2]]})
    venv = build_vec_env(env, n_envs=1, seed=0, reward_shaping=REWARD)
    below_monitor = venv.envs[0].env.env  # type: ignore[attr-defined]
    assert type(below_monitor).__name__ == "MaxAndSkipEnv"
    assert isinstance(below_monitor.env, TimeLimit)


def test_each_environment_has_its_own_seed() -> None:
    def first_observations(seed: int) -> np.ndarray:
        return build_vec_env(EnvConfig(id="CartPole-v1"), n_envs=2, seed=seed).reset()

    np.testing.assert_array_equal(first_observations(5), first_observations(5))
    assert not np.array_equal(first_observations(5)[0], first_observations(5)[1])
    np.testing.assert_array_equal(first_observations(5)[1], first_observations(6)[0])


def test_the_discount_factor_reaches_potentials_and_normalisation() -> None:
    reward = REWARD | {"up": {"class": "PotentialShaping", "params": {"potential": "obs[0]"}}}
    venv = build_vec_env(
        EnvConfig(id="CartPole-v1", normalize={"reward": True}),
        n_envs=1,
        seed=0,
        reward_shaping=reward,
        gamma=0.9,
        bootstrap_truncated=False,
    )
    normalize = unwrap_vec_normalize(venv)
    assert normalize is not None
    assert normalize.gamma == 0.9
    (shaper,) = venv.get_attr("shaper")
    assert shaper.gamma == 0.9
    assert shaper.bootstrap_truncated is False
    # Cut rewards would no longer add up to a difference of potentials.
    assert normalize.clip_reward == float("inf")


def test_normalisation_neither_learns_nor_scales_rewards_in_evaluation() -> None:
    env = EnvConfig(id="CartPole-v1", normalize={"obs": True, "reward": True})
    for training in (True, False):
        venv = build_vec_env(env, n_envs=1, seed=0, training=training)
        assert isinstance(venv, VecNormalize)
        assert (venv.training, venv.norm_obs, venv.norm_reward) == (training, True, training)


@pytest.mark.parametrize("normalize", [False, {"obs": False, "reward": False}])
def test_nothing_is_normalised_unless_asked_for(normalize: Any) -> None:
    venv = build_vec_env(EnvConfig(id="CartPole-v1", normalize=normalize), n_envs=1, seed=0)
    assert unwrap_vec_normalize(venv) is None


def test_images_are_turned_round_in_training_and_evaluation_alike() -> None:
    gym.register("FactoryImage-v0", _Image)
    for training in (True, False):
        venv = build_vec_env(EnvConfig(id="FactoryImage-v0"), n_envs=1, seed=0, training=training)
        assert isinstance(venv, VecTransposeImage)


class _Image(gym.Env[Any, Any]):
    observation_space = gym.spaces.Box(0, 255, (36, 36, 3), np.uint8)
    action_space = gym.spaces.Discrete(2)


def test_worker_processes_know_what_only_this_process_registered() -> None:
    # Defined in a function, these can be sent to a worker by value only, as those of a script.
    @register_component(name="OnlyHere")
    class _OnlyHere(RewardComponent):
        pursues_task = True

        def compute(self, transition: Transition) -> float:
            return 2.0

    @register_schedule(name="only_here")
    def _doubled(global_step: int, initial_weight: float = 1.0) -> float:
        return 2.0 * initial_weight

    gym.register("OnlyHere-v0", "gymnasium.envs.classic_control:CartPoleEnv")
    reward = {"here": {"class": "OnlyHere", "weight_schedule": {"schedule_type": "only_here"}}}
    venv = build_vec_env(
        EnvConfig(id="OnlyHere-v0"),
        n_envs=2,
        seed=0,
        reward_shaping=reward,
        vec_env="subproc",
    )
    assert isinstance(venv, SubprocVecEnv)
    venv.reset()
    _, rewards, _, _ = venv.step(np.array([0, 0]))
    schedules = begin_training(venv, 0, Learner()).schedules
    venv.close()
    assert rewards.tolist() == [4.0, 4.0]
    assert schedules["here"](10) == 2.0


# Where rewards are computed.

POTENTIAL: dict[str, Any] = {
    "class": "PotentialShaping",
    "params": {"potential": "-abs(obs[2])"},
    "weight_schedule": {
        "initial_weight": 5.0,
        "schedule_type": "linear",
        "final_weight": 1.0,
        "end_step": "50%",
    },
}


@register_component
class FactoryScalar(RewardComponent):
    def compute(self, transition: Transition) -> float:
        return 0.0


@register_component
def factory_function(transition: Transition) -> float:
    return 0.0


@register_component
class FactoryOwnWay(EnvReward):
    def compute(self, transition: Transition) -> float:
        return 2.0 * transition.env_reward


@register_component
class FactoryPotential(PotentialShaping):
    def reset(self, obs: Any, info: Any) -> None:
        """Does something of its own, for one environment."""


@pytest.mark.parametrize(
    ("env", "others", "chosen"),
    [
        ({"n_envs": 7}, [], "wrapper"),
        ({"n_envs": 8}, [], "vec"),
        ({"n_envs": 64}, ["ActionRatePenalty", "CountBonus"], "vec"),
        ({"n_envs": 8, "vec_env": "subproc"}, [], "wrapper"),
        ({"n_envs": 8}, ["FactoryScalar"], "wrapper"),
        ({"n_envs": 8}, ["factory_function"], "wrapper"),
        ({"n_envs": 8}, ["FactoryPotential"], "wrapper"),
        ({"n_envs": 8}, ["FactoryOwnWay"], "wrapper"),
        ({"n_envs": 8, "shaping": "wrapper"}, [], "wrapper"),
        ({"n_envs": 1, "shaping": "vec"}, [], "vec"),
        ({"n_envs": 1, "shaping": "vec", "vec_env": "subproc"}, ["factory_function"], "vec"),
    ],
)
def test_many_environments_in_one_process_are_shaped_together_where_that_can_be_done(
    env: dict[str, Any], others: list[str], chosen: str
) -> None:
    reward = {**REWARD, "up": POTENTIAL, **{name: {"class": name} for name in others}}
    assert choose_shaping(EnvConfig(id="CartPole-v1", **env), reward) == chosen


def test_where_there_is_no_reward_there_is_nothing_to_choose() -> None:
    assert choose_shaping(EnvConfig(id="CartPole-v1", n_envs=64), {}) == "wrapper"
    with pytest.raises(ConfigError, match="env.shaping: must be one of auto, wrapper, vec, but"):
        parse_experiment(_experiment(shaping="vectorised"))
    for shaping in ("auto", "wrapper", "vec"):
        assert parse_experiment(_experiment(shaping=shaping)).env.shaping == shaping


def _experiment(**env: Any) -> dict[str, Any]:
    return {
        "env": {"id": "CartPole-v1", "n_envs": 4, **env},
        "reward_shaping": {**REWARD, "up": POTENTIAL},
        # One rollout: the learner has learned nothing when it is paid.
        "algorithm": {"name": "PPO", "params": {"n_steps": 32, "batch_size": 64, "n_epochs": 1}},
        "training": {"total_timesteps": 128, "seed": 3},
        "evaluation": {"n_episodes": 2, "n_evaluations": 2, "n_envs": 2},
    }


def test_the_twin_stands_around_the_environments_and_below_the_normalisation() -> None:
    env = EnvConfig(id="CartPole-v1", normalize={"obs": True, "reward": True})
    for reward in (REWARD, None):
        venv = build_vec_env(
            env,
            n_envs=2,
            seed=0,
            reward_shaping=reward,
            gamma=0.9,
            bootstrap_truncated=False,
            shaping="vec",
        )
        assert isinstance(venv, VecNormalize)
        assert isinstance(venv.venv, VecRewardShaping)
        assert isinstance(venv.venv.venv.envs[0], Monitor)  # type: ignore[attr-defined]
        shaper = venv.venv.shaper
        assert (shaper is None) == (reward is None)
        if shaper is not None:
            assert (shaper.gamma, shaper.bootstrap_truncated) == (0.9, False)


@pytest.mark.parametrize("normalize", [True, False, {"obs": True, "reward": True}])
def test_a_training_sees_the_same_rewards_wherever_they_are_computed(normalize: Any) -> None:
    def rewards(shaping: str) -> tuple[np.ndarray, list[float]]:
        seen: list[np.ndarray] = []
        watch = ConvertCallback(lambda locals_, _: seen.append(locals_["rewards"].copy()) or True)
        config = _experiment(shaping=shaping, normalize=normalize)
        result = train(config, callbacks=[watch])
        return np.array(seen), [evaluation.mean for evaluation in result.evaluations]

    (wrapper, first), (vec, second) = rewards("wrapper"), rewards("vec")
    np.testing.assert_allclose(vec, wrapper, rtol=1e-5, atol=1e-6)
    assert len(first) == len(second) == 2
    assert all(1 <= mean <= 500 for mean in first + second)  # CartPole's own return
    assert len(np.unique(wrapper)) > 100


def test_a_good_environment_has_no_problems() -> None:
    assert (
        messages(id="FrozenLake-v1", kwargs={"map_name": "8x8"}, wrappers=["TimeAwareObservation"])
        == []
    )


def test_an_unknown_environment_gets_a_suggestion() -> None:
    assert messages(id="CartPol-v1") == [
        "env.id: must be a registered environment, but got 'CartPol-v1'. "
        "Did you mean 'CartPole-v1'?"
    ]


def test_an_environment_of_another_package_gets_the_import_hint() -> None:
    (message,) = messages(id="Xyzzy-Empty-5x5-v0")
    assert message.endswith("--import MODULE_THAT_REGISTERS_IT.")


def test_naming_a_module_in_an_id_does_not_import_it() -> None:
    (message,) = messages(id="antigravity:Fly-v0")
    assert message == (
        "env.id: must be of a module that was imported, but got 'antigravity:Fly-v0'. "
        "Name the module on the command line: --import antigravity."
    )
    assert "antigravity" not in sys.modules


def test_an_imported_module_may_be_named_in_an_id() -> None:
    assert messages(id="gymnasium:CartPole-v1") == []


def test_a_wrapper_of_a_module_that_was_not_imported_is_refused() -> None:
    (message,) = messages(id="CartPole-v1", wrappers=["antigravity:Fly"])
    assert message.startswith("env.wrappers[0]: must be of a module that was imported")
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("name", ["os:system", "gymnasium:make", "gymnasium.wrappers:vector"])
def test_only_wrappers_can_be_named(name: str) -> None:
    (message,) = messages(id="CartPole-v1", wrappers=[name])
    assert message.startswith("env.wrappers[0]: must be a wrapper of ")


def test_all_problems_of_an_environment_are_found_at_once() -> None:
    found = messages(
        id="CartPol-v1",
        wrappers=["TimeLimt", "stable_baselines3.nowhere:Wrapper"],
    )
    assert len(found) == 3
    assert "Did you mean 'TimeLimit'?" in found[1]
    assert found[2].startswith("env.wrappers[1]: must be of a module that exists")


def test_an_argument_that_the_environment_refuses_is_found() -> None:
    (message,) = messages(id="CartPole-v1", kwargs={"gravty": 3})
    assert message.startswith("env.kwargs: must be accepted by the environment (")
    assert "gravty" in message


def test_an_argument_that_a_wrapper_lacks_is_found() -> None:
    (message,) = messages(id="CartPole-v1", wrappers=["TimeLimit"])
    assert message.startswith("env.wrappers[0]: must be accepted")
    assert "max_episode_steps" in message


def test_observations_that_are_no_numbers_cannot_be_normalised() -> None:
    (message,) = messages(id="FrozenLake-v1", normalize=True)
    assert message.startswith("env.normalize: must leave observations alone")
    assert messages(id="FrozenLake-v1", normalize={"obs": False, "reward": True}) == []
