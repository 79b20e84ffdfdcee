"""The vectorised twin in training and evaluation, and the places where it can stand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from fork import GAMMA
from lingering import BONUS, FINISH, LINGER, Always, Lingering
from scripted import Scripted, Step, random_script
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)
from twins import FADING, POTENTIAL, TOTAL, linear, one_step, twin_of, weight_at

from rllama_sb3 import (
    ConfigError,
    RewardShapingCallback,
    RewardShapingWrapper,
    RllamaError,
    TrialEvalCallback,
    VecRewardShaping,
    evaluate,
)
from rllama_sb3.buffers import RelabelingBuffer
from rllama_sb3.rewards import (
    ExpressionReward,
    RewardComponent,
    RewardComposer,
    RewardShaper,
    Transition,
)
from rllama_sb3.rewards.weights import Learner


def build_model(name: str, venv: VecEnv, policy: str = "MlpPolicy") -> BaseAlgorithm:
    if name == "PPO":
        return PPO(policy, venv, n_steps=4, batch_size=4, n_epochs=1, seed=0)
    return DQN(policy, venv, learning_starts=6, train_freq=1, buffer_size=100, batch_size=4, seed=0)


def cart_poles(n_envs: int, reward: Any = FADING, cls: Any = DummyVecEnv) -> VecRewardShaping:
    """CartPole pays 1 for each step, so that under FADING the reward is the weight itself."""
    venv = make_vec_env("CartPole-v1", n_envs=n_envs, seed=0, vec_env_cls=cls)
    return VecRewardShaping(venv, reward)


class Recorder(BaseCallback):
    """Notes the rewards of each step, and the global step before it."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []
        self.rewards: list[list[float]] = []

    def _on_step(self) -> bool:
        self.steps.append(self.num_timesteps - self.training_env.num_envs)
        self.rewards.append(self.locals["rewards"].tolist())
        return True

    def check(self) -> None:
        expected = [[weight_at(step)] * len(self.rewards[0]) for step in self.steps]
        np.testing.assert_allclose(self.rewards, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["PPO", "DQN"])
@pytest.mark.parametrize("n_envs", [1, 3])
def test_each_step_is_paid_with_the_weight_of_its_global_step(name: str, n_envs: int) -> None:
    model, recorder = build_model(name, cart_poles(n_envs)), Recorder()
    for reset in (True, False, True):
        model.learn(16, callback=[RewardShapingCallback(), recorder], reset_num_timesteps=reset)
    assert recorder.steps.count(0) == 2
    assert max(recorder.steps) >= TOTAL
    recorder.check()


def test_a_saved_model_goes_on_at_its_global_step(tmp_path: Path) -> None:
    model = build_model("PPO", cart_poles(2))
    model.learn(8, callback=RewardShapingCallback())
    model.save(tmp_path / "model")
    again, recorder = PPO.load(tmp_path / "model", env=cart_poles(2)), Recorder()
    again.learn(8, callback=[RewardShapingCallback(), recorder], reset_num_timesteps=False)
    assert recorder.steps[0] == 8
    recorder.check()


