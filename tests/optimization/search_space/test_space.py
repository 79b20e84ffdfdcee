from __future__ import annotations

import copy
import json
import math
import warnings
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from rllama_sb3.config import merge_configs
from rllama_sb3.errors import ConfigError
from rllama_sb3.optimization import build_search_space, check_search_space

Space = dict[str, Any]

BASE: Space = {
    "algorithm": {
        "params": {"gamma": 0.99, "rate": 3e-4, "batch": 64, "ent": 0.0, "net": [64, 64]},
        "policy": "MlpPolicy",
    },
    "on": True,
}


def params(**leaves: Any) -> Space:
    return {"algorithm": {"params": leaves}}


def only_message(space: Space) -> str:
    problems = check_search_space(space, BASE)
    assert len(problems) == 1, problems
    return str(problems[0])


def floats(low: float = 0.0, high: float = 1.0, **keys: Any) -> Space:
    return {"suggest": "float", "low": low, "high": high, **keys}


def test_a_sound_space_has_no_problems() -> None:
    space = params(
        rate=floats(1e-5, 1e-2, log=True),
        gamma=floats(1e-3, 0.2, log=True, transform="one_minus"),
        batch={"suggest": "int", "low": 32, "high": 128, "step": 32},
        net={"suggest": "categorical", "choices": [[64, 64], [256]]},
    )
    assert check_search_space(space, BASE) == []


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (params(gama=floats()), "gama: must be a path of the config. Did you mean 'gamma'?"),
        (
            {"env": {"n_envs": {"suggest": "int", "low": 1, "high": 2}}},
            "search_space.env: must be a path of the config. Add env to the config, with the value",
        ),
        (params(rate=floats(2.0, 1.0)), "rate.low: must not be greater than high, 1.0, but got 2"),
        (params(rate=floats(0.0, 1.0, log=True)), "rate.low: must be greater than 0 with log"),
        (params(rate=floats(1e-5, 1.0, log=True, step=0.1)), "step: cannot be used together"),
        (params(rate=floats(0.0, 1.0, step=0.0)), "step: must be greater than 0"),
        (params(rate=floats(0.0, 1.0, step=0.3)), "step: must lead from low to high"),
        (params(rate=floats(0.0, math.inf)), "rate.high: must be a finite number, but got inf"),
        (params(rate={"suggest": "float", "low": 0.0}), "rate.high: missing key. Add the upper"),
        (params(rate=floats(choices=[1])), "rate.choices: does not apply to suggest: float"),
        (params(rate={"suggest": "flaot", "low": 0, "high": 1}), "Did you mean 'float'?"),
        (params(rate=floats(hgih=3)), "rate.hgih: unknown key. Did you mean 'high'?"),
        (params(rate=0.1), "rate: must say what to suggest, but got 0.1. Write for example"),
        (params(batch={"suggest": "int", "low": 1.5, "high": 70}), "low: must be a whole number"),
        (
            params(batch={"suggest": "int", "low": 1, "high": 70, "transform": "one_minus"}),
            "transform: applies to suggest: float only",
        ),
        (params(rate=floats(transform="one_minu")), "transform: must be one of one_minus, but got"),
        (params(net={"suggest": "categorical", "choices": []}), "must have at least one value"),
        (params(net={"suggest": "categorical"}), "choices: missing key"),
        (
            params(batch={"suggest": "categorical", "choices": [64, 64]}),
            "choices[1]: must differ from the other choices, but got 64",
        ),
        (
            params(batch={"suggest": "categorical", "choices": [64, {"a": 1}]}),
            "choices[1]: must be text, a finite number",
        ),
        (
            params(batch={"suggest": "categorical", "choices": [32]}),
            "choices: must have the config's own value among its choices, but got [32]. Add 64.",
        ),
        (
            {"algorithm": {"params": floats()}},
            "params: must lead to a single value, but the config has a mapping there. Name one",
        ),
        ({"algorithm": {"policy": floats()}}, "policy: can only search a number as float"),
        ({"on": {"suggest": "int", "low": 0, "high": 1}}, "on: can only search a number as int"),
        (params(ent=floats(1e-8, 0.1, log=True)), "log: must be greater than 0 in the config too"),
        (params(rate={"suggest": "int", "low": 0, "high": 1}), "can only search a whole number"),
    ],
)
def test_a_wrong_leaf_is_told_by_its_path(space: Space, message: str) -> None:
    told = only_message(space)
    assert told.startswith("tuning.search_space.")
    assert message in told


def test_a_misspelt_suggest_is_told_as_a_wrong_key_of_a_leaf() -> None:
    problems = check_search_space(params(rate={"sugest": "float", "low": 0, "high": 1}), BASE)
    assert "Did you mean 'suggest'?" in " ".join(map(str, problems))


def test_two_leaves_may_not_share_a_name() -> None:
    space = params(rate=floats(name="x"), gamma=floats(name="x"))
    assert "gamma.name: must be a name of its own, but algorithm.params.rate has it" in (
        only_message(space)
    )
    space = params(rate=floats(name="x"), gamma=lambda trial: trial.suggest_float("x", 0, 1))
    assert "gamma: must not ask for the parameter that algorithm.params.rate has" in (
        only_message(space)
    )


def test_callables_may_share_a_parameter() -> None:
    def shared(trial: optuna.trial.BaseTrial) -> float:
        return trial.suggest_float("x", 0, 1)

    assert check_search_space(params(rate=shared, gamma=shared), BASE) == []


