"""What each stock component pays, what it refuses, and what it says when it cannot pay."""

from __future__ import annotations

import copy
import math
import pickle
import timeit
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllama_sb3.errors import ComponentError, ConfigError
from rllama_sb3.rewards import (
    ActionPenalty,
    ActionRatePenalty,
    CountBonus,
    DistanceReward,
    EnvReward,
    ExpressionReward,
    GoalReward,
    InfoReward,
    RewardComponent,
    StepPenalty,
    SurvivalBonus,
    TerminationPenalty,
    Transition,
    builtin,
    component_registry,
)
from rllama_sb3.rewards.parameters import check_parameters

CLASSES = [component_registry()[name] for name in builtin.__all__]
EXAMPLES: list[Callable[[], RewardComponent]] = [
    EnvReward,
    lambda: GoalReward(2.0),
    lambda: StepPenalty(-0.1),
    lambda: SurvivalBonus(0.5),
    lambda: TerminationPenalty(-5.0),
    lambda: ActionPenalty(0.1),
    lambda: ActionRatePenalty(0.1),
    lambda: DistanceReward([1.0, 2.0]),
    lambda: InfoReward("x"),
    lambda: CountBonus(resolution=0.5),
    lambda: ExpressionReward("reward + obs[0] + sum(action) + info['x']"),
]


def step(
    obs: Any = None,
    action: Any = None,
    next_obs: Any = None,
    reward: float = 0.0,
    terminated: bool = False,
    truncated: bool = False,
    info: Mapping[str, Any] | None = None,
) -> Transition:
    return Transition(obs, action, next_obs, reward, terminated, truncated, info or {})


