"""Potentials as expressions, tables, registered functions, and things that learn."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batches import batch_of
from hypothesis import given, settings
from hypothesis import strategies as st

from rllama_sb3 import build_shaper, load_reward_config
from rllama_sb3.errors import ComponentError, ConfigError
from rllama_sb3.rewards import PotentialShaping, RewardComposer, RewardShaper, Transition
from rllama_sb3.rewards.batch_shaper import BatchRewardShaper
from rllama_sb3.rewards.potential_functions import (
    ExpressionPotential,
    TablePotential,
    find_potential,
    in_batches,
    register_potential,
)

VALUES = [0.0, 0.5, 1.0, -2.0]
STATES = np.array([3, 0, 2, 2])
INFOS: list[dict[str, Any]] = [{}, {}, {}, {}]


@register_potential
def elevation(obs: Any, info: Mapping[str, Any], scale: float = 1.0, key: str = "") -> float:
    return scale * float(obs[0]) + (info[key] if key else 0.0)


def potential_of(potential: Any, **params: Any) -> Any:
    """The potential of a component that is built as a configuration builds it."""
    config = {
        "env": {"class": "EnvReward"},
        "advice": {"class": "PotentialShaping", "params": {"potential": potential, **params}},
    }
    component = build_shaper(config).composer.components["advice"]
    assert isinstance(component, PotentialShaping)
    return component.potential


def refusal(potential: Any, **params: Any) -> str:
    with pytest.raises(ConfigError, match="reward_shaping.advice.params") as caught:
        potential_of(potential, **params)
    return str(caught.value)


# Registered functions.


def test_a_registered_function_is_found_by_its_name() -> None:
    assert potential_of("elevation")([3.0], {}) == 3.0


def test_arguments_are_those_after_obs_and_info() -> None:
    potential = potential_of("elevation", arguments={"scale": 2, "key": "bonus"})
    assert potential([3.0], {"bonus": 10.0}) == 16.0


def test_the_names_of_the_first_two_arguments_are_free() -> None:
    @register_potential(name="PotentialByOtherNames")
    def score(state: Any, told: Mapping[str, Any], *, power: int) -> float:
        return float(state) ** power

    assert potential_of("PotentialByOtherNames", arguments={"power": 2})(3, {}) == 9.0
    assert "arguments.power: is required by score" in refusal("PotentialByOtherNames")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"scal": 1}, "arguments.scal: is not a parameter of elevation. Did you mean 'scale'?"),
        ({"info": {}}, "arguments.info: is not a parameter of elevation"),
        ({"obs": 1}, "arguments.obs: is not a parameter of elevation"),
        ({"scale": "2"}, "arguments.scale: must be a number, but got '2'. Remove the quotes."),
        ({"scale": float("nan")}, "arguments.scale: must be a finite number"),
        ([1], "arguments: must be a mapping"),
    ],
)
def test_arguments_are_checked(arguments: Any, said: str) -> None:
    assert f"reward_shaping.advice.params.{said}" in refusal("elevation", arguments=arguments)


def test_an_unknown_name_gets_a_suggestion() -> None:
    message = refusal("elevatoin")
    assert "potential: must be a registered potential, but got 'elevatoin'" in message
    assert "Did you mean 'elevation'?" in message
    assert "--import" in message


@pytest.mark.parametrize("potential", ["obs[0]", [1.0, 2.0], lambda obs, info: 0.0])
def test_arguments_of_anything_else_are_refused(potential: Any) -> None:
    assert "arguments: must be left out where the potential is not a" in refusal(
        potential, arguments={"scale": 1.0}
    )


def test_a_registered_name_and_an_expression_are_told_apart() -> None:
    assert isinstance(potential_of("obs"), ExpressionPotential)
    for name in ("obs", "info"):
        with pytest.raises(ConfigError, match="name of a potential must not be obs or info"):
            register_potential(name=name)(lambda obs, info: 0.0)


class _Class:
    def __call__(self, obs: Any, info: Any) -> float:
        return 0.0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda obs: 0.0, "a potential function must take obs and info first"),
        (lambda obs, *infos: 0.0, "a potential function must take obs and info first"),
        (lambda obs, *, info: 0.0, "a potential function must take obs and info first"),
        (lambda: 0.0, "a potential function must take obs and info first"),
        (_Class, "a potential must be a function"),
        (_Class(), "a potential must be a function"),
        (3, "a potential must be a function"),
    ],
)
def test_only_functions_of_a_state_can_be_registered(wrong: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"{said}, but got .*Write @register_potential"):
        register_potential(name="PotentialOfNothing")(wrong)
    assert "must be a registered potential" in refusal("PotentialOfNothing")


def test_two_functions_cannot_have_one_name() -> None:
    register_potential(name="PotentialTakenTwice")(lambda obs, info: 0.0)
    with pytest.raises(ConfigError, match="'PotentialTakenTwice' is already registered by"):
        register_potential(name="PotentialTakenTwice")(elevation)


def test_a_file_names_potentials(tmp_path: Path) -> None:
    np.save(tmp_path / "values.npy", np.array(VALUES))
    file = tmp_path / "reward.yaml"
    file.write_text(
        f"""
