from __future__ import annotations

import copy
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rllama_sb3.config.loading import read_yaml
from rllama_sb3.config.merging import (
    apply_overrides,
    merge_configs,
    override_document,
    parse_override,
)
from rllama_sb3.errors import ConfigError, Problem

# Shared cores are slow at times, which says nothing about the code.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEYS = st.sampled_from(["a", "b", "c"])
CONFIGS = st.dictionaries(
    KEYS,
    st.recursive(
        st.sampled_from([0, 1, "x", None]),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=8,
    ),
)


def containers_in(value: Any) -> set[int]:
    if isinstance(value, dict):
        return {id(value)}.union(*(containers_in(item) for item in value.values()))
    if isinstance(value, list):
        return {id(value)}.union(*(containers_in(item) for item in value))
    return set()


def paths_of(value: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if not isinstance(value, dict):
        return {path}
    return {path}.union(*(paths_of(item, (*path, key)) for key, item in value.items()))


@PATIENT
@given(CONFIGS, CONFIGS)
def test_merging_changes_neither_argument_and_shares_nothing(
    base: dict[str, Any], changes: dict[str, Any]
) -> None:
    before = copy.deepcopy((base, changes))
    merged = merge_configs(base, changes)
    assert (base, changes) == before
    assert not containers_in(merged) & (containers_in(base) | containers_in(changes))


@PATIENT
@given(CONFIGS, CONFIGS)
def test_the_changes_are_in_the_result_and_win(
    base: dict[str, Any], changes: dict[str, Any]
) -> None:
    merged = merge_configs(base, changes)
    assert merge_configs(merged, changes) == merged
    assert paths_of(changes) <= paths_of(merged)


@PATIENT
@given(CONFIGS)
def test_merging_with_nothing_is_a_copy(base: dict[str, Any]) -> None:
    assert merge_configs(base, {}) == merge_configs({}, base) == base


@PATIENT
@given(CONFIGS, CONFIGS)
def test_every_key_of_the_base_is_kept_in_its_place(
    base: dict[str, Any], changes: dict[str, Any]
) -> None:
    assert list(merge_configs(base, changes))[: len(base)] == list(base)


def test_nested_keys_that_do_not_change_are_kept() -> None:
    base = {"r": {"goal": {"params": {"a": 1}, "weight_schedule": {"x": 1, "y": 2}}}}
    changes = {"r": {"goal": {"weight_schedule": {"y": 3}}}}
    assert merge_configs(base, changes) == {
        "r": {"goal": {"params": {"a": 1}, "weight_schedule": {"x": 1, "y": 3}}}
    }


def test_lists_are_replaced_and_read_only_mappings_become_dicts() -> None:
    base = {"net": [64, 64], "kwargs": MappingProxyType({"x": 1})}
    merged = merge_configs(base, {"net": [32]})
    assert merged == {"net": [32], "kwargs": {"x": 1}}
    assert type(merged["kwargs"]) is dict


def test_functions_survive_merging() -> None:
    def suggest(trial: object) -> object:
        return trial

    assert merge_configs({"a": suggest}, {})["a"] is suggest


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("training.seed=1", ("training", "seed"), 1),
        ("a.b = x=y", ("a", "b"), "x=y"),
        ("a.learning_rate=1e-3", ("a", "learning_rate"), 0.001),
        ("a=yes", ("a",), "yes"),
        ("a=", ("a",), None),
        ("a.b=[1, {c: 2}]", ("a", "b"), [1, {"c": 2}]),
        ("a.end_step=80%", ("a", "end_step"), "80%"),
        ("env.wrappers[0]=X", ("env", "wrappers", 0), "X"),
    ],
)
def test_an_override_is_a_dotted_path_and_a_yaml_value(
    text: str, path: tuple[str | int, ...], value: object
) -> None:
    assert parse_override(text) == (path, value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training.seed", r"--set: must be key\.path=value, but got 'training\.seed'\. Write a"),
        ("=1", r"--set: must have keys joined by dots, but got ''\. Write a key"),
        ("a..b=1", r"--set: must have keys joined by dots, but got 'a\.\.b'"),
        ("a.=1", r"--set: must have keys joined by dots"),
        ("a[x]=1", r"--set: must have keys joined by dots"),
        ("a.b=[1", r"^--set: a\.b: must be valid YAML"),
        ("a.b={c: 1, c: 2}", r"^--set: a\.b\.c: key given twice"),
        ("a.b=!!python/name:os.system", r"^--set: a\.b: must be plain data"),
    ],
)
def test_an_override_that_cannot_be_read_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_override(text)


def test_overrides_make_missing_mappings_and_the_last_one_wins() -> None:
    data = {"r": {"h": {"weight_schedule": {"final_weight": 0.0}}}, "evaluation": None}
    result = apply_overrides(
        data,
        ["r.h.weight_schedule.initial_weight=5", "evaluation.n_envs=2", "x.y=1", "x.y=2"],
    )
    assert result == {
        "r": {"h": {"weight_schedule": {"final_weight": 0.0, "initial_weight": 5}}},
        "evaluation": {"n_envs": 2},
        "x": {"y": 2},
    }
    assert data == {"r": {"h": {"weight_schedule": {"final_weight": 0.0}}}, "evaluation": None}


def test_an_override_replaces_a_whole_mapping() -> None:
    data = {"params": {"a": 1}}
    assert apply_overrides(data, ["params={b: 2}"]) == {"params": {"b": 2}}


@pytest.mark.parametrize("key", ["env.wrappers.1", "env.wrappers[1]"])
def test_an_override_reaches_into_lists(key: str) -> None:
    data = {"env": {"wrappers": ["A", {"B": {"x": 1}}]}}
    assert apply_overrides(data, [f"{key}.B.x=2"]) == {"env": {"wrappers": ["A", {"B": {"x": 2}}]}}
    assert apply_overrides(data, [f"{key}=C"]) == {"env": {"wrappers": ["A", "C"]}}


def test_a_key_that_is_a_number_is_text_in_a_mapping() -> None:
    assert apply_overrides({"a": {}}, ["a.0=1"]) == {"a": {"0": 1}}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed.x=1", r"--set: seed: must be a mapping to have an item 'x', but got 3\."),
        ("list.2=1", r"--set: list: must have an item '2', but got \[1, 2\]\. Set the whole list"),
        ("list.x=1", r"--set: list: must have an item 'x', but got \[1, 2\]\. Name an item by"),
        ("map[0]=1", r"--set: map: must be a list to have an item 0\."),
    ],
)
def test_an_override_through_something_else_is_refused(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        apply_overrides({"seed": 3, "list": [1, 2], "map": {}}, [override])


def test_all_bad_overrides_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"key\.path=value") as caught:
        apply_overrides({"seed": 3}, ["a", "seed.x=1", "b=1", "c=[1"])
    assert len(caught.value.problems) == 3


def test_problems_of_overridden_values_are_located_at_the_option(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("env:\n  id: A\n  wrappers: [B]\n", encoding="utf-8")
    document = override_document(read_yaml(file), ["env.wrappers.0=C", "training.seed=-1"])
    assert document.data["env"]["wrappers"] == ["C"]
    assert document.locate(("env", "wrappers", 0)) == "--set"
    assert document.locate(("env", "id")) == f"{file}:2"
    problem = Problem(("training", "seed"), "must be at least 0", -1)
    assert [str(p) for p in document.attach([problem])] == [
        "--set: training.seed: must be at least 0, but got -1."
    ]
