"""What must hold between the values of a trial for it to be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from tiny import tiny_experiment

from rllama_sb3.errors import ConfigError, RllamaError
from rllama_sb3.optimization import BayesianRewardOptimizer, build_sampler

Space = dict[str, Any]

WHOLE: Space = {
    "expression": "steps * envs % batch == 0",
    "where": {
        "steps": "algorithm.params.n_steps",
        "envs": "env.n_envs",
        "batch": "algorithm.params.batch_size",
    },
}
BATCHES: Space = {
    "algorithm": {
        "params": {"batch_size": {"suggest": "categorical", "choices": [16, 32, 48, 64, 80]}}
    }
}


def tune(
    constraints: Space, space: Space = BATCHES, enqueue: Any = (), **arguments: Any
) -> BayesianRewardOptimizer:
    base = tiny_experiment()
    base["tuning"] |= {"search_space": space, "constraints": constraints, "n_trials": 8}
    base["tuning"] |= {"enqueue": list(enqueue)}
    return BayesianRewardOptimizer(base, **arguments)


def test_a_trial_that_violates_a_constraint_is_not_trained_and_says_so(tmp_path: Path) -> None:
    trained: list[int] = []
    optimizer = tune({"whole": WHOLE}, sampler="random", out=tmp_path)

    def objective(trial: optuna.Trial) -> float:
        config = optimizer.generate_trial_config(trial)
        trained.append(config["algorithm"]["params"]["batch_size"])
        return 0.0

    optimizer._objective = objective
    study = optimizer.optimize()[2]
    refused = [trial for trial in study.trials if trial.state == TrialState.PRUNED]
    batches = {trial.params["algorithm.params.batch_size"] for trial in refused}
    assert batches == {48, 80}
    assert set(trained) <= {16, 32, 64}
    assert len(trained) + len(refused) == 8
    for trial in refused:
        batch = trial.params["algorithm.params.batch_size"]
        reason = f"violates whole: steps * envs % batch == 0, with steps=32, envs=2, batch={batch}"
        assert trial.user_attrs["failure"] == reason
        assert trial.constraints == {"whole": 1.0}
    assert "violates whole" in (tmp_path / "trials.csv").read_text()


def test_a_trial_that_fulfils_all_constraints_is_trained() -> None:
    optimizer = tune({"whole": WHOLE}, n_trials=1)
    trial = optimizer.optimize()[2].trials[0]
    assert trial.state == TrialState.COMPLETE
    assert trial.constraints == {}


def test_tpe_learns_where_the_constraint_holds() -> None:
    def n_refused(sampler: str) -> int:
        optimizer = BayesianRewardOptimizer(
            {"x": 0.1, "tuning": {"constraints": {"low": LOW}}},
            {"x": {"suggest": "float", "low": 0.0, "high": 1.0}},
            lambda trial: 0.0,
            n_trials=30,
            sampler=sampler,
        )
        trials = optimizer.optimize()[2].trials[10:]
        return sum(trial.state == TrialState.PRUNED for trial in trials)

    assert n_refused("tpe") < n_refused("random") / 2


LOW: Space = {"expression": "x < 0.3", "where": {"x": "x"}}


def test_a_constraint_says_nothing_about_what_goes_with_another_choice() -> None:
    space: Space = {
        "algorithm": {
            "name": {"suggest": "categorical", "choices": ["PPO", "DQN"]},
            "params": {
                key: {"suggest": "categorical", "choices": [own], "when": {"algorithm.name": "PPO"}}
                for key, own in (("n_steps", 32), ("n_epochs", 1))
            },
        }
    }
    constraint = {"expression": "epochs < 2", "where": {"epochs": "algorithm.params.n_epochs"}}
    optimizer = tune({"few": constraint}, space, sampler="random")
    optimizer._objective = lambda trial: 0.0
    study = optimizer.optimize()[2]
    assert {trial.params["algorithm.name"] for trial in study.trials} == {"PPO", "DQN"}
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


def test_a_constraint_may_look_at_a_default() -> None:
    where = {"clip": "algorithm.params.clip_range", "batch": "algorithm.params.batch_size"}
    optimizer = tune({"c": {"expression": "clip * batch > 0.2 * 20", "where": where}})
    optimizer._objective = lambda trial: 0.0
    study = optimizer.optimize()[2]
    refused = [t for t in study.trials if t.state == TrialState.PRUNED]
    assert {t.params["algorithm.params.batch_size"] for t in refused} == {16}


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (
            {"expression": "a > 0", "where": {"a": "algorithm.params.batch_sise"}},
            r"c\.where\.a: must be a path of the config, but got 'algorithm\.params\.batch_sise'\. "
            r"Did you mean 'algorithm\.params\.batch_size'\?",
        ),
        (
            {"expression": "b > 0", "where": {"a": "env.n_envs"}},
            r"c\.expression: must use only known names .*'b'",
        ),
        (
            {"expression": "a > 0", "where": {"a": "env.n_envs", "b": "training.seed"}},
            r"c\.where\.b: must be used in the expression",
        ),
        (
            {"expression": "a > 0", "where": {"a": "algorithm.name"}},
            r"c\.where\.a: must lead to numbers, but got 'PPO'",
        ),
        (
            {"expression": "a.real > 0", "where": {"a": "env.n_envs"}},
            r"c\.expression: must not contain attribute access",
        ),
        (
            {"expression": "a > 100", "where": {"a": "algorithm.params.batch_size"}},
            r"constraints\.c: must hold in the config itself \(violates c: a > 100, with a=32\)\. "
            r"It is the first trial",
        ),
        (
            {"expression": "1 / s > 0", "where": {"s": "training.seed"}},
            r"constraints\.c: must hold in the config itself \(in expression",
        ),
        (
            {"expression": "a % 3", "where": {"a": "algorithm.params.batch_size"}},
            r"constraints\.c: must hold in the config itself \(constraint c must be true or false: "
            r"compare it with something, as in steps % batch == 0, but got 2\.0\)",
        ),
        ({"expression": "1 > 0", "where": {}}, r"c\.where: must have at least 1"),
        ({"expresion": "1 > 0"}, r"c\.expresion: unknown key\. Did you mean 'expression'\?"),
    ],
)
def test_a_wrong_constraint_is_told_before_anything_starts(constraint: Space, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tune({"c": constraint})


def test_an_enqueued_trial_must_fulfil_the_constraints() -> None:
    base = tiny_experiment()
    base["tuning"] |= {
        "search_space": BATCHES,
        "constraints": {"whole": WHOLE},
        "enqueue": [{"algorithm": {"params": {"batch_size": 48}}}],
    }
    with pytest.raises(ConfigError, match=r"enqueue\[0\]: must not be one that violates whole"):
        BayesianRewardOptimizer(base)


@pytest.mark.parametrize("sampler", ["gp", {"name": "gp"}, build_sampler("gp", 0)])
def test_a_sampler_that_would_propose_what_is_refused_for_ever_is_refused(sampler: Any) -> None:
    with pytest.raises(ConfigError, match=r"tuning\.sampler: must be another one beside constrain"):
        tune({"whole": WHOLE}, sampler=sampler)


def test_an_enqueued_trial_of_which_a_constraint_cannot_be_computed_is_told() -> None:
    constraint = {"expression": "1 / (x - 16) > 0", "where": {"x": "algorithm.params.batch_size"}}
    entry = {"algorithm": {"params": {"batch_size": 16}}}
    with pytest.raises(ConfigError, match=r"enqueue\[0\]: must have values that can be compared"):
        tune({"c": constraint}, enqueue=[entry])


def test_what_is_wrong_with_a_constraint_is_not_told_of_every_enqueued_trial() -> None:
    constraint = {"expression": "x > 100", "where": {"x": "algorithm.params.batch_size"}}
    entry = {"algorithm": {"params": {"batch_size": 16}}}
    with pytest.raises(ConfigError) as caught:
        tune({"c": constraint}, enqueue=[entry])
    assert [problem.path for problem in caught.value.problems] == [("tuning", "constraints", "c")]


def test_a_constraint_that_cannot_be_computed_stops_the_search() -> None:
    optimizer = BayesianRewardOptimizer(
        {
            "x": 1,
            "tuning": {"constraints": {"c": {"expression": "1 / x > 0", "where": {"x": "x"}}}},
        },
        {"x": {"suggest": "int", "low": 0, "high": 1}},
        lambda trial: 0.0,
        n_trials=20,
    )
    with pytest.raises(RllamaError, match="in expression '1 / x > 0'"):
        optimizer.optimize()