reward_shaping:
  env: {{class: EnvReward}}
  high: {{class: PotentialShaping, params: {{potential: elevation, arguments: {{scale: 3}}}}}}
  near: {{class: PotentialShaping, params: {{potential: "-abs(obs[0])"}}}}
  known: {{class: PotentialShaping, params: {{potential: [0, 0.5, 1]}}}}
  loaded: {{class: PotentialShaping, params: {{potential: {tmp_path}/values.npy}}}}
"""
    )
    components = build_shaper(load_reward_config(file)).composer.components
    values = {
        name: component.potential(obs, {})
        for (name, component), obs in zip(
            list(components.items())[1:], [[2], [2], 2, 2], strict=True
        )
        if isinstance(component, PotentialShaping)
    }
    assert values == {"high": 6.0, "near": -2.0, "known": 1.0, "loaded": 1.0}


# Tables.


@pytest.mark.parametrize(
    "table", [VALUES, tuple(VALUES), np.array(VALUES), np.array(VALUES, np.float32)]
)
def test_a_table_is_looked_up_by_the_number_of_the_state(table: Any) -> None:
    for potential in (potential_of(table), PotentialShaping(table).potential):
        assert isinstance(potential, TablePotential)
        for state in (2, np.int64(2), np.array(2), np.uint8(2)):
            assert potential(state, {}) == 1.0
            assert type(potential(state, {})) is float
        np.testing.assert_array_equal(potential.compute_batch(STATES, INFOS), [-2.0, 0.0, 1.0, 1.0])


def test_a_table_is_kept_as_a_copy() -> None:
    table = np.array(VALUES)
    potential = TablePotential(table)
    table[:] = 7.0
    assert potential(2, {}) == 1.0


@pytest.mark.parametrize("state", [-1, 4, np.int64(-4), np.uint8(200)])
def test_a_state_outside_the_table_is_an_error(state: Any) -> None:
    said = rf"the table has 4 values, none for state {state}\. Give one for each"
    with pytest.raises(ComponentError, match=said):
        TablePotential(VALUES)(state, {})
    states = np.array([0, 1, state])
    with pytest.raises(ComponentError, match=f"in environment 2: {said}"):
        TablePotential(VALUES).compute_batch(states, INFOS[:3])


@pytest.mark.parametrize(
    "obs", [2.0, np.float32(2.0), np.array([2]), np.array([1, 0, 0]), True, None, {"room": 2}, "2"]
)
def test_an_observation_that_is_no_state_is_an_error(obs: Any) -> None:
    with pytest.raises(ComponentError, match="needs the number of a state .*Discrete.*, but got"):
        TablePotential(VALUES)(obs, {})


@pytest.mark.parametrize(
    "obs",
    [np.array([2.0, 1.0]), np.array([[2], [1]]), np.array([True, False]), {"room": STATES[:2]}],
)
def test_observations_that_are_no_states_are_an_error(obs: Any) -> None:
    with pytest.raises(ComponentError, match="in environment 0: a table needs the number of a"):
        TablePotential(VALUES).compute_batch(obs, INFOS[:2])


@pytest.mark.parametrize(
    "table",
    [
        [],
        [[0.0, 1.0]],
        [[0.0], [1.0, 2.0]],
        [0.0, float("nan")],
        [0.0, float("inf")],
        ["0.0", "1.0"],
        [True, False],
        [0.0, None],
        [1j, 0.0],
        np.array(3.0),
        np.zeros((2, 2)),
        np.array([1j, 2]),
        np.array(["1"]),
    ],
    ids=repr,
)
def test_what_is_not_one_row_of_finite_numbers_is_no_table(table: Any) -> None:
    with pytest.raises(ConfigError, match="potential: must be (one row of finite numbers|an expr)"):
        PotentialShaping(table)
    assert "reward_shaping.advice.params.potential" in refusal(table)


def test_a_table_in_a_file_is_checked_like_any_other(tmp_path: Path) -> None:
    np.save(tmp_path / "odd.npy", np.array([0.0, np.nan]))
    np.save(tmp_path / "square.npy", np.zeros((2, 2)))
    np.save(tmp_path / "objects.npy", np.array([0.0, {}]), allow_pickle=True)
    (tmp_path / "empty.npy").touch()
    (tmp_path / "text.npy").write_text("0.0 1.0")
    (tmp_path / "folder.npy").mkdir()
    for name in ("odd", "square"):
        assert "potential: must be one row of finite" in refusal(f"{tmp_path}/{name}.npy")
    for name in ("objects", "empty", "text", "folder", "missing"):
        message = refusal(f"{tmp_path}/{name}.npy")
        assert "potential: must be a file that numpy.save wrote (" in message
        assert f"{name}.npy" in message


def test_a_path_may_start_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "values.npy", np.array(VALUES))
    assert potential_of("~/values.npy")(3, {}) == -2.0


# Functions of a user's own, and things that learn.


class Learned:
    """A potential that is one number, and that is learned while it is used."""

    def __init__(self) -> None:
        self.level = 1.0
        self.asked: list[int] = []

    def __call__(self, obs: Any, info: Mapping[str, Any]) -> float:
        return self.level * float(obs[0])

    def compute_batch(self, obs: Any, infos: Sequence[Mapping[str, Any]]) -> np.ndarray:
        self.asked.append(len(infos))
        return np.asarray(self.level * obs[:, 0])


def test_an_object_that_learns_is_used_as_it_is() -> None:
    learned = Learned()
    potential = potential_of(learned)
    assert potential is learned
    learned.level = 3.0
    assert potential([2.0], {}) == 6.0


def test_a_potential_that_takes_all_states_is_asked_once() -> None:
    learned = Learned()
    values = in_batches(learned)(np.array([[1.0], [2.0], [3.0]]), INFOS[:3])
    assert (values.tolist(), learned.asked) == ([1.0, 2.0, 3.0], [3])


def test_a_function_of_one_state_is_called_for_each() -> None:
    many = in_batches(lambda obs, info: obs["room"] + info["x"])
    infos = [{"x": 0.5}, {"x": 0.25}]
    assert many({"room": np.array([1, 2])}, infos).tolist() == [1.5, 2.25]
    with pytest.raises(ComponentError, match="in environment 1: KeyError: 'x'"):
        many({"room": np.array([1, 2])}, [{"x": 0.5}, {}])


def shaper_of(potential: Any, gamma: float, **schedule: Any) -> RewardShaper:
    composer = RewardComposer({"advice": PotentialShaping(potential)})
    return RewardShaper(composer, {"advice": {"weight_schedule": schedule}}, gamma=gamma)


LINEAR = {"initial_weight": 3.0, "schedule_type": "linear", "final_weight": -1.0, "end_step": 12}


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=8),
    st.floats(0, 1),
    st.sampled_from(["terminated", "truncated"]),
)
def test_a_potential_that_changes_meanwhile_still_telescopes(
    path: list[tuple[float, float]], gamma: float, end: str
) -> None:
    """Σ γ^t F_t = γ^T·w(T)·Φ_T(s_T) − w(0)·Φ_0(s_0), with Φ_t as it was on arrival at s_t."""
    learned = Learned()
    one = shaper_of(learned, gamma, **LINEAR)
    many = BatchRewardShaper(shaper_of(learned, gamma, **LINEAR), 2)
    many.set_clock(0, 1)  # as if each were alone
    schedule = one.schedules["advice"]

    def twice(state: float) -> np.ndarray:
        return np.array([[state], [state]])

    (state, learned.level), *rest = path
    first = schedule(0) * learned.level * state
    one.reset(np.array([state]), {})
    many.reset(twice(state), INFOS[:2])
    total, totals = 0.0, np.zeros(2)
    for t, (next_state, level) in enumerate(rest):
        learned.level = level  # learned between the steps
        is_last = t == len(rest) - 1
        terminated, truncated = is_last and end == "terminated", is_last and end == "truncated"
        transition = Transition(
            np.array([state]), 0, np.array([next_state]), 0.0, terminated, truncated, {}
        )
        total += gamma**t * one.step(transition)[0]
        batch = batch_of(
            twice(state),
            next_obs=twice(next_state),
            terminated=[terminated] * 2,
            truncated=[truncated] * 2,
        )
        totals += gamma**t * many.step(batch, twice(next_state), INFOS[:2]).total
        state = next_state
    last = 0.0 if end == "terminated" else schedule(len(rest)) * learned.level * state
    expected = gamma ** len(rest) * last - first
    assert total == pytest.approx(expected, abs=1e-9)
    assert totals.tolist() == pytest.approx([expected] * 2, abs=1e-9)


def test_an_array_that_a_potential_uses_again_is_not_what_is_remembered() -> None:
    class Reusing:
        values = np.zeros(2)

        def __call__(self, obs: Any, info: Mapping[str, Any]) -> float:
            raise AssertionError("no episode ends here")

        def compute_batch(self, obs: Any, infos: Sequence[Mapping[str, Any]]) -> np.ndarray:
            self.values[:] = obs[:, 0]
            return self.values

    many = BatchRewardShaper(shaper_of(Reusing(), 0.5), 2)
    many.reset(np.array([[1.0], [2.0]]), INFOS[:2])
    obs = np.array([[4.0], [8.0]])
    batch = batch_of(obs)
    assert many.step(batch, obs, INFOS[:2]).total.tolist() == [1.0, 2.0]


def test_potentials_of_float32_are_differenced_in_double_precision() -> None:
    class Single(Learned):
        def compute_batch(self, obs: Any, infos: Sequence[Mapping[str, Any]]) -> np.ndarray:
            return super().compute_batch(obs, infos).astype(np.float32)

    many = BatchRewardShaper(shaper_of(Single(), 0.999), 1)
    start, end = np.array([[1e6]]), np.array([[1e6 + 1.0]])
    many.reset(start, INFOS[:1])
    total = many.step(batch_of(start, next_obs=end), end, INFOS[:1]).total
    assert total[0] == pytest.approx(0.999 * (1e6 + 1.0) - 1e6, abs=1e-9)


@pytest.mark.parametrize("potential", ["sin(obs[0])", "elevation", "obs[0] + info['x']"])
def test_copies_and_pickles_compute_the_same(potential: str) -> None:
    found = find_potential(potential)
    for again in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert again([0.5], {"x": 1.0}) == found([0.5], {"x": 1.0})
    table = pickle.loads(pickle.dumps(TablePotential(VALUES)))
    assert table(3, {}) == -2.0
