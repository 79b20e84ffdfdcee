from __future__ import annotations

from typing import Any

import pytest

from rllama_sb3.errors import ConfigError
from rllama_sb3.optimization.named import Kind, construct, name_of, named_schemas, params_of


class Coin:
    def __init__(self, bias: float = 0.5, sides: int = 2, seed: int | None = None) -> None:
        if sides < 2:
            raise ValueError("sides must be at least 2.")
        self.bias, self.sides, self.seed = bias, sides, seed


KINDS = {"coin": Kind(Coin, {"seed": "Set tuning.seed instead."}, {"bias": 0.0}), "die": Kind(Coin)}
PATH = ("tuning", "sampler")


@pytest.mark.parametrize("given", ["coin", {"name": "coin"}, {"bias": 0.1, "name": "coin"}])
def test_a_name_stands_alone_or_among_parameters(given: Any) -> None:
    assert name_of(given, KINDS, PATH) == "coin"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "coni",
            r"^tuning\.sampler: must be one of coin, die, but got 'coni'. Did you mean 'coin'",
        ),
        (
            {"name": "coni"},
            r"^tuning\.sampler\.name: must be one of coin, die, but got 'coni'\. Did",
        ),
        (
            {"name": ["coin"]},
            r"^tuning\.sampler\.name: must be one of coin, die, but got \['coin'\]",
        ),
        ({"bias": 1}, r"^tuning\.sampler\.name: missing key\. Add it: it must be one of coin, die"),
        (3, r"^tuning\.sampler: must be one of coin, die, but got 3\.$"),
    ],
)
def test_another_name_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        name_of(given, KINDS, PATH)


def test_all_that_is_wrong_with_the_parameters_is_told() -> None:
    given = {"name": "coin", "bais": 1, "sides": "two", "seed": 3, "bias": -0.1}
    with pytest.raises(ConfigError, match="bais") as caught:
        params_of(given, KINDS["coin"], PATH)
    assert [str(problem) for problem in caught.value.problems] == [
        "tuning.sampler.seed: must not be set here. Set tuning.seed instead.",
        "tuning.sampler.bais: is not a parameter of Coin. Did you mean 'bias'?",
        "tuning.sampler.sides: must be an integer, but got 'two'.",
    ]
    with pytest.raises(ConfigError, match=r"sampler\.bias: must be at least 0\.0, but got -0\.1"):
        params_of({"name": "coin", "bias": -0.1}, KINDS["coin"], PATH)


def test_what_is_given_replaces_the_defaults() -> None:
    coin = construct(KINDS["coin"], {"bias": 0.4, "seed": 7}, {"name": "coin", "bias": 1}, PATH)
    assert (coin.bias, coin.sides, coin.seed) == (1.0, 2, 7)


def test_what_the_class_says_against_the_values_is_told() -> None:
    message = (
        r"tuning\.sampler: must be accepted by Coin \(sides must be at least 2\), but got {'si"
    )
    with pytest.raises(ConfigError, match=message):
        construct(KINDS["coin"], {}, {"name": "coin", "sides": 1}, PATH)


def test_the_schema_has_what_a_file_may_give() -> None:
    schemas = named_schemas(KINDS)
    assert set(schemas["coin"]["properties"]) == {"bias", "sides"}
    assert set(schemas["die"]["properties"]) == {"bias", "sides", "seed"}
    assert schemas["coin"]["additionalProperties"] is False
