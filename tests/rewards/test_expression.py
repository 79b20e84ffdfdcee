"""What an expression computes, what it refuses, and that refusing is all a bad one can do."""

from __future__ import annotations

import ast
import copy
import dis
import math
import pickle
import string
import timeit
import types
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rllama_sb3.errors import ComponentError, ConfigError
from rllama_sb3.rewards.expression import (
    POTENTIAL_NAMES,
    REWARD_NAMES,
    CompiledExpression,
    compile_expression,
)
from rllama_sb3.rewards.expression_functions import FUNCTIONS

OBS = np.array([0.3, -2.0], dtype=np.float32)
finite = st.floats(-1e3, 1e3)


def value(source: str, obs: Any = OBS, **info: Any) -> float:
    return compile_expression(source, POTENTIAL_NAMES)(obs, info)


def refusal(source: str, names: tuple[str, ...] = REWARD_NAMES) -> str:
    with pytest.raises(ConfigError, match="but got") as caught:
        compile_expression(source, names, path=("potential",))
    assert [problem.path for problem in caught.value.problems] == [("potential",)]
    return str(caught.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("sin(3 * obs[0])", math.sin(3 * float(OBS[0]))),
        ("obs[-1]", -2.0),
        ("-obs[1] ** 2", -4.0),
        ("2 ** 3 ** 2", 512.0),
        ("7 // 2 + 7 % 4 - 1 / 4", 5.75),
        ("-7 // obs[1]", 3.0),
        ("-7 % 4", 1.0),
        ("0 < obs[0] < 1", 1.0),
        ("1 < 3 > 2 != 2", 0.0),
        ("obs[0] > 0 and not obs[1] > 0", 1.0),
        ("obs[0] and 5", 1.0),
        ("0 or obs[1] > 0", 0.0),
        ("(obs[0] > 0) + (obs[1] < 0)", 2.0),
        ("-(obs[0] > 0)", -1.0),
        ("5 if obs[1] > 0 else 7", 7.0),
        ("where(obs[1] > 0, 5, 7)", 7.0),
        ("abs(obs[1])", 2.0),
        ("clip(obs[1], -1, 1)", -1.0),
        ("min(3, 1, 2) + max(3, 1, 2)", 4.0),
        ("min(obs) + max(obs[1])", -4.0),
        ("sqrt(16) + exp(0) + log(1) + cos(0) + tanh(0)", 6.0),
        ("norm([3, 4]) + norm([obs[1], 0]) + norm(-2)", 9.0),
        ("dot([1, 2], [3, 4])", 11.0),
        ("dot(obs, obs)", float(OBS[0]) ** 2 + 4.0),
        ("sum(obs[0:2] * [0, 3])", -6.0),
        ("sum(where(obs > 0, 1, -5))", -4.0),
        ("sum((obs > -3) * (obs < 0))", 1.0),
        ("sum(abs(obs) ** 2 / [1, 2])", float(OBS[0]) ** 2 + 2.0),
        ("sum(clip(obs, -1, 0))", -1.0),
        ("max(max(obs, [1, -9]))", 1.0),
        ("info['speed'] * 2", 3.0),
        ("info['flag']", 1.0),
        ("info['nested']['deep'][0]", 8.0),
        ("True + 1", 2.0),
        ("  (obs[1]\n + 1)  ", -1.0),
    ],
)
def test_expression_computes_what_it_says(source: str, expected: float) -> None:
    result = value(source, speed=1.5, flag=np.True_, nested={"deep": [8]})
    assert type(result) is float
    assert result == pytest.approx(expected, rel=1e-15)


def test_names_are_bound_in_the_order_they_were_given() -> None:
    compiled = compile_expression("reward - obs + 10 * terminated", ["terminated", "obs", "reward"])
    assert compiled(True, 2, np.float64(5.0)) == 13.0
    assert compiled.arguments == ("terminated", "obs", "reward")


