from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import optuna
import pytest
import torch
from lingering import BONUS, FINISH, LINGER, Lingering
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from rllama_sb3 import ConfigError, RewardShapingWrapper, TrialEvalCallback
from rllama_sb3.callbacks import Evaluation


def shaped(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    return RewardShapingWrapper(env, BONUS)


def build_model(action: int = LINGER) -> PPO:
    """An agent that takes one action and learns nothing."""
    model = PPO("MlpPolicy", Lingering(), n_steps=4, batch_size=4, n_epochs=1, learning_rate=0.0)
    with torch.no_grad():
        model.policy.action_net.bias[action] = 1e3
    return model


class Pruner(optuna.pruners.BasePruner):
    """Prunes when told to, and notes when it was asked."""

    def __init__(self, prune: bool = False) -> None:
        self._prune = prune
        self.asked_after: list[int | None] = []

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        self.asked_after.append(trial.last_step)
        return self._prune


def ask(pruner: optuna.pruners.BasePruner | None = None) -> optuna.Trial:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(direction="maximize", pruner=pruner).ask()


def reports(trial: optuna.Trial) -> dict[int, float]:
    return trial.study.trials[trial.number].intermediate_values


@pytest.mark.parametrize(
    "build",
    [
        Lingering,
        lambda: shaped(Lingering()),
        lambda: shaped(Monitor(Lingering())),
        lambda: Monitor(shaped(Lingering())),
    ],
    ids=["plain", "no Monitor", "Monitor inside", "Monitor outside"],
)
@pytest.mark.parametrize(("action", "env_return"), [(FINISH, 100.0), (LINGER, 0.0)])
def test_the_trial_is_told_the_env_return(
    build: Callable[[], gym.Env[Any, Any]], action: int, env_return: float
) -> None:
    trial = ask()
    callback = TrialEvalCallback(build(), trial, n_eval_episodes=2, eval_freq=4)
    build_model(action).learn(8, callback=callback)
    assert reports(trial) == {1: env_return, 2: env_return}
    assert callback.best_mean_reward == env_return


def test_evaluations_are_spread_evenly_and_the_last_one_judges_the_final_model() -> None:
    updates: list[int] = []
    model = build_model()
    callback = TrialEvalCallback(
        Lingering(),
        n_eval_episodes=1,
        n_evaluations=4,
        on_evaluation=lambda _: updates.append(model._n_updates),
    )
    model.learn(30, callback=callback)  # PPO goes on until the end of its rollout, at 32
    assert [e.global_step for e in callback.evaluations] == [8, 15, 23, 32]
    assert [e.index for e in callback.evaluations] == [1, 2, 3, 4]
    assert updates[-1] == model._n_updates == 8
    assert updates[-2] == 5


def test_points_that_one_step_passes_together_are_evaluated_once() -> None:
    venv = DummyVecEnv([lambda: Monitor(Lingering())] * 4)
    model = PPO("MlpPolicy", venv, n_steps=2, batch_size=8, n_epochs=1)
    callback = TrialEvalCallback(Lingering(), n_eval_episodes=1, n_evaluations=6)
    model.learn(12, callback=callback)
    # After 4 and 8 of 12 steps, two and four of the six points have passed.
    assert [(e.global_step, e.index) for e in callback.evaluations] == [(4, 2), (8, 4), (16, 6)]


def test_a_training_that_is_continued_is_evaluated_over_its_new_steps() -> None:
    model = build_model()
    callback = TrialEvalCallback(Lingering(), n_eval_episodes=1, n_evaluations=2)
    model.learn(8, callback=callback)
    model.learn(8, callback=callback, reset_num_timesteps=False)
    assert [e.global_step for e in callback.evaluations] == [4, 8, 12, 16]


def test_steps_of_reports_are_unique_when_training_is_continued() -> None:
    trial = ask()
    model = build_model()
    callback = TrialEvalCallback(Lingering(), trial, n_eval_episodes=1, n_evaluations=2)
    model.learn(8, callback=callback)
    model.learn(8, callback=callback, reset_num_timesteps=False)
    assert list(reports(trial)) == [1, 2, 3, 4]
    assert [evaluation.global_step for evaluation in callback.evaluations] == [4, 8, 12, 16]


def test_steps_of_reports_are_unique_over_the_seeds_of_a_trial() -> None:
    trial = ask()
    for seed_index, action in enumerate([FINISH, LINGER]):
        callback = TrialEvalCallback(
            Lingering(),
            trial,
            n_eval_episodes=1,
            n_evaluations=3,
            report_offset=3 * seed_index,
        )
        build_model(action).learn(12, callback=callback)
    assert reports(trial) == {1: 100.0, 2: 100.0, 3: 100.0, 4: 0.0, 5: 0.0, 6: 0.0}


def test_what_is_reported_may_be_made_of_all_evaluations_so_far() -> None:
    trial = ask()
    callback = TrialEvalCallback(
        Lingering(),
        trial,
        n_eval_episodes=1,
        n_evaluations=3,
        report_value=lambda evaluations: sum(e.mean for e in evaluations),
    )
    build_model(FINISH).learn(12, callback=callback)
    assert reports(trial) == {1: 100.0, 2: 200.0, 3: 300.0}


def test_a_pruned_trial_stops_training() -> None:
    trial = ask(Pruner(prune=True))
    callback = TrialEvalCallback(Lingering(), trial, n_eval_episodes=1, n_evaluations=4)
    model = build_model()
    model.learn(32, callback=callback)
    assert callback.pruned
    assert model.num_timesteps == 8
    assert len(callback.evaluations) == 1


def test_pruning_waits_for_the_schedules() -> None:
    pruner = Pruner()
    callback = TrialEvalCallback(
        Lingering(), ask(pruner), n_eval_episodes=1, n_evaluations=4, min_prune_step=10
    )
    build_model().learn(32, callback=callback)
    # The first evaluation comes too early, and after the last nothing is left to prune.
    assert pruner.asked_after == [2, 3]


class NotANumber(Lingering):
    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        obs, _, terminated, truncated, info = super().step(action)
        return obs, math.nan, terminated, truncated, info


def test_a_mean_that_is_not_a_number_is_left_to_the_objective() -> None:
    trial = ask()
    callback = TrialEvalCallback(NotANumber(), trial, n_eval_episodes=1, eval_freq=4)
    build_model().learn(4, callback=callback)
    assert reports(trial) == {}
    assert math.isnan(callback.evaluations[0].mean)


def test_a_study_of_several_objectives_is_not_reported_to() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trial = optuna.create_study(directions=["maximize", "minimize"]).ask()
    callback = TrialEvalCallback(Lingering(), trial, n_eval_episodes=1, eval_freq=2)
    build_model().learn(4, callback=callback)
    assert len(callback.evaluations) == 2
    assert not callback.pruned


def test_a_trial_without_a_study_is_reported_to() -> None:
    trial = optuna.trial.FixedTrial({})
    callback = TrialEvalCallback(Lingering(), trial, n_eval_episodes=1, eval_freq=2)
    build_model().learn(4, callback=callback)
    assert not callback.pruned


def parameters(model: BaseAlgorithm) -> list[np.ndarray]:
    return [value.detach().numpy() for value in model.policy.parameters()]


@pytest.mark.parametrize("name", ["PPO", "DQN"])
def test_evaluation_leaves_training_identical_to_the_last_bit(name: str) -> None:
    def learn(with_evaluation: bool) -> list[np.ndarray]:
        venv = make_vec_env("CartPole-v1", n_envs=2, seed=0)
        model: BaseAlgorithm
        if name == "PPO":
            model = PPO("MlpPolicy", venv, n_steps=16, batch_size=8, n_epochs=2, seed=0)
        else:
            model = DQN("MlpPolicy", venv, learning_starts=8, batch_size=8, seed=0)
        callback = TrialEvalCallback(
            make_vec_env("CartPole-v1", n_envs=2), n_eval_episodes=4, n_evaluations=3, seed=1
        )
        model.learn(96, callback=callback if with_evaluation else None)
        return parameters(model)

    for with_, without in zip(learn(True), learn(False), strict=True):
        np.testing.assert_array_equal(with_, without)


def test_every_evaluation_starts_from_the_same_states() -> None:
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=4, batch_size=4, learning_rate=0.0)
    callback = TrialEvalCallback(
        make_vec_env("CartPole-v1", n_envs=2), n_eval_episodes=6, eval_freq=4, seed=5
    )
    model.learn(8, callback=callback)
    first, second = callback.evaluations
    assert first.env_returns.tolist() == second.env_returns.tolist()
    assert len(set(first.env_returns)) > 1


