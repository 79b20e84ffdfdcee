"""What components give for many environments is what they give for each of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from batches import SPACES, batch_of, random_action, random_batch, transitions_of
from hypothesis import given, settings
from hypothesis import strategies as st

from rllama_sb3.errors import ComponentError
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
from rllama_sb3.rewards.batch_composer import BatchComposer
from rllama_sb3.rewards.component import FunctionComponent
from rllama_sb3.rewards.transition import TransitionBatch, row_of
from rllama_sb3.rewards.vectorized import VectorizedComponent

# Each with a space that it can look at, and the kind of action that it needs, if any.
STOCK: list[tuple[RewardComponent, str, str]] = [
    (EnvReward(), "vector", ""),
    (GoalReward(2.0), "vector", ""),
    (StepPenalty(-0.1), "discrete", ""),
    (SurvivalBonus(0.5), "discrete", ""),
    (TerminationPenalty(-5.0), "dict", ""),
    (InfoReward("x"), "vector", ""),
    (InfoReward("maybe", missing=-7.0), "vector", ""),
    (ActionPenalty(0.3), "vector", "box"),
    (ActionRatePenalty(0.3), "vector", "box"),
    (ActionRatePenalty(0.3), "vector", "discrete"),
    (ActionRatePenalty(0.3), "vector", "multi_discrete"),
    (DistanceReward([1.0, 2.0, -1.0]), "vector", ""),
    (DistanceReward(1.5, scale=2.0), "discrete", ""),
    (DistanceReward([1.0, 2.0], indices=[-1, 3]), "matrix", ""),
    (DistanceReward([0.0] * 6), "matrix", ""),
    (DistanceReward(target_key="map", key="map"), "dict", ""),
    (DistanceReward(target_key="map", key="place", indices=[2, 0]), "dict", ""),
    (DistanceReward(3, key="room"), "dict", ""),
    (CountBonus(), "discrete", ""),
    (CountBonus(2.0, resolution=0.7), "vector", ""),
    (CountBonus(resolution=[1.0, 2.0], indices=[0, -1]), "matrix", ""),
    (CountBonus(key="room"), "dict", ""),
    (
        ExpressionReward("reward + obs[0] - next_obs[-1] / 3 + 0.1 * (action != 1)"),
        "vector",
        "discrete",
    ),
    (ExpressionReward("terminated - 2 * truncated + sum(obs['map'])"), "dict", ""),
]


class Remembers(RewardComponent):
    """A user's component: pays the way from the first observation, and what that reset said."""

    def __init__(self) -> None:
        self.start: float | None = None

    def reset(self, obs: Any, info: Mapping[str, Any]) -> None:
        self.start = float(obs[0]) - info["x"]

    def compute(self, transition: Transition) -> float:
        assert self.start is not None
        return float(transition.next_obs[0]) - self.start


def noted(transition: Transition, scale: float = 1.0) -> float:
    return scale * transition.env_reward + 10 * transition.terminated


USERS: list[tuple[RewardComponent, str, str]] = [
    (Remembers(), "vector", ""),
    (FunctionComponent(noted, {"scale": 3.0}), "discrete", ""),
]


def assert_many_are_each(
    component: RewardComponent, space: str, kind: str, n_envs: int, n_steps: int, seed: int
) -> None:
    """Plays random steps for many environments together, and for each of them by itself."""
    rng = np.random.default_rng(seed)
    kind = kind or str(rng.choice(["discrete", "box", "multi_discrete"]))
    many = BatchComposer({"it": component}, n_envs)
    each = [copy.deepcopy(component) for _ in range(n_envs)]
    starts = np.arange(n_envs)
    values = np.zeros((1, n_envs))
    for _ in range(n_steps):
        batch = random_batch(rng, n_envs, SPACES[space], action=random_action(rng, n_envs, kind))
        many.reset(starts, batch.obs, batch.infos)
        for env in starts.tolist():
            each[env].reset(row_of(batch.obs, env), batch.infos[env])
        many.evaluate(batch, values)
        expected = [
            one.compute(transition)
            for one, transition in zip(each, transitions_of(batch), strict=True)
        ]
        np.testing.assert_allclose(values[0], expected, rtol=1e-12, atol=1e-12)
        starts = batch.ended


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(STOCK + USERS),
    st.sampled_from([1, 2, 3, 5]),
    st.integers(1, 8),
    st.integers(0, 2**32 - 1),
)
def test_many_environments_get_what_each_of_them_gets(
    case: tuple[RewardComponent, str, str], n_envs: int, n_steps: int, seed: int
) -> None:
    assert_many_are_each(*case, n_envs, n_steps, seed)