def test_names_lists_only_those_that_are_used() -> None:
    compiled = compile_expression("next_obs[0] - obs[0]", REWARD_NAMES)
    assert compiled.names == ("obs", "next_obs")


def test_float32_observations_are_computed_with_in_double_precision() -> None:
    obs = np.array([0.1, 0.2], dtype=np.float32)
    assert value("obs[0] * 3", obs) == float(obs[0]) * 3
    assert value("sum(obs * 3)", obs) == float((obs.astype(np.float64) * 3).sum())


def test_uint8_observations_do_not_wrap_around() -> None:
    obs = np.array([200, 100], dtype=np.uint8)
    assert value("obs[0] + obs[0] + sum(obs + obs)", obs) == 1000.0
    assert value("obs[1] - obs[0]", obs) == -100.0


@pytest.mark.parametrize("obs", [3, np.int64(3), np.array(3), 3.0, True + 2, np.float16(3)])
def test_a_discrete_observation_is_a_number(obs: Any) -> None:
    assert value("obs + 1", obs) == 4.0


def test_dict_and_nested_observations_are_read_by_constant_keys() -> None:
    obs = {"goal": np.eye(2)}
    assert value("obs['goal'][0][0] + obs['goal'][1, 1] + sum(obs['goal'][:, 0])", obs) == 3.0


def test_nan_is_passed_on_by_min_max_and_clip() -> None:
    obs = np.array([math.nan, 1.0])
    for source in ("min(obs[0], 1)", "min(1, obs[0])", "max(1, obs[0])", "max(obs)", "min(obs, 1)"):
        source = source if source != "min(obs, 1)" else "sum(min(obs, 1))"
        assert math.isnan(value(source, obs)), source
    assert math.isnan(value("clip(obs[0], 0, 1)", obs))


@pytest.mark.parametrize("source", ["{c} if {ok} else 1", "where({ok}, {c}, 1)"])
def test_the_side_that_is_not_chosen_is_not_computed(source: str) -> None:
    assert value(source.format(c="log(obs[1])", ok="obs[1] > 0")) == 1.0


def test_and_and_or_stop_at_the_first_side_that_decides() -> None:
    assert value("obs[1] > 0 and log(obs[1]) > 0") == 0.0
    assert value("obs[1] < 0 or log(obs[1]) > 0") == 1.0


@given(finite, finite, finite)
@settings(max_examples=50, deadline=None)
def test_arithmetic_agrees_with_python(a: float, b: float, c: float) -> None:
    obs = [a, b, c]
    assert value("obs[0] + obs[1] * obs[2] - obs[0] / 7", obs) == a + b * c - a / 7
    assert value("max(obs[0], obs[1], obs[2]) - min(obs)", obs) == max(obs) - min(obs)
    assert value("norm(obs)", obs) == pytest.approx(math.hypot(a, b, c))
    assert value("sum(obs > [0, 0, 0])", obs) == (a > 0) + (b > 0) + (c > 0)


# Refused when it is compiled.


