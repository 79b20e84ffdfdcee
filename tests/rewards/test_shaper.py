from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllama_sb3.errors import ComponentError, ConfigError
from rllama_sb3.rewards import (
    EnvReward,
    GoalReward,
    PotentialShaping,
    RewardComponent,
    RewardComposer,
    RewardShaper,
    StepPenalty,
    Transition,
)

LINEAR = {"initial_weight": 1.0, "schedule_type": "linear", "final_weight": 0.0, "end_step": 10}
numbers = st.floats(-1e6, 1e6)


class Gives(RewardComponent):
    def __init__(self, value: float) -> None:
        self.value = value

    def compute(self, transition: Transition) -> float:
        return self.value


def shaper_of(*values: float, weights: list[float] | None = None) -> RewardShaper:
    weights = weights or [1.0] * len(values)
    names = [f"c{index}" for index in range(len(values))]
    composer = RewardComposer(dict(zip(names, map(Gives, values), strict=True)))
    config = {
        name: {"weight_schedule": {"initial_weight": weight}}
        for name, weight in zip(names, weights, strict=True)
    }
    return RewardShaper(composer, config)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5))
def test_the_shaped_reward_is_exactly_the_weighted_sum(pairs: list[tuple[float, float]]) -> None:
    values, weights = zip(*pairs, strict=True)
    shaper = shaper_of(*values, weights=list(weights))
    assert shaper.shape(0.0) == sum(w * v for v, w in pairs)


@given(st.lists(numbers, min_size=2, max_size=4), numbers)
def test_the_shaped_reward_is_linear_in_the_weights(values: list[float], scale: float) -> None:
    weights = [float(index + 1) for index in range(len(values))]
    once = shaper_of(*values, weights=weights).shape(0.0)
    scaled = shaper_of(*values, weights=[scale * w for w in weights]).shape(0.0)
    assert math.isclose(scaled, scale * once, rel_tol=1e-9, abs_tol=1e-3)


def test_update_weights_sets_each_weight_to_its_schedule() -> None:
    composer = RewardComposer({"env": EnvReward(), "time": StepPenalty(penalty=-1.0)})
    shaper = RewardShaper(composer, {"env": {}, "time": {"weight_schedule": LINEAR}})
    for step in (0, 3, 10, 999, 4):
        shaper.update_weights(step)
        assert shaper.weights == {"env": 1.0, "time": max(0.0, 1 - step / 10)}
        assert shaper.get_current_weight("time") == shaper.weights["time"]


def test_shape_leaves_the_clock_to_its_caller() -> None:
    composer = RewardComposer({"time": StepPenalty(penalty=-1.0)})
    shaper = RewardShaper(composer, {"time": {"weight_schedule": LINEAR}})
    shaper.update_weights(5)
    assert [shaper.shape(0.0) for _ in range(3)] == [-0.5] * 3


def test_step_moves_the_clock_on_by_the_stride() -> None:
    composer = RewardComposer({"one": Gives(1.0)})
    shaper = RewardShaper(composer, {"one": {"weight_schedule": LINEAR}})
    shaper.set_clock(2, 3)
    shaper.reset(0, {})
    paid = [shaper.step(Transition(0, 0, 0, 0.0, False, False, {}))[0] for _ in range(4)]
    assert paid == pytest.approx([0.8, 0.5, 0.2, 0.0])
    assert shaper.global_step == 14


