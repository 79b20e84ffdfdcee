"""What is said of a search before and after it."""

from __future__ import annotations

from typing import Any

import pytest
from tiny import tiny_experiment

from rllama_sb3.cli.search_report import describe_unpruned
from rllama_sb3.config import parse_experiment

FADING = {"schedule_type": "exponential", "decay_rate": 0.5, "decay_steps": 64}


def describe(tuning: dict[str, Any], schedule: dict[str, Any]) -> str | None:
    shaping = {"upright": {"weight_schedule": schedule}}
    return describe_unpruned(
        parse_experiment(tiny_experiment(reward_shaping=shaping, tuning=tuning))
    )


def test_a_weight_that_keeps_the_pruner_from_its_work_is_named() -> None:
    said = describe({}, FADING)
    assert said is not None
    assert "as weights change until the end of the training: upright." in said


@pytest.mark.parametrize(
    ("tuning", "schedule"),
    [
        ({}, {}),
        ({}, {"schedule_type": "linear", "final_weight": 0.0, "end_step": 64}),
        ({"prune_during_anneal": True}, FADING),
        ({"seeds_per_trial": 2}, FADING),  # It may stop a trial between them.
        ({"pruner": "none"}, FADING),
        ({"pruner": {"name": "none"}}, FADING),
        ({}, {"schedule_type": "linear", "final_weight": 0.0, "end_step": 32}),
    ],
)
def test_nothing_is_said_where_trials_can_be_stopped_or_none_is_to_be(
    tuning: dict[str, Any], schedule: dict[str, Any]
) -> None:
    assert describe(tuning, schedule) is None
