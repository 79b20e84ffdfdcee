"""What the vectorised twin says when something goes wrong: which component, where and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from fork import GAMMA
from scripted import Episode, Scripted, Step
from stable_baselines3.common.vec_env import DummyVecEnv
from twins import (
    FAILS,
    FINE,
    POTENTIAL,
    assert_same_step,
    begin_and_step,
    both,
    linear,
    paid,
    twin_of,
)

from rllama_sb3 import ConfigError, RewardShapingWrapper
from rllama_sb3.errors import ComponentError
from rllama_sb3.rewards import (
    PotentialShaping,
    RewardComposer,
    RewardShaper,
    Transition,
    register_component,
)


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
