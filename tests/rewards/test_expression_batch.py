"""What an expression gives for many environments is what it gives for each of them."""

from __future__ import annotations

import math
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from batches import SPACES, batch_of, random_batch, transitions_of
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from rllama_sb3.errors import ComponentError, ConfigError
from rllama_sb3.rewards import ExpressionReward
from rllama_sb3.rewards.expression import POTENTIAL_NAMES, REWARD_NAMES, compile_expression
from rllama_sb3.rewards.expression_batch import UNDECIDED
from rllama_sb3.rewards.potential_functions import ExpressionPotential
from rllama_sb3.rewards.transition import TransitionBatch


def one_by_one(source: str, batch: TransitionBatch) -> list[float | str]:
    """The value for each environment, or what is said where there is none."""
    component = ExpressionReward(source)
    found: list[float | str] = []
    with np.errstate(all="ignore"):
        for transition in transitions_of(batch):
            try:
                found.append(component.compute(transition))
            except ComponentError as error:
                found.append(str(error))
    return found


def together(source: str, batch: TransitionBatch) -> np.ndarray:
    with np.errstate(all="ignore"):
        return ExpressionReward(source).compute_batch(batch)


def assert_same(source: str, batch: TransitionBatch) -> None:
    expected = one_by_one(source, batch)
    failing = [env for env, value in enumerate(expected) if isinstance(value, str)]
    if failing:
        with pytest.raises(ComponentError, match="in environment") as caught:
            together(source, batch)
        assert str(caught.value) == f"in environment {failing[0]}: {expected[failing[0]]}"
        return
    values = together(source, batch)
    assert (values.shape, values.dtype) == ((len(batch),), np.float64)
    np.testing.assert_allclose(values, np.array(expected), rtol=1e-9, atol=1e-9, err_msg=source)


def decided(source: str, batch: TransitionBatch) -> bool:
    """Whether array operations give the values, without a look at each environment."""
    component = ExpressionReward(source)
    attributes = [getattr(batch, name) for name in component._attributes]
    try:
        component.expression.batch(len(batch), *attributes)
    except UNDECIDED:
        return False
    return True


# Random expressions. "Same" ones are made of operations that give the same bits whichever way
# they are computed; a comparison, a division or a logarithm of anything else could tell a
# rounding error, so that these take only such.

_SINGLE = {
    "discrete": ["obs", "next_obs"],
    "vector": ["obs[0]", "next_obs[-1]", "obs[2]"],
    "matrix": ["obs[0, 1]", "obs[1][-1]", "next_obs[-2, 0]"],
    "dict": ["obs['place'][0]", "obs['room']", "next_obs['map'][1, 2]", "next_obs['room']"],
}
_ARRAY = {
    "discrete": ["[1, 2, 3]", "[obs, reward]"],
    "vector": ["obs", "obs[1:]", "next_obs[::-1]", "[obs[0], 1, reward]", "obs[:1]"],
    "matrix": ["obs", "obs[0]", "obs[:, 1]", "next_obs[1, 1:]", "obs[:, ::2]", "[1, 2, 3]"],
    "dict": ["obs['place']", "next_obs['place'][:2]", "obs['map']", "obs['map'][0]", "[0, 1, 2]"],
}
_ALWAYS = [
    *("reward", "reward", "terminated", "truncated", "info['x']", "info['nested']['deep']"),
    *("info['pair'][1]", "info['maybe']", "1", "0", "0.5", "-2", "action", "action[0]"),
]
_ODD = [
    *("obs[7]", "obs[0]", "obs['place']", "obs['nope']", "obs[0][0]", "obs[0, 0, 0]", "obs"),
    *("info['pair']", "info['nested']", "info['nope']", "info['pair'][2]", "info['x'][0]"),
    *("[obs, 1]", "action[1]", "obs[3:]"),
]
_SAME = [
    *("({} + {})", "({} - {})", "({} * {})", "({} / {})", "({} // {})", "({} % {})", "-{}"),
    *("abs({})", "min({}, {})", "max({}, {}, {})", "min({})", "max({})", "clip({}, {}, {})"),
    *("({} < {})", "({} == {})", "({} != {})", "({} <= {} < {})", "({} > {} >= {})"),
    *("({} and {})", "({} or {} or {})", "(not {})", "({} if {} else {})", "where({}, {}, {})"),
    *("({} if {} != 0 else {})", "where({} > 0, {}, {})", "({1} / {0} if {0} != 0 else {1})"),
    "where({} != 0 and {} > {}, {}, {})",
]
_ROUNDED = [
    *("sin({})", "cos({})", "tanh({})", "exp(min({}, 2))", "log({})", "sqrt({})", "({} ** 2)"),
    *("({} ** {})", "sum({})", "norm({})", "dot({}, {})", "norm([{}, {}])", "sum([{}, 1, {}])"),
]
_SMOOTH = ["({} + {})", "({} - {})", "(0.5 * {})", "-{}", "min({}, {})", "sum([{}, {}])", "sum({})"]