def test_all_problems_are_raised_at_once() -> None:
    with pytest.raises(ConfigError, match=r"(?s)(?=.*gama)(?=.*rate\.low)"):
        build_search_space(params(gama=floats(), rate=floats(2, 1)), BASE)


def test_lambdas_and_declared_leaves_mix() -> None:
    space = build_search_space(
        params(
            rate=lambda trial: trial.suggest_float("lr", 1e-5, 1e-2, log=True),
            batch={"suggest": "int", "low": 32, "high": 128, "step": 32},
            net={"suggest": "categorical", "choices": [[64, 64], [256]], "name": "net"},
        ),
        BASE,
    )
    trial = FixedTrial({"lr": 1e-3, "algorithm.params.batch": 96, "net": "[256]"})
    assert space.suggest(trial) == params(rate=1e-3, batch=96, net=[256])
    assert space.names() == ["lr", "algorithm.params.batch", "net"]


def test_one_minus_goes_there_and_back() -> None:
    leaf = floats(1e-3, 0.2, log=True, transform="one_minus")
    space = build_search_space(params(gamma=leaf), BASE)
    own = space.base_values(BASE)
    assert own == {"algorithm.params.gamma": 0.01}
    assert space.replay(own) == params(gamma=0.99)
    assert space.suggest(FixedTrial({"algorithm.params.gamma": 0.2})) == params(gamma=0.8)


@given(st.floats(0.001, 0.999).map(lambda value: round(value, 12)))
def test_one_minus_gives_back_any_value_of_a_config(value: float) -> None:
    base = {"gamma": value}
    space = build_search_space({"gamma": floats(transform="one_minus")}, base)
    assert space.replay(space.base_values(base)) == base


def test_the_base_values_of_callables_are_found_where_that_is_simple() -> None:
    space = build_search_space(
        params(
            rate=lambda trial: trial.suggest_float("lr", 1e-5, 1e-2, log=True),
            gamma=lambda trial: 1 - trial.suggest_float("one_minus_gamma", 1e-3, 0.2),
            batch=lambda trial: 2 ** trial.suggest_int("log2_batch", 4, 10),
            net=lambda trial: {"small": [64, 64], "big": [256]}[
                trial.suggest_categorical("net", ["big", "small"])
            ],
        ),
        BASE,
    )
    own = space.base_values(BASE)
    assert own == {"lr": 3e-4, "one_minus_gamma": 0.01, "log2_batch": 6, "net": "small"}
    assert space.replay(own) == params(rate=3e-4, gamma=0.99, batch=64, net=[64, 64])


def test_a_callable_whose_parameter_is_not_found_is_warned_of() -> None:
    space = build_search_space(
        params(rate=lambda trial: 10 ** trial.suggest_float("exponent", -5.0, -2.0)), BASE
    )
    with pytest.warns(UserWarning, match=r"search_space\.algorithm\.params\.rate: no parameter"):
        assert space.base_values(BASE) == {}


def test_a_base_value_out_of_range_is_warned_of_and_kept() -> None:
    space = build_search_space(params(rate=floats(0.1, 1.0)), BASE)
    with pytest.warns(UserWarning, match=r"params\.rate: the config's 0\.0003 lies outside"):
        own = space.base_values(BASE)
    assert space.replay(own) == params(rate=3e-4)


def test_a_replay_leaves_out_what_was_never_asked_for() -> None:
    space = build_search_space(params(rate=floats(), gamma=floats()), BASE)
    assert space.replay({"algorithm.params.gamma": 0.5}) == params(gamma=0.5)


def test_fingerprints_tell_spaces_apart_and_survive_json() -> None:
    def fingerprint(high: float) -> Any:
        space = params(
            gamma=floats(0.0, high),
            rate=lambda trial: trial.suggest_float("lr", 0.0, high),
        )
        return build_search_space(space, BASE).fingerprint()

    assert fingerprint(1.0) == fingerprint(1.0)
    assert fingerprint(1.0) != fingerprint(2.0)
    assert json.loads(json.dumps(fingerprint(1.0))) == fingerprint(1.0)


def test_callables_that_want_a_real_trial_are_taken_as_they_are() -> None:
    space = build_search_space(params(rate=lambda trial: 1.0 / trial.study.unknown), BASE)
    assert space.fingerprint() == {"algorithm.params.rate": {"callable": None}}
    with pytest.warns(UserWarning, match="no parameter was found"):
        assert space.base_values(BASE) == {}


KEYS = st.text("abc", min_size=1, max_size=2)
CONFIGS = st.recursive(
    st.floats(0.0, 1.0) | st.integers(0, 3),
    lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3),
    max_leaves=8,
).filter(lambda config: isinstance(config, dict))


def leaves_of(config: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if not isinstance(config, dict):
        return {path: config}
    found: dict[tuple[str, ...], Any] = {}
    for key, value in config.items():
        found |= leaves_of(value, (*path, key))
    return found


@given(CONFIGS, st.data())
def test_a_fragment_merges_into_the_base_and_keeps_all_other_keys(
    base: Space, data: st.DataObject
) -> None:
    before = copy.deepcopy(base)
    own = leaves_of(base)
    chosen = data.draw(st.lists(st.sampled_from(sorted(own)), min_size=1, unique=True))
    mapping: Space = {}
    for path in chosen:
        inner = mapping
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = floats(-1.0, 5.0)
    space = build_search_space(mapping, base)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trial = optuna.create_study().ask()
        merged = leaves_of(merge_configs(base, space.suggest(trial)))
    assert base == before
    assert list(merged) == list(own)
    for path, value in own.items():
        if path in chosen:
            assert merged[path] == trial.params[".".join(path)]
        else:
            assert merged[path] == value
