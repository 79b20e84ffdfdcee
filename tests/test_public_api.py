"""What users import, exactly."""

from __future__ import annotations

import inspect

import pytest

import rllama_sb3

PUBLIC = {
    "BayesianRewardOptimizer",
    "CheckReport",
    "ConfigError",
    "RelabelingDictReplayBuffer",
    "RelabelingNStepReplayBuffer",
    "RelabelingReplayBuffer",
    "RewardComponent",
    "RewardComposer",
    "RewardShaper",
    "RewardShapingCallback",
    "RewardShapingWrapper",
    "RllamaError",
    "Transition",
    "TrialEvalCallback",
    "VecRewardShaping",
    "build_shaper",
    "check",
    "compare",
    "evaluate",
    "load_config",
    "load_reward_config",
    "register_component",
    "train",
}


def test_the_public_names_are_these_and_sorted() -> None:
    assert set(rllama_sb3.__all__) == PUBLIC
    assert rllama_sb3.__all__ == sorted(rllama_sb3.__all__)
    assert set(dir(rllama_sb3)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_resolves_and_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(rllama_sb3, name))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'RewardShaperr'"):
        _ = rllama_sb3.RewardShaperr  # type: ignore[attr-defined]


def test_the_names_of_the_optimization_guide_import_from_its_places() -> None:
    from rllama_sb3.optimization import BayesianRewardOptimizer
    from rllama_sb3.rewards import GoalReward, RewardComposer, RewardShaper, StepPenalty

    assert BayesianRewardOptimizer is rllama_sb3.BayesianRewardOptimizer
    assert RewardComposer is rllama_sb3.RewardComposer
    assert RewardShaper is rllama_sb3.RewardShaper
    assert inspect.isclass(GoalReward)
    assert inspect.isclass(StepPenalty)


def test_constructor_parameters_are_those_that_users_code_names() -> None:
    def names(function: object) -> list[str]:
        return list(inspect.signature(function).parameters)  # type: ignore[arg-type]

    assert names(rllama_sb3.RewardComposer) == ["components"]
    assert names(rllama_sb3.RewardShaper)[:4] == [
        "composer",
        "reward_shaping_config",
        "gamma",
        "total_timesteps",
    ]
    assert names(rllama_sb3.build_shaper)[:3] == [
        "reward_shaping_config",
        "gamma",
        "total_timesteps",
    ]
    assert names(rllama_sb3.RewardShapingWrapper)[:4] == [
        "env",
        "reward_shaping",
        "gamma",
        "total_timesteps",
    ]
    assert names(rllama_sb3.TrialEvalCallback)[:2] == ["eval_env", "trial"]
    assert names(rllama_sb3.RewardShaper.shape) == ["self", "raw_reward", "info", "context"]
    optimizer = set(names(rllama_sb3.BayesianRewardOptimizer))
    assert {
        "base_config",
        "search_space",
        "objective_function",
        "objective_kwargs",
        "n_trials",
        "study_name",
        "storage",
        "direction",
    } <= optimizer