def test_the_schedules_of_the_training_environments_are_left_alone() -> None:
    reward = {
        "env": {
            "class": "EnvReward",
            "weight_schedule": {
                "initial_weight": 1.0,
                "schedule_type": "linear",
                "final_weight": 0.0,
                "end_step": 100,
            },
        }
    }
    train_env, eval_env = (RewardShapingWrapper(Lingering(), reward) for _ in range(2))
    model = PPO("MlpPolicy", train_env, n_steps=4, batch_size=4)
    model.learn(8, callback=TrialEvalCallback(eval_env, n_eval_episodes=3, eval_freq=2))
    assert train_env.shaper.global_step == 8
    assert eval_env.shaper.global_step > 8


def test_potentials_of_evaluation_environments_get_the_models_discount_factor() -> None:
    reward = {
        "env": {"class": "EnvReward"},
        "early": {"class": "PotentialShaping", "params": {"potential": "-obs[0]"}},
    }
    eval_env = RewardShapingWrapper(Lingering(), reward)
    callback = TrialEvalCallback(eval_env, n_eval_episodes=1, eval_freq=4)
    build_model(FINISH).learn(4, callback=callback)
    assert callback.last_mean_reward == 100.0
    assert eval_env.shaper.gamma == 0.99


def test_normalised_training_is_judged_with_its_statistics_and_the_original_reward() -> None:
    model = PPO("MlpPolicy", VecNormalize(make_vec_env("CartPole-v1")), n_steps=8, batch_size=8)
    eval_env = VecNormalize(make_vec_env("CartPole-v1"))  # training and norm_reward left on
    callback = TrialEvalCallback(eval_env, n_eval_episodes=2, eval_freq=8)
    model.learn(8, callback=callback)
    trained_on = model.get_vec_normalize_env()
    assert trained_on is not None
    assert eval_env.obs_rms.count == trained_on.obs_rms.count
    np.testing.assert_array_equal(
        callback.evaluations[0].env_returns, callback.evaluations[0].lengths
    )