@pytest.mark.parametrize(
    "case", STOCK, ids=[f"{type(c).__name__}-{space}-{kind}" for c, space, kind in STOCK]
)
def test_each_stock_component_is_computed_on_arrays(case: tuple[RewardComponent, str, str]) -> None:
    assert isinstance(case[0], VectorizedComponent)
    for n_envs in (1, 3):
        assert_many_are_each(*case, n_envs, 12, 0)


def test_no_stock_component_is_left_out() -> None:
    assert {type(case[0]) for case in STOCK} == {
        component_registry()[name] for name in builtin.__all__
    }


def evaluate(component: RewardComponent, batch: TransitionBatch) -> list[float]:
    values = np.zeros((1, len(batch)))
    BatchComposer({"it": component}, len(batch)).evaluate(batch, values)
    row: list[float] = values[0].tolist()
    return row


# Stock components, where the arrays have more to go wrong than the numbers.


def test_goal_reward_asks_the_info_of_each_environment_or_else_its_reward() -> None:
    batch = batch_of(
        np.zeros(6),
        reward=[1, 1, 1, 0, -1, 1],
        terminated=[True, True, False, True, True, False],
        infos=[{}, {"is_success": False}, {"is_success": np.True_}, {}, {"is_success": 1}, {}],
    )
    assert evaluate(GoalReward(7.0), batch) == [7.0, 0.0, 7.0, 0.0, 7.0, 0.0]


def test_a_truncated_episode_has_survived_and_a_terminated_one_may_have_succeeded() -> None:
    batch = batch_of(
        np.zeros(4),
        terminated=[False, True, True, False],
        truncated=[True, False, False, False],
        infos=[{}, {}, {"is_success": True}, {}],
    )
    assert evaluate(SurvivalBonus(2.0), batch) == [2.0, 0.0, 0.0, 2.0]
    assert evaluate(TerminationPenalty(-3.0), batch) == [0.0, -3.0, 0.0, 0.0]


@pytest.mark.parametrize("kind", [np.int64, np.uint8, bool])
def test_labels_have_no_size_but_differ(kind: Any) -> None:
    component = ActionRatePenalty(0.5)
    composer, values = BatchComposer({"it": component}, 2), np.zeros((1, 2))
    paid = []
    for action in ([[0, 1], [1, 1]], [[1, 0], [1, 1]], [[1, 1], [0, 1]]):
        composer.evaluate(batch_of(np.zeros(2), action=np.array(action).astype(kind)), values)
        paid.append(values[0].tolist())
    assert paid == [[0.0, 0.0], [-1.0, 0.0], [-0.5, -0.5]]
    with pytest.raises(ComponentError, match="component 'it' failed: needs actions of floating"):
        evaluate(ActionPenalty(), batch_of(np.zeros(2), action=np.array(action).astype(kind)))


def test_a_change_of_small_floats_is_computed_in_double_precision() -> None:
    composer, values = BatchComposer({"it": ActionRatePenalty()}, 1), np.zeros((1, 1))
    for action in (np.float16(1000.5), np.float16(0.25)):
        composer.evaluate(batch_of(np.zeros(1), action=np.array([[action]])), values)
    assert values[0, 0] == -(1000.25**2)


def test_action_rate_forgets_in_the_environments_whose_episode_began() -> None:
    composer, values = BatchComposer({"it": ActionRatePenalty()}, 2), np.zeros((1, 2))
    composer.evaluate(batch_of(np.zeros(2), action=np.array([[0.0], [0.0]])), values)
    composer.reset(np.array([1]), np.zeros(2), [{}, {}])
    composer.evaluate(batch_of(np.zeros(2), action=np.array([[3.0], [3.0]])), values)
    assert values[0].tolist() == [-9.0, 0.0]


def test_action_rate_keeps_a_copy_of_the_actions() -> None:
    composer, values = BatchComposer({"it": ActionRatePenalty()}, 2), np.zeros((1, 2))
    action = np.array([[1.0], [1.0]])
    for change in (0.0, 2.0):
        action += change
        composer.evaluate(batch_of(np.zeros(2), action=action), values)
    assert values[0].tolist() == [-4.0, -4.0]