@pytest.mark.parametrize(
    ("source", "said"),
    [
        # Reaching out.
        ("obs.__class__", "must not contain attribute access"),
        ("obs[0].__class__.__mro__[1]", "must index only obs, action, next_obs, info"),
        ("().__class__.__bases__", "must not contain attribute access"),
        ("'a'.join('b')", "must call functions by their names"),
        ("__import__('os').system('id')", "must call functions by their names"),
        ("__import__('os')", "must call only known functions"),
        ("eval('1')", "must call only known functions"),
        ("open('/etc/passwd')", "must call only known functions"),
        ("__builtins__", "must use only known names"),
        ("__builtins__['eval']", "must use only known names"),
        ("_number", "must use only known names"),
        ("_obs", "must use only known names"),
        ("_global_1(obs)", "must call only known functions"),
        ("(lambda: 1)()", "must call functions by their names"),
        ("lambda: obs", "must not contain a lambda"),
        ("[x for x in obs]", "must not contain a comprehension"),
        ("sum(x for x in obs)", "must not contain a comprehension"),
        ("{x for x in obs}", "must not contain a comprehension"),
        ("{x: x for x in obs}", "must not contain a comprehension"),
        ("(x := 1)", "must not contain an assignment"),
        ("f'{obs.x}'", "must not contain an f-string"),
        ("max(*obs)", "must not contain unpacking"),
        ("max(**info)", "must pass arguments by position"),
        ("abs(x=obs[0])", "must pass arguments by position"),
        ("(1, 2)", "must not contain a tuple"),
        ("{1: 2}", "must not contain a dict"),
        ("{1, 2}", "must not contain a set"),
        ("await obs", "must not contain the construct Await"),
        ("(yield)", "must not contain the construct Yield"),
        ("obs if obs else ...", "must use only real numbers"),
        ("1j", "must use only real numbers"),
        ("None", "must use only real numbers"),
        ("'text'", "must use text only as a key"),
        ("b'text'", "must use text only as a key"),
        ("'%s' % obs", "must use text only as a key"),
        # Names and calls.
        ("sin(3 * obz[0])", r"Did you mean 'obs'"),
        ("nextobs[0]", r"Did you mean 'next_obs'"),
        ("sine(obs[0])", r"Did you mean 'sin'"),
        ("obs(0)", "must call only known functions"),
        ("sin + 1", "must call a function (column 1), but got 'sin'. Write sin(x)."),
        ("sin()", "must call sin with 1 argument (column 1)"),
        ("clip(obs[0], 1)", "Write clip(x, low, high)"),
        ("min()", "must call min with at least 1 arguments"),
        ("clip(obs[0], 1, -1)", "must clip between a lower and a higher number"),
        # Operators.
        ("obs @ obs", "Use dot(a, b)."),
        ("obs[0] > 1 & 2", "Use 'and'."),
        ("1 | 2", "Use 'or'."),
        ("~obs[0]", "Use 'not'."),
        ("2 ^ 3", "Powers are written **."),
        ("1 << 99999999", "must not use the operator LShift"),
        ("obs[0] is 1", "Use ==."),
        ("1 in obs", "must not use the operator In"),
        # Indices.
        ("info", "must read info by a key"),
        ("info[0]", "must read info by a key"),
        ("info[obs]", "must read info by a key"),
        ("obs[obs]", "must index by constants"),
        ("obs[0 + 1]", "must index by constants"),
        ("obs[1.0]", "must index by constants"),
        ("obs[True]", "must index by constants"),
        ("obs[None]", "must index by constants"),
        ("obs[...]", "must index by constants"),
        ("obs[()]", "must index by constants"),
        ("obs[['a']]", "must index by constants"),
        ("obs['a', 'b']", "must index by constants"),
        ("obs[::0]", "must index by constants"),
        ("obs[0:obs]", "must index by constants"),
        ("info['a'][obs]", "must index by constants"),
        ("(obs + 1)[0]", "Index first, then compute."),
        ("[1, 2][0]", "Index first, then compute."),
        ("reward[0]", "must not index reward"),
        # Lists.
        ("[]", "at least one number in a list"),
        ("sum([[1, 2], [3, 4]])", "at least one number in a list"),
        ("[1, 2]", "must give a single number, not a list"),
        # Unbounded or impossible work.
        ("9**9**9", "must be computable"),
        ("9**9**9**9**9**9", "must be computable"),
        ("10**400", "must be computable"),
        ("0 * 10**400", "must be computable"),
        ("(-8) ** 0.5", "must be computable"),
        ("0 ** -1", "must be computable"),
        ("1 / 0", "must be computable"),
        ("1 % 0", "must be computable"),
        ("obs[0] * (1 // 0)", "must be computable"),
        ("sqrt(-1)", "must be computable"),
        ("log(0)", "must be computable"),
        ("exp(1000)", "must be computable"),
        ("sum([1, 2] / [0, 1])", "must be computable"),
        ("sum([1, 2] * [0, 1, 2])", "must be computable"),
        ("dot(1, 2)", "must be computable"),
        ("norm([sum([1]), [1, 2] + 1])", "must be computable"),
        ("1 if [1, 2] > 0 else 2", "must be computable"),
        ("1e308 * 10", "must stay within the range of numbers"),
        ("1e999", "must use numbers below 1.8e308"),
        ("9" * 900, "must use numbers below 1.8e308"),
        ("0x" + "f" * 900, "must use numbers below 1.8e308"),
        # Form.
        ("", "must not be empty"),
        (" \n\t ", "must not be empty"),
        ("obs[0", "column 4"),
        ("obs[0] +", "must be well-formed (invalid syntax, column 9)"),
        ("x = 1", "must be well-formed"),
        ("import os", "must be well-formed"),
        ("1; 2", "must be well-formed"),
        ("obs[0] # height\n + 1", "line 2"),
        ("obs\0", "must be well-formed"),
        ("\udc80", "must be well-formed"),
        ("'" * 7, "must be well-formed"),
        ("1 " + "\\" * 5, "must be well-formed"),
        ("x" * 1001, "must have at most 1000 characters, not 1001"),
        ("(" * 500 + ")" * 500, "must be well-formed"),
        ("-" * 999 + "1", "must not nest deeper than 100 levels"),
        ("not " * 249 + "1", "must not nest deeper than 100 levels"),
        ("1" + "+1" * 499, "must not nest deeper than 100 levels"),
        ("2" + "**2" * 330, "must not nest deeper than 100 levels"),
        ("abs(" * 150 + "1" + ")" * 150, "must not nest deeper than 100 levels"),
        ("obs" + "[0]" * 300, "must not nest deeper than 100 levels"),
    ],
)
def test_hostile_and_mistaken_sources_are_refused_at_once(source: str, said: str) -> None:
    start = timeit.default_timer()
    message = refusal(source)
    assert timeit.default_timer() - start < 1.0
    assert message.startswith("potential: must ")
    assert said in message


