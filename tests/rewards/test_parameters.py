from __future__ import annotations

import enum
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from rllama_sb3.errors import ConfigError, Problem
from rllama_sb3.rewards.parameters import (
    check_parameters,
    construct,
    parameters_schema,
    parse_parameters,
)

if TYPE_CHECKING:
    from fractions import Fraction


class Side(enum.Enum):
    LEFT = "left"
    RIGHT = "right"


def component(  # type: ignore[no-untyped-def]
    transition: Any,
    scale: float,
    *,
    n_steps: int = 1,
    flag: bool = False,
    mode: Literal["sum", "mean"] = "sum",
    limits: tuple[float, ...] = (),
    side: Side = Side.LEFT,
    names: str | list[str] | None = None,
    table: dict[str, float] | None = None,
    rate: Annotated[float, Field(gt=0, le=1)] = 1.0,
    function: Callable[[Any], float] | str = "obs",
    free=None,
) -> float:
    return 0.0


class Component:
    def __init__(self, low: float, high: float) -> None:
        if low >= high:
            raise ValueError("low must be below high.")
        self.low, self.high = low, high


def problems_of(factory: Callable[..., Any], params: Any, **options: Any) -> list[str]:
    return [str(problem) for problem in check_parameters(factory, params, ("params",), **options)]


def test_fitting_parameters_have_no_problem() -> None:
    params = {"scale": 2, "n_steps": 3, "flag": True, "mode": "mean", "limits": [1, 2.5]}
    params |= {"side": "right", "names": ["a"], "rate": 0.5, "function": abs, "free": object()}
    assert problems_of(component, params) == []


def test_values_are_put_in_the_annotated_type() -> None:
    given_params = {"scale": 2, "limits": [1], "side": "right", "n_steps": np.int64(4)}
    values = parse_parameters(component, given_params)
    assert values == {"scale": 2.0, "limits": (1.0,), "side": Side.RIGHT, "n_steps": 4}
    assert [type(values[key]) for key in ("scale", "n_steps")] == [float, int]


def test_parameters_left_out_keep_their_defaults() -> None:
    assert parse_parameters(component, {"scale": 1.0}) == {"scale": 1.0}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("scale", "big", "params.scale: must be a number, but got 'big'."),
        ("scale", "1e-3", "params.scale: must be a number, but got '1e-3'. Remove the quotes."),
        ("scale", True, "params.scale: must be a number, but got True."),
        ("scale", None, "params.scale: must be a number, but got None."),
        ("scale", float("nan"), "params.scale: must be a finite number, but got nan."),
        ("scale", float("-inf"), "params.scale: must be a finite number, but got -inf."),
        ("n_steps", 1.5, "params.n_steps: must be an integer, but got 1.5."),
        ("n_steps", 1e5, "params.n_steps: must be an integer, but got 100000.0. Write 100000."),
        ("n_steps", True, "params.n_steps: must be an integer, but got True."),
        ("flag", 1, "params.flag: must be true or false, but got 1."),
        ("flag", "yes", "params.flag: must be true or false, but got 'yes'."),
        ("mode", "max", "params.mode: must be 'sum' or 'mean', but got 'max'."),
        ("limits", [1, "a"], "params.limits[1]: must be a number, but got 'a'."),
        ("limits", 3, "params.limits: must be a list, but got 3."),
        ("rate", 2.0, "params.rate: must be at most 1, but got 2.0."),
        ("rate", 0, "params.rate: must be greater than 0, but got 0."),
        ("names", ["a", 3], "params.names[1]: must be a string, but got 3."),
        ("table", [], "params.table: must be a mapping, but got []."),
        ("names", 3, "params.names: must be a string or a list, but got 3."),
        ("function", 3, "params.function: must be callable or a string, but got 3."),
    ],
)
def test_a_wrong_value_is_a_sentence_with_rule_and_value(
    key: str, value: Any, message: str
) -> None:
    assert problems_of(component, {"scale": 1.0, key: value}) == [message]


def test_what_no_file_can_express_is_to_be_given_in_python() -> None:
    class Net:
        pass

    def build(transition: Any, net: Any, cls: Any = None) -> float:
        return 0.0

    build.__annotations__ |= {"net": Net, "cls": type[Net]}
    remedy = "No file can express it: leave it out, or give it in Python."
    assert problems_of(build, {"net": "small", "cls": "Net"}) == [
        f"params.net: must be a Python object, but got 'small'. {remedy}",
        f"params.cls: must be a Python object, but got 'Net'. {remedy}",
    ]
    assert problems_of(build, {"net": Net(), "cls": Net}) == []


def test_an_unknown_key_is_answered_with_the_nearest_one() -> None:
    assert problems_of(component, {"scale": 1, "n_stepz": 2}) == [
        "params.n_stepz: is not a parameter of component. Did you mean 'n_steps'?"
    ]


def test_a_key_of_a_factory_without_parameters_is_to_be_removed() -> None:
    def bare(transition: Any) -> float:
        return 0.0

    assert problems_of(bare, {"x": 1}) == [
        "params.x: is not a parameter of bare. Remove it: there are no parameters."
    ]


def test_the_first_parameter_of_a_function_is_not_for_the_configuration() -> None:
    assert (
        "params.transition: is not a parameter"
        in problems_of(component, {"scale": 1, "transition": 2}).pop()
    )


