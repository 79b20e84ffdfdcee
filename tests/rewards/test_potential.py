"""Shaping that keeps the optimal policy, beside the mistakes that do not.

The figures are those of the fork MDP (see ``fork.py``), worked out by hand for each mistake.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
from fork import GAMMA, LEFT, POTENTIALS, RIGHT, S0, Fork
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Scripted, Step
from stable_baselines3.common.vec_env import DummyVecEnv

from rllama_sb3 import RewardShapingWrapper, VecRewardShaping
from rllama_sb3.errors import ComponentError, ConfigError
from rllama_sb3.rewards import (
    EnvReward,
    PotentialShaping,
    RewardComposer,
    RewardShaper,
    Transition,
)
from rllama_sb3.rewards.potential import discounted_difference

ONCE = {
    "initial_weight": 1.0,
    "schedule_type": "piecewise",
    "points": [[1, 0.0]],
    "staircase": True,
}


def shaper(
    potentials: Mapping[int, float] = POTENTIALS,
    schedule: Mapping[str, Any] | None = None,
    gamma: float = GAMMA,
    component: Callable[..., PotentialShaping] = PotentialShaping,
    **kwargs: Any,
) -> RewardShaper:
    composer = RewardComposer(
        {"env": EnvReward(), "advice": component(lambda obs, info: potentials[int(obs)])}
    )
    config = {"env": {}, "advice": {"weight_schedule": schedule or {}}}
    return RewardShaper(composer, config, gamma=gamma, **kwargs)


def discounted_return(
    env: RewardShapingWrapper[int, int], action: int, critic: Callable[[int], float] | None = None
) -> float:
    """The return of one episode that starts with ``action``; a truncation is bootstrapped."""
    env.reset()
    total, discount, over = 0.0, 1.0, False
    while not over:
        obs, reward, terminated, truncated, _ = env.step(action)
        total += discount * float(reward)
        discount *= GAMMA
        over = terminated or truncated
        if truncated and not terminated and critic is not None:
            total += discount * critic(obs)
    return total


def returns(shaper: RewardShaper) -> tuple[float, float]:
    def fresh() -> RewardShapingWrapper[int, int]:
        return RewardShapingWrapper(Fork(), shaper)

    return discounted_return(fresh(), LEFT), discounted_return(fresh(), RIGHT)


class TerminalPotentialKept(PotentialShaping):
    def compute(self, transition: Transition) -> float:
        return self.potential(transition.next_obs, transition.info)


class TruncationZeroed(PotentialShaping):
    def compute(self, transition: Transition) -> float:
        over = transition.terminated or transition.truncated
        return 0.0 if over else self.potential(transition.next_obs, transition.info)


def test_a_second_episode_owes_nothing_to_the_first() -> None:
    env = RewardShapingWrapper(Fork(), shaper())
    env.reset()
    env.step(RIGHT)  # left in the middle, with Φ(s1) = 10 remembered
    assert discounted_return(env, LEFT) == pytest.approx(1.0)
    assert discounted_return(env, RIGHT) == pytest.approx(0.945)


def truncated_return(
    component: Callable[..., PotentialShaping] = PotentialShaping,
    *,
    critic: Callable[[int], float] | None,
    **kwargs: Any,
) -> float:
    env = RewardShapingWrapper(Fork(truncated_at_s1=True), shaper(component=component, **kwargs))
    return discounted_return(env, RIGHT, critic)


def test_a_truncated_state_keeps_its_potential_for_the_critic_to_take_off() -> None:
    # The critic of the shaped task values s1 at 1.05 − Φ(s1) = −8.95.
    assert truncated_return(critic=lambda _: -8.95) == pytest.approx(0.945)
    zeroed = truncated_return(TruncationZeroed, critic=lambda _: -8.95)
    assert zeroed == pytest.approx(-8.055)


def test_a_truncated_state_has_no_potential_where_the_learner_does_not_bootstrap() -> None:
    assert truncated_return(critic=None) == pytest.approx(9.0)  # what the mistake would pay
    assert truncated_return(critic=None, bootstrap_truncated=False) == pytest.approx(0.0)


def test_a_step_that_both_terminates_and_truncates_is_terminal() -> None:
    env = RewardShapingWrapper(
        Scripted([(1.0, [Step(obs=7.0, terminated=True, truncated=True)])]),
        {"advice": {"class": "PotentialShaping", "params": {"potential": "obs[0]"}},
         "env": {"class": "EnvReward"}},
        gamma=GAMMA,
    )  # fmt: skip
    env.reset()
    assert env.step(0)[1] == pytest.approx(0.0 - 1.0)


def test_the_terminal_potential_is_not_even_evaluated() -> None:
    # Terminal observations may be anything, a potential may be undefined on them.
    composer = RewardComposer({"advice": PotentialShaping("log(obs[0])")})
    shaper = RewardShaper(composer, {"advice": {}}, gamma=1.0)
    shaper.reset([math.e], {})
    total, *_ = shaper.step(Transition([math.e], 0, [-1.0], 0.0, True, False, {}))
    assert total == pytest.approx(-1.0)


# The same of many environments at once.


def returns_together(
    shaper: RewardShaper,
    critic: Callable[[int], float] | None = None,
    n_episodes: int = 1,
    **fork: Any,
) -> list[list[float]]:
    """The returns of left and of right, played side by side, for several episodes of right."""
    venv = VecRewardShaping(DummyVecEnv([partial(Fork, **fork)] * 2), shaper)
    venv.reset()
    found: list[list[float]] = [[], []]
    totals, discounts = np.zeros(2), np.ones(2)
    while len(found[1]) < n_episodes:
        _, rewards, dones, infos = venv.step(np.array([LEFT, RIGHT]))
        totals += discounts * rewards
        discounts *= GAMMA
        for env in dones.nonzero()[0]:
            if infos[env]["TimeLimit.truncated"] and critic is not None:
                totals[env] += discounts[env] * critic(infos[env]["terminal_observation"])
            found[env].append(totals[env])
            totals[env], discounts[env] = 0.0, 1.0
    return found


@pytest.mark.parametrize("schedule", [None, ONCE], ids=["constant", "once"])
def test_shaping_many_forks_leaves_the_returns_of_every_episode_as_they_are(
    schedule: dict[str, Any] | None,
) -> None:
    left, right = returns_together(shaper(schedule=schedule), n_episodes=3)
    assert left == pytest.approx([1.0] * 6)
    assert right == pytest.approx([0.945] * 3)


def test_a_table_shapes_the_fork_like_a_function() -> None:
    table = [POTENTIALS[state] for state in sorted(POTENTIALS)]
    composer = RewardComposer({"env": EnvReward(), "advice": PotentialShaping(table)})
    looked_up = RewardShaper(composer, {"env": {}, "advice": {}}, gamma=GAMMA)
    assert returns(looked_up) == pytest.approx((1.0, 0.945))
    left, right = returns_together(looked_up)
    assert (left[0], right[0]) == pytest.approx((1.0, 0.945))


def test_a_potential_at_the_start_lowers_every_return_of_many_by_itself() -> None:
    left, right = returns_together(shaper({**POTENTIALS, S0: 2.0}), n_episodes=2)
    assert left == pytest.approx([-1.0] * 4)
    assert right == pytest.approx([0.945 - 2.0] * 2)


@pytest.mark.parametrize(("gamma", "wrong"), [(1.0, 1.945), (0.99, 1.845)])
def test_many_forks_tell_another_gamma_than_the_learners(gamma: float, wrong: float) -> None:
    assert returns_together(shaper(gamma=gamma))[1] == pytest.approx([wrong])


@pytest.mark.parametrize(
    ("critic", "bootstrap_truncated", "worth"),
    [(lambda _: -8.95, True, 0.945), (None, True, 9.0), (None, False, 0.0)],
    ids=["kept for a critic", "kept without one", "zeroed without one"],
)
def test_many_truncated_states_keep_their_potential_for_the_critic_alone(
    critic: Callable[[int], float] | None, bootstrap_truncated: bool, worth: float
) -> None:
    _, right = returns_together(
        shaper(bootstrap_truncated=bootstrap_truncated),
        critic,
        n_episodes=2,
        truncated_at_s1=True,
    )
    assert right == pytest.approx([worth] * 2)


@st.composite
def episodes(draw: st.DrawFn) -> tuple[list[float], bool]:
    states = draw(st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=12))
    return states, draw(st.booleans())


schedules = st.one_of(
    st.builds(lambda w: {"initial_weight": w}, st.floats(-5, 5)),
    st.builds(
        lambda a, b, end: {
            "initial_weight": a,
            "schedule_type": "linear",
            "final_weight": b,
            "end_step": end,
        },
        st.floats(-5, 5),
        st.floats(-5, 5),
        st.integers(1, 20),
    ),
    st.builds(
        lambda w, rate: {
            "initial_weight": w,
            "schedule_type": "exponential",
            "decay_rate": rate,
            "decay_steps": 2,
        },
        st.floats(0, 5),
        st.floats(0.1, 1),
    ),
)


@settings(deadline=None)
@given(episodes(), schedules, st.floats(0, 1), st.integers(0, 30), st.integers(1, 4))
def test_the_discounted_sum_depends_on_the_ends_of_an_episode_alone(
    episode: tuple[list[float], bool],
    schedule: dict[str, Any],
    gamma: float,
    start: int,
    n_envs: int,
) -> None:
    """Σ γ^t F_t = γ^T·w(T)·Φ(s_T) − w(0)·Φ(s_0), where Φ(s_T) is 0 on termination."""
    states, terminated = episode
    steps = [Step(obs=state) for state in states[1:-1]]
    steps.append(Step(obs=states[-1], terminated=terminated, truncated=not terminated))
    composer = RewardComposer({"advice": PotentialShaping("obs[0]")})
    env = RewardShapingWrapper(
        Scripted([(states[0], steps)]),
        RewardShaper(composer, {"advice": {"weight_schedule": schedule}}, gamma=gamma),
    )
    env.set_global_step(start, n_envs)
    env.reset()
    total = sum(gamma**t * float(env.step(0)[1]) for t in range(len(steps)))
    weight = env.shaper.schedules["advice"]
    end = 0.0 if terminated else weight(start + n_envs * len(steps)) * states[-1]
    expected = gamma ** len(steps) * end - weight(start) * states[0]
    assert total == pytest.approx(expected, abs=1e-9)


def test_shaped_q_learning_is_q_learning_that_starts_at_the_potential() -> None:
    """Wiewiora 2003: max|Q_shaped + Φ − Q_init| stays at rounding error over 5,000 updates."""
    rng = np.random.default_rng(0)
    n_states, n_actions, gamma, rate = 6, 3, 0.95, 0.1
    potential = rng.normal(size=n_states) * 5
    composer = RewardComposer(
        {"env": EnvReward(), "advice": PotentialShaping(lambda obs, info: potential[obs])}
    )
    shaper = RewardShaper(composer, {"env": {}, "advice": {}}, gamma=gamma)
    q_shaped = np.zeros((n_states, n_actions))
    q_init = np.zeros((n_states, n_actions)) + potential[:, None]
    state = 0
    shaper.reset(state, {})
    for _ in range(5_000):
        action, arrived = int(rng.integers(n_actions)), int(rng.integers(n_states))
        reward, terminated = float(rng.normal()), bool(rng.random() < 0.1)
        shaped, *_ = shaper.step(Transition(state, action, arrived, reward, terminated, False, {}))
        for q, paid in ((q_shaped, shaped), (q_init, reward)):
            future = 0.0 if terminated else gamma * q[arrived].max()
            q[state, action] += rate * (paid + future - q[state, action])
        state = int(rng.integers(n_states)) if terminated else arrived
        if terminated:
            shaper.reset(state, {})
    assert np.abs(q_shaped + potential[:, None] - q_init).max() < 1e-12


def test_the_difference_takes_arrays_as_well_as_numbers() -> None:
    difference = discounted_difference(0.5, np.array([2.0, 4.0]), np.array([1.0, 1.0]))  # type: ignore[arg-type]
    np.testing.assert_array_equal(difference, [0.0, 1.0])


def test_what_is_neither_an_expression_nor_a_function_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="potential: must be an expression, a table, or a function"
    ):
        PotentialShaping(3)  # type: ignore[arg-type]


def test_a_potential_that_fails_at_a_reset_is_named() -> None:
    composer = RewardComposer({"advice": PotentialShaping("1 / obs[0]")})
    shaper = RewardShaper(composer, {"advice": {}}, gamma=0.9)
    with pytest.raises(ComponentError, match="component 'advice' failed: .*division by zero"):
        shaper.reset([0.0], {})
