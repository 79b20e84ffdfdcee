from __future__ import annotations

from typing import Any

import optuna
import pytest

from rllama_sb3.errors import ConfigError
from rllama_sb3.optimization import build_pruner
from rllama_sb3.optimization.pruners import (
    PRUNERS,
    WRAPPED,
    check_pruner,
    least_seeds_for_wilcoxon,
    pruner_schemas,
)

N_EVALUATIONS = 9
WARMUP = 3
# What each name needs beside it.
GIVEN: dict[str, Any] = {name: {"name": name} for name in PRUNERS}
GIVEN["percentile"] |= {"percentile": 25}
GIVEN["patient"] |= {"patience": 2, "wrapped": "median"}
GIVEN["threshold"] |= {"lower": 1.0}


def stopped_at(
    pruner: Any,
    n_good: int = 9,
    n_seeds: int = 1,
    value: float = 0.0,
    n_evaluations: int = N_EVALUATIONS,
) -> int | None:
    """The step at which a hopeless trial is stopped that follows some good ones."""
    study = optuna.create_study(
        direction="maximize",
        pruner=build_pruner(pruner, n_evaluations=n_evaluations, n_seeds=n_seeds),
        sampler=optuna.samplers.RandomSampler(0),
    )
    for reported in [*[10.0] * n_good, value]:
        trial = study.ask()
        for step in range(1, n_evaluations * n_seeds + 1):
            trial.report(reported, step)
            # Successive halving notes who came by when it is asked.
            if trial.should_prune() and reported == value:
                return step
        study.tell(trial, reported)
    return None


@pytest.mark.parametrize("name", ["median", "percentile", "halving", "threshold"])
def test_a_hopeless_trial_is_stopped_right_after_the_warmup(name: str) -> None:
    assert stopped_at(GIVEN[name]) == WARMUP


def test_hyperband_stops_no_trial_during_the_warmup() -> None:
    step = stopped_at("hyperband")
    assert step is None or step >= WARMUP


@pytest.mark.parametrize("name", ["median", "percentile"])
def test_the_median_wants_five_complete_trials(name: str) -> None:
    assert stopped_at(GIVEN[name], n_good=4) is None


def test_none_stops_nothing() -> None:
    assert stopped_at("none") is None


@pytest.mark.parametrize("name", PRUNERS)
def test_pruners_need_not_know_the_number_of_evaluations(name: str) -> None:
    assert type(build_pruner(GIVEN[name])) is PRUNERS[name].cls


def test_an_unknown_pruner_is_told_with_a_guess() -> None:
    with pytest.raises(ConfigError, match=r"tuning\.pruner: must be one of .* mean 'median'\?"):
        build_pruner("medain")


@pytest.mark.parametrize(
    ("pruner", "attribute", "value"),
    [
        ({"name": "median", "n_startup_trials": 2}, "_n_startup_trials", 2),
        ({"name": "median", "interval_steps": 3}, "_interval_steps", 3),
        ({"name": "percentile", "percentile": 25}, "_percentile", 25.0),
        ({"name": "halving", "min_resource": 2}, "_min_resource", 2),
        ({"name": "halving", "bootstrap_count": 4}, "_bootstrap_count", 4),
        ({"name": "hyperband", "reduction_factor": 2}, "_reduction_factor", 2),
        ({"name": "patient", "patience": 4}, "_patience", 4),
        ({"name": "patient", "patience": 4, "min_delta": 1}, "_min_delta", 1.0),
        ({"name": "threshold", "lower": -200, "n_warmup_steps": 7}, "_n_warmup_steps", 7),
        ({"name": "wilcoxon", "p_threshold": 0.2}, "_p_threshold", 0.2),
    ],
)
def test_parameters_reach_the_pruner_of_optuna(pruner: Any, attribute: str, value: Any) -> None:
    assert getattr(build_pruner(pruner, n_evaluations=N_EVALUATIONS), attribute) == value