@pytest.mark.parametrize("source", [None, 3, 1.5, ["obs"], b"obs"])
def test_only_text_is_an_expression(source: Any) -> None:
    assert "must be an expression in quotes" in refusal(source)


def test_potentials_know_neither_reward_nor_action() -> None:
    for name in ("reward", "action[0]", "next_obs[0]", "terminated"):
        assert "Names: obs, info." in refusal(name, POTENTIAL_NAMES)


def test_refusal_shows_where_and_what_is_allowed() -> None:
    message = refusal("obs[0] + obs.shape")
    assert "(column 10), but got 'obs.shape'" in message
    for word in (*REWARD_NAMES, *FUNCTIONS, "**", "and/or/not"):
        assert word in message


def test_columns_count_characters_and_lines_are_named() -> None:
    assert "(column 13)" in refusal("info['ü'] + bad")
    assert "(line 2, column 2)" in refusal("(obs[0] +\n bad)")


def test_expressions_of_a_hundred_terms_are_not_too_long() -> None:
    assert value("+".join(["obs[1]"] * 97)) == -194.0


_WORDS = [
    *(*REWARD_NAMES, *FUNCTIONS, "__class__", "eval", "x", "0", "1", "2.5", "9e9", "'a'", "1e400"),
    *("(", ")", "[", "]", "{", "}", ",", ":", ".", ":=", "=", "'", '"', "#", "\\", "\n", " "),
    *("+", "-", "*", "**", "/", "//", "%", "<", "==", "is", "in", "and", "or", "not", "if", "else"),
    *("lambda", "for", "await", "yield", "f'{", "}'", "@", "~", "...", "None", "True"),
]
_GOOD_LEAVES = ["obs", "obs[0]", "obs[1:]", "info['a']", "reward", "terminated", "2", "[1, 2]"]
_BAD_LEAVES = ["obs.T", "info", "eval", "obs.__class__", "x", "__import__", "1e999"]
_GOOD_RULES = [
    *("({} + {})", "({} ** {})", "({} / {})", "({} // {})", "({} * {})", "-{}", "not {}"),
    *("({} < {})", "({} < {} < {})", "({} and {})", "({} or {})", "({} if {} else {})"),
    *("sin({})", "sqrt({})", "log({})", "max({}, {})", "norm({})", "sum({})", "min({})"),
    *("where({}, {}, {})", "dot({}, {})", "clip({}, {}, {})", "sum([sum({}), norm({})])"),
]
_BAD_RULES = ["{}[0]", "{}.real", "(lambda: {})()", "{}({})", "{} @ {}", "[x for x in {}]"]


