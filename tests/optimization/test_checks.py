from __future__ import annotations

from typing import Any

import optuna
import pytest

from rllama_sb3.config import TuningConfig
from rllama_sb3.optimization import build_search_space, check_tuning

SPACE = build_search_space({"n": {"suggest": "float", "low": 0, "high": 1}}, {"n": 0.5})


def said_about(tuning: dict[str, Any], **arguments: Any) -> list[str]:
    found = check_tuning(TuningConfig.model_validate(tuning), 10, SPACE, **arguments)
    return [str(problem) for problem in found]


def test_the_defaults_are_sound() -> None:
    assert said_about({}) == []


def test_everything_that_is_wrong_is_told_at_once() -> None:
    tuning = {
        "sampler": "grid",
        "pruner": {"name": "median", "startup": 1},
        "objective": "mean-11",
        "variance_penalty": 0.5,
    }
    assert [message.partition(":")[0] for message in said_about(tuning)] == [
        "tuning.search_space.n",
        "tuning.pruner.startup",
        "tuning.objective",
        "tuning.variance_penalty",
    ]


def test_a_penalty_on_the_spread_wants_seeds_to_spread() -> None:
    assert said_about({"variance_penalty": 0.5}) == [
        "tuning.variance_penalty: must be 0 with one seed per trial, which has no spread, but got "
        "0.5. Raise tuning.seeds_per_trial to 2 or more."
    ]
    assert said_about({"variance_penalty": 0.5, "seeds_per_trial": 2}) == []


@pytest.mark.parametrize("pruner", ["wilcoxon", {"name": "wilcoxon"}])
def test_wilcoxon_does_not_see_a_spread(pruner: Any) -> None:
    tuning = {"variance_penalty": 0.5, "seeds_per_trial": 5, "pruner": pruner}
    assert said_about(tuning) == [
        "tuning.variance_penalty: must be 0 with the pruner wilcoxon, which compares seed by seed "
        "and sees no spread, but got 0.5. Choose another pruner, such as halving."
    ]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_what_is_passed_in_python_stands_in_for_the_file() -> None:
    tuning = {"sampler": "tpee", "pruner": "medain", "variance_penalty": 1, "seeds_per_trial": 2}
    assert len(said_about(tuning)) == 2
    assert said_about(tuning, sampler="random", pruner="none") == []
    (message,) = said_about(tuning, sampler="gp", pruner=optuna.pruners.WilcoxonPruner())
    assert message.startswith("tuning.variance_penalty: must be 0 with the pruner wilcoxon")
