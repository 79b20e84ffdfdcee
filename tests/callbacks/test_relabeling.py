"""Trainings from replay buffers while weights move: every sampled reward is checked."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counting import Counting, Ledger
from stable_baselines3 import DDPG, DQN, SAC, TD3
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecNormalize

from rllama_sb3 import (
    RelabelingDictReplayBuffer,
    RelabelingNStepReplayBuffer,
    RelabelingReplayBuffer,
    RewardShapingCallback,
    RewardShapingWrapper,
    RllamaError,
    VecRewardShaping,
    build_shaper,
)

TOTAL = 24
N_ENVS = 2


def reward_of(*, moves: bool, potential: str = "obs[0] / 10") -> dict[str, Any]:
    fading = {"schedule_type": "linear", "final_weight": 0.5, "end_step": TOTAL - 4}
    schedule = {"initial_weight": 5.0, **(fading if moves else {})}
    return {
        "env": {"class": "EnvReward"},
        "time": {"class": "StepPenalty", "weight_schedule": schedule},
        "advice": {
            "class": "PotentialShaping",
            "params": {"potential": potential},
            "weight_schedule": {"initial_weight": 3.0, **(fading if moves else {})},
        },
    }


MOVING, CONSTANT = reward_of(moves=True), reward_of(moves=False)
MOVING_DICT = reward_of(moves=True, potential='obs["count"][0] / 10')
SAVING: dict[str, Any] = {
    "optimize_memory_usage": True,
    "replay_buffer_kwargs": {"handle_timeout_termination": False},
}


def contributed(name: str) -> Callable[..., OffPolicyAlgorithm]:
    def build(*arguments: Any, **kwargs: Any) -> OffPolicyAlgorithm:
        algorithm: OffPolicyAlgorithm = getattr(pytest.importorskip("sb3_contrib"), name)(
            *arguments, **kwargs
        )
        return algorithm

    return build


# How each is built, and whether its actions are numbers.
ALGORITHMS: dict[str, tuple[Callable[..., OffPolicyAlgorithm], bool]] = {
    "DQN": (DQN, False),
    "QRDQN": (contributed("QRDQN"), False),
    "SAC": (SAC, True),
    "TD3": (TD3, True),
    "DDPG": (DDPG, True),
    "TQC": (contributed("TQC"), True),
}


def tiny(**changes: Any) -> dict[str, Any]:
    """Arguments of a model that learns in a moment; its buffer is full after ten steps of each."""
    return {
        "learning_starts": 4,
        "batch_size": 8,
        "buffer_size": 10 * N_ENVS,
        "train_freq": 1,
        "gradient_steps": 1,
        "policy_kwargs": {"net_arch": [4]},
        "device": "cpu",
    } | changes


def build_dqn(reward: dict[str, Any] = MOVING, **changes: Any) -> DQN:
    return DQN("MlpPolicy", build_venv(reward), **tiny(**changes))


def build_venv(
    reward: dict[str, Any], kind: str = "dummy", *, n_envs: int = N_ENVS, **arguments: Any
) -> VecEnv:
    envs: list[Any] = [partial(Counting, index, **arguments) for index in range(n_envs)]
    if kind == "twin":
        return VecRewardShaping(DummyVecEnv(envs), reward)
    shaped = [partial(shape, make, reward) for make in envs]
    return SubprocVecEnv(shaped) if kind == "subproc" else DummyVecEnv(shaped)  # type: ignore[arg-type]


def shape(make: Callable[[], Counting], reward: dict[str, Any]) -> RewardShapingWrapper[Any, Any]:
    return RewardShapingWrapper(make(), reward)


def ledger(reward: dict[str, Any] = MOVING, **arguments: Any) -> Ledger:
    return Ledger(build_shaper(reward).description, **arguments)


def learn(
    model: OffPolicyAlgorithm, books: Ledger, n_steps: int = TOTAL, *, reset: bool = True
) -> None:
    n_before = len(books.sampled_at)
    first = 0 if reset else model.num_timesteps
    model.learn(n_steps, callback=[RewardShapingCallback(), books], reset_num_timesteps=reset)
    starts = max(first, model.learning_starts) + N_ENVS
    expected = list(range(starts, first + n_steps + 1, N_ENVS))
    assert books.sampled_at[n_before:] == expected


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_gradient_step_learns_from_the_weights_of_its_global_step(name: str) -> None:
    build, continuous = ALGORITHMS[name]
    model = build("MlpPolicy", build_venv(MOVING, continuous=continuous), **tiny())
    assert type(model.replay_buffer) is ReplayBuffer
    learn(model, ledger())
    assert type(model.replay_buffer) is RelabelingReplayBuffer


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_buffer_stays_what_it_is_where_no_weight_moves(name: str) -> None:
    build, continuous = ALGORITHMS[name]
    venv = build_venv(CONSTANT, continuous=continuous)
    model = build("MlpPolicy", venv, **tiny())
    buffer = model.replay_buffer
    model.learn(8, callback=RewardShapingCallback())
    assert model.replay_buffer is buffer
    assert type(buffer) is ReplayBuffer
    venv.step_async(np.array([venv.action_space.sample() for _ in range(N_ENVS)]))
    assert all("reward_components" not in info for info in venv.step_wait()[3])


@pytest.mark.parametrize("kind", ["dummy", "subproc", "twin"])
def test_it_does_not_matter_where_rewards_are_computed(kind: str) -> None:
    venv = build_venv(MOVING, kind)
    learn(DQN("MlpPolicy", venv, **tiny()), ledger())
    venv.close()


def test_n_step_returns_are_summed_under_the_present_weights() -> None:
    model = build_dqn(n_steps=3, gamma=0.9)
    assert type(model.replay_buffer) is NStepReplayBuffer
    learn(model, ledger(gamma=0.9, n_steps=3))
    assert type(model.replay_buffer) is RelabelingNStepReplayBuffer
    assert (model.replay_buffer.n_steps, model.replay_buffer.gamma) == (3, 0.9)


@pytest.mark.parametrize("kind", ["dummy", "twin"])
def test_dict_observations_are_relabeled_too(kind: str) -> None:
    venv = build_venv(MOVING_DICT, kind, as_dict=True)
    model = DQN("MultiInputPolicy", venv, **tiny())
    assert type(model.replay_buffer) is DictReplayBuffer
    learn(model, ledger(MOVING_DICT))
    assert type(model.replay_buffer) is RelabelingDictReplayBuffer


def test_a_buffer_that_saves_memory_is_relabeled_too() -> None:
    model = build_dqn(**SAVING)
    learn(model, ledger())
    assert type(model.replay_buffer) is RelabelingReplayBuffer
    assert not hasattr(model.replay_buffer, "next_observations")


@pytest.mark.parametrize("n_steps", [1, 3])
def test_rewards_are_weighted_before_they_are_normalised(n_steps: int) -> None:
    venv = VecNormalize(build_venv(MOVING), norm_obs=False, clip_reward=float("inf"))
    model = DQN("MlpPolicy", venv, **tiny(n_steps=n_steps))
    learn(model, ledger(n_steps=n_steps))


def test_a_class_that_is_given_relabels_constant_weights_as_well() -> None:
    model = build_dqn(CONSTANT, replay_buffer_class=RelabelingReplayBuffer)
    buffer = model.replay_buffer
    learn(model, ledger(CONSTANT))
    assert model.replay_buffer is buffer


@pytest.mark.parametrize("n_steps", [1, 3])
def test_the_buffer_goes_on_over_several_trainings(n_steps: int) -> None:
    model = build_dqn(n_steps=n_steps)
    books = ledger(n_steps=n_steps)
    learn(model, books, 10)
    buffer = model.replay_buffer
    learn(model, books, 10, reset=False)
    assert model.replay_buffer is buffer


def test_a_training_that_starts_anew_weights_old_steps_with_the_first_weights_again() -> None:
    model = build_dqn()
    books = ledger()
    learn(model, books, 12)
    learn(model, books, 12)
    assert model.replay_buffer is not None
    assert model.replay_buffer.full


def test_a_training_without_the_callback_is_refused_once_weights_have_moved() -> None:
    model = build_dqn()
    learn(model, ledger(), 10)
    with pytest.raises(RllamaError, match=r"Pass RewardShapingCallback\(\) to every learn"):
        model.learn(10, reset_num_timesteps=False)


def test_a_training_without_the_callback_goes_on_under_weights_that_do_not_move() -> None:
    model = build_dqn(CONSTANT, replay_buffer_class=RelabelingReplayBuffer)
    learn(model, ledger(CONSTANT), 10)
    model.learn(10, reset_num_timesteps=False)
    assert model.num_timesteps == 20


def test_a_class_that_is_given_needs_the_callback() -> None:
    model = build_dqn({"env": CONSTANT["env"]}, replay_buffer_class=RelabelingReplayBuffer)
    with pytest.raises(RllamaError, match="infos lack 'reward_components'"):
        model.learn(10)


def test_a_buffer_with_rewards_of_an_earlier_training_is_refused() -> None:
    model = build_dqn(CONSTANT)
    model.learn(10, callback=RewardShapingCallback())
    model.set_env(build_venv(MOVING))
    with pytest.raises(RllamaError, match="ReplayBuffer holds rewards that were paid under other"):
        model.learn(10, callback=RewardShapingCallback())


def test_a_buffer_class_of_ones_own_is_refused_only_if_a_weight_moves() -> None:
    class Prioritized(ReplayBuffer):
        pass

    for reward in (CONSTANT, MOVING):
        model = build_dqn(reward, replay_buffer_class=Prioritized)
        if reward is CONSTANT:
            model.learn(6, callback=RewardShapingCallback())
            continue
        with pytest.raises(RllamaError, match="Prioritized keeps rewards as they were paid"):
            model.learn(6, callback=RewardShapingCallback())


def test_a_buffer_of_another_reward_is_refused_until_it_is_emptied() -> None:
    model = build_dqn()
    learn(model, ledger(), 10)
    others = {name: MOVING[name] for name in ("env", "time")}
    model.set_env(build_venv(others))
    with pytest.raises(RllamaError, match="holds values of env, time, advice, but the reward now"):
        model.learn(10, callback=RewardShapingCallback())
    model.replay_buffer.reset()  # type: ignore[union-attr]
    learn(model, ledger(others), 10)


@pytest.mark.filterwarnings("ignore:The last trajectory in the replay buffer will be truncated")
@pytest.mark.parametrize("reward", [MOVING, CONSTANT], ids=["moving", "constant"])
def test_a_trajectory_that_is_cut_to_save_memory_is_refused_with_a_potential(
    reward: dict[str, Any],
) -> None:
    model = build_dqn(reward, replay_buffer_class=RelabelingReplayBuffer, **SAVING)
    learn(model, ledger(reward), 10)
    with pytest.raises(RllamaError, match="optimize_memory_usage, learn.*into a terminal one"):
        model.learn(10, callback=RewardShapingCallback())
    model.replay_buffer.reset()  # type: ignore[union-attr]
    books = ledger(reward)
    learn(model, books, 10)
    learn(model, books, 10, reset=False)


@pytest.mark.filterwarnings("ignore:The last trajectory in the replay buffer will be truncated")
def test_a_trajectory_that_is_cut_to_save_memory_goes_on_without_a_potential() -> None:
    others = {name: MOVING[name] for name in ("env", "time")}
    model = build_dqn(others, **SAVING)
    books = ledger(others)
    learn(model, books, 10)
    learn(model, books, 10)


def test_a_saved_buffer_goes_on_with_another_model(tmp_path: Path) -> None:
    model = build_dqn()
    books = ledger()
    learn(model, books, 12)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    again = DQN.load(tmp_path / "model", env=model.env)
    again.load_replay_buffer(tmp_path / "buffer")
    learn(again, books, 12, reset=False)


GO_ON_ELSEWHERE = """
import pickle
import sys
from pathlib import Path
from stable_baselines3 import DQN
from test_relabeling import MOVING, build_venv, learn, ledger

folder = Path(sys.argv[1])
model = DQN.load(folder / "model", env=build_venv(MOVING, start=400))
model.load_replay_buffer(folder / "buffer")
books = ledger()
books.entries = pickle.loads((folder / "entries").read_bytes())
learn(model, books, 12, reset=False)
print(len(books.sampled_at), min(books.entries))
"""


def test_a_saved_buffer_goes_on_in_another_process(tmp_path: Path) -> None:
    model = build_dqn()
    books = ledger()
    learn(model, books, 12)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    (tmp_path / "entries").write_bytes(pickle.dumps(books.entries))
    here = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-c", GO_ON_ELSEWHERE, str(tmp_path)],
        cwd=here,
        env={"PYTHONPATH": f"{here}:{here.parent}:{here.parents[1]}"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["6", "1"]