@st.composite
def expressions(draw: st.DrawFn, space: str) -> str:
    """Expressions over observations of a space; most can be computed, and some cannot."""
    leaves = [*_SINGLE[space] * 6, *_ALWAYS * 2, *_ARRAY[space] * 5, *_ODD]

    def filled(rules: list[str], part: Callable[[], str]) -> str:
        rule = draw(st.sampled_from(rules))
        return rule.format(*[part() for _ in range(5 if "{1}" in rule else rule.count("{}"))])

    def same(depth: int) -> str:
        if depth == 0 or draw(st.integers(0, 4)) == 0:
            return draw(st.sampled_from(leaves))
        return filled(_SAME, lambda: same(depth - 1))

    def rounded() -> str:
        return filled(_ROUNDED, lambda: same(2)) if draw(st.booleans()) else same(3)

    source = filled(_SMOOTH, rounded) if draw(st.booleans()) else rounded()
    return f"sum({source})" if draw(st.booleans()) else source


@settings(max_examples=400, deadline=None)
@given(
    st.data(),
    st.sampled_from(sorted(SPACES)),
    st.sampled_from([1, 2, 3, 5]),  # 2 and 3 are dimensions of observations as well
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_many_environments_get_what_each_of_them_gets(
    data: st.DataObject, space: str, n_envs: int, seed: int, odd: bool
) -> None:
    source = data.draw(expressions(space))
    try:
        compile_expression(source, REWARD_NAMES)
    except ConfigError:
        reject()
    assert_same(source, random_batch(np.random.default_rng(seed), n_envs, SPACES[space], odd=odd))


# What array operations decide, and what they leave to a look at each environment.

VECTORS = np.array([[0.0, -1.0, 3.0], [2.0, 0.5, -4.0], [-1.0, 0.0, 1.0]], dtype=np.float32)
INFOS = [{"x": 1.0, "pair": [1, 2], "nested": {"deep": index}} for index in range(3)]


def vectors(**parts: Any) -> TransitionBatch:
    """Three environments that observe three numbers: axes of one length are easily mixed up."""
    return batch_of(VECTORS, action=np.array([0, 1, 2]), infos=INFOS, **parts)


@pytest.mark.parametrize(
    ("source", "values"),
    [
        ("obs[0]", [0, 2, -1]),
        ("obs[-1]", [3, -4, 1]),
        ("sum(obs)", [2, -1.5, 0]),
        ("sum(obs * [1, 10, 100])", [290, -393, 99]),
        ("sum(obs[1:])", [2, -3.5, 1]),
        ("sum(obs[::-1] * [100, 10, 1])", [290, -393, 99]),
        ("max(obs) - min(obs)", [4, 6, 2]),
        ("max(obs[0], 1, obs[2])", [3, 2, 1]),
        ("sum(max(obs, 0))", [3, 2.5, 1]),
        ("norm(obs[:2]) + norm([3 * action, 4 * action])", [1, math.hypot(2, 0.5) + 5, 11]),
        ("dot(obs, [obs[0], 1, action])", [-1, 0.5, 3]),
        ("0 <= obs[0] < 2", [1, 0, 0]),
        ("-2 < obs[1] <= 0 != obs[2] > 0.5", [1, 0, 1]),
        ("obs[0] > 0 and obs[2] < 0", [0, 1, 0]),
        ("obs[0] > 0 or obs[2] > 0", [1, 1, 1]),
        ("not obs[0]", [1, 0, 0]),
        ("5 if obs[0] > 0 else action", [0, 5, 2]),
        ("where(obs[0] > 0, 5, action)", [0, 5, 2]),
        ("sum(where(obs > 0, 1, -5))", [-9, -3, -9]),
        ("sum(where(obs[0] > 0, obs, [1, 1, 1]))", [3, -1.5, 3]),
        ("sum(where(obs > 0, obs[0], reward))", [0, 4, -1]),
        ("where(1, obs[0], 2)", [0, 2, -1]),
        ("clip(obs[0], -0.5, action)", [0, 1, -0.5]),
        ("1 / (obs[0] + 2) + obs[2] // 2 + obs[1] % 2", [2.5, -1.25, 1]),
        ("(obs[0] - 1) ** 2 + sqrt(abs(obs[2])) ** 2", [4, 5, 5]),
        ("obs[2] + action * info['x'] + info['pair'][1]", [5, -1, 5]),
        ("sum(info['pair']) + info['nested']['deep']", [3, 4, 5]),
        ("reward + 10 * terminated + 100 * truncated", [0, 10, 100]),
        ("abs(-2)", [2, 2, 2]),
        ("sum([1, 2])", [3, 3, 3]),
    ],
)
def test_array_operations_give_the_values_of_many(source: str, values: list[float]) -> None:
    batch = vectors(terminated=[False, True, False], truncated=[False, False, True])
    assert decided(source, batch)
    np.testing.assert_allclose(together(source, batch), values)
    assert_same(source, batch)


@pytest.mark.parametrize("n_envs", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "source",
    [
        "sum(obs[0] * [1, 10, 100]) + sum(obs[:, 2])",
        "max(obs[1]) + norm(obs)",
        "sum(obs + [1, 2, 3]) + dot(obs[0], obs[1])",
        "sum(where(obs[0] > 0, obs, -obs))",
        "obs[1, -1] - obs[-2][0]",
    ],
)
def test_no_axis_is_taken_for_that_of_the_environments(source: str, n_envs: int) -> None:
    obs = np.arange(6.0 * n_envs).reshape(n_envs, 2, 3) - 5.0
    assert decided(source, batch_of(obs))
    assert_same(source, batch_of(obs))


def test_parts_of_a_dict_are_read_by_keys() -> None:
    obs = {"place": VECTORS, "room": np.array([4, 5, 6])}
    source = "obs['place'][0] + 10 * obs['room'] + sum(next_obs['place'][:2])"
    assert decided(source, batch_of(obs))
    np.testing.assert_allclose(together(source, batch_of(obs)), [39, 54.5, 58])


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.float16, np.float32, bool])
def test_small_types_are_computed_with_in_double_precision(kind: Any) -> None:
    batch = batch_of(np.array([[200, 100], [1, 2]]).astype(kind))
    assert_same("obs[1] - obs[0] + 0.1 * obs[0] + sum(obs * obs)", batch)


