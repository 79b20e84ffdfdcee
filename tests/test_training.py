from __future__ import annotations

import base64
import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import optuna
import pytest
import torch
from counting import Counting, Ledger
from lingering import BONUS, Lingering
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback, ConvertCallback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rllama_sb3 import (
    ConfigError,
    RelabelingNStepReplayBuffer,
    RelabelingReplayBuffer,
    RllamaError,
    build_shaper,
    train,
)
from rllama_sb3.callbacks import Evaluation
from rllama_sb3.config import parse_experiment, read_yaml
from rllama_sb3.errors import ComponentError
from rllama_sb3.rewards import Transition, register_component
from rllama_sb3.training import DivergedError, check_runnable

gym.register("Lingering-v0", Lingering)
gym.register("Counting-v0", Counting)

FADING: dict[str, Any] = {
    "env": {"class": "EnvReward"},
    "upright": {
        "class": "PotentialShaping",
        "params": {"potential": "-abs(obs[2])"},
        "weight_schedule": {
            "initial_weight": 2.0,
            "schedule_type": "linear",
            "final_weight": 0.0,
            "end_step": "50%",
        },
    },
}
PPO_PARAMS = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "policy_kwargs": {"net_arch": [8]}}
DQN_PARAMS = {"learning_starts": 16, "buffer_size": 200, "policy_kwargs": {"net_arch": [8]}}


def experiment(name: str = "PPO", /, **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "env": {"id": "CartPole-v1", "n_envs": 2},
        "reward_shaping": FADING,
        "algorithm": {
            "name": name,
            "params": {"PPO": PPO_PARAMS, "DQN": DQN_PARAMS}[name],
        },
        "training": {"total_timesteps": 96, "seed": 3},
        "evaluation": {"n_episodes": 4, "n_evaluations": 3, "n_envs": 2},
    }
    return base | changes


def parameters(model: Any) -> list[np.ndarray]:
    return [value.detach().cpu().numpy() for value in model.policy.parameters()]


class Raising(BaseCallback):
    def __init__(self, error: BaseException, at: int) -> None:
        super().__init__()
        self._error, self._at = error, at

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._at:
            raise self._error
        return True


def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "run.json").read_text())
    return found


@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_the_same_config_and_seed_give_the_same_result(algorithm: str) -> None:
    first, again = (train(experiment(algorithm)) for _ in range(2))
    other = train(experiment(algorithm), seed=4)
    for a, b in zip(parameters(first.model), parameters(again.model), strict=True):
        np.testing.assert_array_equal(a, b)
    returns = [e.env_returns.tolist() for e in first.evaluations]
    assert returns == [e.env_returns.tolist() for e in again.evaluations]
    assert returns != [e.env_returns.tolist() for e in other.evaluations]
    assert (first.seed, other.seed) == (3, 4)


def test_a_seed_given_in_the_config_is_the_same_as_one_given_to_train() -> None:
    config = experiment(training={"total_timesteps": 96, "seed": 9})
    in_config, as_argument = train(config), train(experiment(), seed=9)
    assert in_config.env_return == as_argument.env_return


def test_the_result_tells_what_was_done() -> None:
    seen: list[Evaluation] = []
    result = train(parse_experiment(experiment()), on_evaluation=seen.append)
    assert isinstance(result.model, PPO)
    assert [e.global_step for e in result.evaluations] == [32, 64, 96]
    assert list(result.evaluations) == seen
    assert result.env_return == seen[-1].mean
    assert (result.n_steps, result.out, result.pruned) == (96, None, False)
    assert result.seconds > 0


def test_a_policy_is_judged_by_the_env_return_and_not_by_the_bonus() -> None:
    config = experiment(env={"id": "Lingering-v0"}, reward_shaping=BONUS)
    result = train(config)
    for evaluation in result.evaluations:
        for env_return, length in zip(evaluation.env_returns, evaluation.lengths, strict=True):
            # The shaped return would be 10 for each step more.
            assert env_return == (0.0 if length == 22 else 100.0)


