"""The vectorised twin pays what a wrapper around each environment pays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from fork import GAMMA
from hypothesis import given, settings
from hypothesis import strategies as st
from lingering import BONUS, FINISH, LINGER, Always, Lingering
from scripted import Episode, Scripted, Step, random_script
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

from rllama_sb3 import (
    ConfigError,
    RewardShapingCallback,
    RewardShapingWrapper,
    RllamaError,
    TrialEvalCallback,
    VecRewardShaping,
    build_shaper,
    evaluate,
)
from rllama_sb3.buffers import RelabelingBuffer
from rllama_sb3.errors import ComponentError
from rllama_sb3.rewards import (
    ExpressionReward,
    PotentialShaping,
    RewardComponent,
    RewardComposer,
    RewardShaper,
    Transition,
    register_component,
)
from rllama_sb3.rewards.weights import Learner


def linear(initial: float, final: float, end: int) -> dict[str, Any]:
    return {
        "initial_weight": initial,
        "schedule_type": "linear",
        "final_weight": final,
        "end_step": end,
    }


@register_component
class FromFirstState(RewardComponent):
    """Knows one environment only, and remembers how its episode began."""

    def __init__(self) -> None:
        self.start = 0.0

    def reset(self, obs: Any, info: Mapping[str, Any]) -> None:
        self.start = place(obs) + info["bonus"]

    def compute(self, transition: Transition) -> float:
        return place(transition.next_obs) - self.start


def place(obs: Any) -> float:
    return float(obs["place"][0] if isinstance(obs, dict) else obs[0])


def reward_of(names: list[str], as_dict: bool) -> dict[str, Any]:
    """Components of every kind, some of whose weights move."""
    x = "obs['place'][0]" if as_dict else "obs[0]"
    components: dict[str, Any] = {
        "env": {"class": "EnvReward", "weight_schedule": linear(2.0, -1.0, 13)},
        "goal": {"class": "GoalReward", "weight_schedule": {"initial_weight": 3.0}},
        "end": {"class": "TerminationPenalty", "weight_schedule": {"initial_weight": 0.0}},
        "smooth": {"class": "ActionRatePenalty"},
        "moved": {
            "class": "ExpressionReward",
            "params": {"expression": f"next_{x} - {x} if next_{x} > 0 else info['bonus'] * action"},
            "weight_schedule": linear(0.0, 4.0, 9),
        },
        "user": {"class": "FromFirstState"},
        "told": {"class": "PotentialShaping", "params": {"potential": f"info['bonus'] + {x}"}},
        "near": {
            "class": "PotentialShaping",
            "params": {"potential": f"3 * abs({x})"},
            "weight_schedule": linear(1.0, 0.2, 20),
        },
    }
    return {name: components[name] for name in names}


NAMES = ["env", "goal", "end", "smooth", "moved", "user", "told", "near"]


def both(
    scripts: list[dict[str, Any]], reward: Any, **arguments: Any
) -> tuple[VecEnv, VecRewardShaping]:
    """The same environments twice: each in a wrapper, and all of them in the twin."""

    def build(script: dict[str, Any]) -> Any:
        return RewardShapingWrapper(Scripted(**script), reward, **arguments)

    wrapped = DummyVecEnv([partial(build, script) for script in scripts])
    plain = DummyVecEnv([partial(Scripted, **script) for script in scripts])
    return wrapped, VecRewardShaping(plain, reward, **arguments)


def set_global_step(wrapped: VecEnv, twin: VecRewardShaping, step: int) -> None:
    wrapped.env_method("set_global_step", step, wrapped.num_envs)
    twin.set_global_step(step)


def assert_same_step(wrapped: VecEnv, twin: VecEnv, actions: Any) -> np.ndarray:
    """Steps both; returns the rewards."""
    obs, rewards, dones, infos = wrapped.step(actions)
    twin_obs, twin_rewards, twin_dones, twin_infos = twin.step(actions)
    np.testing.assert_equal(twin_obs, obs)
    np.testing.assert_array_equal(twin_dones, dones)
    assert twin_rewards.dtype == np.float32
    np.testing.assert_allclose(twin_rewards, rewards, rtol=1e-5, atol=1e-5)
    for info, twin_info in zip(infos, twin_infos, strict=True):
        assert set(info) == set(twin_info)
        np.testing.assert_equal(
            twin_info.get("terminal_observation"), info.get("terminal_observation")
        )
        for key in ("reward_components", "reward_shaping"):
            assert flat(twin_info.get(key, {})) == pytest.approx(
                flat(info.get(key, {})), rel=1e-5, abs=1e-5, nan_ok=True
            )
    return np.array(twin_rewards)


def flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    values: dict[str, float] = {}
    for key, value in mapping.items():
        nested = isinstance(value, Mapping)
        values |= flat(value, f"{prefix}{key}.") if nested else {prefix + key: float(value)}
    return values


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, True, False]),
    st.dictionaries(st.integers(0, 12), st.integers(0, 30), max_size=2),
    st.integers(0, 2**32 - 1),
)
@pytest.mark.filterwarnings("ignore:The reward consists of")
def test_the_twin_pays_what_wrappers_pay(
    n_envs: int,
    names: list[str],
    as_dict: bool,
    record_components: bool,
    bootstrap_truncated: bool | None,
    clock: dict[int, int],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    scripts = [{**random_script(rng), "as_dict": as_dict} for _ in range(n_envs)]
    wrapped, twin = both(
        scripts,
        reward_of(names, as_dict),
        gamma=GAMMA,
        record_components=record_components,
        bootstrap_truncated=bootstrap_truncated,
    )
    np.testing.assert_equal(twin.reset(), wrapped.reset())
    set_global_step(wrapped, twin, 0)
    for step in range(15):
        if step in clock:  # in the middle of some episodes, and at the start of others
            set_global_step(wrapped, twin, clock[step])
        if step == 8:
            np.testing.assert_equal(twin.reset(), wrapped.reset())
        assert_same_step(wrapped, twin, rng.integers(0, 2, n_envs))


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_twin_stacks_and_normalises_as_wrappers_do(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scripts = [random_script(rng) for _ in range(3)]
    wrapped, twin = both(scripts, reward_of(NAMES, False), gamma=GAMMA)
    set_global_step(wrapped, twin, 0)
    place_it: Callable[[VecEnv], VecEnv] = lambda venv: VecNormalize(VecFrameStack(venv, 2))  # noqa: E731
    above, above_twin = place_it(wrapped), place_it(twin)
    np.testing.assert_equal(above_twin.reset(), above.reset())
    for _ in range(12):
        assert_same_step(above, above_twin, rng.integers(0, 2, 3))


def test_the_twin_of_worker_processes_pays_the_same() -> None:
    rng = np.random.default_rng(1)
    scripts = [{**random_script(rng), "as_dict": True} for _ in range(2)]
    wrapped, _ = both(scripts, reward_of(NAMES, True), gamma=GAMMA)
    workers = SubprocVecEnv([partial(Scripted, **script) for script in scripts])
    twin = VecRewardShaping(workers, reward_of(NAMES, True), gamma=GAMMA)
    try:
        np.testing.assert_equal(twin.reset(), wrapped.reset())
        set_global_step(wrapped, twin, 3)
        for _ in range(12):
            assert_same_step(wrapped, twin, rng.integers(0, 2, 2))
    finally:
        twin.close()


def one_step(obs: float, **flags: Any) -> list[Episode]:
    """Episodes of one step."""
    return [(1.0, [Step(obs, 1.0, **flags)])]


def twin_of(*scripts: Sequence[Episode], reward: Any, **arguments: Any) -> VecRewardShaping:
    return VecRewardShaping(
        DummyVecEnv([partial(Scripted, script) for script in scripts]), reward, **arguments
    )


def paid(twin: VecEnv, n_steps: int = 1) -> list[list[float]]:
    return [twin.step(np.zeros(twin.num_envs, int))[1].tolist() for _ in range(n_steps)]


def begin_and_step(venv: VecEnv, n_steps: int = 1) -> list[list[float]]:
    venv.reset()
    return paid(venv, n_steps)


@pytest.mark.filterwarnings("ignore:The reward consists of")
def test_a_step_that_both_terminates_and_truncates_is_terminal() -> None:
    flags = {"class": "ExpressionReward", "params": {"expression": "10 * terminated + truncated"}}
    advice = {"class": "PotentialShaping", "params": {"potential": "obs[0]"}}
    twin = twin_of(
        one_step(7.0, terminated=True, truncated=True),
        one_step(7.0, truncated=True),
        one_step(7.0, terminated=True),
        reward={"flags": flags},
    )
    twin.reset()
    assert paid(twin) == [[10.0, 1.0, 10.0]]
    twin = twin_of(
        one_step(7.0, terminated=True, truncated=True),
        one_step(7.0, truncated=True),
        one_step(7.0, terminated=True),
        reward={"advice": advice},
        gamma=0.5,
    )
    twin.reset()
    assert paid(twin) == [[-1.0, 2.5, -1.0]]


def test_the_terminal_potential_is_not_even_evaluated() -> None:
    advice = {"class": "PotentialShaping", "params": {"potential": "log(obs[0])"}}
    twin = twin_of(
        one_step(-1.0, terminated=True),
        one_step(2.0, truncated=True),
        reward={"advice": advice, "env": {"class": "EnvReward"}},
        gamma=1.0,
    )
    twin.reset()
    assert paid(twin)[0] == pytest.approx([1.0, 1.0 + np.log(2.0)])


# The clock.

TOTAL = 24
FADING: dict[str, Any] = {"env": {"class": "EnvReward", "weight_schedule": linear(5.0, 1.0, TOTAL)}}


def weight_at(step: int) -> float:
    return 5.0 - 4.0 * min(step / TOTAL, 1.0)


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


def test_the_clock_counts_the_steps_of_all_environments_over_episodes() -> None:
    script = [(0.0, [Step(0.0, 1.0), Step(0.0, 1.0, terminated=True)])]
    twin = twin_of(script, script, script, reward=FADING)
    twin.reset()
    assert paid(twin, 3) == [[pytest.approx(weight_at(step))] * 3 for step in (0, 3, 6)]
    twin.set_global_step(20)
    assert paid(twin, 3) == [[pytest.approx(weight_at(step))] * 3 for step in (20, 23, 26)]
    assert twin.shaper is not None
    assert twin.shaper.global_step == 29
    assert twin.shaper.weights == {"env": 1.0}
    with pytest.raises(ConfigError, match="global_step >= 0"):
        twin.set_global_step(-1)


def test_a_clock_set_within_an_episode_still_takes_back_what_was_paid() -> None:
    advice = {
        "class": "PotentialShaping",
        "params": {"potential": "obs[0]"},
        "weight_schedule": linear(1.0, 0.0, 10),
    }
    reward = {"advice": advice, "env": {"class": "EnvReward"}}
    # The first environment begins an episode when the clock is set, the second is within one.
    twin = twin_of(
        [(8.0, [Step(6.0, terminated=True)]), (8.0, [Step(4.0)])],
        [(8.0, [Step(6.0), Step(4.0)])],
        reward=reward,
        gamma=0.5,
    )
    twin.reset()
    twin.set_global_step(4)
    assert paid(twin)[0] == pytest.approx([-0.6 * 8, 0.5 * 0.4 * 6 - 0.6 * 8])
    twin.set_global_step(1)
    assert paid(twin)[0] == pytest.approx([0.5 * 0.7 * 4 - 0.9 * 8, 0.5 * 0.7 * 4 - 0.4 * 6])


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


POTENTIAL: dict[str, Any] = BONUS | {
    "time": {"class": "PotentialShaping", "params": {"potential": "obs[0]"}}
}


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


# What is told, and what is left alone.


def test_the_end_of_an_episode_tells_its_sums_and_no_earlier_step_does() -> None:
    script = [(0.0, [Step(1.0, 1.0), Step(2.0, 3.0), Step(3.0, -0.5, terminated=True)])]
    other = [(0.0, [Step(0.0, 1.0)] * 9)]
    reward = {
        "env": {"class": "EnvReward", "weight_schedule": {"initial_weight": 2.0}},
        "time": {"class": "StepPenalty", "params": {"penalty": -0.5}},
    }
    twin = twin_of(script, other, reward=reward)
    twin.reset()
    for _ in range(2):  # the second episode starts from zero again
        infos = [twin.step(np.zeros(2, int))[3] for _ in range(3)]
        assert ["reward_shaping" in info[0] for info in infos] == [False, False, True]
        assert not any("reward_shaping" in info[1] for info in infos)
        assert infos[-1][0]["reward_shaping"] == {
            "env_return": 3.5,
            "shaped_return": 5.5,
            "length": 3,
            "components": {
                "env": {"raw": 3.5, "weighted": 7.0},
                "time": {"raw": -1.5, "weighted": -1.5},
            },
        }


def test_recorded_components_travel_with_every_step() -> None:
    script = [(0.0, [Step(1.0, 4.0), Step(1.0, 2.0, terminated=True)])]
    twin = twin_of(script, script, reward=BONUS, record_components=True)
    twin.reset()
    for reward in (4.0, 2.0):
        recorded = [info["reward_components"] for info in twin.step(np.zeros(2, int))[3]]
        assert recorded == [{"env": reward, "bonus": 10.0}] * 2
        assert all(type(value) is float for value in recorded[0].values())


def test_the_infos_of_the_environments_are_left_as_they_were() -> None:
    class Sharing(DummyVecEnv):
        shared: dict[str, Any] = {"speed": 1.0, "terminal_observation": np.zeros(1)}  # noqa: RUF012

        def step_wait(self) -> Any:
            obs, rewards, dones, _ = super().step_wait()
            return obs, rewards, dones, [self.shared] * self.num_envs

    script = [(0.0, [Step(1.0, terminated=True)])]
    venv = Sharing([partial(Scripted, script)] * 2)
    twin = VecRewardShaping(venv, BONUS, record_components=True)
    twin.reset()
    infos = twin.step(np.zeros(2, int))[3]
    assert [set(info) for info in infos] == [
        {"speed", "terminal_observation", "reward_components", "reward_shaping"}
    ] * 2
    assert set(Sharing.shared) == {"speed", "terminal_observation"}


def test_a_given_shaper_is_left_as_it_is() -> None:
    shaper = build_shaper(FADING, gamma=GAMMA)
    shaper.update_weights(6)
    twin = twin_of(one_step(0.0, terminated=True), reward=shaper)
    assert twin.shaper is not None
    assert (twin.shaper.gamma, twin.shaper.global_step) == (GAMMA, 6)
    twin.reset()
    assert paid(twin, 2) == [[weight_at(6)], [pytest.approx(weight_at(7))]]
    assert shaper.global_step == 6
    with pytest.raises(ConfigError, match="total_timesteps: must be given to the RewardShaper"):
        twin_of(one_step(0.0), reward=shaper, total_timesteps=10)


def test_a_file_is_read_and_its_mistakes_are_told_by_line(tmp_path: Path) -> None:
    file = tmp_path / "reward.yaml"
    file.write_text("reward_shaping:\n  env: {class: EnvReward}\n  time: {class: StepPenalty}\n")
    twin = twin_of(one_step(0.0, terminated=True), reward=file)
    twin.reset()
    assert paid(twin) == [[pytest.approx(0.99)]]
    file.write_text("reward_shaping:\n  env: {class: EnvReward}\n  time: {class: StepPenlty}\n")
    with pytest.raises(ConfigError, match=r"reward.yaml:3: reward_shaping.time.class: .*'StepPenl"):
        twin_of(one_step(0.0), reward=str(file))


# What goes wrong.

FAILS = [(1.0, [Step(1.0), Step(0.0)])]
FINE = [(1.0, [Step(1.0), Step(1.0)])]


def test_a_failing_component_stops_the_run_with_its_name_environment_and_step() -> None:
    ratio = {"class": "ExpressionReward", "params": {"expression": "1 / next_obs[0]"}}
    twin = twin_of(FINE, FINE, FAILS, reward={"env": {"class": "EnvReward"}, "ratio": ratio})
    twin.reset()
    twin.set_global_step(30)
    paid(twin)
    with pytest.raises(
        ComponentError,
        match="at global step 33, component 'ratio' failed: in environment 2: in expression '1 / n",
    ):
        paid(twin)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "schedule", [{"initial_weight": 0.0}, {"initial_weight": 2.0}, linear(0.0, 1.0, 100)]
)
def test_a_value_that_is_not_finite_is_named_under_every_weight(
    odd: float, schedule: dict[str, Any]
) -> None:
    @register_component(name="OddForSome")
    def odd_for_some(transition: Transition) -> float:
        return odd if transition.env_reward == 5.0 else 1.0

    reward = {
        "env": {"class": "EnvReward"},
        "odd": {"class": "OddForSome", "weight_schedule": schedule},
    }
    script = [(0.0, [Step(0.0, 1.0), Step(0.0, 5.0)])]
    twin = twin_of([(0.0, [Step(0.0)] * 2)], script, reward=reward)
    twin.reset()
    paid(twin)
    with pytest.raises(
        ComponentError,
        match=f"at global step 2, in environment 1, component 'odd' must give a .* gave {odd!r}",
    ):
        paid(twin)


def test_values_that_only_overflow_together_are_told_as_they_are() -> None:
    reward = {
        name: {"class": "StepPenalty", "params": {"penalty": 1e308}} for name in ("one", "two")
    }
    twin = twin_of(FINE, FINE, reward={**reward, "env": {"class": "EnvReward"}})
    twin.reset()
    with pytest.raises(ComponentError, match="in environment 0, the weighted values add up to"):
        paid(twin)
    heavy = {**reward["one"], "weight_schedule": {"initial_weight": 10.0}}
    twin = twin_of(FINE, reward={"heavy": heavy, "env": {"class": "EnvReward"}})
    twin.reset()
    with pytest.raises(ComponentError, match="'heavy' must give .* gave 1e.308 .weighted: inf"):
        paid(twin)


def test_an_env_reward_that_takes_no_part_may_be_anything() -> None:
    script = [(1.0, [Step(2.0, float("nan")), Step(3.0, 1.0, terminated=True)])]
    reward = {"x": {"class": "ExpressionReward", "params": {"expression": "next_obs[0]"}}}
    wrapped, twin = both([{"episodes": script}], reward)
    wrapped.reset()
    twin.reset()
    for _ in range(4):
        assert_same_step(wrapped, twin, np.array([0]))


@pytest.mark.parametrize("expression", ["1 / obs[0]", "obs[0] if obs[0] else info['nan']"])
def test_a_potential_that_fails_names_environment_and_step(expression: str) -> None:
    advice = {"class": "PotentialShaping", "params": {"potential": expression}}
    reward = {"advice": advice, "env": {"class": "EnvReward"}}

    def fails(*scripts: Sequence[Episode]) -> str:
        twin = twin_of(*scripts, reward=reward, gamma=GAMMA)
        with pytest.raises(ComponentError, match="component 'advice' failed") as caught:
            begin_and_step(twin, 2)
        return str(caught.value)

    at_once = fails(FINE, [(0.0, [])])
    assert at_once.startswith("at global step 0, component 'advice' failed: in environment 1: ")
    within = fails(FINE, FINE, FAILS)
    assert within.startswith("at global step 3, component 'advice' failed: in environment 2: ")
    # Truncated alone: its last state is the only one that is looked at.
    last = fails(FINE, FINE, [(1.0, [Step(1.0), Step(0.0, truncated=True)])])
    assert last.startswith("at global step 3, component 'advice' failed: in environment 2: ")
    begun = fails(FINE, [(1.0, [Step(1.0, terminated=True)]), (0.0, [Step(1.0)])])
    assert begun.startswith("at global step 0, component 'advice' failed: in environment 1: ")


@pytest.mark.parametrize("first", [True, False])
def test_a_potential_must_be_finite_where_an_episode_begins(first: bool) -> None:
    advice = PotentialShaping(lambda obs, info: np.nan if obs[0] == 9.0 else float(obs[0]))
    shaper = RewardShaper(RewardComposer({"advice": advice}), {"advice": {}}, gamma=GAMMA)
    odd: Episode = (9.0, [Step(1.0)])
    script = [odd] if first else [(1.0, [Step(2.0, terminated=True)]), odd]
    twin = twin_of(FINE, script, reward=shaper)
    with pytest.raises(ComponentError, match="'advice' failed: in environment 1: must be finite"):
        begin_and_step(twin)
    wrapped = DummyVecEnv([lambda: RewardShapingWrapper(Scripted(script), shaper)])
    with pytest.raises(ComponentError, match="component 'advice' failed: must be finite, but is"):
        begin_and_step(wrapped)


def test_a_potential_without_a_discount_factor_is_an_error_at_the_first_step() -> None:
    twin = twin_of(FINE, reward=POTENTIAL)
    twin.reset()
    with pytest.raises(ConfigError, match="needs the learner's discount factor"):
        paid(twin)


@pytest.mark.parametrize("method", ["compute", "reset"])
def test_a_potential_with_ways_of_its_own_is_not_taken_for_a_plain_one(method: str) -> None:
    own = type("Own", (PotentialShaping,), {method: lambda *args: 0.0})
    shaper = RewardShaper(RewardComposer({"advice": own("obs[0]")}), {"advice": {}}, gamma=GAMMA)
    with pytest.raises(
        ConfigError, match=rf"must leave {method}\(\) as it is .* got 'Own'. Use a RewardShapingW"
    ):
        twin_of(FINE, reward=shaper)