@pytest.mark.parametrize(
    ("source", "values"),
    [
        ("1 / obs[0] if obs[0] != 0 else 0", [0, 0.5, -1]),
        ("where(obs[0] != 0, 1 / obs[0], 0)", [0, 0.5, -1]),
        ("obs[0] != 0 and 1 / obs[0] > 0", [0, 1, 0]),
        ("obs[0] == 0 or 1 / obs[0] > 0", [1, 1, 0]),
        ("0 < obs[0] < 1 / obs[1]", [0, 0, 0]),
        ("log(obs[2]) if obs[2] > 0 else -1", [math.log(3), -1, 0]),
        ("sqrt(obs[0]) if obs[0] > 0 else obs[0] ** 2", [0, math.sqrt(2), 1]),
        ("exp(1000 * obs[0]) if obs[0] < 0 else 1", [1, 1, 0]),
        ("clip(obs[0], 0, obs[2]) if obs[2] > 0 else 7", [0, 7, 0]),
        ("sum(obs if obs[0] > 0 else obs[:1])", [0, -1.5, -1]),
        ("sum(where(obs[0] > 0, obs, 1))", [1, -1.5, 1]),
        ("1 if obs[:1] else 2", [2, 1, 1]),
    ],
)
def test_what_is_not_chosen_in_an_environment_does_not_fail_there(
    source: str, values: list[float]
) -> None:
    batch = vectors()
    assert not decided(source, batch)
    np.testing.assert_allclose(together(source, batch), values)