@pytest.mark.parametrize("shaped", [True, False])
def test_everything_of_a_run_is_in_its_folder(tmp_path: Path, shaped: bool) -> None:
    out = tmp_path / "runs" / "first"
    config = experiment(reward_shaping=FADING if shaped else {})
    result = train(config, seed=5, out=out)
    assert sorted(path.name for path in out.iterdir()) == [
        "best_model.zip",
        "config.yaml",
        "evaluations.csv",
        "model.zip",
        "run.json",
        "tensorboard",
    ]
    saved = parse_experiment(read_yaml(out / "config.yaml").data)
    assert saved.training.seed == 5
    assert train(saved).env_return == result.env_return
    rows = list(csv.DictReader((out / "evaluations.csv").read_text().splitlines()))
    assert [int(row["global_step"]) for row in rows] == [32, 64, 96]
    assert float(rows[-1]["mean_env_return"]) == result.env_return
    assert record(out)["state"] == "finished"
    assert record(out)["env_return"] == result.env_return
    assert result.out == out


def test_returns_components_and_weights_are_in_the_event_file(tmp_path: Path) -> None:
    config = experiment(training={"total_timesteps": 192, "seed": 3})
    train(config, out=tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {
        "reward/env_return",
        "reward/shaped_return",
        "reward/env/raw",
        "reward/env/weighted",
        "reward/env/weight",
        "reward/upright/raw",
        "reward/upright/weighted",
        "reward/upright/weight",
        "eval/mean_reward",
        "rollout/ep_rew_mean",
    } <= set(events.Tags()["scalars"])
    for event in events.Scalars("reward/upright/weight"):
        assert event.value == pytest.approx(max(0.0, 2.0 * (1 - event.step / 96)))


def test_without_components_both_returns_are_logged_and_equal(tmp_path: Path) -> None:
    train(experiment(reward_shaping={}), out=tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    env, shaped = (
        [(event.step, event.value) for event in events.Scalars(f"reward/{name}")]
        for name in ("env_return", "shaped_return")
    )
    assert env == shaped != []


@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_a_saved_model_is_plain_stable_baselines(tmp_path: Path, algorithm: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trial = optuna.create_study().ask()
    result = train(experiment(algorithm), out=tmp_path, trial=trial)
    for name in ("model.zip", "best_model.zip"):
        with zipfile.ZipFile(tmp_path / name) as archive:
            data = json.loads(archive.read("data"))
        pickled = [v[":serialized:"] for v in data.values() if ":serialized:" in str(v)]
        assert pickled
        text = b"".join(base64.b64decode(item) for item in pickled)
        assert b"rllama" not in text
        assert b"optuna" not in text
    loaded = {"PPO": PPO, "DQN": DQN}[algorithm].load(tmp_path / "model.zip")
    for ours, theirs in zip(parameters(result.model), parameters(loaded), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_ctrl_c_leaves_a_model_that_loads(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(experiment(), out=tmp_path, callbacks=[Raising(KeyboardInterrupt(), at=50)])
    assert PPO.load(tmp_path / "model.zip").num_timesteps == 50
    assert (record(tmp_path)["state"], record(tmp_path)["global_step"]) == ("interrupted", 50)
    assert len((tmp_path / "evaluations.csv").read_text().splitlines()) == 2


def test_an_error_is_recorded_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        train(experiment(), out=tmp_path, callbacks=[Raising(ZeroDivisionError("by 0"), at=50)])
    assert record(tmp_path)["state"] == "failed"
    assert record(tmp_path)["reason"] == "ZeroDivisionError: by 0"
    # What the last evaluation saved is still there.
    assert PPO.load(tmp_path / "model.zip").num_timesteps == 32


def test_a_training_that_diverges_says_so_and_since_when(tmp_path: Path) -> None:
    spoilt = {"name": "PPO", "params": PPO_PARAMS | {"learning_rate": 1e30}}
    with pytest.raises(DivergedError, match="by global step 32 .* not finite .ValueError: Exp"):
        train(experiment(algorithm=spoilt), out=tmp_path)
    assert record(tmp_path)["state"] == "failed"


def test_a_component_that_fails_stops_the_training(tmp_path: Path) -> None:
    @register_component(name="FailsLater")
    def _fails_later(transition: Transition) -> float:
        return 1.0 if transition.next_obs[2] > 0 else float("nan")

    config = experiment(reward_shaping=FADING | {"odd": {"class": "FailsLater"}})
    with pytest.raises(ComponentError, match="odd"):
        train(config, out=tmp_path)
    assert record(tmp_path)["state"] == "failed"


def test_normalised_training_saves_what_its_model_needs(tmp_path: Path) -> None:
    config = experiment(env={"id": "CartPole-v1", "normalize": {"obs": True, "reward": True}})
    train(config, out=tmp_path)
    assert (tmp_path / "vecnormalize.pkl").is_file()
    assert (tmp_path / "best_vecnormalize.pkl").is_file()


def test_a_training_in_worker_processes_is_the_same_as_in_one(tmp_path: Path) -> None:
    env = {"id": "CartPole-v1", "n_envs": 2}
    evaluation = {"n_episodes": 2, "n_evaluations": 1, "n_envs": 1}
    one = train(experiment(env=env, evaluation=evaluation))
    several = train(experiment(env={**env, "vec_env": "subproc"}, evaluation=evaluation))
    assert one.env_return == several.env_return
    # The rewards of worker processes are double precision, and rounded in the same buffer.
    for a, b in zip(parameters(one.model), parameters(several.model), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_an_environment_that_dies_in_a_worker_is_explained() -> None:
    @register_component(name="FailsInWorker")
    def _fails_in_worker(transition: Transition) -> float:
        raise ValueError("odd")

    config = experiment(
        env={"id": "CartPole-v1", "vec_env": "subproc"},
        reward_shaping=FADING | {"odd": {"class": "FailsInWorker"}},
        evaluation={"n_episodes": 1, "n_evaluations": 1, "n_envs": 1},
    )
    with pytest.raises(RllamaError, match="the process of an environment ended"):
        train(config)


def test_reports_of_a_trial_are_unique_over_its_seeds() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    trial = study.ask()
    first = train(experiment(), seed=0, trial=trial)
    second = train(
        experiment(),
        seed=1,
        trial=trial,
        report_offset=3,
        report_value=lambda evaluations: (first.env_return + evaluations[-1].mean) / 2,
    )
    values = study.trials[0].intermediate_values
    assert list(values) == [1, 2, 3, 4, 5, 6]
    assert values[3] == first.env_return
    assert values[6] == pytest.approx((first.env_return + second.env_return) / 2)


def test_a_pruned_training_says_so(tmp_path: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.ThresholdPruner(lower=1e6)
    trial = optuna.create_study(pruner=pruner).ask()
    result = train(experiment(), trial=trial, out=tmp_path)
    assert result.pruned
    assert (result.n_steps, len(result.evaluations)) == (32, 1)
    assert record(tmp_path)["pruned"]
    waited = train(experiment(), trial=trial, report_offset=3, min_prune_step=64)
    assert (waited.n_steps, len(waited.evaluations)) == (64, 2)


def test_threads_are_set_for_the_training_only() -> None:
    seen: list[int] = []
    callback = ConvertCallback(lambda *_: seen.append(torch.get_num_threads()) or True)
    training = {"total_timesteps": 32, "seed": 0, "torch_threads": 2}
    train(experiment(training=training), callbacks=[callback])
    assert set(seen) == {2}
    assert torch.get_num_threads() == 1


def test_all_problems_are_found_before_anything_starts(tmp_path: Path) -> None:
    config = experiment(
        env={"id": "CartPol-v1"},
        reward_shaping={
            "env": {"class": "EnvRewrd"},
            "up": {**FADING["upright"], "params": {"potential": "-abs(ob[2])"}},
        },
        algorithm={"name": "PPO", "params": {"gama": 0.9}},
    )
    with pytest.raises(ConfigError) as caught:
        train(config, out=tmp_path / "run")
    places = [".".join(map(str, problem.path)) for problem in caught.value.problems]
    assert places[0] == "env.id"
    assert "reward_shaping.env.class" in places
    assert any(place.startswith("reward_shaping.up.params") for place in places)
    assert places[-1] == "algorithm.params.gama"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm": {"name": "SAC"}}, "algorithm.name: must be able to learn in the action"),
        ({"env": {"id": "CartPole-v1", "kwargs": {"x": 1}}}, "env.kwargs: must be accepted"),
        ({"trainin": {}}, "trainin"),
        ({"training": {"total_timesteps": 0}}, "training.total_timesteps"),
    ],
)
def test_a_config_that_cannot_run_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(experiment(**changes))


@pytest.mark.parametrize("seed", [-1, 2**31, 0.5])
def test_a_seed_out_of_range_is_refused(seed: Any) -> None:
    with pytest.raises(ConfigError, match=r"training\.seed"):
        train(experiment(), seed=seed)


def test_a_folder_with_a_run_in_it_is_left_alone(tmp_path: Path) -> None:
    train(experiment(training={"total_timesteps": 32}), out=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(ConfigError, match="it holds a run, and nothing is overwritten"):
        train(experiment(), out=tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}


def test_what_the_networks_refuse_is_found_before_the_folder_is_filled(tmp_path: Path) -> None:
    config = experiment(algorithm={"name": "PPO", "policy": "CnnPolicy", "params": PPO_PARAMS})
    with pytest.raises(ConfigError, match=r"algorithm\.params: must be accepted by PPO"):
        train(config, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


class Prioritized(ReplayBuffer):
    """A buffer of a user's own."""


@pytest.mark.parametrize(
    ("params", "key", "message"),
    [
        (
            {"replay_buffer_class": Prioritized},
            "replay_buffer_class",
            "must weight stored rewards anew when a weight_schedule moves, but got 'Prioritized'",
        ),
        (
            {"replay_buffer_class": NStepReplayBuffer, "gamma": 0.9},
            "replay_buffer_kwargs.gamma",
            "must be the algorithm's own, 0.9, but got 0.99",
        ),
        (
            {
                "replay_buffer_class": RelabelingNStepReplayBuffer,
                "replay_buffer_kwargs": {"n_steps": 2, "gamma": 0.5},
            },
            "replay_buffer_kwargs.gamma",
            "must be the algorithm's own, 0.99, but got 0.5",
        ),
        (
            {"replay_buffer_class": "RelabelingReplayBuffer"},
            "replay_buffer_class",
            "must be a Python object, but got 'RelabelingReplayBuffer'. No file can express it",
        ),
    ],
)
def test_a_replay_buffer_that_rewards_would_go_stale_in_is_refused_before_the_training(
    params: dict[str, Any], key: str, message: str
) -> None:
    config = experiment(algorithm={"name": "DQN", "params": {**DQN_PARAMS, **params}})
    with pytest.raises(ConfigError) as caught:
        train(config)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"algorithm.params.{key}: {message}")


@pytest.mark.parametrize(
    "params",
    [
        {"replay_buffer_class": RelabelingReplayBuffer},
        {"replay_buffer_class": ReplayBuffer},
        {
            "replay_buffer_class": NStepReplayBuffer,
            "replay_buffer_kwargs": {"n_steps": 2, "gamma": 0.9},
            "gamma": 0.9,
        },
    ],
)
def test_a_replay_buffer_that_can_be_relabeled_is_accepted(params: dict[str, Any]) -> None:
    config = experiment(algorithm={"name": "DQN", "params": {**DQN_PARAMS, **params}})
    assert check_runnable(parse_experiment(config)) == []


def test_a_replay_buffer_of_ones_own_is_accepted_where_no_weight_moves() -> None:
    params = {**DQN_PARAMS, "replay_buffer_class": Prioritized}
    config = experiment(
        algorithm={"name": "DQN", "params": params}, reward_shaping={"env": FADING["env"]}
    )
    assert check_runnable(parse_experiment(config)) == []


@pytest.mark.parametrize("shaping", ["wrapper", "vec"])
@pytest.mark.parametrize("n_steps", [1, 3])
def test_a_training_samples_every_reward_under_the_present_weights(
    shaping: str, n_steps: int
) -> None:
    upright = {**FADING["upright"], "params": {"potential": "obs[0] / 10"}}
    reward = {"env": {"class": "EnvReward"}, "upright": upright}
    only_rewards = {"obs": False, "reward": True}
    params = {"learning_starts": 8, "train_freq": 1, "buffer_size": 20, "n_steps": n_steps}
    total = 48
    books = Ledger(build_shaper(reward, total_timesteps=total).description, 0.9, n_steps)
    train(
        experiment(
            env={"id": "Counting-v0", "shaping": shaping, "normalize": only_rewards},
            reward_shaping=reward,
            algorithm={"name": "DQN", "params": {**params, "gamma": 0.9}},
            training={"total_timesteps": total},
        ),
        callbacks=[books],
    )
    assert books.sampled_at == list(range(9, total + 1))


def test_a_learner_that_does_not_see_step_rewards_is_refused_with_shaping() -> None:
    pytest.importorskip("sb3_contrib")
    config = experiment(algorithm={"name": "ARS"})
    (problem,) = check_runnable(parse_experiment(config))
    assert problem.path == ("algorithm", "name")
    unshaped = parse_experiment({**config, "reward_shaping": {}})
    assert check_runnable(unshaped) == []


@pytest.mark.parametrize(
    ("name", "policy", "env_id", "params"),
    [
        ("A2C", "MlpPolicy", "CartPole-v1", {"n_steps": 8}),
        ("DDPG", "MlpPolicy", "Pendulum-v1", {"buffer_size": 100}),
        ("SAC", "MlpPolicy", "Pendulum-v1", {"buffer_size": 100, "learning_starts": 15}),
        ("TD3", "MlpPolicy", "Pendulum-v1", {"buffer_size": 100, "train_freq": [4, "step"]}),
        ("CrossQ", "MlpPolicy", "Pendulum-v1", {"buffer_size": 100}),
        ("QRDQN", "MlpPolicy", "CartPole-v1", {"buffer_size": 100}),
        ("RecurrentPPO", "MlpLstmPolicy", "CartPole-v1", {"n_steps": 8, "batch_size": 8}),
        ("TQC", "MlpPolicy", "Pendulum-v1", {"buffer_size": 100}),
        ("TRPO", "MlpPolicy", "CartPole-v1", {"n_steps": 8, "batch_size": 8}),
    ],
)
def test_every_algorithm_trains(
    name: str, policy: str, env_id: str, params: dict[str, Any]
) -> None:
    pytest.importorskip("sb3_contrib")
    kwargs = {"max_episode_steps": 8}
    result = train(
        {
            "env": {"id": env_id, "kwargs": kwargs},
            "reward_shaping": {
                "env": {"class": "EnvReward"},
                "near": {"class": "PotentialShaping", "params": {"potential": "-abs(obs[0])"}},
            },
            "algorithm": {"name": name, "policy": policy, "params": params},
            "training": {"total_timesteps": 16},
            "evaluation": {"n_episodes": 1, "n_evaluations": 2},
        }
    )
    assert result.n_steps == 16
    assert np.isfinite(result.env_return)


def test_ars_trains_without_shaping() -> None:
    pytest.importorskip("sb3_contrib")
    result = train(
        experiment(
            env={"id": "CartPole-v1"},
            reward_shaping={},
            algorithm={"name": "ARS", "policy": "LinearPolicy", "params": {"n_delta": 2}},
        )
    )
    assert len(result.evaluations) == 3