def test_each_environment_counts_for_itself_over_its_episodes() -> None:
    composer, values = BatchComposer({"it": CountBonus()}, 2), np.zeros((1, 2))
    for obs in ([3, 3], [3, 4]):
        composer.reset(np.arange(2), np.array(obs), [{}, {}])
        composer.evaluate(batch_of(np.array(obs)), values)
    assert values[0].tolist() == [1 / math.sqrt(2), 1.0]


def test_a_component_that_counted_before_goes_on_counting_in_every_environment() -> None:
    component = CountBonus()
    component.compute(Transition(0, 0, 3, 0.0, False, False, {}))
    assert evaluate(component, batch_of(np.array([3, 3]))) == [1 / math.sqrt(2)] * 2


def test_distances_do_not_wrap_around_in_unsigned_observations() -> None:
    batch = batch_of(np.array([[5], [255]], np.uint8))
    assert evaluate(DistanceReward(250), batch) == [-245.0, -5.0]


@pytest.mark.parametrize(
    ("component", "obs", "said"),
    [
        (DistanceReward([1, 2]), np.zeros((2, 3)), "compares 3 numbers of next_obs with 2"),
        (DistanceReward(1, indices=[5]), np.zeros((3, 2)), r"indices \[5\] of .* of 2 numbers"),
        (DistanceReward(1), {"a": np.zeros(2)}, "no key was given; its keys: 'a'"),
        (CountBonus(), np.zeros((2, 1)), "in environment 0: needs the width of a cell"),
        (CountBonus(resolution=[1, 2]), np.zeros((3, 1)), "2 cell widths for 1 numbers"),
    ],
)
def test_observations_that_do_not_fit_are_explained(
    component: RewardComponent, obs: Any, said: str
) -> None:
    with pytest.raises(ComponentError, match=f"component 'it' failed: .*{said}"):
        evaluate(component, batch_of(obs))


def test_an_info_that_lacks_its_key_is_named_by_environment() -> None:
    batch = batch_of(np.zeros(3), infos=[{"x": 1}, {"x": 2}, {"y": 3}])
    with pytest.raises(
        ComponentError, match="in environment 2: info has no key 'x'; its keys: 'y'"
    ):
        evaluate(InfoReward("x"), batch)
    assert evaluate(InfoReward("x", missing=9), batch) == [1.0, 2.0, 9.0]


# Components that know of one environment only.


def test_a_component_of_one_environment_is_copied_for_each() -> None:
    component = Remembers()
    composer, values = BatchComposer({"it": component}, 3), np.zeros((1, 3))
    first, second = np.array([[1.0], [2.0], [3.0]]), np.array([[10.0], [20.0], [30.0]])
    composer.reset(np.arange(3), first, [{"x": 100}, {"x": 200}, {"x": 300}])
    composer.evaluate(batch_of(first, next_obs=second), values)
    assert values[0].tolist() == [109.0, 218.0, 327.0]
    composer.reset(np.array([1]), second, [{}, {"x": 5}, {}])
    composer.evaluate(batch_of(second), values)
    assert values[0].tolist() == [109.0, 5.0, 327.0]
    assert component.start is None


def test_a_component_of_one_environment_sees_the_rows_of_a_dict() -> None:
    seen: list[Transition] = []
    function: Callable[[Transition], float] = lambda transition: seen.append(transition) or 0.0  # type: ignore[func-returns-value]  # noqa: E731
    obs = {"place": np.array([[1.0], [2.0]]), "room": np.array([3, 4])}
    batch = batch_of(obs, action=np.array([5, 6]), reward=[7, 8], terminated=[False, True])
    evaluate(FunctionComponent(function), batch)
    assert [float(t.obs["place"][0]) for t in seen] == [1.0, 2.0]
    assert [(int(t.next_obs["room"]), int(t.action)) for t in seen] == [(3, 5), (4, 6)]
    assert [(t.env_reward, t.terminated, t.truncated) for t in seen] == [
        (7.0, False, False),
        (8.0, True, False),
    ]
    assert all(type(t.env_reward) is float and type(t.terminated) is bool for t in seen)


@pytest.mark.parametrize("value", [2, np.float32(2.0), np.array(2.0), np.int8(2)])
def test_any_single_number_of_a_component_will_do(value: Any) -> None:
    assert evaluate(FunctionComponent(lambda _: value), batch_of(np.zeros(2))) == [2.0, 2.0]