def test_a_normalised_reward_without_a_record_of_the_original_is_refused() -> None:
    with pytest.raises(ConfigError, match="eval_env: must show the original reward"):
        TrialEvalCallback(VecNormalize(DummyVecEnv([Lingering])))


def test_the_training_environment_is_refused_for_evaluation() -> None:
    model = build_model()
    venv = model.get_env()
    assert venv is not None
    with pytest.raises(ConfigError, match="eval_env: must not be the training environment"):
        model.learn(4, callback=TrialEvalCallback(venv))


@pytest.mark.parametrize("name", ["n_eval_episodes", "eval_freq", "n_evaluations"])
def test_counts_below_one_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: must be a whole number of at least 1"):
        TrialEvalCallback(Lingering(), **{name: 0})


def test_being_told_twice_that_training_ended_does_not_evaluate_twice() -> None:
    callback = TrialEvalCallback(Lingering(), n_eval_episodes=1, n_evaluations=1)
    build_model().learn(4, callback=callback)
    callback.on_training_end()
    assert len(callback.evaluations) == 1


class Succeeding(Lingering):
    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, _ = super().step(action)
        return obs, reward, terminated, truncated, {"is_success": action == FINISH}


def test_what_eval_callback_does_still_works(tmp_path: Path) -> None:
    class Best(BaseCallback):
        def _on_step(self) -> bool:
            found.append(self.num_timesteps)
            return True

    found: list[int] = []
    callback = TrialEvalCallback(
        Monitor(shaped(Succeeding())),
        n_eval_episodes=2,
        eval_freq=4,
        log_path=str(tmp_path),
        best_model_save_path=str(tmp_path),
        callback_on_new_best=Best(),
    )
    build_model(FINISH).learn(8, callback=callback)
    assert found == [4]
    assert PPO.load(tmp_path / "best_model").num_timesteps == 4
    saved = np.load(tmp_path / "evaluations.npz")
    assert saved["results"].tolist() == [[100.0, 100.0]] * 2
    assert saved["successes"].tolist() == [[True, True]] * 2


def test_an_evaluation_describes_its_episodes() -> None:
    evaluation = Evaluation(
        env_returns=np.array([1.0, 3.0]), lengths=np.array([5, 7]), index=1, global_step=10
    )
    assert (evaluation.mean, evaluation.std) == (2.0, 1.0)
