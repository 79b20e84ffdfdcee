"""The vectorised twin pays what a wrapper around each environment pays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fork import GAMMA
from hypothesis import given, settings
from hypothesis import strategies as st
from lingering import BONUS
from scripted import Scripted, Step, random_script
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnv,
    VecFrameStack,
    VecNormalize,
)
from twins import (
    FADING,
    FINE,
    assert_same_step,
    begin_and_step,
    both,
    linear,
    one_step,
    paid,
    set_global_step,
    twin_of,
    weight_at,
)

from rllama_sb3 import ConfigError, VecRewardShaping, build_shaper
from rllama_sb3.rewards import (
    RewardComponent,
    RewardComposer,
    RewardShaper,
    Transition,
    register_component,
)
from rllama_sb3.rewards.transition import TransitionBatch
from rllama_sb3.rewards.vectorized import VectorizedComponent


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


@pytest.mark.parametrize("record_components", [True, False])
def test_the_infos_of_the_environments_are_left_as_they_were(record_components: bool) -> None:
    class Sharing(DummyVecEnv):
        shared: dict[str, Any] = {"speed": 1.0, "terminal_observation": np.zeros(1)}  # noqa: RUF012

        def step_wait(self) -> Any:
            obs, rewards, dones, _ = super().step_wait()
            return obs, rewards, dones, [self.shared] * self.num_envs

    script = [(0.0, [Step(1.0, terminated=True)])]
    venv = Sharing([partial(Scripted, script)] * 2)
    twin = VecRewardShaping(venv, BONUS, record_components=record_components)
    twin.reset()
    told = {"reward_components", "reward_shaping"} if record_components else {"reward_shaping"}
    for info in twin.step(np.zeros(2, int))[3]:
        assert set(info) == {"speed", "terminal_observation", *told}
    assert set(Sharing.shared) == {"speed", "terminal_observation"}


@pytest.mark.filterwarnings("ignore:The reward consists of")
def test_what_is_done_to_a_dict_of_observations_is_not_seen_by_components() -> None:
    steps = [Step(0.0), Step(0.0), Step(0.0)]
    venv = DummyVecEnv([partial(Scripted, [(0.0, steps)], as_dict=True)] * 2)
    age = {"class": "ExpressionReward", "params": {"expression": "obs['age']"}}
    twin = VecRewardShaping(venv, {"age": age})
    obs = twin.reset()
    for step in range(3):
        assert isinstance(obs, dict)
        obs["age"] = obs["age"].reshape(2, 1) + 7
        obs, rewards, _, _ = twin.step(np.zeros(2, int))
        assert rewards.tolist() == [step, step]


def test_env_rewards_are_float64_whatever_the_environments_give() -> None:
    class Typed(VectorizedComponent):
        def compute(self, transition: Transition) -> float:
            return transition.env_reward

        def compute_batch(self, batch: TransitionBatch) -> np.ndarray:
            assert batch.env_reward.dtype == np.float64
            return batch.env_reward

    shaper = RewardShaper(RewardComposer({"typed": Typed()}), {"typed": {}})
    venv = DummyVecEnv([partial(Scripted, FINE)])
    assert venv.buf_rews.dtype == np.float32
    assert begin_and_step(VecRewardShaping(venv, shaper)) == [[0.0]]


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