@pytest.mark.parametrize("value", [None, "2", [2.0], np.ones(1), 2j])
def test_anything_else_is_named_by_component_and_environment(value: Any) -> None:
    component = FunctionComponent(lambda t: value if t.env_reward else 0.0)
    with pytest.raises(
        ComponentError, match="component 'it' failed: in environment 1: TypeError: must give one"
    ):
        evaluate(component, batch_of(np.zeros(2), reward=[0, 1]))


def test_a_component_that_raises_is_named_with_the_environment() -> None:
    component = FunctionComponent(lambda t: 1 / t.env_reward)
    with pytest.raises(
        ComponentError, match="component 'it' failed: in environment 2: ZeroDivisionError: "
    ):
        evaluate(component, batch_of(np.zeros(3), reward=[1, 1, 0]))


def test_a_reset_that_raises_is_named_with_the_environment() -> None:
    composer = BatchComposer({"it": Remembers()}, 2)
    with pytest.raises(ComponentError, match="component 'it' failed: in environment 1: Index"):
        composer.reset(np.array([1]), [np.zeros(1), np.zeros(0)], [{}, {}])


# Vectorised components of a user's own.


class Given(VectorizedComponent):
    """Gives what it is told to."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def compute(self, transition: Transition) -> float:
        raise AssertionError("a vectorised component is asked for all environments at once")

    def compute_batch(self, batch: TransitionBatch) -> Any:
        return self.values


class TwiceTheReward(EnvReward):
    def compute(self, transition: Transition) -> float:
        return 2.0 * super().compute(transition)


class Remembering(EnvReward):
    def reset(self, obs: Any, info: Mapping[str, Any]) -> None:
        self.start = float(obs[0])

    def compute(self, transition: Transition) -> float:
        return self.start

    def compute_batch(self, batch: TransitionBatch) -> Any:
        raise AssertionError("nobody told it where episodes begin")


class Thrice(TwiceTheReward):
    def compute_batch(self, batch: TransitionBatch) -> Any:
        return 3.0 * batch.env_reward


def test_what_a_subclass_says_anew_of_one_environment_holds_for_many() -> None:
    batch = batch_of(np.zeros((2, 1)), reward=[1, 2])
    assert evaluate(TwiceTheReward(), batch) == [2.0, 4.0]
    assert evaluate(Thrice(), batch) == [3.0, 6.0]
    composer, values = BatchComposer({"it": Remembering()}, 2), np.zeros((1, 2))
    composer.reset(np.arange(2), np.array([[5.0], [6.0]]), [{}, {}])
    composer.evaluate(batch, values)
    assert values[0].tolist() == [5.0, 6.0]


@pytest.mark.parametrize("values", [np.array([1, 0]), np.array([True, False]), np.float32([1, 0])])
def test_a_vectorised_component_may_give_any_type_of_numbers(values: Any) -> None:
    assert evaluate(Given(values), batch_of(np.zeros(2))) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.ones(3), r"an array of shape \(3,\)"),
        (np.ones(1), r"an array of shape \(1,\)"),
        (np.ones((2, 1)), r"an array of shape \(2, 1\)"),
        (np.float64(1.0), "1.0"),
        (1.0, r"1.0 \(float\)"),
        ([1.0, 2.0], "list"),
        (None, "NoneType"),
        (np.array(["1", "2"]), r"an array of shape \(2,\) of <U1"),
        (np.array([1.0, None]), r"an array of shape \(2,\) of object"),
        (np.array([1j, 2]), r"an array of shape \(2,\) of complex128"),
        (np.ma.array([1.0, 2.0], mask=[True, False]), "MaskedArray"),
    ],
)
def test_what_is_no_number_for_each_environment_is_named(values: Any, shown: str) -> None:
    with pytest.raises(
        ComponentError,
        match="component 'it' failed: must give an array with one number for each of 2 "
        f"environments, but gave .*{shown}",
    ):
        evaluate(Given(values), batch_of(np.zeros(2)))


def test_a_vectorised_component_is_copied() -> None:
    component = Given(np.ones(2))
    composer, values = BatchComposer({"it": component}, 2), np.zeros((1, 2))
    component.values = np.zeros(2)
    composer.evaluate(batch_of(np.zeros(2)), values)
    assert values[0].tolist() == [1.0, 1.0]