def _trees(leaves: list[str], rules: list[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        st.sampled_from(leaves),
        lambda parts: st.builds(
            lambda rule, a, b, c: rule.format(a, b, c), st.sampled_from(rules), parts, parts, parts
        ),
        max_leaves=16,
    )


_token_soups = st.lists(st.sampled_from(_WORDS), max_size=20).map(" ".join)
_good_sources = _trees(_GOOD_LEAVES, _GOOD_RULES)
_any_sources = _trees(_GOOD_LEAVES + _BAD_LEAVES, _GOOD_RULES + _BAD_RULES)


@given(st.one_of(st.text(), st.text(string.printable), _token_soups, _good_sources, _any_sources))
@example("\x0cobs.x")
@example("\x1cobs.x\x85\u2028.y")
@settings(max_examples=400, deadline=None)
def test_any_text_compiles_or_is_refused_and_nothing_else(source: str) -> None:
    try:
        compiled = compile_expression(source, REWARD_NAMES)
    except ConfigError:
        return
    _assert_harmless(compiled)


@given(_good_sources)
@settings(max_examples=300, deadline=None)
def test_what_is_accepted_gives_a_float_or_a_component_error(source: str) -> None:
    try:
        compiled = compile_expression(source, REWARD_NAMES)
    except ConfigError:
        return
    with np.errstate(all="ignore"):
        try:
            result = compiled(OBS, 1, OBS, -1.0, True, False, {"a": 2})
        except ComponentError:
            return
    assert type(result) is float


def _assert_harmless(compiled: CompiledExpression) -> None:
    """Asserts that the bytecode loads nothing but arguments and the documented functions."""
    allowed = {"_obs", "_action", "_next_obs", "_reward", "_terminated", "_truncated"}
    allowed |= {*REWARD_NAMES}
    function = compiled._function
    assert function.__globals__["__builtins__"] == {}  # type: ignore[attr-defined]
    codes: list[types.CodeType] = [function.__code__]  # type: ignore[attr-defined]
    while codes:
        code = codes.pop()
        codes += [const for const in code.co_consts if isinstance(const, types.CodeType)]
        for instruction in dis.get_instructions(code):
            operation = instruction.opname
            assert "ATTR" not in operation
            assert "METHOD" not in operation
            assert "IMPORT" not in operation
            if operation in ("LOAD_GLOBAL", "LOAD_NAME"):
                assert str(instruction.argval).startswith("_global_")
            elif operation in ("LOAD_FAST", "LOAD_DEREF", "STORE_FAST", "STORE_DEREF"):
                assert instruction.argval in allowed


def test_generated_code_is_kept_to_its_arguments_for_each_documented_function() -> None:
    for function in FUNCTIONS.values():
        compiled = compile_expression(
            ast.unparse(
                ast.parse(
                    f"{function.usage.split('(')[0]}(" + "obs, " * (function.n_arguments or 2) + ")"
                )
            ),
            REWARD_NAMES,
        )
        _assert_harmless(compiled)


# Raised when it is computed.


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("obs", r"must give a single number, but gave an array of shape \(2,\)\. Take one element"),
        ("obs[:1]", r"array of shape \(1,\)"),
        ("obs[0] if obs else 1", "a condition must be a single truth value"),
        ("0 < obs < 1", "a condition must be a single truth value"),
        ("not obs", "a condition must be a single truth value"),
        ("log(obs[1])", r"in expression 'log\(obs\[1\]\)'"),
        ("sqrt(obs[1])", "in expression"),
        ("obs[1] ** 0.5", "in expression"),
        ("1 / (obs[0] - obs[0])", "zero"),
        ("exp(obs[0] * 10000)", "in expression"),
        ("sum(log(obs))", "invalid value encountered in log"),
        ("sum(1 / (obs - obs))", "divide by zero"),
        ("clip(obs[0], 1, obs[1])", "needs low <= high"),
        ("dot(obs, [1, 2, 3])", r"two arrays of one shape, not \(2,\) and \(3,\)"),
        ("sum([obs, 1])", r"a list must hold single numbers, not an array of shape \(2,\)"),
        ("norm([obs, 1])", r"a list must hold single numbers, not an array of shape \(2,\)"),
        ("obs[7]", r"obs\[7\] cannot be read as a number .*obs is a ndarray of shape \(2,\)"),
        ("obs['x']", r"obs\['x'\] cannot be read as a number"),
        ("info['nope']", r"there is no info\['nope'\]; keys of info: 'name', 'nested', 'nothing'"),
        (
            "info['nested']['b']",
            r"there is no info\['nested'\]\['b'\]; keys of info\['nested'\]: 'a'",
        ),
        ("info['name']", r"info\['name'\] cannot be read as a number .*but got 'Ann'"),
        ("info['nothing']", r"info\['nothing'\] cannot be read as a number .*but got None"),
        ("info['nested']", r"info\['nested'\] cannot be read as a number"),
    ],
)
def test_what_cannot_be_computed_is_explained(source: str, said: str) -> None:
    with pytest.raises(ComponentError, match=said):
        value(source, name="Ann", nested={"a": 1}, nothing=None)