def test_every_problem_is_listed() -> None:
    found = check_parameters(component, {"flag": 1, "mode": "x", "y": 0}, ("params",))
    assert [problem.path[1] for problem in found] == ["flag", "mode", "y", "scale"]
    with pytest.raises(ConfigError, match=r"is required by component\. Add scale: ") as caught:
        parse_parameters(component, {"flag": 1, "mode": "x", "y": 0})
    assert len(caught.value.problems) == 4


def test_parameters_that_are_no_mapping_are_refused() -> None:
    assert problems_of(component, [1]) == [
        "params: must be a mapping of parameters of component, but got [1]."
    ]


def test_a_skipped_parameter_is_the_callers() -> None:
    assert problems_of(component, {}, skip=("scale",)) == []
    assert "is not a parameter" in problems_of(component, {"scale": 1}, skip=("scale",)).pop()
    # Without it the class cannot be constructed, so its own checks have to wait.
    assert problems_of(Component, {"high": 1}, skip=("low",)) == []


def test_extra_keys_are_accepted_where_the_function_takes_them() -> None:
    def open_ended(transition: Any, scale: float = 1.0, **rest: Any) -> float:
        return 0.0

    assert problems_of(open_ended, {"scale": 1, "anything": "goes"}) == []
    assert parse_parameters(open_ended, {"anything": "goes"}) == {"anything": "goes"}
    assert problems_of(open_ended, {"scale": "x"}) != []


def test_an_annotation_that_cannot_be_checked_accepts_anything() -> None:
    def lenient(transition: Any, ratio: Fraction, table: Sequence[int] = ()) -> float:
        return 0.0

    assert problems_of(lenient, {"ratio": "1/3", "table": [1, 2]}) == []
    assert problems_of(lenient, {"ratio": "1/3", "table": ["a"]}) == [
        "params.table[0]: must be an integer, but got 'a'."
    ]


def test_names_that_pydantic_uses_itself_are_free_for_parameters() -> None:
    def awkward(transition: Any, copy: float, json: int, model_config: str, _x: int = 0) -> float:
        return 0.0

    params = {"copy": 1.0, "json": 2, "model_config": "a", "_x": 3}
    assert parse_parameters(awkward, params) == params


def test_what_a_constructor_refuses_is_a_problem() -> None:
    assert problems_of(Component, {"low": 1, "high": 2}) == []
    assert problems_of(Component, {"low": 2, "high": 1}) == [
        "params: low must be below high, but got {'low': 2.0, 'high': 1.0}."
    ]


def test_a_constructors_own_problems_get_the_path_in_front() -> None:
    class Picky:
        def __init__(self, text: str) -> None:
            raise ConfigError(Problem(("text",), "must be shorter", text))

    assert problems_of(Picky, {"text": "abc"}) == ["params.text: must be shorter, but got 'abc'."]


def test_a_constructor_that_breaks_is_named_with_its_error() -> None:
    class Broken:
        def __init__(self, path: str) -> None:
            Path(path).read_text()

    with pytest.raises(ConfigError, match=r"p: Broken raised FileNotFoundError: .* but got") as e:
        construct(Broken, {"path": "/no/such/file"}, ("p",))
    assert isinstance(e.value.__cause__, FileNotFoundError)


def test_a_class_that_inherits_its_constructor_is_checked_by_it() -> None:
    class Child(Component):
        pass

    assert problems_of(Child, {"low": "a", "high": 1}) == [
        "params.low: must be a number, but got 'a'."
    ]
    assert construct(Child, {"low": 0, "high": 1}).high == 1.0


def test_dataclass_fields_are_parameters() -> None:
    @dataclass
    class Data:
        side: Side
        items: list[int] = field(default_factory=list)

    assert construct(Data, {"side": "left"}) == Data(Side.LEFT)
    assert problems_of(Data, {"side": "up", "items": [1]}) == [
        "params.side: must be 'left' or 'right', but got 'up'."
    ]


def test_numpy_scalars_count_as_the_numbers_that_they_are() -> None:
    assert parse_parameters(component, {"scale": np.float32(0.5)}) == {"scale": 0.5}
    assert problems_of(component, {"scale": np.float64("nan")}) != []


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**9), 10**9))
def test_every_finite_number_is_a_float(number: float) -> None:
    assert parse_parameters(component, {"scale": number})["scale"] == number


@given(st.text() | st.booleans() | st.none() | st.lists(st.integers()))
def test_nothing_else_is_a_float(value: Any) -> None:
    assert len(check_parameters(component, {"scale": value}, ("p",))) == 1


def test_the_schema_names_types_ranges_defaults_and_required_keys() -> None:
    schema = parameters_schema(component)
    assert json.loads(json.dumps(schema)) == schema
    assert schema["required"] == ["scale"]
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert properties["scale"] == {"title": "Scale", "type": "number"}
    assert properties["rate"]["maximum"] == 1
    assert properties["rate"]["default"] == 1.0
    assert properties["mode"]["enum"] == ["sum", "mean"]
    assert properties["side"]["enum"] == ["left", "right"]
    assert set(properties) == {
        *("scale", "n_steps", "flag", "mode", "limits", "side", "names", "rate"),
        *("table", "function", "free"),
    }


def test_the_schema_is_open_for_what_a_file_cannot_express_or_a_function_collects() -> None:
    def lenient(transition: Any, function: Callable[[Any], float], **rest: Any) -> float:
        return 0.0

    schema = parameters_schema(lenient)
    assert schema["properties"]["function"] == {}
    assert schema["additionalProperties"] is True
