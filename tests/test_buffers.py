"""Relabeling buffers: what is sampled is what the present weights would have paid."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scripted import Scripted, Step
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from rllama_sb3 import (
    RelabelingDictReplayBuffer,
    RelabelingNStepReplayBuffer,
    RelabelingReplayBuffer,
    RewardShapingWrapper,
    RllamaError,
)
from rllama_sb3.buffers import RelabelingBuffer, relabeling

GAMMA = 0.9
N_STEPS = 3
NAMES = ("env", "bonus", "advice")
BOX = spaces.Box(-np.inf, np.inf, (1,), np.float32)
# Observations tell environments and steps apart: 1000 · environment + step.
PER_ENV = 1000


@dataclass(frozen=True)
class History:
    """Steps of several environments: how each ended, and its raw values by NAMES."""

    ends: list[list[str]]
    raw: NDArray[np.float64]

    @property
    def n_envs(self) -> int:
        return len(self.ends[0])

    @property
    def n_steps(self) -> int:
        return len(self.ends)

    def rewards(self, weights: dict[str, float]) -> NDArray[np.float64]:
        """What the steps would have been paid at these weights, shape (n_steps, n_envs)."""
        rewards: NDArray[np.float64] = self.raw @ np.array([weights[name] for name in NAMES])
        return rewards

    def obs(self, step: int) -> NDArray[np.float32]:
        return np.array([[PER_ENV * env + step] for env in range(self.n_envs)], np.float32)

    def infos(self, step: int) -> list[dict[str, Any]]:
        return [
            {
                "reward_components": dict(zip(NAMES, self.raw[step, env].tolist(), strict=True)),
                "TimeLimit.truncated": self.ends[step][env] == "truncated",
            }
            for env in range(self.n_envs)
        ]


@dataclass(frozen=True)
class Kind:
    """A buffer of Stable-Baselines3, its counterpart here, and how both are built."""

    own: type[RelabelingBuffer]
    theirs: type[ReplayBuffer]
    arguments: dict[str, Any]

    @property
    def space(self) -> spaces.Space[Any]:
        return spaces.Dict({"x": BOX}) if issubclass(self.theirs, DictReplayBuffer) else BOX

    def build(self, cls: type[Any], n_steps_kept: int, n_envs: int) -> Any:
        size = n_steps_kept * n_envs
        action_space = spaces.Discrete(PER_ENV)
        return cls(size, self.space, action_space, "cpu", n_envs=n_envs, **self.arguments)

    def fill(self, buffer: ReplayBuffer, history: History, weights: dict[str, float]) -> None:
        """Adds all steps, paid at these weights."""
        is_dict = isinstance(self.space, spaces.Dict)
        rewards = history.rewards(weights)
        for step in range(history.n_steps):
            obs, next_obs = history.obs(step), history.obs(step + 1)
            buffer.add(
                {"x": obs} if is_dict else obs,  # type: ignore[arg-type]
                {"x": next_obs} if is_dict else next_obs,  # type: ignore[arg-type]
                np.full(history.n_envs, step),
                rewards[step],
                np.array([end != "" for end in history.ends[step]]),
                history.infos(step),
            )


NO_TIMEOUTS = {"optimize_memory_usage": True, "handle_timeout_termination": False}
KINDS = {
    "one step": Kind(RelabelingReplayBuffer, ReplayBuffer, {}),
    "saving memory": Kind(RelabelingReplayBuffer, ReplayBuffer, NO_TIMEOUTS),
    "dict": Kind(RelabelingDictReplayBuffer, DictReplayBuffer, {}),
    "n steps": Kind(
        RelabelingNStepReplayBuffer, NStepReplayBuffer, {"n_steps": N_STEPS, "gamma": GAMMA}
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())

numbers = st.floats(-100, 100, width=32)
weights_of_all = st.fixed_dictionaries(dict.fromkeys(NAMES, numbers))
PAID: dict[str, float] = dict.fromkeys(NAMES, 1.0)


@st.composite
def histories(draw: st.DrawFn) -> History:
    n_envs, n_steps = draw(st.integers(1, 3)), draw(st.integers(1, 20))
    end = st.sampled_from(["", "", "terminated", "truncated"])
    row = st.lists(end, min_size=n_envs, max_size=n_envs)
    ends = draw(st.lists(row, min_size=n_steps, max_size=n_steps))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return History(ends, rng.normal(0.0, 10.0, (n_steps, n_envs, len(NAMES))))


sizes = st.integers(2, 12)
PATIENT = settings(deadline=None)


def sample(buffer: Any, n: int = 64, env: VecNormalize | None = None) -> ReplayBufferSamples:
    np.random.seed(0)
    samples: ReplayBufferSamples = buffer.sample(n, env=env)
    return samples


def sources(samples: ReplayBufferSamples) -> Iterator[tuple[int, int, int]]:
    """The place in the batch, the step and the environment that each sample began with."""
    obs = samples.observations["x"] if isinstance(samples.observations, dict) else samples[0]
    for place, value in enumerate(obs.flatten().tolist()):
        env, step = divmod(int(value), PER_ENV)
        yield place, step, env


@every_kind
@PATIENT
@given(history=histories(), size=sizes, weights=weights_of_all)
def test_sampled_rewards_are_the_raw_values_at_the_present_weights(
    kind: Kind, history: History, size: int, weights: dict[str, float]
) -> None:
    buffer = kind.build(kind.own, size, history.n_envs)
    kind.fill(buffer, history, PAID)
    buffer.set_weights(weights)
    samples = sample(buffer)
    rewards = history.rewards(weights)
    n_steps = kind.arguments.get("n_steps", 1)
    for place, step, env in sources(samples):
        assert history.n_steps - size <= step < history.n_steps
        expected, discount = 0.0, 1.0
        for later in range(step, min(step + n_steps, history.n_steps)):
            expected += discount * rewards[later, env]
            discount *= GAMMA
            if history.ends[later][env]:
                break
        scale = np.abs(history.raw[step:, env]).max() * max(map(abs, weights.values()))
        tolerance = 1e-5 * scale + 1e-30
        assert samples.rewards[place].item() == pytest.approx(expected, rel=1e-5, abs=tolerance)
        if samples.discounts is not None:
            assert samples.discounts[place].item() == pytest.approx(discount, rel=1e-6)


def normalization(clip_reward: float) -> VecNormalize:
    venv = VecNormalize(
        DummyVecEnv([lambda: Scripted([(0.0, [Step(0.0)])])]),
        norm_obs=False,
        clip_reward=clip_reward,
    )
    venv.ret_rms.var = np.array(25.0)
    return venv


# Values of about 10 · 3 · 100, divided by 5: some are cut at 100, so that the order shows.
NORMALIZE = normalization(clip_reward=100.0)


@every_kind
@pytest.mark.parametrize("env", [None, NORMALIZE], ids=["plain", "normalized"])
@PATIENT
@given(history=histories(), size=sizes, weights=weights_of_all)
def test_samples_are_those_of_a_buffer_that_was_paid_at_the_present_weights(
    kind: Kind, env: VecNormalize | None, history: History, size: int, weights: dict[str, float]
) -> None:
    own = kind.build(kind.own, size, history.n_envs)
    theirs = kind.build(kind.theirs, size, history.n_envs)
    kind.fill(own, history, PAID)
    kind.fill(theirs, history, weights)
    own.set_weights(weights)
    ours, expected = sample(own, env=env), sample(theirs, env=env)
    for name, value in expected._asdict().items():
        found = getattr(ours, name)
        if isinstance(value, dict):
            found, value = found["x"], value["x"]
        if name == "rewards":
            np.testing.assert_allclose(found, value, rtol=1e-5, atol=0.01)
        elif value is None:
            assert found is None
        else:
            assert found.dtype == value.dtype
            np.testing.assert_array_equal(found, value)


FADES_AT_ONCE = {
    "initial_weight": 1.0,
    "schedule_type": "linear",
    "final_weight": 0.0,
    "end_step": 1,
}


def advice(potential: str, weight_schedule: dict[str, Any]) -> dict[str, Any]:
    return {
        "env": {"class": "EnvReward"},
        "advice": {
            "class": "PotentialShaping",
            "params": {"potential": potential},
            "weight_schedule": weight_schedule,
        },
    }


def play(
    env: gym.Env[Any, Any], buffers: list[ReplayBuffer], actions: list[int]
) -> list[tuple[float, bool, bool]]:
    """Plays an episode into buffers; returns the paid reward and the flags of each step."""
    obs, _ = env.reset()
    steps = []
    for action in actions:
        next_obs, reward, terminated, truncated, info = env.step(action)
        info["TimeLimit.truncated"] = truncated and not terminated
        row = (obs[None], next_obs[None], np.array([action]), np.array([reward]))
        for buffer in buffers:
            buffer.add(*row, np.array([terminated or truncated]), [info])
        steps.append((float(reward), terminated, truncated))
        obs = next_obs
    return steps


def reward_of_action(buffer: ReplayBuffer, action: int) -> float:
    samples = sample(buffer)
    (reward,) = set(samples.rewards[samples.actions == action].tolist())
    return float(reward)


def test_a_stale_reward_prefers_the_wrong_action_and_a_relabeled_one_does_not() -> None:
    # From one state of potential 10, a0 is worth 1 and a1 is worth 0; both end the episode.
    episodes = [(10.0, [Step(0.0, reward, terminated=True)]) for reward in (1.0, 0.0)]
    reward = advice("obs[0]", FADES_AT_ONCE)
    env = RewardShapingWrapper(Scripted(episodes), reward, gamma=GAMMA, record_components=True)
    stale = ReplayBuffer(10, env.observation_space, env.action_space, "cpu")
    fresh = RelabelingReplayBuffer(10, env.observation_space, env.action_space, "cpu")
    play(env, [stale, fresh], [0])
    play(env, [stale, fresh], [1])
    assert reward_of_action(stale, 0) == -9.0
    assert reward_of_action(stale, 1) == 0.0
    for weight in (0.0, 0.5, 1.0, 7.0):
        fresh.set_weights({"env": 1.0, "advice": weight})
        assert reward_of_action(fresh, 0) - reward_of_action(fresh, 1) == 1.0
        assert reward_of_action(fresh, 0) == 1.0 - 10.0 * weight


@pytest.mark.parametrize("ending", ["terminated", "truncated"])
@pytest.mark.parametrize("bootstraps", [True, False])
@PATIENT
@given(
    states=st.lists(st.integers(-100, 100), min_size=2, max_size=6, unique=True),
    weight=st.floats(-5.0, 5.0),
)
def test_potentials_of_an_episode_telescope_under_one_weight(
    ending: str, bootstraps: bool, states: list[int], weight: float
) -> None:
    first, *others = states
    steps = [Step(float(state)) for state in others[:-1]]
    steps.append(Step(float(others[-1]), **{ending: True}))
    schedule = FADES_AT_ONCE | {"initial_weight": 3.0, "end_step": 4}
    env = RewardShapingWrapper(
        Scripted([(float(first), steps)]),
        advice("obs[0]", schedule),
        gamma=GAMMA,
        record_components=True,
        bootstrap_truncated=bootstraps,
    )
    buffer = RelabelingReplayBuffer(len(steps), env.observation_space, env.action_space, "cpu")
    play(env, [buffer], [0] * len(steps))
    buffer.set_weights({"env": 1.0, "advice": weight})
    rewards = buffer.rewards[np.arange(len(steps)), 0]
    discounts = GAMMA ** np.arange(len(steps))
    last = others[-1] if ending == "truncated" and bootstraps else 0.0
    expected = weight * (GAMMA ** len(steps) * last - first)
    assert discounts @ rewards == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_the_raw_value_of_a_potential_is_the_unweighted_difference() -> None:
    steps = [Step(4.0), Step(6.0, truncated=True)]
    env = RewardShapingWrapper(
        Scripted([(2.0, steps), (2.0, [Step(4.0, terminated=True)])]),
        advice("obs[0]", FADES_AT_ONCE | {"initial_weight": 100.0}),
        gamma=GAMMA,
        record_components=True,
    )
    buffer = RelabelingReplayBuffer(3, env.observation_space, env.action_space, "cpu")
    play(env, [buffer], [0, 0])
    play(env, [buffer], [0])
    raw = buffer.rewards.raw[:, 0, 1]
    np.testing.assert_allclose(raw, [0.9 * 4 - 2, 0.9 * 6 - 4, -2.0], rtol=1e-6)


def history_of(n_steps: int, n_envs: int = 2) -> History:
    raw = np.random.default_rng(0).normal(size=(n_steps, n_envs, len(NAMES)))
    return History([[""] * n_envs] * n_steps, raw)


@every_kind
def test_a_buffer_takes_one_float32_for_each_component_and_nothing_else(kind: Kind) -> None:
    size, n_envs = 1_000, 2
    own, theirs = kind.build(kind.own, size, n_envs), kind.build(kind.theirs, size, n_envs)
    own.set_weights(PAID)
    for n_steps in (0, 10, 1_500):
        for buffer in (own, theirs):
            kind.fill(buffer, history_of(n_steps, n_envs), PAID)
        assert own.rewards.nbytes == 4 * len(NAMES) * size * n_envs
        more = len(pickle.dumps(own)) - len(pickle.dumps(theirs))
        assert more == pytest.approx(own.rewards.nbytes - theirs.rewards.nbytes, abs=500)


@every_kind
def test_an_empty_buffer_is_replaced_by_one_that_takes_over_its_arrays(kind: Kind) -> None:
    theirs = kind.build(kind.theirs, 5, 2)
    replaced = relabeling(theirs)
    assert type(replaced) is kind.own
    assert replaced.actions is theirs.actions
    kind.fill(replaced, history_of(3), PAID)
    replaced.set_weights(PAID)
    assert replaced.rewards.nbytes == 4 * len(NAMES) * 5 * 2
    assert sample(replaced).rewards.abs().min() > 0
    assert relabeling(replaced) is replaced


@every_kind
def test_a_saved_buffer_comes_back_with_its_values_and_weights(kind: Kind) -> None:
    buffer = kind.build(kind.own, 5, 2)
    history = history_of(7)
    kind.fill(buffer, history, PAID)
    buffer.set_weights(PAID)
    again = pickle.loads(pickle.dumps(buffer))
    assert again.rewards.weights == PAID
    assert sample(again).rewards.tolist() == sample(buffer).rewards.tolist()


def test_a_buffer_that_holds_paid_rewards_is_not_replaced() -> None:
    kind = KINDS["one step"]
    for n_steps in (1, 5):
        buffer = kind.build(ReplayBuffer, 5, 2)
        kind.fill(buffer, history_of(n_steps), PAID)
        with pytest.raises(RllamaError, match="ReplayBuffer holds rewards that were paid under"):
            relabeling(buffer)


def test_a_buffer_of_an_unknown_class_is_not_replaced() -> None:
    class Prioritized(ReplayBuffer):
        pass

    with pytest.raises(RllamaError, match="Prioritized keeps rewards as they were paid"):
        relabeling(KINDS["one step"].build(Prioritized, 5, 2))


def relabeling_buffer(n_steps: int = 3) -> RelabelingBuffer:
    kind = KINDS["one step"]
    buffer: RelabelingBuffer = kind.build(RelabelingReplayBuffer, 5, 2)
    kind.fill(buffer, history_of(n_steps), PAID)
    return buffer


def test_sampling_without_weights_is_refused() -> None:
    with pytest.raises(RllamaError, match="needs to know the present weights"):
        sample(relabeling_buffer())


def add_with(buffer: RelabelingBuffer, info: dict[str, Any]) -> None:
    obs = np.zeros((2, 1), np.float32)
    buffer.add(obs, obs, np.zeros(2), np.zeros(2), np.zeros(2, bool), [info, info])


def test_a_step_without_raw_values_is_refused() -> None:
    with pytest.raises(RllamaError, match="infos lack 'reward_components'. Shape the environments"):
        add_with(relabeling_buffer(), {})


OTHER_SETS: list[dict[str, float]] = [
    {"env": 1.0},
    {**PAID, "more": 1.0},
    {"env": 1.0, "bonus": 1.0, "other": 1.0},
]


@pytest.mark.parametrize("others", OTHER_SETS)
def test_values_and_weights_of_other_components_are_refused(others: dict[str, float]) -> None:
    buffer = relabeling_buffer()
    message = "holds values of env, bonus, advice, but the reward now consists of env"
    with pytest.raises(RllamaError, match=message):
        add_with(buffer, {"reward_components": others})
    with pytest.raises(RllamaError, match=message):
        buffer.set_weights(others)
    assert buffer.pos == 3


@pytest.mark.parametrize("others", OTHER_SETS)
def test_an_emptied_buffer_takes_other_components(others: dict[str, float]) -> None:
    buffer = relabeling_buffer()
    buffer.set_weights(PAID)
    buffer.reset()
    buffer.set_weights(others)
    add_with(buffer, {"reward_components": others})
    assert set(sample(buffer).rewards.flatten().tolist()) == {float(len(others))}


def test_the_order_in_which_components_are_listed_does_not_matter() -> None:
    buffer = relabeling_buffer(0)
    buffer.set_weights({"env": 1.0, "bonus": 10.0, "advice": 100.0})
    values = {"advice": 3.0, "bonus": 2.0, "env": 1.0}
    add_with(buffer, {"reward_components": values})
    assert set(sample(buffer).rewards.flatten().tolist()) == {321.0}
    buffer.set_weights({"advice": 0.0, "bonus": 1.0, "env": 0.0})
    assert set(sample(buffer).rewards.flatten().tolist()) == {2.0}


def test_a_buffer_that_awaits_weights_stores_nothing_until_they_are_set() -> None:
    buffer = relabeling_buffer()
    buffer.set_weights(PAID)
    buffer.await_weights()
    before = sample(buffer).rewards.tolist()
    with pytest.raises(RllamaError, match="those of the end of the last training"):
        add_with(buffer, {"reward_components": PAID})
    assert sample(buffer).rewards.tolist() == before
    buffer.set_weights(PAID)
    add_with(buffer, {"reward_components": PAID})
