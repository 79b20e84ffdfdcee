"""Search spaces whose leaves go with the choice of another one."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_experiment

from rllama_sb3.config import merge_configs, read_yaml
from rllama_sb3.errors import ConfigError
from rllama_sb3.experiment import load_config
from rllama_sb3.optimization import (
    BayesianRewardOptimizer,
    build_search_space,
    check_search_space,
)

Space = dict[str, Any]

BASE: Space = {"agent": {"kind": "greedy", "epsilon": 0.1, "rate": 0.5}, "episodes": 10}
KIND: Space = {"suggest": "categorical", "choices": ["greedy", "soft", "random"]}


def floats(low: float = 0.0, high: float = 1.0, **keys: Any) -> Space:
    return {"suggest": "float", "low": low, "high": high, **keys}


def space_of(base: Space = BASE, **leaves: Any) -> Any:
    return build_search_space({"agent": leaves}, base)


def config_of(space: Any, base: Space = BASE, **params: Any) -> Space:
    config: Space = space.merge(base, space.suggest(optuna.trial.FixedTrial(params)))
    return config


EPSILON = floats(when={"agent.kind": "greedy"})
HEAT = floats(1.0, 9.0, when={"agent.kind": "soft"})


def test_a_leaf_is_in_the_config_of_a_trial_only_with_its_choice() -> None:
    space = space_of(kind=KIND, epsilon=EPSILON, heat=HEAT)
    soft = config_of(space, **{"agent.kind": "soft", "agent.heat": 2.0})
    assert soft == {"agent": {"kind": "soft", "rate": 0.5, "heat": 2.0}, "episodes": 10}
    greedy = config_of(space, **{"agent.kind": "greedy", "agent.epsilon": 0.3})
    assert greedy == merge_configs(BASE, {"agent": {"epsilon": 0.3}})
    neither = config_of(space, **{"agent.kind": "random"})
    assert neither == {"agent": {"kind": "random", "rate": 0.5}, "episodes": 10}


def test_a_leaf_may_stand_before_what_it_depends_on() -> None:
    space = space_of(heat=HEAT, kind=KIND, epsilon=EPSILON)
    assert space.names() == ["agent.kind", "agent.heat", "agent.epsilon"]
    assert config_of(space, **{"agent.kind": "random"})["agent"] == {"kind": "random", "rate": 0.5}


def test_what_depends_on_a_leaf_that_does_not_apply_does_not_apply() -> None:
    base = {"a": 1}
    leaves = {
        "c": floats(when={"b": True}),
        "b": {"suggest": "categorical", "choices": [True, False], "when": {"a": 2}},
        "a": {"suggest": "int", "low": 1, "high": 2},
    }
    space = build_search_space(leaves, base)
    assert config_of(space, base, a=1) == {"a": 1}
    assert config_of(space, base, a=2, b=False) == {"a": 2, "b": False}
    assert config_of(space, base, a=2, b=True, c=0.5) == {"a": 2, "b": True, "c": 0.5}


def test_all_conditions_must_hold_and_any_value_of_each_will_do() -> None:
    when = {"agent.kind": ["greedy", "soft"], "episodes": 20}
    leaves = {
        "episodes": {"suggest": "int", "low": 10, "high": 20},
        "agent": {"kind": KIND, "heat": floats(when=when)},
    }
    space = build_search_space(leaves, BASE)
    for kind, episodes in [("greedy", 20), ("soft", 20), ("soft", 10), ("random", 20)]:
        trial = {"agent.kind": kind, "episodes": episodes, "agent.heat": 0.5}
        applies = kind != "random" and episodes == 20
        assert ("heat" in config_of(space, **trial)["agent"]) is applies


def test_a_path_may_have_another_leaf_for_each_choice() -> None:
    rate = [
        floats(0.0, 1.0, when={"agent.kind": "greedy"}),
        {"suggest": "categorical", "choices": [5, 7], "when": {"agent.kind": ["soft", "random"]}},
    ]
    space = space_of(kind=KIND, rate=rate)
    assert space.names() == ["agent.kind", "agent.rate[greedy]", "agent.rate[soft,random]"]
    soft = config_of(space, **{"agent.kind": "soft", "agent.rate[soft,random]": 7})
    assert soft["agent"]["rate"] == 7
    assert space.base_values(BASE) == {"agent.kind": "greedy", "agent.rate[greedy]": 0.5}


def test_a_value_with_a_fixed_condition_is_searched_as_any_other() -> None:
    space = space_of(rate=floats(when={"episodes": 10}))
    assert space.base_values(BASE) == {"agent.rate": 0.5}
    assert config_of(space, **{"agent.rate": 0.1})["agent"]["rate"] == 0.1


def test_a_condition_brings_its_section_along() -> None:
    leaves = {"kind": KIND, "net": {"size": floats(when={"agent.kind": "soft"})}}
    space = space_of(**leaves)
    assert "net" not in config_of(space, **{"agent.kind": "greedy"})["agent"]
    soft = config_of(space, **{"agent.kind": "soft", "agent.net.size": 0.5})
    assert soft["agent"]["net"] == {"size": 0.5}


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        (
            {"heat": floats(when={"agent.kidn": "soft"}), "kind": KIND},
            "heat.when.agent.kidn: must be a path of the search space or of the config. "
            "Did you mean 'agent.kind'?",
        ),
        (
            {"heat": floats(when={"agent.kind": "sofd"}), "kind": KIND},
            "must be a value that is searched there, but got 'sofd'. Did you mean 'soft'?",
        ),
        (
            {"heat": floats(when={"agent.kind": ["soft", 3]}), "kind": KIND},
            "must be a value that is searched there, but got 3. Known: greedy, random, soft.",
        ),
        (
            {"heat": floats(when={"agent.rate": 0.5}), "rate": floats()},
            "heat.when.agent.rate: must be searched as categorical or int, where a leaf depends",
        ),
        (
            {"heat": floats(when={"episodes": 11})},
            "heat.when.episodes: must be 10, which the config has there and does not search, "
            "but got [11]. Search it, or remove the leaf",
        ),
        (
            {"heat": floats(when={"agent": "soft"}), "kind": KIND},
            "heat.when.agent: must lead to a single value, but the config has a mapping there",
        ),
        (
            {
                "a": {"suggest": "categorical", "choices": [1], "when": {"agent.b": 1}},
                "b": {"suggest": "categorical", "choices": [1], "when": {"agent.a": 1}},
            },
            "a.when: must not lead back to the leaf itself",
        ),
        ({"heat": floats(when={"agent.heat": 1})}, "heat.when: must not lead back"),
        ({"heat": floats(when={})}, "heat.when: must name at least one path"),
        ({"heat": floats(when={"agent..kind": 1})}, "heat.when: must be keys joined by dots"),
        ({"heat": floats(when="soft")}, "heat.when: must be a mapping, but got 'soft'"),
        (
            {"heat": floats(when={"agent.kind": []}), "kind": KIND},
            "heat.when.agent.kind: must be a value, or a list of values, but got []",
        ),
        (
            {"epsilon": floats(when={"agent.kind": "soft"}), "kind": KIND},
            "epsilon: must not be in the config, where it is not that agent.kind: soft, "
            "but got 0.1. Remove the value there, or add its case to when.",
        ),
        (
            {"heat": floats(when={"agent.kind": "greedy"}), "kind": KIND},
            "heat: must be a path of the config. Add agent.heat to the config",
        ),
        (
            {"rate": [floats(when={"agent.kind": "greedy"}), floats(2, 3)], "kind": KIND},
            "rate[1]: must exclude agent.rate[0], as a path has one value at a time",
        ),
        (
            {
                "kind": KIND,
                "b": {"suggest": "categorical", "choices": [1], "when": {"agent.kind": "soft"}},
                "c": floats(when={"agent.b": 1, "agent.kind": "random"}),
            },
            "c.when: must hold in some trial, but its conditions contradict",
        ),
        ({"rate": [floats(), 3]}, "rate[1]: must say what to suggest, but got 3"),
    ],
)
def test_a_wrong_condition_is_told_before_anything_starts(leaves: Space, message: str) -> None:
    told = "\n".join(map(str, check_search_space({"agent": leaves}, BASE)))
    assert message in told


def test_a_broken_choice_is_told_without_what_follows_from_it() -> None:
    broken = {"suggest": "categorical", "choises": ["soft"]}
    problems = check_search_space({"agent": {"kind": broken, "heat": HEAT}}, BASE)
    assert [str(p).partition(": ")[0] for p in problems] == [
        "tuning.search_space.agent.kind.choises"
    ]


NESTED: Space = {
    "agent": {
        "heat": HEAT,
        "kind": KIND,
        "epsilon": EPSILON,
        "anneal": {"suggest": "categorical", "choices": [True, False], "when": HEAT["when"]},
        "end": {"suggest": "int", "low": 1, "high": 9, "when": {"agent.anneal": True}},
        "rate": [
            floats(0.2, 1.0, when={"agent.kind": ["greedy", "random"]}),
            floats(0.0, 0.1, when={"agent.kind": "soft"}),
        ],
    }
}


@given(st.integers(0, 10_000))
def test_a_past_trial_is_replayed_to_the_config_it_had(seed: int) -> None:
    space = build_search_space(NESTED, BASE)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    trial = study.ask()
    config = space.merge(BASE, space.suggest(trial))
    frozen = study.trials[0]
    assert space.merge(BASE, space.replay(frozen.params)) == config
    assert space.merge(BASE, space.suggest(frozen)) == config
    kind = config["agent"]["kind"]
    assert ("epsilon" in config["agent"]) is (kind == "greedy")
    assert ("heat" in config["agent"]) is (kind == "soft")
    assert ("end" in config["agent"]) is (config["agent"].get("anneal") is True)
    assert set(frozen.params) <= set(space.names())


def test_fingerprints_tell_conditions_apart_and_survive_json() -> None:
    one = space_of(kind=KIND, heat=HEAT).fingerprint()
    other = space_of(kind=KIND, heat={**HEAT, "when": {"agent.kind": "random"}}).fingerprint()
    assert one != other
    assert json.loads(json.dumps(one)) == one


# Searches


def search(leaves: Space, **arguments: Any) -> BayesianRewardOptimizer:
    """Prefers the soft kind with little heat."""
    optimizer: BayesianRewardOptimizer

    def objective(trial: optuna.Trial) -> float:
        agent = optimizer.generate_trial_config(trial)["agent"]
        return -float(agent["heat"]) if agent["kind"] == "soft" else -10.0

    optimizer = BayesianRewardOptimizer(
        BASE, {"agent": leaves}, objective, **({"n_trials": 6} | arguments)
    )
    optimizer.optimize()
    return optimizer


def test_the_first_trial_is_the_config_and_the_best_one_has_what_goes_with_its_choice() -> None:
    optimizer = search({"kind": KIND, "epsilon": EPSILON, "heat": HEAT}, n_trials=20)
    assert optimizer.study is not None
    first = optimizer.study.trials[0]
    assert first.params == {"agent.kind": "greedy", "agent.epsilon": 0.1}
    assert optimizer.generate_trial_config(first) == BASE
    assert optimizer.best_params["agent"].keys() == {"kind", "heat"}
    assert "epsilon" not in optimizer.best_config["agent"]


def test_a_conditional_study_goes_on_and_its_table_leaves_out_what_did_not_apply(
    tmp_path: Path,
) -> None:
    leaves = {"kind": KIND, "epsilon": EPSILON, "heat": HEAT}
    where: Space = {"storage": f"sqlite:///{tmp_path}/study.db", "out": tmp_path}
    search(leaves, **where)
    study = search(leaves, n_trials=9, **where).study
    assert study is not None
    assert len(study.trials) == 9
    header, first, *_ = (tmp_path / "trials.csv").read_text().splitlines()
    assert header.split(",")[3:6] == ["agent.kind", "agent.epsilon", "agent.heat"]
    assert first.split(",")[3:6] == ["greedy", "0.1", ""]
    with pytest.raises(ConfigError, match=r"search_space\.agent\.heat: must be "):
        search({**leaves, "heat": {**HEAT, "when": {"agent.kind": "random"}}}, **where)


def test_tpe_models_what_only_some_trials_have(caplog: pytest.LogCaptureFixture) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna.logging.enable_propagation()
    try:
        with caplog.at_level(logging.WARNING, logger="optuna"):
            search({"kind": KIND, "epsilon": EPSILON, "heat": HEAT}, n_trials=20)
    finally:
        optuna.logging.disable_propagation()
    # Without groups Optuna says that it draws them on their own.
    assert caplog.messages == []


# Experiments

SCHEDULE = "reward_shaping.upright.weight_schedule"
TYPE = f"{SCHEDULE}.schedule_type"
DECAY = {
    "schedule_type": {"suggest": "categorical", "choices": ["constant", "exponential"]},
    "decay_rate": floats(0.9, 0.99, when={TYPE: "exponential"}),
    "decay_steps": {"suggest": "int", "low": 1, "high": 9, "when": {TYPE: "exponential"}},
}


def schedules(**leaves: Any) -> Space:
    return {"reward_shaping": {"upright": {"weight_schedule": leaves}}}


def tune(space: Space, changes: Space | None = None, **arguments: Any) -> BayesianRewardOptimizer:
    base = tiny_experiment(**(changes or {}))
    # The first two are the config as it stands, and the same without shaping.
    base["tuning"] |= {"search_space": space, "n_trials": 3}
    return BayesianRewardOptimizer(base, **arguments)


def test_a_key_of_one_schedule_type_is_searched_with_that_type_only() -> None:
    optimizer = tune(schedules(**DECAY), {"training": {"total_timesteps": 64}}, sampler="random")
    study = optimizer.optimize()[2]
    decays = study.trials[2]
    assert decays.params.keys() == {TYPE, f"{SCHEDULE}.decay_rate", f"{SCHEDULE}.decay_steps"}
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        (
            {"decay_rat": floats(0.9, 0.99, when={TYPE: "exponential"})},
            r"decay_rat: must lead to configs that can run; at 0\.9 with 'exponential': "
            r".*Did you mean 'decay_rate'\?",
        ),
        (
            {"decay_rate": floats(0.9, 1.5, when={TYPE: "exponential"})},
            r"decay_rate: must lead to configs that can run; at 1\.5 with 'exponential'",
        ),
        (
            {"decay_rate": floats(0.9, 0.99, when={TYPE: ["exponential", "constant"]})},
            r"decay_rate: must be a path of the config",
        ),
    ],
)
def test_a_conditional_leaf_that_cannot_run_is_told_before_anything_starts(
    leaves: Space, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        tune(schedules(**{**DECAY, **leaves}))


def algorithms(*names: str, **params: Any) -> Space:
    return {
        "algorithm": {"name": {"suggest": "categorical", "choices": [*names]}, "params": params}
    }


PPO_ONLY = {"when": {"algorithm.name": "PPO"}}
# The choices that the config has, which is one for PPO.
OWN: Space = {
    "n_steps": {"suggest": "categorical", "choices": [32], **PPO_ONLY},
    "n_epochs": {"suggest": "categorical", "choices": [1], **PPO_ONLY},
}


def test_the_algorithm_is_searched_together_with_its_own_parameters(tmp_path: Path) -> None:
    starts = {"suggest": "int", "low": 8, "high": 16, "when": {"algorithm.name": "DQN"}}
    space = algorithms("PPO", "DQN", **OWN, learning_starts=starts)
    # DQN would allocate a million transitions.
    small = {"suggest": "categorical", "choices": [500], "when": {"algorithm.name": "DQN"}}
    space["algorithm"]["params"]["buffer_size"] = small
    optimizer = tune(space, {"training": {"total_timesteps": 64}}, out=tmp_path, sampler="random")
    study = optimizer.optimize()[2]
    names = [trial.params["algorithm.name"] for trial in study.trials]
    assert names == ["PPO", "PPO", "DQN"]
    dqn = optimizer.generate_trial_config(study.trials[2])["algorithm"]
    assert dqn["params"].keys() == {"batch_size", "learning_rate", "learning_starts", "buffer_size"}
    trained = read_yaml(tmp_path / "trials" / "0002" / "config.yaml").data["algorithm"]
    assert trained == dqn


def test_the_best_config_can_be_trained_and_searched_on_whatever_was_chosen(tmp_path: Path) -> None:
    starts = {"suggest": "int", "low": 8, "high": 16, "when": {"algorithm.name": "DQN"}}
    optimizer = tune(
        algorithms("PPO", "DQN", **OWN, learning_starts=starts), out=tmp_path, sampler="random"
    )
    # What a trial is worth is set here, and not trained for.
    optimizer._objective = lambda trial: float(
        optimizer.generate_trial_config(trial)["algorithm"]["name"] == "DQN"
    )
    optimizer.optimize()
    best = load_config(tmp_path / "best.yaml")
    assert best.algorithm.name == "DQN"
    assert BayesianRewardOptimizer(best).base_config["algorithm"] == best.algorithm.model_dump()


def test_what_is_wrong_with_a_choice_is_not_told_again_of_all_that_goes_with_it() -> None:
    mine = {"algorithm.name": "SAC"}
    with pytest.raises(ConfigError) as caught:
        tune(algorithms("PPO", "SAC", **OWN, tau=floats(0.1, 0.2, when=mine)))
    assert [problem.path[-1] for problem in caught.value.problems] == ["name"]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            algorithms("PPO", "DQN", n_epochs=OWN["n_epochs"]),
            r"at 'DQN': algorithm\.params\.n_steps: must not be shared by PPO and DQN: a rollout's "
            r"length is no return's\. .*choices: \[32\], when: ",
        ),
        (
            algorithms("PPO", "SAC", **OWN),
            r"at 'SAC': algorithm\.name: must be able to learn in the action space Discrete",
        ),
        (
            algorithms("PPO", "DQN", n_steps=OWN["n_steps"]),
            r"at 'DQN': algorithm\.params\.n_epochs: is not a parameter of DQN.*"
            r"choices: \[1\], when: ",
        ),
        (
            algorithms("PPO", "DQN", **OWN, taw=floats(when={"algorithm.name": "DQN"})),
            r"params\.taw: .*is not a parameter of DQN\. Did you mean 'tau'\?",
        ),
        (algorithms("PPO", "DQNN", **OWN), r"at 'DQNN': algorithm\.name: must be an algorithm"),
    ],
)
def test_an_algorithm_that_cannot_run_here_is_told_before_anything_starts(
    space: Space, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        tune(space)


def test_a_parameter_that_the_config_leaves_out_starts_at_its_default() -> None:
    optimizer = tune({"algorithm": {"params": {"clip_range": floats(0.1, 0.4)}}})
    assert optimizer.base_config["algorithm"]["params"]["clip_range"] == 0.2
    space = optimizer.search_space
    assert space.base_values(optimizer.base_config) == {"algorithm.params.clip_range": 0.2}