def box(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


# What all of them have in common.


@pytest.mark.parametrize("example", EXAMPLES)
def test_values_are_plain_floats_and_survive_copies_and_pickles(
    example: Callable[[], RewardComponent],
) -> None:
    component = example()
    transition = step(box(1, 2), box(0.5), box(3, 4), -1.0, info={"x": np.float32(1.5)})
    for copied in (copy.deepcopy(component), pickle.loads(pickle.dumps(component))):
        copied.reset(box(1, 2), {})
        assert type(copied.compute(transition)) is float
        assert copied.compute(transition) == component_after_one_step(component, transition)


def component_after_one_step(component: RewardComponent, transition: Transition) -> float:
    component = copy.deepcopy(component)
    component.compute(transition)
    return component.compute(transition)


@pytest.mark.parametrize("factory", CLASSES, ids=builtin.__all__)
def test_every_stock_component_is_registered_under_its_own_name(factory: type) -> None:
    assert component_registry()[factory.__name__] is factory
    required: dict[type, dict[str, Any]] = {
        InfoReward: {"key": "x"},
        DistanceReward: {"target": [1, 2.5]},
        ExpressionReward: {"expression": "obs[0]"},
    }
    params = required.get(factory, {})
    assert check_parameters(factory, params, ()) == []
    problems = check_parameters(factory, {**params, "nonsense": 1}, ())
    assert [problem.path for problem in problems] == [("nonsense",)]


@pytest.mark.parametrize(
    ("component", "knows"),
    [
        (EnvReward(), True),
        (GoalReward(), True),
        (InfoReward("x"), True),
        (DistanceReward(0.0), True),
        (ExpressionReward("reward"), True),
        (ExpressionReward("obs[0]"), True),
        (ExpressionReward("-sum(action ** 2)"), False),
        (ExpressionReward("-1"), False),
        (StepPenalty(), False),
        (SurvivalBonus(), False),
        (TerminationPenalty(), False),
        (ActionPenalty(), False),
        (ActionRatePenalty(), False),
        (CountBonus(), False),
    ],
)
def test_components_say_whether_they_see_the_task(component: RewardComponent, knows: bool) -> None:
    assert component.pursues_task is knows


@pytest.mark.parametrize(
    ("factory", "params", "path", "rule"),
    [
        (GoalReward, {"target_reward": math.inf}, "target_reward", "must be a finite number"),
        (GoalReward, {"target_reward": "1"}, "target_reward", "must be a finite number"),
        (StepPenalty, {"penalty": math.nan}, "penalty", "must be a finite number"),
        (StepPenalty, {"penalty": True}, "penalty", "must be a finite number"),
        (StepPenalty, {"penalty": 10**400}, "penalty", "must be a finite number"),
        (SurvivalBonus, {"bonus": None}, "bonus", "must be a finite number"),
        (TerminationPenalty, {"penalty": [1]}, "penalty", "must be a finite number"),
        (ActionPenalty, {"coefficient": -1}, "coefficient", "must be at least 0"),
        (ActionRatePenalty, {"coefficient": -1}, "coefficient", "must be at least 0"),
        (CountBonus, {"coefficient": -1}, "coefficient", "must be at least 0"),
        (CountBonus, {"resolution": 0}, "resolution", "must be greater than 0"),
        (CountBonus, {"resolution": [0.1, -1]}, "resolution", "must be greater than 0"),
        (CountBonus, {"resolution": []}, "resolution", "must have at least one number"),
        (CountBonus, {"resolution": [1, 2], "indices": [0]}, "resolution", "one number, or one"),
        (CountBonus, {"key": ""}, "key", "must be a key in quotes"),
        (DistanceReward, {}, "target", "must be given when target_key is not"),
        (DistanceReward, {"target": 1, "target_key": "g"}, "target", "and only then"),
        (DistanceReward, {"target": "goal"}, "target", "must be a finite number"),
        (DistanceReward, {"target": [1, math.nan]}, "target", "must be a finite number"),
        (DistanceReward, {"target": [1, 2], "indices": [0]}, "target", "one number for each"),
        (DistanceReward, {"target": 1, "indices": []}, "indices", "a list of different integers"),
        (DistanceReward, {"target": 1, "indices": [0.5]}, "indices", "different integers"),
        (DistanceReward, {"target": [1, 1], "indices": [0, 0]}, "indices", "different integers"),
        (DistanceReward, {"target_key": ""}, "target_key", "must be a key in quotes"),
        (DistanceReward, {"target": 1, "scale": 0}, "scale", "must be greater than 0"),
        (InfoReward, {"key": 3}, "key", "must be a key in quotes"),
        (InfoReward, {"key": "x", "missing": math.inf}, "missing", "must be a finite number"),
        (ExpressionReward, {"expression": "obs.x"}, "expression", "attribute access"),
        (ExpressionReward, {"expression": 3}, "expression", "must be an expression in quotes"),
    ],
)
def test_arguments_are_checked_before_they_are_kept(
    factory: Callable[..., RewardComponent], params: dict[str, Any], path: str, rule: str
) -> None:
    with pytest.raises(ConfigError, match=rule) as caught:
        factory(**params)
    assert [problem.path for problem in caught.value.problems] == [(path,)]


@pytest.mark.parametrize(
    ("component", "name"),
    [
        (ActionPenalty(), "action"),
        (ActionRatePenalty(), "action"),
        (DistanceReward(0.0), "next_obs"),
        (CountBonus(), "next_obs"),
        (ExpressionReward("obs[0]"), "obs"),
    ],
)
def test_what_a_hand_written_loop_must_pass_is_named(component: RewardComponent, name: str) -> None:
    with pytest.raises(ComponentError, match=rf"needs {name}, but got None.*context=.*{name}"):
        component.compute(step())


# One by one.


def test_env_reward_is_passed_on() -> None:
    assert EnvReward().compute(step(reward=-3.5)) == -3.5


@pytest.mark.parametrize(
    ("transition", "pays"),
    [
        (step(info={"is_success": True}), True),
        (step(info={"is_success": np.True_}), True),
        (step(info={"is_success": 1.0}), True),
        (step(info={"is_success": False}, terminated=True, reward=1.0), False),
        (step(info={"is_success": 0.0}, terminated=True, reward=1.0), False),
        (step(terminated=True, reward=1.0), True),
        (step(terminated=True, reward=0.0), False),
        (step(terminated=True, reward=-1.0), False),
        (step(truncated=True, reward=1.0), False),
        (step(reward=1.0), False),
    ],
)
def test_goal_reward_pays_on_success_as_info_or_else_the_reward_tells(
    transition: Transition, pays: bool
) -> None:
    assert GoalReward(7.0).compute(transition) == (7.0 if pays else 0.0)


@given(st.floats(-1e6, 1e6), st.booleans(), st.booleans())
def test_step_penalty_is_paid_on_every_step_as_given(
    penalty: float, terminated: bool, truncated: bool
) -> None:
    transition = step(terminated=terminated, truncated=truncated)
    assert StepPenalty(penalty).compute(transition) == penalty


def test_defaults_are_those_of_the_guide() -> None:
    assert StepPenalty().compute(step()) == -0.01
    assert GoalReward().compute(step(info={"is_success": True})) == 1.0


@pytest.mark.parametrize("truncated", [False, True])
def test_survival_is_paid_unless_the_step_terminates(truncated: bool) -> None:
    assert SurvivalBonus(2.0).compute(step(truncated=truncated)) == 2.0
    assert SurvivalBonus(2.0).compute(step(terminated=True, truncated=truncated)) == 0.0


@pytest.mark.parametrize(
    ("transition", "pays"),
    [
        (step(terminated=True), True),
        (step(terminated=True, reward=1.0), True),
        (step(terminated=True, info={"is_success": False}), True),
        (step(terminated=True, truncated=True), True),
        (step(terminated=True, info={"is_success": True}), False),
        (step(truncated=True), False),
        (step(), False),
    ],
)
def test_termination_is_penalised_unless_info_says_success(
    transition: Transition, pays: bool
) -> None:
    assert TerminationPenalty(-3.0).compute(transition) == (-3.0 if pays else 0.0)


@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=6))
def test_action_penalty_is_the_squared_norm(action: list[float]) -> None:
    expected = pytest.approx(-0.5 * float(np.sum(np.square(action, dtype=np.float64))))
    assert ActionPenalty(0.5).compute(step(action=box(*action))) == expected
    assert ActionPenalty(0.5).compute(step(action=box(*action).reshape(1, -1))) == expected