def test_a_missing_observation_names_the_context_key_to_pass() -> None:
    compiled = compile_expression("action[0] + next_obs[0]", REWARD_NAMES)
    with pytest.raises(ComponentError, match=r"needs action, but got None.*context=\{'action': "):
        compiled(None, None, None, 0.0, False, False, {})
    with pytest.raises(ComponentError, match=r"needs next_obs, but got None"):
        compiled(None, [1.0], None, 0.0, False, False, {})


def test_text_that_looks_like_a_number_is_no_number() -> None:
    with pytest.raises(ComponentError, match=r"but got '1\.5'"):
        value("info['a']", a="1.5")


def test_a_wrong_number_of_values_is_explained() -> None:
    with pytest.raises(ComponentError, match="needs values of obs, info, but got 1 values"):
        compile_expression("obs[0]", POTENTIAL_NAMES)(OBS)


def test_observations_are_never_changed() -> None:
    obs = np.array([1.0, 2.0])
    value("sum(clip(obs * 2, 0, 1) + obs) + sum(max(obs, 3))", obs)
    np.testing.assert_array_equal(obs, [1.0, 2.0])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_compute_the_same(copied: Any) -> None:
    compiled = compile_expression("sin(3 * obs[0]) + norm(obs - [1, 2])", POTENTIAL_NAMES)
    again = copied(compiled)
    assert again(OBS, {}) == compiled(OBS, {})
    assert (again.source, again.names) == (compiled.source, compiled.names)
    assert repr(again) == repr(compiled)


def test_a_scalar_expression_is_computed_in_microseconds() -> None:
    compiled = compile_expression("sin(3 * obs[0])", POTENTIAL_NAMES)
    seconds = min(timeit.repeat(lambda: compiled(OBS, {}), number=2_000, repeat=5)) / 2_000
    assert seconds < 5e-6  # about 0.4 µs on an idle machine


@pytest.mark.parametrize("source", ["clip(5, obs[0], 9)", "clip(5, 0, obs[0])"])
def test_a_bound_that_is_nan_clips_nothing_and_is_refused(source: str) -> None:
    for odd in (source, f"sum({source.replace('5', 'obs')})"):
        with pytest.raises(ComponentError, match="needs low <= high"):
            value(odd, np.array([math.nan]))