def test_the_loop_of_the_optimization_guide_pays_goal_and_penalty() -> None:
    config = {
        "goal": {"weight_schedule": {"initial_weight": 10.0}},
        "time": {
            "weight_schedule": {
                "initial_weight": 1.0,
                "schedule_type": "exponential",
                "decay_rate": 0.5,
                "decay_steps": 1,
                "min_weight": 0.0,
            }
        },
    }
    composer = RewardComposer(
        {"goal": GoalReward(target_reward=1.0), "time": StepPenalty(penalty=-0.01)}
    )
    shaper = RewardShaper(composer, config)
    paid = []
    for global_step, (reward, terminated) in enumerate([(0.0, False), (0.0, False), (1.0, True)]):
        shaper.update_weights(global_step)
        context = {"global_step": global_step, "terminated": terminated, "truncated": False}
        paid.append(shaper.shape(reward, {}, context))
    assert paid == pytest.approx([-0.01, -0.005, 10.0 - 0.0025])


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.array(0.5), np.True_, 1])
def test_a_shaped_reward_is_a_plain_float_whatever_numbers_it_is_made_of(value: float) -> None:
    shaped = shaper_of(value, 1.0).shape(0.0)
    assert type(shaped) is float
    assert shaped == float(value) + 1.0


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "NoneType"),
        ("3.0", "str"),
        (1j, "1j"),
        (np.ones(3), r"an array of shape \(3,\)"),
        (np.ones(1), r"an array of shape \(1,\)"),
        ([1.0], "list"),
        (10**400, "OverflowError"),
    ],
)
def test_anything_but_one_number_is_an_error_that_names_component_and_step(
    value: float, shown: str
) -> None:
    with pytest.raises(ComponentError, match=f"global step 0, component 'c1' failed.*{shown}"):
        shaper_of(1.0, value).shape(0.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_names_component_step_and_value(value: float) -> None:
    shaper = shaper_of(1.0, value, 2.0)
    shaper.update_weights(77)
    with pytest.raises(ComponentError, match=f"global step 77, component 'c1' .* gave {value}"):
        shaper.shape(0.0)


def test_a_value_that_is_not_finite_is_found_under_a_zero_weight_too() -> None:
    with pytest.raises(ComponentError, match="component 'c0' must give a finite number"):
        shaper_of(math.inf, weights=[0.0]).shape(0.0)


def test_a_sum_that_overflows_is_an_error() -> None:
    with pytest.raises(ComponentError, match="add up to more than a number can hold"):
        shaper_of(1e308, 1e308).shape(0.0)


def test_a_failing_component_is_reported_with_the_global_step() -> None:
    class Broken(RewardComponent):
        def compute(self, transition: Transition) -> float:
            return 1 / 0

    shaper = RewardShaper(RewardComposer({"broken": Broken()}), {"broken": {}})
    shaper.update_weights(12)
    with pytest.raises(ComponentError, match="at global step 12, component 'broken' failed: Zero"):
        shaper.shape(0.0)


def test_names_of_components_and_config_must_match() -> None:
    composer = RewardComposer({"env": EnvReward(), "time": StepPenalty()})
    with pytest.raises(ConfigError, match="reward_shaping.time: has a component but no entry") as e:
        RewardShaper(composer, {"env": {}, "tyme": {}})
    assert "reward_shaping.tyme: has an entry in the config but no component" in str(e.value)
    assert "Did you mean 'time'?" in str(e.value)


def test_the_weight_of_an_unknown_component_is_an_error() -> None:
    with pytest.raises(ConfigError, match="unknown component, but got 'c00'. Did you mean 'c0'"):
        shaper_of(1.0).get_current_weight("c00")


def test_an_unknown_key_of_a_component_is_refused() -> None:
    composer = RewardComposer({"e": EnvReward()})
    with pytest.raises(ConfigError, match="reward_shaping.e.weight_shedule: unknown key. Did you"):
        RewardShaper(composer, {"e": {"weight_shedule": {"initial_weight": 5.0}}})
    with pytest.raises(ConfigError, match="reward_shaping.e: must be a mapping, but got None"):
        RewardShaper(composer, {"e": None})  # type: ignore[dict-item]


@pytest.mark.parametrize("gamma", [-0.1, 1.1, math.nan, "0.9", True])
def test_a_discount_factor_outside_0_to_1_is_refused(gamma: object) -> None:
    with pytest.raises(ConfigError, match="gamma: must be a number in"):
        RewardShaper(RewardComposer({"e": EnvReward()}), {"e": {}}, gamma=gamma)  # type: ignore[arg-type]


def test_another_discount_factor_than_the_first_is_refused() -> None:
    shaper = RewardShaper(RewardComposer({"e": EnvReward()}), {"e": {}}, gamma=0.99)
    shaper.adopt_learner(gamma=0.99)
    with pytest.raises(ConfigError, match="must be the learner's own, 0.9, .* but got 0.99"):
        shaper.adopt_learner(gamma=0.9)


def test_a_potential_without_a_discount_factor_is_an_error_at_the_first_step() -> None:
    composer = RewardComposer({"p": PotentialShaping("obs[0]")})
    shaper = RewardShaper(composer, {"p": {}})
    shaper.reset([1.0], {})
    with pytest.raises(ConfigError, match="needs the learner's discount factor"):
        shaper.step(Transition([1.0], 0, [2.0], 0.0, False, False, {}))


def test_a_potential_in_a_hand_written_loop_needs_observations() -> None:
    composer = RewardComposer({"p": PotentialShaping("obs[0]")})
    shaper = RewardShaper(composer, {"p": {}}, gamma=0.5)
    with pytest.raises(ConfigError, match='Pass context={"obs"'):
        shaper.shape(0.0, {}, {"terminated": False})
    steps = [([1.0], [4.0], False), ([4.0], [2.0], True), ([8.0], [2.0], False)]
    paid = [
        shaper.shape(0.0, {}, {"obs": obs, "next_obs": next_obs, "terminated": terminated})
        for obs, next_obs, terminated in steps
    ]
    assert paid == [0.5 * 4 - 1, 0.0 - 4, 0.5 * 2 - 8]


@pytest.mark.parametrize(
    ("global_step", "stride"), [(-1, 1), (0, 0), (1.7, 1), (True, 1), (0, 2.0)]
)
def test_a_clock_that_cannot_be_is_refused(global_step: int, stride: int) -> None:
    with pytest.raises(ConfigError, match="global_step >= 0 and n_envs >= 1"):
        shaper_of(1.0).set_clock(global_step, stride)