@pytest.mark.parametrize(
    ("source", "env", "said"),
    [
        ("1 / obs[0]", 0, "division by zero"),
        ("1 // obs[0]", 0, "zero"),
        ("1 % obs[0]", 0, "(modulo|zero)"),
        ("1 / action + 1 / obs[1]", 0, "zero"),
        ("1 / obs[1]", 2, "zero"),
        ("log(obs[2])", 1, "in expression"),
        ("sqrt(obs[0])", 2, "in expression"),
        ("(obs[0] - 3) ** 0.5", 0, "in expression"),
        ("exp(500 * obs[0])", 1, "in expression"),
        ("clip(1, 0, obs[0])", 2, "needs low <= high"),
        ("sum(log(obs + 1))", 0, "divide by zero"),
        ("obs", 0, r"must give a single number, but gave an array of shape \(3,\)"),
        ("obs[:1]", 0, r"array of shape \(1,\)"),
        ("obs[7]", 0, r"obs\[7\] cannot be read as a number"),
        ("obs[0][0]", 0, "cannot be read"),
        ("obs[0, 0]", 0, "cannot be read"),
        ("obs['x']", 0, "cannot be read"),
        ("action[0]", 0, "cannot be read"),
        ("1 if obs else 2", 0, "a condition must be a single truth value"),
        ("not obs", 0, "a condition must be a single truth value"),
        ("0 < obs < 1", 0, "a condition must be a single truth value"),
        ("sum(obs * [1, 2])", 0, "operands could not be broadcast"),
        ("dot(obs, [1, 2])", 0, r"two arrays of one shape, not \(3,\) and \(2,\)"),
        ("dot(obs[0], obs[1])", 0, r"two arrays of one shape, not \(\) and \(\)"),
        ("sum([obs, 1])", 0, "a list must hold single numbers"),
        ("max(obs[3:])", 0, "zero-size"),
        ("info['nope']", 0, r"there is no info\['nope'\]"),
        ("info['pair'][2]", 0, "cannot be read"),
        ("info['nested']", 0, "cannot be read"),
        ("info['x'][0]", 0, "cannot be read"),
    ],
)
def test_an_error_names_the_first_environment_that_has_it(source: str, env: int, said: str) -> None:
    with pytest.raises(ComponentError, match=f"in environment {env}: .*{said}"):
        together(source, vectors())
    assert_same(source, vectors())


@pytest.mark.parametrize("n_envs", [1, 2, 5])
@pytest.mark.parametrize("source", ["obs[0]", "obs[-1]", "sum(obs[0:1])", "next_obs[0]"])
def test_an_index_into_a_number_is_no_look_at_another_environment(source: str, n_envs: int) -> None:
    batch = batch_of(np.arange(n_envs) + 10)
    with pytest.raises(ComponentError, match="in environment 0: .*cannot be read as a number"):
        together(source, batch)
    np.testing.assert_array_equal(together("obs", batch), np.arange(n_envs) + 10)


def test_a_key_that_is_missing_in_one_environment_is_missed_there() -> None:
    batch = batch_of(VECTORS, infos=[{"x": 1}, {"y": 2}, {"x": 3}])
    with pytest.raises(ComponentError, match=r"environment 1: .*no info\['x'\]; keys of info: 'y'"):
        together("info['x']", batch)
    assert together("0 if obs[0] > 0 else info['x']", batch).tolist() == [1.0, 0.0, 3.0]


@pytest.mark.parametrize(
    "odd", ["text", None, [1], {"a": 1}, 1j, np.ones(2), [None, 1], 10**400], ids=repr
)
def test_an_info_that_is_no_number_in_one_environment_is_told_there(odd: Any) -> None:
    batch = batch_of(VECTORS, infos=[{"x": 1}, {"x": 2}, {"x": odd}])
    with pytest.raises(ComponentError, match="in environment 2: "):
        together("info['x'] + 1", batch)


def test_infos_of_different_shapes_are_reduced_each_by_itself() -> None:
    batch = batch_of(VECTORS, infos=[{"x": [1, 2]}, {"x": [3]}, {"x": np.ones((2, 2))}])
    assert together("sum(info['x'])", batch).tolist() == [3.0, 3.0, 4.0]