def test_training_sends_no_message_but_steps_and_resets(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = cart_poles(2, cls=SubprocVecEnv)
    model = build_model("PPO", twin)
    sent: list[str] = []
    for remote in twin.unwrapped.remotes:  # type: ignore[attr-defined]
        plain = remote.send
        monkeypatch.setattr(
            remote, "send", lambda message, plain=plain: sent.append(message[0]) or plain(message)
        )
    recorder = Recorder()
    model.learn(TOTAL, callback=[RewardShapingCallback(), recorder])
    monkeypatch.undo()
    twin.close()
    recorder.check()
    assert sent == ["reset"] * 2 + ["step"] * TOTAL


# Learning.


def test_the_model_tells_gamma_and_is_held_to_that_of_the_user() -> None:
    twin = cart_poles(1)
    PPO("MlpPolicy", twin, n_steps=4, batch_size=4, gamma=0.8).learn(
        4, callback=RewardShapingCallback()
    )
    assert twin.shaper is not None
    assert twin.shaper.gamma == 0.8
    venv = make_vec_env("CartPole-v1")
    model = build_model("PPO", VecRewardShaping(venv, FADING, gamma=0.5))
    with pytest.raises(ConfigError, match=r"gamma: .*0\.99.*0\.5"):
        model.learn(4, callback=RewardShapingCallback())


@pytest.mark.parametrize("bootstraps", [True, False])
def test_potentials_learn_whether_truncated_states_have_a_future(bootstraps: bool) -> None:
    advice = {"class": "PotentialShaping", "params": {"potential": "obs[0]"}}
    reward = {"advice": advice, "env": {"class": "EnvReward"}}
    twin = twin_of(one_step(7.0, truncated=True), reward=reward)
    kwargs = {"handle_timeout_termination": bootstraps}
    model = DQN(
        "MlpPolicy", twin, buffer_size=10, gamma=0.5, train_freq=1, replay_buffer_kwargs=kwargs
    )
    recorder = Recorder()
    model.learn(2, callback=[RewardShapingCallback(), recorder])
    assert recorder.rewards == [[1.0 + 0.5 * 7.0 * bootstraps - 1.0]] * 2


def test_a_replay_buffer_of_dicts_leaves_the_observations_of_components_alone() -> None:
    # It reshapes the Discrete parts of the dict that the VecEnv gave to the algorithm.
    class Age(RewardComponent):
        def compute(self, transition: Transition) -> float:
            assert np.shape(transition.obs["age"]) == np.shape(transition.next_obs["age"]) == ()
            return float(transition.obs["age"])

    shaper = RewardShaper(
        RewardComposer({"age": Age(), "late": ExpressionReward("obs['age'] > 0")}),
        {"age": {}, "late": {"weight_schedule": linear(1.0, 0.0, 20)}},
    )
    steps = [Step(0.0), Step(0.0), Step(0.0, terminated=True)]
    scripts = [partial(Scripted, [(0.0, steps)], as_dict=True)] * 2
    model = build_model("DQN", VecRewardShaping(DummyVecEnv(scripts), shaper), "MultiInputPolicy")
    recorder = Recorder()
    model.learn(12, callback=[RewardShapingCallback(), recorder])

    def rewards(late: Callable[[int], float]) -> list[list[float]]:
        ages = [step % 3 for step in range(6)]
        return [[age + (age > 0) * late(step)] * 2 for step, age in enumerate(ages)]

    np.testing.assert_allclose(recorder.rewards, rewards(lambda step: 1 - 2 * step / 20))
    buffer = model.replay_buffer  # type: ignore[attr-defined]
    assert isinstance(buffer, RelabelingBuffer)
    np.testing.assert_allclose(buffer.rewards[:6], rewards(lambda _: 1 - 12 / 20))


def test_an_unshaped_twin_cannot_be_trained_in() -> None:
    model = build_model("PPO", cart_poles(1, None))
    with pytest.raises(RllamaError, match="every training environment to be wrapped"):
        model.learn(4, callback=RewardShapingCallback())
    with pytest.raises(RllamaError, match="a VecRewardShaping without a reward"):
        cart_poles(1, None).begin_training(0, Learner())


# The places where it can stand.


def test_without_a_reward_everything_passes_through() -> None:
    plain, twin = (make_vec_env("CartPole-v1", n_envs=2, seed=0) for _ in range(2))
    nothing = VecRewardShaping(twin, None, record_components=True)
    nothing.set_global_step(5)
    np.testing.assert_array_equal(nothing.reset(), plain.reset())
    for _ in range(30):
        ours, theirs = nothing.step(np.array([0, 1])), plain.step(np.array([0, 1]))
        for part in range(3):
            np.testing.assert_array_equal(ours[part], theirs[part])
        assert [set(info) for info in ours[3]] == [set(info) for info in theirs[3]]


def test_rewards_that_are_scaled_below_are_refused() -> None:
    venv = make_vec_env("CartPole-v1")
    with pytest.raises(ConfigError, match="venv: must see the environments' own rewards, but Vec"):
        VecRewardShaping(VecFrameStack(VecNormalize(venv), 2), FADING)
    VecRewardShaping(VecNormalize(venv), None)  # nothing is paid
    VecRewardShaping(VecNormalize(venv, norm_reward=False), FADING)


def test_environments_are_not_shaped_twice() -> None:
    wrapped = make_vec_env(
        "CartPole-v1",
        wrapper_class=RewardShapingWrapper,
        wrapper_kwargs={"reward_shaping": FADING},
    )
    for venv in (wrapped, VecFrameStack(cart_poles(1), 2), VecRewardShaping(cart_poles(1), None)):
        with pytest.raises(ConfigError, match="venv: must stand around environments that no other"):
            VecRewardShaping(venv, FADING)
    VecRewardShaping(VecRewardShaping(wrapped, None), None)


def test_an_environment_may_have_a_shaper_of_its_own_kind() -> None:
    class Shaped(Lingering):
        shaper = "of metal"

    VecRewardShaping(DummyVecEnv([Shaped]), BONUS)


def test_observations_that_no_algorithm_knows_are_refused() -> None:
    class Pair(Lingering):
        observation_space = gym.spaces.Tuple([gym.spaces.Discrete(2), gym.spaces.Discrete(2)])  # type: ignore[assignment]

    with pytest.raises(ConfigError, match="venv: must observe one array or a dict .* got Tuple"):
        VecRewardShaping(DummyVecEnv([Pair]), BONUS)


@pytest.mark.parametrize("place", ["VecNormalize", "VecFrameStack"])
def test_components_see_the_observations_of_the_place(place: str) -> None:
    rng = np.random.default_rng(2)
    below: VecEnv = DummyVecEnv([partial(Scripted, **random_script(rng)) for _ in range(3)])
    if place == "VecNormalize":
        below = VecNormalize(below, norm_reward=False)
        x = "obs[0]"
    else:
        below = VecFrameStack(below, 2)
        x = "obs[0] + 10 * obs[1]"
    # The difference of a potential is the same as that of two expressions, and both are paid.
    twin = VecRewardShaping(
        below,
        {
            "moved": {
                "class": "ExpressionReward",
                "params": {"expression": f"{x.replace('obs', 'next_obs')} - ({x})"},
            },
            "advice": {
                "class": "PotentialShaping",
                "params": {"potential": x},
                "weight_schedule": {"initial_weight": -0.25},
            },
        },
        gamma=1.0,
    )

    def value(row: np.ndarray) -> float:
        return float(row[0]) + (10.0 * float(row[1]) if len(row) > 1 else 0.0)

    obs = np.array(twin.reset())
    for _ in range(15):
        next_obs, rewards, dones, infos = twin.step(np.zeros(3, int))
        for env in range(3):
            last = infos[env]["terminal_observation"] if dones[env] else next_obs[env]
            arrival = value(last) if not dones[env] or infos[env]["TimeLimit.truncated"] else 0.0
            moved = value(last) - value(obs[env])
            expected = moved - 0.25 * (arrival - value(obs[env]))
            assert rewards[env] == pytest.approx(expected, rel=1e-5, abs=1e-5)
        obs = np.array(next_obs)


def test_a_monitor_below_knows_the_env_return_and_one_above_the_shaped() -> None:
    script = [(0.0, [Step(0.0, 3.0), Step(0.0, 4.0, terminated=True)])]
    plain = DummyVecEnv([partial(Scripted, script)])
    venv = VecMonitor(VecRewardShaping(VecMonitor(plain), BONUS), info_keywords=())
    venv.reset()
    venv.step(np.array([0]))
    info = venv.step(np.array([0]))[3][0]
    assert info["episode"]["r"] == 27.0
    assert info["reward_shaping"]["env_return"] == 7.0
    assert info["reward_shaping"]["shaped_return"] == 27.0
    below = VecRewardShaping(VecMonitor(DummyVecEnv([partial(Scripted, script)])), BONUS)
    below.reset()
    below.step(np.array([0]))
    assert below.step(np.array([0]))[3][0]["episode"]["r"] == 7.0


# Judging policies.


def lingering(n_envs: int = 2, monitor: bool = False) -> VecEnv:
    build = (lambda: Monitor(Lingering())) if monitor else Lingering
    return DummyVecEnv([build] * n_envs)


PLACES: dict[str, Callable[[], VecEnv]] = {
    "shaped": lambda: VecRewardShaping(lingering(), BONUS),
    "shaped, Monitor inside": lambda: VecRewardShaping(lingering(monitor=True), BONUS),
    "nothing": lambda: VecRewardShaping(lingering(), None),
    "nothing, Monitor inside": lambda: VecRewardShaping(lingering(monitor=True), None),
    "VecMonitor outside": lambda: VecMonitor(VecRewardShaping(lingering(), BONUS)),
    "VecMonitor inside": lambda: VecRewardShaping(VecMonitor(lingering()), BONUS),
    "VecNormalize outside": lambda: VecNormalize(VecRewardShaping(lingering(), BONUS)),
    "VecNormalize inside": lambda: VecRewardShaping(
        VecNormalize(lingering(), norm_reward=False), BONUS
    ),
    "VecFrameStack": lambda: VecFrameStack(VecRewardShaping(lingering(), BONUS), 2),
    "with a potential": lambda: VecRewardShaping(
        lingering(),
        BONUS | {"time": {"class": "PotentialShaping", "params": {"potential": "obs[0]"}}},
        gamma=GAMMA,
    ),
}


@pytest.mark.parametrize("order", PLACES)
@pytest.mark.parametrize(("action", "env_return", "length"), [(FINISH, 100, 1), (LINGER, 0, 22)])
def test_policies_are_judged_by_the_env_return_wherever_the_twin_stands(
    order: str, action: int, env_return: float, length: int
) -> None:
    result = evaluate(Always(action), PLACES[order](), n_episodes=4)
    assert result.env_returns.tolist() == [env_return] * 4
    assert result.lengths.tolist() == [length] * 4


@pytest.mark.parametrize("shaped", [True, False], ids=["shaped", "passing through"])
@pytest.mark.parametrize("callback", [EvalCallback, TrialEvalCallback])
def test_evaluation_in_a_counterpart_of_the_training_environments(
    callback: type[EvalCallback], shaped: bool
) -> None:
    def wrap(reward: Any, monitor: bool, norm_reward: bool, gamma: float | None = None) -> VecEnv:
        venv = VecRewardShaping(lingering(2, monitor), reward, gamma=gamma)
        return VecNormalize(venv, norm_reward=norm_reward, gamma=0.99, clip_reward=float("inf"))

    training = wrap(POTENTIAL, monitor=True, norm_reward=True)
    # An EvalCallback knows the potential's γ from the user, a TrialEvalCallback from the model.
    gamma = 0.99 if callback is EvalCallback else None
    evaluation = wrap(POTENTIAL if shaped else None, callback is EvalCallback, False, gamma)
    model = PPO("MlpPolicy", training, n_steps=8, batch_size=16, n_epochs=1)
    judge = callback(evaluation, n_eval_episodes=2, eval_freq=4, deterministic=True, verbose=0)
    model.learn(32, callback=[RewardShapingCallback(), judge])
    # No policy gets anything but 100 or 0 an episode; shaped returns are above 100.
    assert judge.last_mean_reward in (0.0, 50.0, 100.0)
    assert isinstance(evaluation, VecNormalize)
    assert isinstance(training, VecNormalize)
    assert evaluation.obs_rms.count > 1
    assert judge.n_calls == 16


def test_evaluation_without_the_counterpart_is_what_stable_baselines_refuses() -> None:
    training = VecNormalize(VecRewardShaping(lingering(), BONUS))
    evaluation = VecNormalize(lingering(monitor=True), norm_reward=False)
    model = PPO("MlpPolicy", training, n_steps=8, batch_size=16, n_epochs=1)
    judge = EvalCallback(evaluation, n_eval_episodes=2, eval_freq=4, verbose=0)
    with pytest.raises(AssertionError, match="not being wrapped the same way"):
        model.learn(16, callback=[RewardShapingCallback(), judge])