def test_a_parameter_leaves_the_other_defaults_as_they_are() -> None:
    pruner = build_pruner({"name": "median", "interval_steps": 3}, n_evaluations=N_EVALUATIONS)
    assert (pruner._n_startup_trials, pruner._n_warmup_steps) == (5, WARMUP)  # type: ignore[attr-defined]


def test_a_percentile_of_25_lets_the_best_quarter_go_on() -> None:
    study = optuna.create_study(direction="maximize", pruner=build_pruner(GIVEN["percentile"]))
    for value in range(8):
        trial = study.ask()
        trial.report(value, 1)
        study.tell(trial, value)
    goes_on = []
    for value in range(8):
        trial = study.ask()
        trial.report(value, 1)
        goes_on.append(not trial.should_prune())
    assert goes_on == [False] * 6 + [True] * 2


# Patience


def test_patience_waits_before_it_asks_the_wrapped_pruner() -> None:
    patient = {"name": "patient", "patience": 3, "wrapped": "median"}
    # From the fifth report on, three more than the first two have brought nothing.
    assert stopped_at(patient, value=0.0) is None
    falling = optuna.create_study(direction="maximize", pruner=build_pruner(patient))
    for _ in range(6):
        trial = falling.ask()
        for step in range(1, 10):
            trial.report(10.0, step)
        falling.tell(trial, 10.0)
    trial = falling.ask()
    asked = []
    for step in range(1, 10):
        trial.report(-float(step), step)
        asked.append(trial.should_prune())
    assert asked == [False] * 4 + [True] * 5


def test_patience_alone_stops_what_has_become_worse() -> None:
    study = optuna.create_study(
        direction="maximize", pruner=build_pruner({"name": "patient", "patience": 2})
    )
    trial = study.ask()
    asked = []
    for step, value in enumerate([1.0, 5.0, 4.0, 4.0, 4.0], 1):
        trial.report(value, step)
        asked.append(trial.should_prune())
    assert asked == [False, False, False, False, True]


@pytest.mark.parametrize("name", WRAPPED)
def test_what_is_wrapped_is_built_like_one_that_stands_alone(name: str) -> None:
    patient = build_pruner(
        {"name": "patient", "patience": 1, "wrapped": GIVEN[name]}, n_evaluations=N_EVALUATIONS
    )
    alone = build_pruner(GIVEN[name], n_evaluations=N_EVALUATIONS)
    wrapped = patient._wrapped_pruner  # type: ignore[attr-defined]
    assert type(wrapped) is type(alone)
    assert vars(wrapped) == vars(alone)


# What is wrong


