"""The weight at global step t is w(t): seen through a component whose value is 1.

The shaped reward of each step is then the weight itself, in every algorithm, number of
environments and kind of ``VecEnv``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray
from recorder import Recorder
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from rllama_sb3 import RewardShapingCallback, RewardShapingWrapper, VecRewardShaping

TOTAL = 24
FADING: dict[str, Any] = {
    "one": {
        "class": "StepPenalty",
        "params": {"penalty": 1.0},
        "weight_schedule": {
            "initial_weight": 5.0,
            "schedule_type": "linear",
            "final_weight": 1.0,
            "end_step": "100%",
        },
    },
    "env": {"class": "EnvReward"},
}
ALGORITHMS: dict[str, Callable[[VecEnv], BaseAlgorithm]] = {
    "PPO": lambda venv: PPO("MlpPolicy", venv, n_steps=4, batch_size=4, n_epochs=1),
    "A2C": lambda venv: A2C("MlpPolicy", venv, n_steps=3),
    "DQN": lambda venv: DQN(
        "MlpPolicy", venv, learning_starts=6, buffer_size=100, batch_size=4, train_freq=2
    ),
    "SAC": lambda venv: SAC("MlpPolicy", venv, learning_starts=6, buffer_size=100, batch_size=4),
}


def weight_at(step: int) -> float:
    return 5.0 - 4.0 * min(step / TOTAL, 1.0)


class Idle(gym.Env[NDArray[np.float32], Any]):
    """Pays nothing; every seventh step ends an episode, by turns terminated and truncated."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, continuous: bool) -> None:
        self.action_space = (
            gym.spaces.Box(-1.0, 1.0, (1,), np.float32) if continuous else gym.spaces.Discrete(2)
        )
        self._n_steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self._n_steps += 1
        ends, by_time = self._n_steps % 7 == 0, self._n_steps % 14 == 0
        return np.zeros(1, np.float32), 0.0, ends and not by_time, ends and by_time, {}


def build_venv(n_envs: int, kind: str, continuous: bool) -> VecEnv:
    arguments = {"reward_shaping": FADING, "total_timesteps": TOTAL}
    around_each = kind != "twin"
    venv: VecEnv = make_vec_env(
        partial(Idle, continuous),
        n_envs=n_envs,
        vec_env_cls=SubprocVecEnv if kind == "subproc" else DummyVecEnv,
        wrapper_class=RewardShapingWrapper if around_each else None,
        wrapper_kwargs=arguments if around_each else None,
    )
    return venv if around_each else VecRewardShaping(venv, **arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def venvs() -> Iterator[Callable[[int, str, bool], VecEnv]]:
    """Environments by number, kind and action space; processes are started once for all tests."""
    built: dict[tuple[int, str, bool], VecEnv] = {}

    def get(*key: Any) -> VecEnv:
        if key not in built:
            built[key] = build_venv(*key)
        return built[key]

    yield get
    for venv in built.values():
        venv.close()


def evaluation(continuous: bool) -> EvalCallback:
    """An evaluation in shaped environments, whose clock must not touch that of the training."""
    env = RewardShapingWrapper(Monitor(Idle(continuous)), FADING, total_timesteps=TOTAL)
    return EvalCallback(env, eval_freq=2, n_eval_episodes=1, verbose=0)


@pytest.mark.filterwarnings("ignore:Training and eval env are not of the same type")
@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("kind", ["dummy", "subproc", "twin"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_each_step_is_paid_with_the_weight_of_its_global_step(
    name: str, kind: str, n_envs: int, venvs: Callable[..., VecEnv]
) -> None:
    continuous = name == "SAC"
    model = ALGORITHMS[name](venvs(n_envs, kind, continuous))
    for reset in (True, False, True):
        recorder = Recorder(weight_at)
        first = 0 if reset else model.num_timesteps
        model.learn(
            TOTAL + 5,
            callback=[RewardShapingCallback(), evaluation(continuous), recorder],
            reset_num_timesteps=reset,
        )
        recorder.check()
        # From the first step on, none left out, and past the end of the schedule.
        last = model.num_timesteps - n_envs
        assert recorder.steps == list(range(first, last + 1, n_envs))
        assert last > TOTAL


def test_the_clock_is_told_in_one_message_to_each_process(venvs: Callable[..., VecEnv]) -> None:
    venv = venvs(3, "subproc", False)
    model = ALGORITHMS["PPO"](venv)
    sent: list[str] = []
    remotes = venv.remotes  # type: ignore[attr-defined]

    class Counting:
        def __init__(self, remote: Any) -> None:
            self.remote = remote

        def send(self, message: tuple[str, Any]) -> None:
            sent.append(message[0])
            self.remote.send(message)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.remote, name)

    venv.remotes = [Counting(remote) for remote in remotes]  # type: ignore[attr-defined]
    try:
        model.learn(24, callback=RewardShapingCallback())
    finally:
        venv.remotes = remotes  # type: ignore[attr-defined]
    assert sorted(sent) == sorted(["reset"] * 3 + ["env_method"] * 3 + ["step"] * 24)


def test_a_wrapper_that_is_set_from_outside_shows_what_it_cannot_reach() -> None:
    # What set_attr sets lands on the outermost wrapper, where the shaper does not look: the
    # reason why the clock is told through a method.
    venv = make_vec_env(
        partial(Idle, False),
        wrapper_class=lambda env: Monitor(RewardShapingWrapper(env, FADING, total_timesteps=TOTAL)),
    )
    venv.reset()
    venv.set_attr("global_step", TOTAL)
    assert venv.get_attr("global_step") == [TOTAL]
    assert venv.step(np.array([0]))[1] == pytest.approx([5.0])
    venv.env_method("set_global_step", TOTAL)
    assert venv.step(np.array([0]))[1] == pytest.approx([1.0])
    venv.close()


GO_ON_ELSEWHERE = """
import sys
from stable_baselines3 import DQN, PPO
from recorder import Recorder
from test_exact_schedules import build_venv, weight_at
from rllama_sb3 import RewardShapingCallback

name, path = sys.argv[1:]
venv = build_venv(3, "dummy", False)
model = {"PPO": PPO, "DQN": DQN}[name].load(path, env=venv)
recorder = Recorder(weight_at)
model.learn(9, callback=[RewardShapingCallback(), recorder], reset_num_timesteps=False)
assert recorder.steps[0] == 12, recorder.steps
recorder.check()
print(recorder.steps[-1])
"""


@pytest.mark.parametrize("name", ["PPO", "DQN"])
def test_a_saved_training_goes_on_in_another_process(name: str, tmp_path: Path) -> None:
    model = ALGORITHMS[name](build_venv(3, "dummy", False))
    model.learn(12, callback=RewardShapingCallback())
    assert model.num_timesteps == 12
    model.save(tmp_path / "model")
    run = subprocess.run(
        [sys.executable, "-c", GO_ON_ELSEWHERE, name, str(tmp_path / "model")],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) >= 18
