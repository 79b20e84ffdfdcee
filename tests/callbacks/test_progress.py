"""How far a training is."""

from __future__ import annotations

import pytest
from tiny import tiny_experiment

from rllama_sb3.callbacks.progress import ProgressCallback, TrainingProgress
from rllama_sb3.training import train


def test_a_training_is_followed_to_its_end() -> None:
    progress = TrainingProgress(128)
    seen: list[int] = []
    callback = ProgressCallback(progress, lambda state: seen.append(state.n_steps), min_seconds=0)
    train(tiny_experiment(), callbacks=[callback])
    assert seen[0] == 0
    assert seen[-1] == progress.n_steps == 128
    assert seen == sorted(seen)
    assert progress.share == 1.0
    assert progress.seconds_left == 0.0
    assert progress.steps_per_second > 0
    assert progress.n_episodes > 0


def test_both_returns_are_of_their_own_reward() -> None:
    doubled = {"reward_shaping": {"env": {"weight_schedule": {"initial_weight": 2.0}}}}
    config = tiny_experiment(**doubled)
    del config["reward_shaping"]["upright"]
    progress = TrainingProgress(128)
    train(config, callbacks=[ProgressCallback(progress)])
    assert progress.env_return is not None
    assert progress.shaped_return == pytest.approx(2 * progress.env_return)


def test_without_components_the_returns_are_the_same() -> None:
    progress = TrainingProgress(128)
    train(tiny_experiment() | {"reward_shaping": {}}, callbacks=[ProgressCallback(progress)])
    assert progress.env_return == progress.shaped_return is not None


def test_another_training_starts_anew() -> None:
    progress = TrainingProgress(128)
    callback = ProgressCallback(progress)
    train(tiny_experiment(), callbacks=[callback])
    n_episodes = progress.n_episodes
    train(tiny_experiment(), callbacks=[callback])
    assert (progress.n_steps, progress.n_episodes) == (128, n_episodes)


def test_updates_are_rare_enough_to_cost_nothing() -> None:
    updates: list[float] = []
    callback = ProgressCallback(
        TrainingProgress(128), lambda state: updates.append(state.seconds), min_seconds=3600
    )
    train(tiny_experiment(), callbacks=[callback])
    # One at the start and one at the end.
    assert len(updates) == 2
