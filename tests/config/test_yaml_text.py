from __future__ import annotations

import enum
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rllama_sb3.config.yaml_text import dump_yaml, parse_yaml
from rllama_sb3.errors import ConfigError

# Shared cores are slow at times, which says nothing about the code.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Surrogates are no characters: no encoding of a file can hold them.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBER_LIKE = st.from_regex(r"[-+.]?[0-9_.:eExXoO+-]{1,8}", fullmatch=True)
WORD_LIKE = st.sampled_from(
    [
        "yes",
        "on",
        "NO",
        "true",
        "~",
        "null",
        "",
        " ",
        "<<",
        "=",
        "2024-01-01",
        "1:30",
        ".inf",
        "- a",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | TEXT
    | NUMBER_LIKE
    | WORD_LIKE
)
PLAIN = st.dictionaries(
    TEXT | WORD_LIKE | NUMBER_LIKE,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=5,
)


def value_of(text: str) -> Any:
    return parse_yaml(text, "a.yaml")[0]


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError, match=r"a\.yaml") as caught:
        parse_yaml(text, "a.yaml")
    return str(caught.value).splitlines()


@PATIENT
@given(PLAIN)
def test_what_is_dumped_reads_back_equal_and_of_the_same_types(data: dict[str, Any]) -> None:
    again = value_of(dump_yaml(data))
    assert again == data
    assert repr(again) == repr(data)


@PATIENT
@given(TEXT | WORD_LIKE | NUMBER_LIKE)
def test_dumped_text_is_text_for_readers_of_yaml_1_1_too(text: str) -> None:
    assert yaml.safe_load(dump_yaml({"a": text})) == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("3.0e-4", 0.0003),
        ("1E5", 100_000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.inf", -math.inf),
        ("100_000", 100_000),
        ("1_000.5", 1000.5),
        ("010", 10),
        ("0o17", 15),
        ("0xff", 255),
        ("+7", 7),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("!!str 3", "3"),
        ("!!float 3", 3.0),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    found = value_of(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text", ["yes", "no", "on", "off", "y", "1:30", "2024-01-01", "0b1", "80%", "1__0", "_1", "e5"]
)
def test_what_yaml_1_1_would_convert_stays_text(text: str) -> None:
    assert value_of(f"a: {text}") == {"a": text}


def test_not_a_number_is_a_float() -> None:
    assert math.isnan(value_of("a: .nan")["a"])


def test_every_key_and_item_has_its_line() -> None:
    text = "# first\nenv:\n  id: A\n  wrappers:\n    - B\n    - {C: {}}\ntraining:\n\n  seed: 1\n"
    _, lines = parse_yaml(text, "a.yaml")
    assert lines == {
        (): 2,
        ("env",): 2,
        ("env", "id"): 3,
        ("env", "wrappers"): 4,
        ("env", "wrappers", 0): 5,
        ("env", "wrappers", 1): 6,
        ("env", "wrappers", 1, "C"): 6,
        ("training",): 7,
        ("training", "seed"): 9,
    }


def test_aliases_give_equal_values_that_share_nothing() -> None:
    data = value_of("a: &a {x: [1]}\nb: *a\n")
    assert data == {"a": {"x": [1]}, "b": {"x": [1]}}
    data["b"]["x"].append(2)
    assert data["a"] == {"x": [1]}


def test_merge_keys_give_way_to_written_ones_and_keep_the_lines_of_their_source() -> None:
    text = "a: &a\n  x: 1\n  y: {z: 2}\nb: &b {x: 3, w: 4}\nc:\n  x: 5\n  <<: [*a, *b]\n"
    data, lines = parse_yaml(text, "a.yaml")
    assert data["c"] == {"x": 5, "y": {"z": 2}, "w": 4}
    assert lines[("c", "x")] == 6
    assert lines[("c", "y", "z")] == 3
    assert lines[("c", "w")] == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", r"a.yaml:4: b.c: key given twice, on lines 3 and 4."),
        ("1: a\n", "a.yaml:1: must have text as keys, but got '1'. Quote it: \"1\"."),
        ("a:\n  true: b\n", "a.yaml:2: a: must have text as keys, but got 'true'."),
        ("? [a]\n: b\n", "a.yaml:1: must have text as keys."),
        ("a:\n b: !!python/object/apply:os.system [ls]\n", "a.yaml:2: a.b: must be plain data"),
        ("a: !Thing {}\n", "a.yaml:1: a: must be plain data, but got '!Thing'."),
        ("a: !!int x\n", "a.yaml:1: a: must be what its tag says (int), but got 'x'."),
        ("a: !!bool x\n", "a.yaml:1: a: must be what its tag says (bool), but got 'x'."),
        ("a: &a [*a]\n", "a.yaml:1: a[0]: must not contain itself."),
        ("a: 1\n<<: 3\n", "a.yaml:2: <<: must be a mapping."),
        ("a: &a {}\n<<: *a\n<<: *a\n", "a.yaml:3: <<: key given twice, on lines 2 and 3."),
        ("a: 1\nb: c: 2\n", "a.yaml:2: must be valid YAML (mapping values are not allowed here)."),
        ("a:\n\t- 1\n", "a.yaml:2: must be valid YAML"),
        ("a: [1\n", "a.yaml:2: must be valid YAML"),
        ("a: 1\n---\nb: 2\n", "a.yaml:2: must be valid YAML (but found another document"),
        ("a: *b\n", "a.yaml:1: must be valid YAML (found undefined alias 'b')."),
        ("a: 1\nb: \x07\n", "a.yaml:2: must be printable text, but got '\\x07'."),
    ],
)
def test_what_cannot_be_used_is_told_with_its_line(text: str, said: str) -> None:
    problem, *others = problems_of(text)
    assert problem.startswith(said)
    assert not others


