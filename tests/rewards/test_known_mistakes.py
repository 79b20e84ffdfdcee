"""The known mistakes of potential-based shaping, written out, and the figures that betray each.

The rewards of an episode are computed here by plain code that can be told to make one mistake, so
that a figure which would not tell right from wrong shows as a test that fails. The package must
agree with the variant that makes none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from fork import GAMMA, LEFT, POTENTIALS, RIGHT, S0, Fork
from scripted import Scripted, Step

from rllama_sb3 import RewardShapingWrapper
from rllama_sb3.rewards import EnvReward, PotentialShaping, RewardComposer, RewardShaper


@dataclass(frozen=True)
class Mistake:
    """How to get potential-based shaping wrong; the defaults are right."""

    gamma: float | None = None
    terminal_potential_kept: bool = False
    truncation_zeroed: bool = False
    nothing_paid_at_the_end: bool = False
    weight_outside: bool = False
    cached_across_a_reset: float | None = None


def shaped_rewards(
    potentials: Sequence[float],
    rewards: Sequence[float],
    weights: Sequence[float],
    gamma: float,
    *,
    truncated: bool = False,
    mistake: Mistake,
) -> list[float]:
    """Returns r_t + F_t of one episode, from Φ(s_0) to Φ(s_T) and w(0) to w(T)."""
    gamma = gamma if mistake.gamma is None else mistake.gamma
    arrived = weights[0] * potentials[0]
    if mistake.cached_across_a_reset is not None:
        arrived = mistake.cached_across_a_reset
    paid = []
    for t, reward in enumerate(rewards):
        last = t == len(rewards) - 1
        zeroed = last and (
            mistake.truncation_zeroed if truncated else not mistake.terminal_potential_kept
        )
        reached = 0.0 if zeroed else potentials[t + 1]
        if mistake.weight_outside:
            f = weights[t] * (gamma * reached - potentials[t])
        else:
            f = gamma * weights[t + 1] * reached - arrived
        if last and mistake.nothing_paid_at_the_end:
            f = 0.0
        paid.append(reward + f)
        arrived = weights[t + 1] * reached
    return paid


def discounted(rewards: Sequence[float]) -> float:
    return sum(GAMMA**t * reward for t, reward in enumerate(rewards))


def fork_returns(
    mistake: Mistake, weights: Sequence[float] = (1.0, 1.0, 1.0), at_s0: float = 0.0
) -> tuple[float, float]:
    left = shaped_rewards([at_s0, 0.0], [1.0], weights, GAMMA, mistake=mistake)
    right = shaped_rewards([at_s0, 10.0, 5.0], [0.0, 1.05], weights, GAMMA, mistake=mistake)
    return discounted(left), discounted(right)


def package_returns(
    weights: Sequence[float] = (1.0, 1.0, 1.0), at_s0: float = 0.0
) -> tuple[float, float]:
    potentials: Mapping[int, float] = {**POTENTIALS, S0: at_s0}
    composer = RewardComposer(
        {"env": EnvReward(), "advice": PotentialShaping(lambda obs, info: potentials[int(obs)])}
    )
    points = [[t, weight] for t, weight in enumerate(weights) if t > 0]
    schedule = {
        "initial_weight": weights[0],
        "schedule_type": "piecewise",
        "points": points,
        "staircase": True,
    }
    config = {"env": {}, "advice": {"weight_schedule": schedule}}
    returns = []
    for action in (LEFT, RIGHT):
        env = RewardShapingWrapper(Fork(), RewardShaper(composer, config, gamma=GAMMA))
        env.reset()
        rewards, over = [], False
        while not over:
            _, reward, over, _, _ = env.step(action)
            rewards.append(float(reward))
        returns.append(discounted(rewards))
    return returns[0], returns[1]


RIGHT_ONE = Mistake()
FADED = (1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("mistake", "weights", "expected"),
    [
        (RIGHT_ONE, (1.0, 1.0, 1.0), (1.0, 0.945)),
        (RIGHT_ONE, FADED, (1.0, 0.945)),
        (Mistake(gamma=1.0), (1.0, 1.0, 1.0), (1.0, 1.945)),
        (Mistake(gamma=0.99), (1.0, 1.0, 1.0), (1.0, 1.845)),
        (Mistake(terminal_potential_kept=True), (1.0, 1.0, 1.0), (1.0, 4.995)),
        (Mistake(nothing_paid_at_the_end=True), (1.0, 1.0, 1.0), (1.0, 9.945)),
        (Mistake(weight_outside=True), FADED, (1.0, 9.945)),
        (Mistake(cached_across_a_reset=5.0), (1.0, 1.0, 1.0), (-4.0, -4.055)),
    ],
)
def test_the_fork_tells_each_mistake_from_what_the_package_pays(
    mistake: Mistake, weights: Sequence[float], expected: tuple[float, float]
) -> None:
    assert fork_returns(mistake, weights) == pytest.approx(expected)
    told_apart = package_returns(weights) != pytest.approx(expected, abs=1e-6)
    assert told_apart == (mistake != RIGHT_ONE)


def test_a_potential_at_the_start_is_taken_off_every_return() -> None:
    assert fork_returns(RIGHT_ONE, at_s0=2.0) == pytest.approx((-1.0, -1.055))
    assert package_returns(at_s0=2.0) == pytest.approx((-1.0, -1.055))


@pytest.mark.parametrize(
    ("mistake", "bootstrapped", "expected"),
    [
        (RIGHT_ONE, True, 0.945),
        (Mistake(truncation_zeroed=True), True, -8.055),
        (RIGHT_ONE, False, 9.0),  # kept where nobody bootstraps: the mistake is the other way round
    ],
)
def test_a_truncated_fork_tells_whether_its_potential_fits_the_critic(
    mistake: Mistake, bootstrapped: bool, expected: float
) -> None:
    paid = shaped_rewards([0.0, 10.0], [0.0], (1.0, 1.0), GAMMA, truncated=True, mistake=mistake)
    future = GAMMA * -8.95 if bootstrapped else 0.0
    assert discounted(paid) + future == pytest.approx(expected)


# Twelve steps with a termination and a truncation inside, and the rest of an episode.
_RNG = np.random.default_rng(3)
EPISODES = [
    (_RNG.normal(size=n + 1).tolist(), _RNG.normal(size=n).tolist(), end)
    for n, end in ((5, "terminated"), (4, "truncated"), (3, "goes on"))
]
GAE_GAMMA, GAE_LAMBDA = 0.97, 0.9


def weight_at(step: int) -> float:
    return 3.0 + (0.5 - 3.0) * min(step / 9, 1.0)


def potential_of(state: float) -> float:
    return 2.0 * state + 1.0


def rewards_by_mistake(mistake: Mistake) -> list[float]:
    paid: list[float] = []
    for states, rewards, end in EPISODES:
        start = len(paid)
        weights = [weight_at(start + t) for t in range(len(states))]
        paid += shaped_rewards(
            [potential_of(state) for state in states],
            rewards,
            weights,
            GAE_GAMMA,
            truncated=end != "terminated",
            mistake=mistake,
        )
    return paid


def rewards_by_package() -> list[float]:
    script = [
        (
            states[0],
            [
                Step(
                    state,
                    reward,
                    terminated=last and end == "terminated",
                    truncated=last and end == "truncated",
                )
                for state, reward, last in zip(
                    states[1:], rewards, [False] * (len(rewards) - 1) + [True], strict=True
                )
            ],
        )
        for states, rewards, end in EPISODES
    ]
    composer = RewardComposer({"env": EnvReward(), "advice": PotentialShaping("2 * obs[0] + 1")})
    schedule = {
        "initial_weight": 3.0,
        "schedule_type": "linear",
        "final_weight": 0.5,
        "end_step": 9,
    }
    shaper = RewardShaper(
        composer, {"env": {}, "advice": {"weight_schedule": schedule}}, gamma=GAE_GAMMA
    )
    env = RewardShapingWrapper(Scripted(script), shaper)
    paid = []
    for _, rewards, _ in EPISODES:
        env.reset()
        paid += [float(env.step(0)[1]) for _ in rewards]
    return paid


def advantages(paid: Sequence[float], *, shaped: bool) -> tuple[np.ndarray, np.ndarray]:
    """GAE and returns of Stable-Baselines3, under critic v, or v + w·Φ for raw rewards."""
    import torch
    from gymnasium.spaces import Box, Discrete
    from stable_baselines3.common.buffers import RolloutBuffer

    def critic(state: float, step: int) -> float:
        return float(np.sin(state)) + (0.0 if shaped else weight_at(step) * potential_of(state))

    n_steps = len(paid)
    buffer = RolloutBuffer(
        n_steps, Box(-9, 9, (1,)), Discrete(2), "cpu", gae_lambda=GAE_LAMBDA, gamma=GAE_GAMMA
    )
    step = 0
    for states, rewards, end in EPISODES:
        for t in range(len(rewards)):
            reward = paid[step]
            if end == "truncated" and t == len(rewards) - 1:
                # What on-policy algorithms do at a time limit: add γ·V(s_T) to the last reward.
                reward += GAE_GAMMA * critic(states[-1], step + 1)
            buffer.add(
                np.array([[states[t]]]),
                np.zeros((1, 1)),
                np.array([reward]),
                np.array([t == 0]),
                torch.tensor([critic(states[t], step)]),
                torch.zeros(1),
            )
            step += 1
    last = torch.tensor([critic(EPISODES[-1][0][-1], step)])
    buffer.compute_returns_and_advantage(last, np.array([False]))
    return buffer.advantages[:, 0].copy(), buffer.returns[:, 0].copy()


def bias_of_the_critic() -> np.ndarray:
    states = [state for states, rewards, _ in EPISODES for state in states[: len(rewards)]]
    return np.array([weight_at(t) * potential_of(state) for t, state in enumerate(states)])


def gae_error(paid: Sequence[float]) -> float:
    raw = [reward for _, rewards, _ in EPISODES for reward in rewards]
    difference = advantages(paid, shaped=True)[0] - advantages(raw, shaped=False)[0]
    return float(np.abs(difference).max())


def test_shaped_rewards_give_the_advantages_of_raw_ones_under_a_shifted_critic() -> None:
    paid = rewards_by_package()
    np.testing.assert_allclose(paid, rewards_by_mistake(RIGHT_ONE), atol=1e-5)
    assert gae_error(paid) <= 1e-5
    raw = [reward for _, rewards, _ in EPISODES for reward in rewards]
    shaped_returns, raw_returns = advantages(paid, shaped=True)[1], advantages(raw, shaped=False)[1]
    np.testing.assert_allclose(shaped_returns - raw_returns, -bias_of_the_critic(), atol=1e-5)


@pytest.mark.parametrize(
    "mistake",
    [
        Mistake(gamma=1.0),
        Mistake(terminal_potential_kept=True),
        Mistake(truncation_zeroed=True),
        Mistake(weight_outside=True),
    ],
    ids=str,
)
def test_the_advantages_tell_each_mistake(mistake: Mistake) -> None:
    assert gae_error(rewards_by_mistake(mistake)) > 0.1