def test_nan_is_passed_on_for_the_environment_that_has_it() -> None:
    batch = batch_of(np.array([[math.nan, 1.0], [2.0, 3.0]]))
    for source in (
        "min(obs[0], 1)",
        "max(1, obs[0])",
        "min(obs)",
        "max(obs)",
        "clip(obs[0], 0, 1)",
    ):
        assert np.isnan(together(source, batch)).tolist() == [True, False], source
        assert_same(source, batch)


def test_a_bound_that_is_nan_clips_nothing_and_is_refused() -> None:
    batch = batch_of(np.array([[1.0, 2.0], [5.0, math.nan]]))
    for source in ("clip(3, 0, obs[1])", "clip(3, obs[1], 9)", "sum(clip(obs, 0, obs[1]))"):
        with pytest.raises(ComponentError, match="in environment 1: .*needs low <= high"):
            together(source, batch)


@pytest.mark.parametrize("divide", ["/", "//", "%"])
@pytest.mark.parametrize("odd", [math.inf, -math.inf, math.nan])
def test_division_by_zero_is_an_error_for_odd_numbers_too(divide: str, odd: float) -> None:
    batch = batch_of(np.array([[1.0, 1.0], [odd, 0.0]]))
    with pytest.raises(ComponentError, match="in environment 1: in expression .*(modulo|zero)"):
        together(f"clip(obs[0] {divide} obs[1], 0, 1)", batch)


def test_sums_that_overflow_are_infinite_without_a_warning() -> None:
    batch = batch_of(np.array([[1e308], [1.0]]))
    source = "min(obs[0] * 10, 7)"
    assert ExpressionReward(source).compute_batch(batch).tolist() == [7.0, 7.0]
    assert ExpressionReward("obs[0] * 10").compute_batch(batch).tolist() == [math.inf, 10.0]


def test_a_small_norm_is_not_lost() -> None:
    batch = batch_of(np.array([[3e-200, 4e-200], [3.0, 4.0]]))
    np.testing.assert_allclose(together("norm(obs)", batch), [5e-200, 5.0])


def test_actions_may_come_as_a_list() -> None:
    batch = batch_of(VECTORS)
    batch.action = [0, 1, 2]
    assert together("action + obs[0]", batch).tolist() == [0.0, 3.0, 1.0]


def test_observations_are_never_changed() -> None:
    batch = batch_of(VECTORS.astype(np.float64))
    before = batch.obs.copy()
    together("sum(clip(obs * 2, 0, 1) + obs) + sum(max(obs, 3)) + obs[0]", batch)
    np.testing.assert_array_equal(batch.obs, before)


def test_a_potential_is_evaluated_for_many_states_alike() -> None:
    potential = ExpressionPotential("1 / obs[0] if obs[0] != 0 else info['x']")
    values = potential.compute_batch(VECTORS, INFOS)
    np.testing.assert_array_equal(
        values, [potential(row, info) for row, info in zip(VECTORS, INFOS, strict=True)]
    )
    with pytest.raises(ComponentError, match="in environment 0: in expression .*zero"):
        ExpressionPotential("1 / obs[0]").compute_batch(VECTORS, INFOS)


@pytest.mark.parametrize(
    ("nest", "depth"),
    [
        ("(0 < {} < 1)", 45),
        ("(0 < {0} != 1 < 2)", 45),
        ("({} and 1)", 45),
        ("(1 if {} else 0)", 45),
        ("where({}, 1, 0)", 45),
        ("abs({})", 90),
        ("-{}", 90),
        ("(1 / {})", 90),
        ("[sum({})][0]", 0),
    ],
)
def test_nested_expressions_are_compiled_in_no_time(nest: str, depth: int) -> None:
    source = "obs[0]"
    for _ in range(depth):
        source = nest.format(source)
    start = timeit.default_timer()
    compiled = compile_expression(source, POTENTIAL_NAMES)
    assert timeit.default_timer() - start < 0.5
    values = compiled.batch(2, np.array([[2.0], [3.0]]))
    np.testing.assert_allclose(values, [compiled([2.0], {}), compiled([3.0], {})])