def test_no_penalty_is_zero_and_not_minus_zero() -> None:
    rate = ActionRatePenalty()
    rate.compute(step(action=box(1.0)))
    for value in (
        ActionPenalty().compute(step(action=box(0.0))),
        rate.compute(step(action=box(1.0))),
        DistanceReward(1.0).compute(step(next_obs=box(1.0))),
    ):
        assert math.copysign(1.0, value) == 1.0


@pytest.mark.parametrize("action", [2, np.int64(2), np.array([1, 2]), np.array([0, 1], np.int8)])
def test_action_penalty_refuses_labels(action: Any) -> None:
    with pytest.raises(ComponentError, match=r"floating-point.*is a label. Use ExpressionReward"):
        ActionPenalty().compute(step(action=action))


@pytest.mark.parametrize("component", [ActionPenalty(), ActionRatePenalty()])
def test_actions_that_are_no_numbers_are_refused(component: RewardComponent) -> None:
    with pytest.raises(ComponentError, match="an action made of numbers"):
        component.compute(step(action={"move": 1}))


def test_action_rate_penalises_the_squared_change_from_the_second_step_on() -> None:
    component = ActionRatePenalty(0.5)
    actions = [box(0, 0), box(1, 2), box(1, 2), box(-1, 2)]
    values = [component.compute(step(action=action)) for action in actions]
    assert values == [0.0, -2.5, 0.0, -2.0]


def test_action_rate_counts_changed_labels() -> None:
    component = ActionRatePenalty(0.5)
    assert [component.compute(step(action=a)) for a in (0, np.int64(3), 3)] == [0.0, -0.5, 0.0]
    component.reset(None, {})
    actions = [np.array([0, 5]), np.array([4, 6])]
    assert [component.compute(step(action=action)) for action in actions] == [0.0, -1.0]


@pytest.mark.parametrize("flag", ["terminated", "truncated"])
def test_action_rate_forgets_between_episodes(flag: str) -> None:
    component = ActionRatePenalty()
    component.compute(step(action=box(0)))
    component.reset(None, {})
    assert component.compute(step(action=box(9))) == 0.0
    assert component.compute(step(action=box(8), **{flag: True})) == -1.0
    assert component.compute(step(action=box(5))) == 0.0


def test_action_rate_keeps_a_copy_of_the_action() -> None:
    component = ActionRatePenalty()
    action = box(1.0)
    component.compute(step(action=action))
    action[0] = 3.0
    assert component.compute(step(action=action)) == -4.0


def test_distance_to_a_constant_target() -> None:
    assert DistanceReward([0, 0], scale=2.0).compute(step(next_obs=box(3, 4))) == -10.0
    assert DistanceReward(1.0, indices=[-1]).compute(step(next_obs=box(9, 9, 4))) == -3.0
    assert DistanceReward([1], key="x").compute(step(next_obs={"x": box(4), "y": 0})) == -3.0
    assert DistanceReward(2).compute(step(next_obs=np.int64(5))) == -3.0


def test_distance_between_two_keys() -> None:
    obs = {"achieved_goal": box(0, 0, 7), "desired_goal": box(3, 4, 9)}
    component = DistanceReward(target_key="desired_goal", key="achieved_goal", indices=[0, 1])
    assert component.compute(step(next_obs=obs)) == -5.0


def test_distance_does_not_wrap_around_in_unsigned_observations() -> None:
    assert DistanceReward(250).compute(step(next_obs=np.array([5], np.uint8))) == -245.0


