"""Checking an experiment: each thing that it finds, found where it is and not where it is not."""

from __future__ import annotations

import math
import random
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from lingering import Always, Lingering
from numpy.typing import NDArray
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv
from tiny import tiny_experiment, tiny_yaml

from rllama_sb3 import CheckReport, ConfigError, check, load_config, register_component, train
from rllama_sb3.analysis.check import Finding
from rllama_sb3.analysis.policies import random_policy
from rllama_sb3.rewards import RewardComponent, register_schedule
from rllama_sb3.rewards.vectorized import VectorizedComponent

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
ENV = {"class": "EnvReward"}
POTENTIAL = {"class": "PotentialShaping", "params": {"potential": "obs[0]"}}


class Walk(gym.Env[NDArray[np.float32], int]):
    """A line of five cells that no config of the repository knows; the last is worth 1."""

    observation_space = spaces.Box(0.0, 4.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self._cell = int(self.np_random.integers(0, 3))
        return self._obs(), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self._cell = max(self._cell + (1 if action else -1), 0)
        return self._obs(), float(self._cell == 4), self._cell == 4, False, {}

    def _obs(self) -> NDArray[np.float32]:
        return np.array([self._cell], np.float32)


class Raising(Walk):
    def step(self, action: int) -> Any:
        if self._cell == 3:
            raise ValueError("no such\ncell")
        return super().step(action)


class Unseeded(Walk):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self._cell = 1
        return self._obs(), {}


class Masked(Walk):
    """Allows steps to the right only."""

    def action_masks(self) -> NDArray[np.bool]:
        return np.array([False, True])

    def step(self, action: int) -> Any:
        assert action == 1
        return super().step(action)


class Goals(Walk):
    observation_space = spaces.Dict(  # type: ignore[assignment]
        {
            key: spaces.Box(0.0, 4.0, (1,), np.float32)
            for key in ("observation", "achieved_goal", "desired_goal")
        }
    )

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> float:
        return 0.0

    def _obs(self) -> Any:
        return {key: super(Goals, self)._obs() for key in self.observation_space}  # type: ignore[attr-defined]


for name, env in {
    "CheckWalk-v0": Walk,
    "CheckRaising-v0": Raising,
    "CheckUnseeded-v0": Unseeded,
    "CheckMasked-v0": Masked,
    "CheckGoals-v0": Goals,
    "CheckLingering-v0": Lingering,
}.items():
    gym.register(name, env)


@register_component
def check_nan_late(transition: Any) -> float:
    return math.nan if transition.env_reward > 0 else 0.0


@register_component
def check_kernel(transition: Any, gamma: float) -> float:
    return math.exp(-gamma * float(transition.next_obs[0]) ** 2)


@register_component
class CheckOwnPotential(RewardComponent):
    policy_invariant = True

    def __init__(self, gamma: float) -> None:
        self._gamma = gamma

    def compute(self, transition: Any) -> float:
        arrived = 0.0 if transition.terminated else float(transition.next_obs[0])
        return self._gamma * arrived - float(transition.obs[0])


@register_component
def check_warns(transition: Any) -> float:
    warnings.warn(f"look at action {transition.action}", UserWarning, stacklevel=1)
    return 1.0


@register_component
class CheckBrokenBatch(VectorizedComponent):
    def compute(self, transition: Any) -> float:
        return 1.0

    def compute_batch(self, batch: Any) -> Any:
        return batch.next_obs[:, 99]


@register_component
def check_random(transition: Any) -> float:
    return random.random() + float(np.random.random())


@register_component
class CheckInvariant(RewardComponent):
    policy_invariant = True

    def compute(self, transition: Any) -> float:
        return float(transition.next_obs[0])


@register_schedule(name="check_breaks")
def check_breaks(global_step: int, *, initial_weight: float) -> float:
    return initial_weight / (global_step - 100)


def shaped(**components: Any) -> dict[str, Any]:
    """CartPole, paid by these components."""
    return tiny_experiment() | {"reward_shaping": components}


def in_env(env_id: str, **components: Any) -> dict[str, Any]:
    return shaped(**components or {"env": ENV}) | {"env": {"id": env_id}}


def bonus(expression: str, **weight: Any) -> dict[str, Any]:
    return {
        "class": "ExpressionReward",
        "params": {"expression": expression},
        "weight_schedule": weight,
    }


def linear(first: float, last: float, end_step: str | int = "50%") -> dict[str, Any]:
    return {
        "initial_weight": first,
        "schedule_type": "linear",
        "final_weight": last,
        "end_step": end_step,
    }


def found(report: CheckReport, severity: str, where: str, text: str) -> bool:
    """Whether a report has such a finding."""
    return any(
        (f.severity, f.where) == (severity, where) and text in f.text for f in report.findings
    )


def quick(config: Any, n_episodes: int = 5, **arguments: Any) -> CheckReport:
    return check(config, n_episodes=n_episodes, **arguments)


# What is given, and who acts.


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_of_the_repository_has_no_problem(path: Path) -> None:
    report = quick(path)
    assert report.ok, report.findings
    assert [component.name for component in report.components] == list(
        load_config(path).reward_shaping
    )
    assert len(report.random) == 5


def test_a_mapping_a_config_and_a_file_are_checked_alike(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(tiny_yaml())
    as_file, as_mapping = quick(file), quick(tiny_experiment())
    assert as_file == as_mapping == quick(load_config(file))


def test_an_environment_of_ones_own_is_checked() -> None:
    report = quick(in_env("CheckWalk-v0", env=ENV, up=POTENTIAL))
    assert report.ok, report.findings
    assert report.random.env_returns == (1.0,) * 5
    assert report.env_checks == {"Gymnasium": "passed", "Stable-Baselines3": "passed"}


def test_what_cannot_be_trained_is_refused_with_all_that_is_wrong() -> None:
    wrong = shaped(env={"class": "EnvRewrd"}) | {"algorithm": {"name": "PPPO"}}
    with pytest.raises(ConfigError, match=r"n_episodes: must be at least 1") as caught:
        check(wrong, n_episodes=0, seed=-1)
    assert [problem.path[-1] for problem in caught.value.problems] == [
        "n_episodes",
        "seed",
        "class",
        "name",
    ]


def test_the_same_seed_gives_the_same_report_and_another_one_does_not() -> None:
    config = shaped(env=ENV, noise={"class": "check_random"})
    first = quick(config, seed=3).random
    random.seed(1)
    np.random.seed(1)
    assert quick(config, seed=3).random == first
    assert quick(config, seed=4).random != first


def test_nothing_of_the_process_is_changed() -> None:
    filters = list(warnings.filters)

    def state() -> list[Any]:
        numbers = np.random.get_state()[1]
        return [random.getstate(), numbers.tolist(), torch.get_rng_state().tolist()]  # type: ignore[union-attr]

    before, n_threads = state(), torch.get_num_threads()
    quick(shaped(env=ENV, noise={"class": "check_random"}))
    assert state() == before
    assert warnings.filters == filters
    assert torch.get_num_threads() == n_threads


def test_progress_is_told_after_each_episode() -> None:
    told: list[tuple[str, int]] = []
    quick(in_env("CheckWalk-v0"), 2, model=Always(1), on_episode=lambda *done: told.append(done))
    assert told == [("random", 1), ("random", 2), ("trained", 1), ("trained", 2)]


def test_a_trained_model_is_rolled_with_its_own_statistics(tmp_path: Path) -> None:
    config = tiny_experiment(env={"normalize": True})
    model = train(config, out=tmp_path / "run").model
    from_disk = quick(config, model=tmp_path / "run").trained
    in_memory = quick(config, model=model).trained
    assert from_disk is not None
    assert from_disk == in_memory
    assert from_disk != quick(config).trained
    # The model sees what it was trained on, also where the experiment no longer says so.
    assert quick(tiny_experiment(), model=str(tmp_path / "run")).trained == from_disk


def test_a_model_that_does_not_fit_is_refused_before_anything_is_rolled(tmp_path: Path) -> None:
    train(tiny_experiment(), out=tmp_path / "run")
    told: list[Any] = []
    with pytest.raises(ConfigError, match="model: must have been trained in the spaces of Check"):
        quick(
            in_env("CheckWalk-v0"),
            model=tmp_path / "run",
            on_episode=lambda *done: told.append(done),
        )
    with pytest.raises(ConfigError, match="must be a model, or a folder with"):
        quick(in_env("CheckWalk-v0"), model=tmp_path / "none")
    assert told == []


def test_random_actions_follow_their_seed() -> None:
    venv = DummyVecEnv([lambda: gym.make("Pendulum-v1")])
    start = np.ones(1, dtype=bool)
    first, same, other = (random_policy(venv, seed)(None, start) for seed in (1, 1, 2))
    assert first == same != other


def test_random_actions_keep_to_the_masks_of_an_algorithm_that_sees_them() -> None:
    pytest.importorskip("sb3_contrib")
    config = in_env("CheckMasked-v0") | {"algorithm": {"name": "MaskablePPO"}}
    report = quick(config)
    assert report.ok, report.findings
    assert set(report.env_checks.values()) == {"left out"}
    assert found(report, "note", "env", "tries actions that the masks of the env do not allow")
    assert not quick(in_env("CheckMasked-v0")).ok


def test_a_recurrent_model_is_told_where_episodes_start() -> None:
    class Counting:
        def predict(self, obs: Any, state: Any, episode_start: Any, deterministic: bool) -> Any:
            self.starts = [*getattr(self, "starts", []), bool(episode_start[0])]
            state = 0 if state is None else state + 1
            assert state == len(self.starts) - 1
            return np.ones(1, dtype=int), state

    model = Counting()
    report = quick(in_env("CheckWalk-v0"), 2, model=model)
    assert report.trained is not None
    first, second = report.trained.lengths
    assert model.starts == [True] + [False] * (first - 1) + [True] + [False] * (second - 1)


# Weights, values, shares.


def test_weights_are_told_at_the_start_and_at_the_end_and_when_they_settle() -> None:
    report = quick(
        shaped(
            env=ENV,
            a=bonus("1", **linear(2.0, 0.5)),
            b=bonus("1", **linear(2.0, 0.5, end_step=1_000)),
            c=bonus("1", initial_weight=1.0, schedule_type="exponential", decay_rate=0.9),
        )
    )
    told = [(c.initial_weight, c.final_weight, c.end_step) for c in report.components]
    assert told[:2] == [(1.0, 1.0, 0), (2.0, 0.5, 64)]
    assert told[2] == (2.0, pytest.approx(2.0 - 1.5 * 128 / 1_000), 1_000)
    assert told[3] == (1.0, pytest.approx(0.9**128), None)
    text = "still moves when the training ends at step 128"
    assert not found(report, "note", "reward_shaping.a", text)
    assert found(report, "note", "reward_shaping.b", f"{text}, and would until step 1,000")
    assert found(report, "note", "reward_shaping.c", text)


def test_values_are_those_of_all_steps_before_the_weight() -> None:
    # The walk pays 1 on the last step of an episode, and nothing before.
    report = quick(in_env("CheckWalk-v0", env=ENV, cell=bonus("next_obs[0]", initial_weight=9.0)))
    env, cell = (component.random for component in report.components)
    n_steps = sum(report.random.lengths)
    assert env is not None
    assert cell is not None
    assert (env.low, env.high) == (0.0, 1.0)
    assert env.fired == env.mean == pytest.approx(5 / n_steps)
    assert (cell.low, cell.high) == (0.0, 4.0)
    assert report.random.raw_sums["env"] == report.random.env_returns


def test_shares_are_of_the_sizes_of_the_weighted_sums() -> None:
    config = shaped(env=ENV, time=bonus("-1", **linear(3.0, 0.0)))
    env, time = (component.random for component in quick(config).components)
    assert env is not None
    assert time is not None
    assert (env.share_now, time.share_now) == (pytest.approx(0.25), pytest.approx(0.75))
    assert (env.share_end, time.share_end) == (1.0, 0.0)


def test_a_constant_component_is_noted_and_no_problem() -> None:
    report = quick(shaped(env=ENV, lean=bonus("next_obs[2]")))
    assert report.ok
    assert found(report, "note", "reward_shaping.env", "It is constant: 1 on every step.")
    assert not found(report, "note", "reward_shaping.lean", "constant")


def test_a_component_that_never_fires_is_warned_of_and_under_whose_actions() -> None:
    config = in_env("CheckLingering-v0", env=ENV, late=bonus("next_obs[0] > 21"))
    text = "It never fired in 5 random episodes."
    report = quick(config)
    assert report.ok
    assert found(report, "warning", "reward_shaping.late", f"{text} That may be for want of")
    assert not found(report, "warning", "reward_shaping.env", "never fired")

    lingers, finishes = (quick(config, model=Always(action)) for action in (1, 0))
    text = "It never fired in 5 random episodes, but did in 5 trained episodes."
    assert found(lingers, "note", "reward_shaping.late", text)
    assert not found(lingers, "warning", "reward_shaping.late", "")
    text = "It never fired in 5 random episodes or in 5 trained episodes."
    assert found(finishes, "warning", "reward_shaping.late", text)


def test_a_component_that_never_matters_is_warned_of() -> None:
    report = quick(shaped(env=ENV, off=bonus("1", initial_weight=0.0), on=bonus("1")))
    assert report.ok
    assert found(report, "warning", "reward_shaping.off", "Its weight is 0 during the whole")
    assert not found(report, "warning", "reward_shaping.on", "")
    assert [str(component.effect) for component in report.components] == [
        "the task itself",
        "does not count",
        "can change the optimal policy",
    ]


# What it does to the optimal policy.


@pytest.mark.parametrize(
    ("component", "effect", "reason", "until"),
    [
        (ENV, "the task itself", "", None),
        (ENV | {"weight_schedule": linear(0.5, 2.0)}, "can change", "its weight moves", 64),
        (ENV | {"weight_schedule": {"initial_weight": -1.0}}, "can change", "opposite", None),
        (ENV | {"weight_schedule": linear(0.5, 2.0, 1_000)}, "can change", "weight moves", None),
        (POTENTIAL, "preserves", "potential", None),
        (POTENTIAL | {"weight_schedule": linear(9.0, 0.0)}, "preserves", "potential", None),
        ({"class": "CheckInvariant"}, "preserves", "as its class says", None),
        (
            {"class": "CheckInvariant", "weight_schedule": linear(9.0, 1.0)},
            "can change",
            "moves outside of its difference",
            None,
        ),
        (bonus("1"), "can change", "bonus", None),
        (bonus("1", **linear(9.0, 0.0)), "can change", "bonus", 64),
        (bonus("1", **linear(9.0, 1.0)), "can change", "bonus", None),
    ],
)
def test_a_component_is_said_to_preserve_the_optimal_policy_or_not(
    component: dict[str, Any], effect: str, reason: str, until: int | None
) -> None:
    (report, _) = quick(shaped(it=component, env=ENV)).components
    assert str(report.effect).startswith(effect)
    assert reason in report.reason
    assert report.until == until


@pytest.mark.parametrize(
    ("components", "sentence"),
    [
        ({"env": ENV, "up": POTENTIAL}, "No component can change which policy is optimal."),
        ({"env": ENV, "time": bonus("-1")}, "time can change which policy is optimal: one that"),
        (
            {"env": ENV, "time": bonus("-1", **linear(1.0, 0.0))},
            "That ends at global step 64. From there on the optimal policies are the environment's",
        ),
        ({}, "Nothing is shaped: the agent is paid the environment's own reward."),
    ],
)
def test_the_reward_as_a_whole_is_put_into_words(components: Any, sentence: str) -> None:
    report = quick(shaped(**components))
    assert report.ok
    assert found(report, "note", "reward_shaping", sentence)


def test_a_bonus_that_ends_without_the_task_leaves_nothing_of_it() -> None:
    report = quick(shaped(time=bonus("-1", **linear(1.0, 0.0)), up=POTENTIAL))
    assert found(report, "note", "reward_shaping", "That ends at global step 64.")
    assert not found(report, "note", "reward_shaping", "From there on")


def test_a_reward_without_the_task_is_warned_of() -> None:
    text = "none of which sees the environment's reward or its goal"
    report = quick(shaped(up=POTENTIAL))
    assert found(report, "warning", "reward_shaping", text)
    assert sum(text in finding.text for finding in report.findings) == 1
    weightless = ENV | {"weight_schedule": {"initial_weight": 0.0}}
    report = quick(shaped(env=weightless, up=POTENTIAL))
    assert found(report, "warning", "reward_shaping", "Nothing but potentials counts")
    assert not found(quick(shaped(env=ENV, up=POTENTIAL)), "warning", "reward_shaping", "")


def test_a_negative_weight_of_the_task_is_warned_of() -> None:
    text = "which pays for the opposite of what the environment wants"
    negative = ENV | {"weight_schedule": linear(1.0, -1.0)}
    assert found(quick(shaped(env=negative)), "warning", "reward_shaping.env", text)
    assert not found(quick(shaped(env=ENV)), "warning", "reward_shaping.env", text)


# Shaped and env return.


def test_returns_that_disagree_are_warned_of() -> None:
    report = quick(shaped(env=ENV, time=bonus("-2")), 10)
    (agreement,) = report.agreements
    assert (agreement.value, agreement.n_episodes) == (-1.0, 10)
    assert agreement.disagrees
    assert report.ok
    text = "Shaped and env return disagree over 10 random episodes, under the weights at the start"
    assert found(report, "warning", "reward_shaping", text)


def test_returns_that_agree_are_not_warned_of() -> None:
    report = quick(shaped(env=ENV, time=bonus("-0.5")), 10)
    assert report.agreements[0].value == 1.0
    assert not found(report, "warning", "reward_shaping", "disagree")


def test_weights_of_the_end_are_looked_at_where_they_differ() -> None:
    start, end = quick(shaped(env=ENV, time=bonus("-2", **linear(1.0, 0.0))), 10).agreements
    assert (start.moment, start.value) == ("start", -1.0)
    assert (end.moment, end.value) == ("end", 1.0)


def test_too_few_episodes_prove_no_disagreement() -> None:
    (agreement,) = quick(shaped(env=ENV, time=bonus("-2")), 4).agreements
    assert agreement.value == -1.0
    assert not agreement.disagrees


def test_potentials_are_left_out_of_the_shaped_return() -> None:
    # It cannot change which policy is best, but pays 0.1 less for each step that is survived.
    depth = {"class": "PotentialShaping", "params": {"potential": "1000.0"}}
    report = quick(shaped(env=ENV, depth=depth), 10)
    values = report.components[1].random
    assert values is not None
    assert (values.low, values.high) == (-1_000.0, pytest.approx(-10.0))
    assert report.agreements[0].value == 1.0


@pytest.mark.parametrize(
    ("config", "n_episodes", "reason"),
    [
        (in_env("CheckWalk-v0"), 5, "the env return was the same in all episodes"),
        (shaped(last=bonus("terminated")), 5, "the shaped return was the same in all episodes"),
        (shaped(env=ENV), 2, "fewer than 3 episodes"),
    ],
)
def test_where_there_is_no_correlation_it_is_said_why(
    config: dict[str, Any], n_episodes: int, reason: str
) -> None:
    (agreement,) = quick(config, n_episodes).agreements
    assert math.isnan(agreement.value)
    assert agreement.reason == reason
    assert not agreement.disagrees


def test_trained_episodes_have_an_agreement_of_their_own() -> None:
    report = quick(shaped(env=ENV, time=bonus("-2")), 10, model=Always(0))
    assert [agreement.actor for agreement in report.agreements] == ["random", "trained"]


# γ.


def with_gamma(gamma: float, name: str = "PPO", **params: Any) -> dict[str, Any]:
    return {"algorithm": {"name": name, "params": {"gamma": gamma, **params}}}


def test_everything_discounts_as_the_algorithm_does() -> None:
    config = shaped(env=ENV, up=POTENTIAL) | with_gamma(0.95)
    config["env"] = config["env"] | {"normalize": {"obs": False, "reward": True}}
    report = quick(config)
    assert {discount.name: discount.gamma for discount in report.discounts} == {
        "algorithm PPO": 0.95,
        "VecNormalize": 0.95,
        "potential 'up'": 0.95,
    }
    assert report.ok


def test_a_component_with_another_gamma_is_a_problem() -> None:
    where = "reward_shaping.own.params.gamma"
    config = shaped(env=ENV, own={"class": "CheckOwnPotential", "params": {"gamma": 0.9}})
    report = quick(config)
    assert not report.ok
    text = "γ of the component 'own' is 0.9, but that of the algorithm PPO is 0.99."
    assert found(report, "problem", where, text)
    assert quick(config | with_gamma(0.9)).ok


@pytest.mark.parametrize(("gamma", "warns"), [(0.5, True), (0.99, False), (5.0, False)])
def test_a_parameter_that_may_be_another_gamma_is_a_warning(gamma: float, warns: bool) -> None:
    report = quick(shaped(env=ENV, near={"class": "check_kernel", "params": {"gamma": gamma}}))
    assert report.ok
    where = "reward_shaping.near.params.gamma"
    assert found(report, "warning", where, "If that is a discount factor") == warns


def test_a_further_shaper_with_another_gamma_is_a_problem() -> None:
    inner = {"reward_shaping": {"env": ENV, "inner": POTENTIAL}, "gamma": 0.5}
    wrapper = {"rllama_sb3.envs.wrapper:RewardShapingWrapper": inner}
    config = shaped(env=ENV)
    config["env"] = config["env"] | {"wrappers": [wrapper]}
    assert found(quick(config), "problem", "env.wrappers", "γ of the potential 'inner' is 0.5")
    assert quick(config | with_gamma(0.5)).ok


def test_a_replay_buffer_with_another_gamma_is_a_problem() -> None:
    params = {"replay_buffer_class": NStepReplayBuffer, "replay_buffer_kwargs": {"n_steps": 3}}
    where = "algorithm.params.replay_buffer_kwargs.gamma"
    with pytest.raises(ConfigError, match=f"{where}: must be the algorithm's own, 0.95, but got"):
        quick(shaped(env=ENV) | with_gamma(0.95, "DQN", **params))
    # Without a potential it is no error of the reward, and wrong all the same.
    unshaped = {**shaped(env=ENV), "reward_shaping": {}} | with_gamma(0.95, "DQN", **params)
    assert found(quick(unshaped), "problem", where, "γ of the replay buffer is 0.99")
    params["replay_buffer_kwargs"] = {"n_steps": 3, "gamma": 0.95}
    assert quick(shaped(env=ENV) | with_gamma(0.95, "DQN", **params)).ok
    assert quick(shaped(env=ENV) | with_gamma(0.95, "DQN", n_steps=3)).ok


def test_a_scale_by_another_gamma_is_a_warning() -> None:
    config = shaped(env=ENV)
    config["env"] = config["env"] | {"wrappers": [{"NormalizeReward": {"gamma": 0.9}}]}
    report = quick(config)
    assert report.ok, report.findings
    assert found(report, "warning", "env.wrappers", "γ of the NormalizeReward is 0.9")
    assert not found(quick(config | with_gamma(0.9)), "warning", "env.wrappers", "")


def test_a_model_that_was_trained_with_another_gamma_is_a_warning() -> None:
    model = train(shaped(env=ENV) | with_gamma(0.9, n_steps=32, batch_size=32)).model
    report = quick(shaped(env=ENV), model=model)
    assert report.ok
    assert found(report, "warning", "model", "γ of the trained model is 0.9, but that of")
    assert not found(quick(shaped(env=ENV) | with_gamma(0.9), model=model), "warning", "model", "")


@pytest.mark.parametrize(
    ("gamma", "text"),
    [(1.0, "finite only if all episodes end"), (0.0, "potentials advise nothing")],
)
def test_a_gamma_at_the_end_of_its_range_is_noted(gamma: float, text: str) -> None:
    where = "algorithm.params.gamma"
    assert found(quick(shaped(env=ENV) | with_gamma(gamma)), "note", where, text)
    assert not found(quick(shaped(env=ENV)), "note", where, "")


def test_an_algorithm_without_gamma_is_noted() -> None:
    pytest.importorskip("sb3_contrib")
    config = shaped() | {"algorithm": {"name": "ARS", "policy": "LinearPolicy"}}
    report = quick(config)
    assert report.discounts == ()
    assert found(report, "note", "algorithm", "ARS has no discount factor.")


def test_truncations_without_a_future_are_noted() -> None:
    buffer = {"replay_buffer_kwargs": {"handle_timeout_termination": False}}
    report = quick(shaped(env=ENV, up=POTENTIAL) | with_gamma(0.9, "DQN", **buffer))
    text = "The future of truncated episodes is not estimated"
    assert found(report, "note", "algorithm.params.replay_buffer_kwargs", text)
    assert not report.bootstraps_truncated
    assert quick(shaped(env=ENV)).bootstraps_truncated


# What goes wrong while rolling.


def test_a_component_that_fails_is_a_problem_with_its_name_and_step() -> None:
    config = in_env("CheckWalk-v0", env=ENV, bad={"class": "check_nan_late"})
    report = quick(config)
    assert not report.ok
    text = "component 'bad' must give a finite number, but gave nan"
    assert found(report, "problem", "reward_shaping", text)
    assert report.random.failure is not None
    assert report.random.failure.text.startswith("In random episode 1, at global step ")
    assert quick(config, model=Always(1)).trained is None
    # Nothing is claimed of what could hardly be seen.
    assert not found(report, "warning", "reward_shaping.bad", "never fired")
    assert found(report, "note", "env", "check_env was left out, since episodes fail already.")


def test_an_environment_that_raises_is_a_problem() -> None:
    report = quick(in_env("CheckRaising-v0"))
    text = "In random episode 1, the environment raised ValueError: no such cell."
    assert found(report, "problem", "env", text)


def test_what_only_a_trained_model_reaches_can_fail_as_well() -> None:
    config = in_env("CheckLingering-v0", env=ENV, bad=bonus("1 / (22 - next_obs[0])"))
    assert quick(config).ok
    report = quick(config, model=Always(1))
    text = "In trained episode 1, at global step 21, component 'bad' failed"
    assert found(report, "problem", "reward_shaping", text)


def test_components_are_evaluated_as_in_the_training() -> None:
    config = shaped(env=ENV, batch={"class": "CheckBrokenBatch"})
    assert quick(config).ok
    config["env"] = config["env"] | {"n_envs": 16}
    report = quick(config)
    assert not report.ok
    assert found(report, "problem", "reward_shaping", "component 'batch' failed: IndexError")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_values_are_the_same_wherever_rewards_are_computed(path: Path) -> None:
    by_wrapper, by_twin = (
        quick(load_config(path, overrides=[f"env.shaping={shaping}"]), 2).random
        for shaping in ("wrapper", "vec")
    )
    assert by_wrapper.lengths == by_twin.lengths
    for name, values in by_wrapper.values.items():
        assert vars(by_twin.values[name]) == pytest.approx(vars(values), rel=1e-5, abs=1e-7)


def test_a_schedule_that_breaks_in_the_middle_of_the_training_is_a_problem() -> None:
    breaks = {"schedule_type": "check_breaks"}
    report = quick(shaped(env=ENV | {"weight_schedule": breaks}))
    where = "reward_shaping.env.weight_schedule"
    text = "at global step 100, schedule 'check_breaks' raised ZeroDivisionError"
    assert found(report, "problem", where, text)
    assert math.isnan(report.components[0].final_weight)
    assert [agreement.moment for agreement in report.agreements] == ["start"]


def test_an_episode_without_an_end_is_cut_and_that_is_said() -> None:
    report = quick(shaped(env=ENV), 3, max_episode_steps=6)
    assert report.random.lengths == (6, 6, 6)
    text = "3 of 3 random episodes had not ended after 6 steps, and were cut there."
    assert found(report, "warning", "env", text)
    assert not found(quick(shaped(env=ENV)), "warning", "env", "were cut")


def test_an_episode_that_ends_by_itself_at_the_last_step_is_not_cut() -> None:
    config = in_env("CheckLingering-v0")
    report = quick(config, 2, model=Always(1), max_episode_steps=22)
    assert report.trained is not None
    assert report.trained.lengths == (22, 22)
    assert report.trained.n_cut == 0


# check_env, and what is warned of on the way.


def test_an_environment_that_breaks_the_rules_is_a_problem() -> None:
    report = quick(in_env("CheckUnseeded-v0"))
    assert report.env_checks["Gymnasium"] == "failed"
    assert found(report, "problem", "env", "Gymnasium's check_env failed (AssertionError): Expects")
    assert not report.ok


def test_weights_that_move_and_components_that_count_pass_the_checkers() -> None:
    moving = bonus("1", **linear(0.0, 100.0))
    config = in_env("FrozenLake-v1", env=ENV, moving=moving, novelty={"class": "CountBonus"})
    assert set(quick(config).env_checks.values()) == {"passed"}


def test_wrappers_that_learn_from_what_they_see_pass_the_checkers() -> None:
    config = shaped(env=ENV)
    config["env"] = config["env"] | {"wrappers": ["NormalizeObservation", "NormalizeReward"]}
    assert set(quick(config).env_checks.values()) == {"passed"}


def test_a_reward_that_is_random_fails_the_check_of_repeatable_steps() -> None:
    report = quick(shaped(env=ENV, noise={"class": "check_random"}))
    assert found(report, "problem", "env", "Deterministic step rewards are not equivalent")


def test_goals_whose_rewards_are_shaped_are_left_out_of_one_checker() -> None:
    config = in_env("CheckGoals-v0")
    config["algorithm"] = {"name": "PPO", "policy": "MultiInputPolicy"}
    report = quick(config)
    assert report.ok, report.findings
    assert report.env_checks == {"Gymnasium": "passed", "Stable-Baselines3": "left out"}


def test_warnings_become_notes_and_are_not_shown() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        report = quick(shaped(env=ENV, loud={"class": "check_warns"}))
    assert shown == []
    # Of messages that differ in numbers only, one is enough.
    assert sum("look at action" in finding.text for finding in report.findings) == 1
    assert found(report, "note", "env", "A Box observation space minimum value is -infinity.")
    assert not found(report, "note", "env", "different from the unwrapped version")


def test_findings_come_problems_first_and_print_as_sentences() -> None:
    own = {"class": "CheckOwnPotential", "params": {"gamma": 0.9}}
    report = quick(shaped(env=ENV, off=bonus("1", initial_weight=0.0), own=own))
    severities = [finding.severity for finding in report.findings]
    assert list(dict.fromkeys(severities)) == ["problem", "warning", "note"]
    assert severities == sorted(severities, key=["problem", "warning", "note"].index)
    finding = Finding("warning", "reward_shaping.off", "It is off.")
    assert str(finding) == "warning: reward_shaping.off: It is off."


def test_the_environments_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[DummyVecEnv] = []
    closed: list[Any] = []
    init, close = DummyVecEnv.__init__, DummyVecEnv.close

    def remember(self: DummyVecEnv, *args: Any) -> None:
        opened.append(self)
        init(self, *args)

    def forget(self: DummyVecEnv) -> None:
        closed.append(self)
        close(self)

    monkeypatch.setattr(DummyVecEnv, "__init__", remember)
    monkeypatch.setattr(DummyVecEnv, "close", forget)
    quick(shaped(env=ENV), 1, model=Always(0))
    rolled = [venv for venv in opened if "RewardShapingWrapper" in str(venv.envs[0])]
    assert rolled
    assert all(any(venv is other for other in closed) for venv in rolled)