def test_tags_of_objects_never_run_code(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    problems = problems_of(f"a: !!python/object/apply:pathlib.Path.touch ['{witness}']\n")
    assert "never creates objects or runs code" in problems[0]
    assert not witness.exists()


def test_all_misused_keys_are_told_at_once() -> None:
    assert len(problems_of("a: 1\na: 2\n3: 4\nb: !x 5\n")) == 3


def test_syntax_errors_name_a_remedy() -> None:
    assert problems_of("a:\n\t- 1\n")[0].endswith("Indent with spaces, not tabs.")
    assert problems_of("a: b: 2\n")[0].endswith("quote text that contains ': '.")


def test_aliases_cannot_blow_up_the_memory() -> None:
    lines = ["a0: &a0 [1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert "must describe at most 100,000 values" in problems_of("\n".join(lines))[0]


def test_endless_nesting_is_an_error_and_no_crash() -> None:
    assert "must not nest so deep" in problems_of("a: " + "[" * 1_000 + "]" * 1_000)[0]


def test_dump_writes_numpy_values_and_tuples_as_plain_ones() -> None:
    data = {
        "a": np.float64(1e-4),
        "b": np.int64(3),
        "c": np.bool_(True),
        "d": np.array([[1, 2]]),
        "e": (1, 2),
        "f": np.float32(0.5),
    }
    assert value_of(dump_yaml(data)) == {
        "a": 0.0001,
        "b": 3,
        "c": True,
        "d": [[1, 2]],
        "e": [1, 2],
        "f": 0.5,
    }


def test_dump_keeps_the_order_of_keys_and_stays_readable() -> None:
    data = {"b": {"y": 1e-05, "x": "1e-3"}, "a": [64, 64], "c": [{"d": None}], "e": {}}
    assert dump_yaml(data) == (
        "b:\n  y: 1.0e-05\n  x: '1e-3'\na: [64, 64]\nc:\n  - d: null\ne: {}\n"
    )


def test_dump_writes_equal_objects_out_each_time() -> None:
    shared = {"x": [1]}
    assert "&" not in dump_yaml({"a": shared, "b": shared})


def test_dump_writes_subclasses_of_plain_types_as_the_type() -> None:
    class Colour(enum.StrEnum):
        RED = "red"

    assert value_of(dump_yaml({"a": Colour.RED})) == {"a": "red"}


def test_dump_refuses_what_yaml_cannot_hold() -> None:
    with pytest.raises(ConfigError, match=r"^a\[1\]: must be plain data .* but got <function"):
        dump_yaml({"a": [1, lambda trial: trial]})
    with pytest.raises(ConfigError, match=r"^a: must have text as keys, but got 3\."):
        dump_yaml({"a": {3: 4}})