@pytest.mark.parametrize(
    ("component", "next_obs", "said"),
    [
        (DistanceReward([1, 2]), box(1, 2, 3), "compares 3 numbers of next_obs with 2"),
        (DistanceReward(1, indices=[5]), box(1, 2), r"indices \[5\] of an observation of 2"),
        (DistanceReward(1), {"a": 1, "b": 2}, "no key was given; its keys: 'a', 'b'"),
        (DistanceReward(1, key="c"), {"a": 1, "b": 2}, "it has no key 'c'; its keys: 'a', 'b'"),
        (DistanceReward(1, key="c"), box(1), "must be a dict with the key 'c', but is a ndarray"),
        (DistanceReward(1), "text", "needs numbers in next_obs"),
        (CountBonus(), box(1), "needs the width of a cell"),
        (CountBonus(resolution=[1, 2]), box(1), "has 2 cell widths for 1 numbers"),
    ],
)
def test_observations_that_do_not_fit_are_explained(
    component: RewardComponent, next_obs: Any, said: str
) -> None:
    with pytest.raises(ComponentError, match=said):
        component.compute(step(next_obs=next_obs))


@pytest.mark.parametrize(
    ("value", "paid"), [(2, 2.0), (1.5, 1.5), (True, 1.0), (np.float32(0.5), 0.5), (np.array(3), 3)]
)
def test_info_reward_pays_what_info_holds(value: Any, paid: float) -> None:
    assert InfoReward("x").compute(step(info={"x": value})) == paid


def test_a_missing_info_key_is_an_error_unless_a_value_stands_for_it() -> None:
    with pytest.raises(ComponentError, match=r"no key 'x'; its keys: 'y'. Give missing="):
        InfoReward("x").compute(step(info={"y": 1}))
    assert InfoReward("x", missing=0).compute(step(info={"y": 1})) == 0.0
    assert InfoReward("x", missing=0).compute(step(info={"x": 4})) == 4.0


@pytest.mark.parametrize("value", ["1", None, [1], np.ones(1), {"a": 1}])
def test_info_that_is_no_number_is_an_error(value: Any) -> None:
    with pytest.raises(ComponentError, match=r"info\['x'\] must be one number, but is"):
        InfoReward("x").compute(step(info={"x": value}))


@given(st.lists(st.integers(0, 3), max_size=30))
def test_count_bonus_is_the_inverse_root_of_the_visits(states: list[int]) -> None:
    component = CountBonus(2.0)
    for index, state in enumerate(states):
        visits = states[: index + 1].count(state)
        value = component.compute(step(next_obs=np.int64(state)))
        assert value == pytest.approx(2.0 / math.sqrt(visits))


def test_counts_last_over_episodes_and_belong_to_one_copy() -> None:
    component = CountBonus()
    component.compute(step(next_obs=0))
    component.reset(0, {})
    other = copy.deepcopy(component)
    assert component.compute(step(next_obs=0)) == pytest.approx(1 / math.sqrt(2))
    assert other.compute(step(next_obs=0)) == pytest.approx(1 / math.sqrt(2))


def test_cells_are_half_open_intervals_of_the_given_width() -> None:
    def is_new(component: CountBonus, *obs: float) -> bool:
        return component.compute(step(next_obs=np.array(obs))) == 1.0

    component = CountBonus(resolution=[0.5, 10.0])
    assert is_new(component, 0.0, 0.0)
    assert not is_new(component, 0.49, 9.9)
    assert is_new(component, 0.5, 0.0)
    assert is_new(component, -0.01, 0.0)
    assert is_new(component, 0.0, 10.0)


def test_only_the_chosen_part_is_counted() -> None:
    component = CountBonus(resolution=1.0, key="place", indices=[0])
    assert component.compute(step(next_obs={"place": box(0.5, 9), "time": 1})) == 1.0
    assert component.compute(step(next_obs={"place": box(0.6, 3), "time": 2})) < 1.0


def test_long_observations_are_told_apart() -> None:
    component = CountBonus()
    first, second = np.zeros(40, dtype=np.uint8), np.zeros(40, dtype=np.uint8)
    second[-1] = 1
    assert component.compute(step(next_obs=first)) == 1.0
    assert component.compute(step(next_obs=second)) == 1.0
    assert component.compute(step(next_obs=first)) < 1.0


def test_expression_reward_knows_the_whole_transition() -> None:
    source = "reward + obs[0] + 10 * next_obs[0] + 100 * action + terminated - truncated"
    component = ExpressionReward(source + " + info['x']")
    transition = step(box(1), 2, box(3), 4.0, True, False, {"x": 1000})
    assert component.compute(transition) == 4 + 1 + 30 + 200 + 1 + 1000


def test_components_are_computed_in_microseconds() -> None:
    transition = step(box(1, 2), box(0.5, 0.1), box(3, 4), -1.0, info={"x": 1.5})
    for example in EXAMPLES:
        component = example()
        seconds = min(timeit.repeat(lambda c=component: c.compute(transition), number=500))
        assert seconds / 500 < 2e-5, component
