from __future__ import annotations

import pickle

import pytest

from rllama_sb3.errors import (
    NO_VALUE,
    ConfigError,
    MissingExtraError,
    Problem,
    RllamaError,
    did_you_mean,
    format_path,
)


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (Problem((), "must be a mapping"), "must be a mapping."),
        (Problem(("a", 0, "b"), "unknown key"), "a[0].b: unknown key."),
        (Problem(("a",), "must be text", None), "a: must be text, but got None."),
        (
            Problem(("a",), "must be text", 3, "Quote it.", "x.yaml:2"),
            "x.yaml:2: a: must be text, but got 3. Quote it.",
        ),
        (Problem((), "must exist", location="x.yaml"), "x.yaml: must exist."),
    ],
)
def test_a_problem_is_place_rule_value_and_remedy(problem: Problem, sentence: str) -> None:
    assert str(problem) == sentence


def test_long_values_are_shortened() -> None:
    sentence = str(Problem(("a",), "must be short", "x" * 1_000))
    assert sentence.endswith("x….")
    assert len(sentence) < 200


def test_a_problem_can_be_moved() -> None:
    problem = Problem(("b",), "r", 1).below(("a",)).at("x.yaml:3")
    assert str(problem) == "x.yaml:3: a.b: r, but got 1."


def test_a_config_error_tells_one_problem_a_line() -> None:
    error = ConfigError(Problem(("a",), "unknown key"), "must not be empty.")
    assert str(error) == "a: unknown key.\nmust not be empty."


def test_a_config_error_without_a_problem_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="at least one problem"):
        ConfigError()


def test_config_errors_are_value_errors_and_errors_of_this_package() -> None:
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ConfigError, RllamaError)


def test_errors_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(ConfigError(Problem(("a",), "r"), "b")))
    assert str(error) == "a: r.\nb."
    assert error.problems[0].value is NO_VALUE
    missing = pickle.loads(pickle.dumps(MissingExtraError("the dashboard", "dashboard")))
    assert "pip install 'rllama-sb3[dashboard]'" in str(missing)


@pytest.mark.parametrize(
    ("word", "known", "remedy"),
    [
        ("goalreward", ["GoalReward"], "Did you mean 'GoalReward'?"),
        ("xyz", ["b", "a"], "Known: a, b."),
        (3, ["a"], "Known: a."),
        ("x", [], ""),
    ],
)
def test_the_nearest_known_word_is_suggested(word: object, known: list[str], remedy: str) -> None:
    assert did_you_mean(word, known) == remedy


def test_a_path_is_dotted_and_items_are_in_brackets() -> None:
    assert format_path(()) == ""
    assert format_path(("a", 0, 1, "b")) == "a[0][1].b"