@pytest.mark.parametrize(
    ("pruner", "message"),
    [
        ({"name": "medain"}, r"^tuning\.pruner\.name: must be one of .* mean 'median'\?"),
        ({"patience": 3}, r"^tuning\.pruner\.name: missing key"),
        ("percentile", r"^tuning\.pruner\.percentile: is required by PercentilePruner\. Add"),
        ({"name": "percentile", "percentile": 250}, r"must be accepted by PercentilePruner \(Perc"),
        ({"name": "median", "percentile": 25}, r"pruner\.percentile: is not a parameter of Median"),
        ({"name": "median", "n_startup_trials": 0.5}, r"n_startup_trials: must be an integer, but"),
        ("threshold", r"^tuning\.pruner: must be accepted by ThresholdPruner \(Either lower or up"),
        ({"name": "threshold", "lower": 2, "upper": 1}, r"ThresholdPruner \(lower should be"),
        ("patient", r"^tuning\.pruner\.patience: is required by PatientPruner"),
        (
            {"name": "patient", "patience": 2, "wrapped": "medain"},
            r"^tuning\.pruner\.wrapped: must be one of median, .*, threshold, but got 'medain'\.",
        ),
        (
            {"name": "patient", "patience": 2, "wrapped": "wilcoxon"},
            r"^tuning\.pruner\.wrapped: must be one of .*, but got 'wilcoxon'\.",
        ),
        (
            {"name": "patient", "patience": 2, "wrapped": {"name": "median", "startup": 1}},
            r"^tuning\.pruner\.wrapped\.startup: is not a parameter of MedianPruner",
        ),
        (
            {"name": "patient", "patience": 2, "wrapped_pruner": "median"},
            r"^tuning\.pruner\.wrapped_pruner: must not be set here\. Name a pruner under wrapped",
        ),
        ({"name": "hyperband", "min_resource": 0}, r"min_resource: must be at least 1, but got 0"),
        (
            {"name": "hyperband", "reduction_factor": 1},
            r"reduction_factor: must be at least 2, but",
        ),
        (
            {"name": "hyperband", "min_resource": 10},
            r"pruner\.min_resource: must not be greater than the last step, 9, but got 10\.",
        ),
        ({"name": "halving", "min_resource": "some"}, r"must be accepted by SuccessiveHalvingPru"),
        ({"name": "wilcoxon", "p_threshold": 2.0}, r"must be accepted by WilcoxonPruner \(p_thre"),
        ({"name": "none", "patience": 1}, r"pruner\.patience: is not a parameter of NopPruner"),
    ],
)
def test_wrong_pruners_are_refused_with_the_path(pruner: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build_pruner(pruner, n_evaluations=N_EVALUATIONS)
    assert check_pruner(pruner, n_evaluations=N_EVALUATIONS) == list(caught.value.problems)


# Wilcoxon


def stopped_after(p_threshold: float, n_startup_steps: int = 2) -> int:
    """The number of seeds after which a trial is stopped that is worse than the best on each."""
    pruner = {"name": "wilcoxon", "p_threshold": p_threshold, "n_startup_steps": n_startup_steps}
    study = optuna.create_study(direction="maximize", pruner=build_pruner(pruner))
    best = study.ask()
    for index in range(12):
        best.report(100.0 + index**2, index)
    study.tell(best, 150.0)
    trial = study.ask()
    for index in range(12):
        trial.report(0.1 * index, index)
        if trial.should_prune():
            return index + 1
    raise AssertionError("never stopped")


@pytest.mark.parametrize("p_threshold", [1.0, 0.5, 0.26, 0.25, 0.2, 0.126, 0.125, 0.1, 0.05, 0.01])
def test_wilcoxon_stops_a_trial_that_is_worse_on_every_seed_as_soon_as_it_can(
    p_threshold: float,
) -> None:
    assert stopped_after(p_threshold) == least_seeds_for_wilcoxon(p_threshold)


def test_wilcoxon_cannot_stop_a_trial_before_its_fourth_seed() -> None:
    assert stopped_after(0.1) == 4
    assert stopped_after(0.1, n_startup_steps=6) == least_seeds_for_wilcoxon(0.1, 6) == 6


@pytest.mark.parametrize("n_seeds", [1, 4])
def test_too_few_seeds_for_wilcoxon_are_told(n_seeds: int) -> None:
    (problem,) = check_pruner("wilcoxon", n_seeds=n_seeds)
    assert problem.path == ("tuning", "seeds_per_trial")
    assert str(problem).startswith(
        "tuning.seeds_per_trial: must be at least 5 for the pruner wilcoxon, "
        f"but got {n_seeds}. It can stop a trial after 4 seeds at the earliest"
    )
    assert check_pruner("wilcoxon", n_seeds=5) == []


def test_a_larger_p_wants_fewer_seeds() -> None:
    assert check_pruner({"name": "wilcoxon", "p_threshold": 0.2}, n_seeds=4) == []
    assert len(check_pruner({"name": "wilcoxon", "p_threshold": 0.01}, n_seeds=7)) == 1
    (problem,) = check_pruner({"name": "wilcoxon", "p_threshold": 0}, n_seeds=5)
    assert str(problem).startswith("tuning.pruner.p_threshold: must be greater than 0")


@pytest.mark.parametrize(
    ("pruner", "key", "first"),
    [
        ({"name": "median", "n_warmup_steps": 7}, "n_warmup_steps", 7),
        ({"name": "percentile", "percentile": 25, "n_warmup_steps": 7}, "n_warmup_steps", 7),
        ({"name": "threshold", "lower": 1.0, "n_warmup_steps": 7}, "n_warmup_steps", 7),
        ({"name": "halving", "min_resource": 7}, "min_resource", 7),
        (
            {"name": "halving", "min_early_stopping_rate": 0, "min_resource": 7},
            "min_resource",
            7,
        ),
        (
            {"name": "halving", "min_early_stopping_rate": 1, "min_resource": 3},
            "min_early_stopping_rate",
            9,
        ),
    ],
)
def test_a_pruner_that_stops_a_trial_at_its_last_step_at_the_earliest_is_told(
    pruner: Any, key: str, first: int
) -> None:
    (problem,) = check_pruner(pruner, n_evaluations=first, n_seeds=1)
    assert problem.path == ("tuning", "pruner", key)
    assert f"stops no trial before the last of its {first} steps" in str(problem)
    # With one step more there is something to save.
    assert check_pruner(pruner, n_evaluations=first + 1, n_seeds=1) == []
    assert stopped_at(pruner, n_evaluations=first + 1) == first


@pytest.mark.parametrize(
    ("pruner", "key"),
    [
        ({"name": "hyperband", "min_resource": 9}, "min_resource"),
        (
            {"name": "halving", "min_resource": "auto", "min_early_stopping_rate": 2},
            "min_early_stopping_rate",
        ),
        ({"name": "halving", "min_early_stopping_rate": 10**9}, "min_early_stopping_rate"),
        ({"name": "patient", "patience": 7}, "patience"),
        (
            {"name": "patient", "patience": 1, "wrapped": {"name": "median", "n_warmup_steps": 9}},
            "",
        ),
    ],
)
def test_so_is_every_other_that_knows_when_it_begins(pruner: Any, key: str) -> None:
    (problem,) = check_pruner(pruner, n_evaluations=9, n_seeds=1)
    assert problem.path[2:] == ((key,) if key else ("wrapped", "n_warmup_steps"))


@pytest.mark.parametrize(
    "pruner",
    [
        {"name": "median", "n_warmup_steps": 8},
        {"name": "hyperband", "min_resource": 8},
        {"name": "halving", "min_resource": "auto", "min_early_stopping_rate": 1},
        {"name": "patient", "patience": 6},
        {"name": "patient", "patience": 3, "wrapped": None},
    ],
)
def test_one_that_may_stop_a_trial_before_its_last_step_is_not(pruner: Any) -> None:
    assert check_pruner(pruner, n_evaluations=9, n_seeds=1) == []


@pytest.mark.parametrize(
    "pruner",
    [
        *(GIVEN[name] for name in PRUNERS if name != "patient"),
        {"name": "median", "n_warmup_steps": 1},
        {"name": "halving", "min_resource": 1},
        {"name": "patient", "patience": 0},
    ],
)
def test_that_a_single_evaluation_leaves_nothing_to_stop_is_no_mistake_of_the_pruner(
    pruner: Any,
) -> None:
    assert check_pruner(pruner, n_evaluations=1) == []


def test_pruners_of_optuna_are_taken_as_they_are() -> None:
    assert check_pruner(optuna.pruners.NopPruner(), n_seeds=1) == []


def test_the_schema_of_patience_has_what_it_wraps() -> None:
    schema = pruner_schemas()["patient"]
    assert set(schema["properties"]) == {"patience", "min_delta", "wrapped"}
    assert schema["required"] == ["patience"]
