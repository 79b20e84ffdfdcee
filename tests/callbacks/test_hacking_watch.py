"""The shaped return rises while the env return falls: noticed, and nothing else is."""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from buoys import Buoys
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq
from scripted import Scripted, Step
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import VecEnv

from rllama_sb3 import (
    ConfigError,
    RewardShapingCallback,
    RewardShapingWrapper,
    VecRewardShaping,
)
from rllama_sb3.callbacks.hacking_watch import Hacking, HackingWatch

Returns = NDArray[np.float64]
Process = Callable[[np.random.Generator, int], tuple[Returns, Returns]]
WINDOW = 30
ONE = {"env": 1.0, "bonus": 1.0}


def looks(
    env_returns: Sequence[float] | Returns,
    weights: Mapping[str, float] = ONE,
    *,
    window: int = WINDOW,
    **raw: Sequence[float] | Returns,
) -> list[Hacking | None]:
    """What is seen at each look at a training of these episodes."""
    raw.setdefault("env", env_returns)
    watch = HackingWatch(window)
    watch.begin(list(raw), n_envs=1)
    watch.add({})  # which is not looked at, as the test of many environments shows
    seen = []
    for env_return, *sums in zip(env_returns, *raw.values(), strict=True):
        components = {name: {"raw": value} for name, value in zip(raw, sums, strict=True)}
        if watch.add({"env_return": env_return, "components": components}):
            seen.append(watch.look(weights))
    return seen


def found(*args: Any, **kwargs: Any) -> list[Hacking]:
    return [hacking for hacking in looks(*args, **kwargs) if hacking is not None]


def steps(*levels: float, each: int = 40) -> Returns:
    """A level for some episodes, then the next."""
    return np.repeat(np.array(levels), each)


def test_a_shaped_return_that_rises_while_the_env_return_falls_is_seen_with_its_numbers() -> None:
    first = found(steps(100, 0), bonus=steps(10, 220))[0]
    assert first.n_episodes == WINDOW
    assert first.env_return == (100.0, 0.0)
    assert first.shaped_return == (110.0, 220.0)
    assert (first.component, first.share) == ("bonus", (10.0, 220.0))


def test_the_message_says_what_was_seen_and_what_to_do() -> None:
    message = str(Hacking(1_920, (100.0, 12.345678), (110.0, 220.0), "bonus", (10.0, 220.0)))
    assert "over the last 1,920 episodes the env return fell from 100 to 12.35" in message
    assert "while the shaped return rose from 110 to 220" in message
    assert "'bonus' grew most, from 10 to 220. Lower its weight" in message


def test_the_component_is_named_that_grew_most_under_its_weight() -> None:
    weights = {"env": 1.0, "small": 0.01, "costly": -1.0, "large": 1.0, "steady": 1.0}
    seen = found(
        steps(10, 0),
        weights,
        small=steps(0, 500),  # grows most before the weight
        costly=steps(0, 10),  # costs more and more
        large=steps(7, 50),
        steady=steps(900, 910),  # is largest, but grew little
    )
    assert {hacking.component for hacking in seen} == {"large"}


def test_a_penalty_that_is_avoided_at_the_cost_of_the_task_is_named() -> None:
    seen = found(steps(10, 0), {"env": 1.0, "effort": -0.5}, effort=steps(50, 0))
    assert seen[0].component == "effort"
    assert seen[0].share == (-25.0, 0.0)


@pytest.mark.parametrize(
    ("env_returns", "bonus"),
    [
        (steps(0, 1, 2), steps(0, 1, 2)),
        (steps(2, 1, 0), steps(2, 1, 0)),
        (steps(0, 1, 2), steps(9, 5, 0)),
        (steps(1, 1, 1), steps(0, 1, 2)),
        (steps(2, 1, 0), steps(1, 1, 1)),
        (steps(2, 1, 0), steps(0, 1, 2)),
    ],
    ids=["both rise", "both fall", "other way", "env stays", "bonus stays", "shaped stays"],
)
def test_other_movements_are_none_of_its_business(env_returns: Returns, bonus: Returns) -> None:
    assert found(env_returns, bonus=bonus) == []


def test_it_looks_when_a_third_of_the_window_is_new_from_the_first_full_one_on() -> None:
    watch = HackingWatch(WINDOW)
    watch.begin(["env"], n_envs=1)
    episode = {"env_return": 1.0, "components": {"env": {"raw": 1.0}}}
    due = [n for n in range(65) if watch.add(episode)]
    assert due == [30, 40, 50, 60]


def test_too_few_episodes_show_nothing() -> None:
    assert looks(steps(100, 0, each=14), bonus=steps(0, 500, each=14)) == []


def test_a_change_that_does_not_last_is_not_reported() -> None:
    noise = np.random.default_rng(0).normal(size=120)
    for end, is_seen in ((60, False), (100, True)):
        env_returns, bonus = 10.0 + noise, -noise
        env_returns[50:end], bonus[50:end] = 0.0, 50.0
        assert bool(found(env_returns, bonus=bonus)) is is_seen


@pytest.mark.parametrize("third", ["second", "last"])
def test_each_later_third_is_held_against_the_first_by_welchs_test(third: str) -> None:
    first, other = np.tile([-1.0, 1.0], 20), np.tile([-3.0, 3.0], 20)
    level = {"second": 1e-3, "last": 1e-5}[third]

    def p_value(fall: float) -> float:
        test = stats.ttest_ind(other - fall, first, equal_var=False, alternative="less")
        return float(test.pvalue)

    critical = brentq(lambda fall: p_value(fall) - level, 0.0, 10.0)
    for fall, is_seen in ((0.99 * critical, False), (1.01 * critical, True)):
        thirds = [first, other - fall, other - 100.0]
        if third == "last":
            thirds = [first, other - 100.0, other - fall]
        env_returns = np.concatenate(thirds)
        rise = {"env": 0.0, "bonus": 1.0}
        bonus = steps(0, 1, 1)
        assert bool(found(env_returns, rise, bonus=bonus, window=120)) is is_seen
        rising = -env_returns
        assert bool(found(-bonus, rise, bonus=rising, window=120)) is is_seen


@pytest.mark.parametrize("n_episodes", [300, 1_000, 10_000])
def test_a_loophole_is_noticed_however_slowly_the_agent_finds_it(n_episodes: int) -> None:
    random = np.random.default_rng(0)
    found_it = np.linspace(0.0, 4.0, n_episodes)
    env_returns = -found_it + random.normal(size=n_episodes)
    bonus = 3.0 * found_it + random.normal(size=n_episodes)
    seen = found(env_returns, bonus=bonus, window=120)
    assert seen[0].component == "bonus"
    assert n_episodes / 10 < seen[0].n_episodes <= n_episodes


@given(st.lists(st.floats(-1e6, 1e6), min_size=30, max_size=120), st.floats(1e-3, 1e3))
def test_an_agent_that_is_paid_the_env_return_alone_cannot_game_it(
    env_returns: list[float], weight: float
) -> None:
    assert found(env_returns, {"env": weight}) == []


@given(st.lists(st.floats(-1e6, 1e6), min_size=10, max_size=10), st.integers(0, 2**32 - 1))
def test_weights_that_move_do_not_make_an_unchanged_policy_game_its_reward(
    values: list[float], seed: int
) -> None:
    random = np.random.default_rng(seed)
    watch = HackingWatch(WINDOW)
    watch.begin(["env", "bonus"], n_envs=1)
    for env_return, bonus in zip(values * 12, values[::-1] * 12, strict=True):
        components = {"env": {"raw": env_return}, "bonus": {"raw": bonus}}
        if watch.add({"env_return": env_return, "components": components}):
            weights = dict(zip(components, random.uniform(-1e3, 1e3, size=2), strict=True))
            assert watch.look(weights) is None


def test_a_fading_penalty_is_no_rise_while_one_of_now_is() -> None:
    worse, penalty = steps(10, 9, 8), steps(-20, -20, -20)
    assert found(worse, {"env": 1.0, "penalty": 0.0}, penalty=penalty) == []
    avoided = steps(-20, -15, -5)
    assert found(worse, {"env": 1.0, "penalty": 0.0}, penalty=avoided) == []
    assert found(worse, {"env": 1.0, "penalty": 1.0}, penalty=avoided)


def test_the_rounding_of_sums_is_no_fall() -> None:
    exact, rounded = 1.0, 1.0 - 2**-50
    unpaid = {"env": 0.0, "bonus": 1.0}
    for less, is_seen in ((rounded, False), (0.999, True)):
        assert bool(found(steps(exact, less), unpaid, bonus=steps(0, 1))) is is_seen
        assert bool(found(steps(1, 0), unpaid, bonus=steps(less, exact))) is is_seen


def test_another_training_starts_from_nothing() -> None:
    watch = HackingWatch(WINDOW)
    for level in (1.0, 0.0):
        watch.begin(["bonus"], n_envs=1)
        for n in range(36):
            episode = {"env_return": level, "components": {"bonus": {"raw": 1.0 - level}}}
            if watch.add(episode):
                assert n == 30
                assert watch.look({"bonus": 1.0}) is None


@pytest.mark.parametrize("window", [29, 0, -120, 120.0, "120", True])
def test_a_window_that_cannot_be_compared_is_refused(window: Any) -> None:
    with pytest.raises(ConfigError, match="hacking_window: must be a whole number of episodes, 30"):
        RewardShapingCallback(hacking_window=window)


def short_ones_first(random: np.random.Generator, n_envs: int) -> list[tuple[int, int]]:
    """Index and length of the episodes of one policy, as they end in environments side by side."""

    def length() -> int:
        return int(min(500, 10 + random.exponential(100)))

    running = [(end := length(), index, end) for index in range(n_envs)]
    heapq.heapify(running)
    ended = []
    for _ in range(1_200):
        now, index, n_steps = heapq.heappop(running)
        ended.append((index, n_steps))
        following = length()
        heapq.heappush(running, (now + following, index, following))
    return ended


def test_that_short_episodes_end_first_is_no_change_of_the_policy() -> None:
    # Each step costs 1 and is paid 2: the longer an episode is, the better it looks.
    for seed in range(5):
        ended = short_ones_first(np.random.default_rng(seed), n_envs=128)
        watch = HackingWatch()
        watch.begin(["env", "bonus"], n_envs=128)
        for index, n_steps in ended:
            components = {"env": {"raw": -n_steps}, "bonus": {"raw": 2 * n_steps}}
            episode = {"env_return": -n_steps, "components": components}
            if watch.add(episode, index):
                assert watch.look(ONE) is None
        # From the first episodes on it would seem so.
        lengths = np.array([n_steps for _, n_steps in ended])
        assert found(-lengths, bonus=2 * lengths, window=120)


def opposed(random: np.random.Generator, n: int) -> tuple[Returns, Returns]:
    """An unchanged policy; whatever an episode gains in one return it loses in the other."""
    noise = random.normal(size=n)
    return noise, -noise


def of_two_values(random: np.random.Generator, n: int) -> tuple[Returns, Returns]:
    success = (random.random(n) < 0.5).astype(float)
    return success, -success


def with_heavy_tails(random: np.random.Generator, n: int) -> tuple[Returns, Returns]:
    noise = random.standard_t(2, size=n)
    return noise, -noise


def learning(random: np.random.Generator, n: int) -> tuple[Returns, Returns]:
    curve = 20 / (1 + np.exp(-np.linspace(-6, 6, n)))
    noise = random.normal(size=(2, n))
    return curve + noise[0], curve - noise[0] + noise[1]


def walking(random: np.random.Generator, n: int) -> tuple[Returns, Returns]:
    walk = np.cumsum(random.normal(scale=0.1, size=n))
    noise = random.normal(size=(2, n))
    return walk + noise[0], 2 * walk + noise[1]


def swaying(random: np.random.Generator, n: int) -> tuple[Returns, Returns]:
    """Each return has a level of its own that changes within about 50 episodes."""
    levels = np.zeros((2, n))
    stays = np.exp(-1 / 50)
    for t in range(1, n):
        levels[:, t] = stays * levels[:, t - 1] + np.sqrt(1 - stays**2) * random.normal(size=2)
    noise = random.normal(size=(2, n))
    return 0.7 * levels[0] + noise[0], 0.7 * levels[0] + 1.4 * levels[1] + noise[1]


def share_of_false_alarms(process: Process, n_trainings: int) -> float:
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(n_trainings):
        env_returns, shaped = process(random, 2_000)
        alarms += bool(found(env_returns, {"env": 0.0, "all": 1.0}, all=shaped, window=120))
    return alarms / n_trainings


NOISE = [opposed, of_two_values, with_heavy_tails, learning, walking]


@pytest.mark.parametrize("process", NOISE)
def test_noise_is_not_taken_for_hacking(process: Process) -> None:
    assert share_of_false_alarms(process, 15) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("process", "most"), [*((p, 0.002) for p in NOISE), (swaying, 0.1)])
def test_false_alarms_are_as_rare_as_documented(process: Process, most: float) -> None:
    assert share_of_false_alarms(process, 1_000) <= most


BUOY = {"class": "InfoReward", "params": {"key": "buoy"}}
ENV = {"class": "EnvReward"}


class Kept(KVWriter):
    """A logger's output that keeps what was seen at each dump."""

    def __init__(self) -> None:
        self.hacking: list[float] = []

    def write(self, key_values: dict[str, Any], key_excluded: Any, step: int = 0) -> None:
        if "reward/hacking" in key_values:
            self.hacking.append(key_values["reward/hacking"])

    def close(self) -> None:
        pass


class Episodes(BaseCallback):
    """Notes the env return of every episode."""

    def __init__(self) -> None:
        super().__init__()
        self.env_returns: list[float] = []

    def _on_step(self) -> bool:
        self.env_returns += [
            info["reward_shaping"]["env_return"]
            for info in self.locals["infos"]
            if "reward_shaping" in info
        ]
        return True

    def mean_of_first_and_last(self) -> tuple[float, float]:
        return float(np.mean(self.env_returns[:80])), float(np.mean(self.env_returns[-80:]))


def wrapped(reward: Mapping[str, Any], seed: int) -> VecEnv:
    return make_vec_env(
        Buoys,
        n_envs=8,
        seed=seed,
        wrapper_class=RewardShapingWrapper,
        wrapper_kwargs={"reward_shaping": reward},
    )


def vectorised(reward: Mapping[str, Any], seed: int) -> VecEnv:
    return VecRewardShaping(make_vec_env(Buoys, n_envs=8, seed=seed), reward)


def race(algorithm: type[BaseAlgorithm], venv: VecEnv, seed: int) -> Any:
    """Trains on the race; returns the episodes, and what was logged of hacking."""
    arguments: dict[str, Any] = {"learning_rate": 1e-3}
    if algorithm is PPO:
        arguments = {"learning_rate": 3e-3, "n_steps": 32, "batch_size": 128, "n_epochs": 4}
    model = algorithm("MlpPolicy", venv, seed=seed, **arguments)
    kept, episodes = Kept(), Episodes()
    model.set_logger(Logger(None, [kept]))
    model.learn(8_000, callback=[RewardShapingCallback(), episodes], log_interval=1)
    return episodes, kept.hacking


@pytest.mark.parametrize(
    ("algorithm", "shape"), [(PPO, wrapped), (PPO, vectorised), (A2C, wrapped)]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_an_agent_that_learns_to_game_a_bonus_is_warned_of_once(
    algorithm: type[BaseAlgorithm],
    shape: Callable[[Mapping[str, Any], int], VecEnv],
    seed: int,
) -> None:
    reward = {"env": ENV, "buoy": BUOY | {"weight_schedule": {"initial_weight": 5.0}}}
    with pytest.warns(UserWarning, match="env return fell .* Component 'buoy' grew most") as caught:
        episodes, hacking = race(algorithm, shape(reward, seed), seed)
    assert len(caught) == 1
    first, last = episodes.mean_of_first_and_last()
    assert first > 3
    assert last < 1
    assert max(hacking) == 1


@pytest.mark.parametrize(
    "reward",
    [
        {"env": ENV},
        {"env": ENV, "buoy": BUOY | {"weight_schedule": {"initial_weight": 0.1}}},
        {"env": ENV, "near": {"class": "PotentialShaping", "params": {"potential": "20 * obs[1]"}}},
    ],
    ids=["without the bonus", "a small bonus", "as a potential"],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_an_agent_that_learns_the_task_is_left_in_peace(
    reward: Mapping[str, Any], seed: int
) -> None:
    episodes, hacking = race(PPO, wrapped(reward, seed), seed)
    assert episodes.mean_of_first_and_last()[1] > 9
    assert len(hacking) > 20
    assert not any(hacking)


HONEST, WORSE, WORST = (
    (0.0, [*[Step(n)] * n, Step(n, reward, truncated=True)])
    for n, reward in ((0, 1.0), (1, 0.5), (2, 0.0))
)
BONUS = {"class": "StepPenalty", "params": {"penalty": 2.0}}


def follow(episodes: Sequence[Any], bonus: Mapping[str, Any]) -> tuple[BaseAlgorithm, Kept]:
    """A learner whose episodes are these, whatever it does."""
    env = RewardShapingWrapper(Scripted(episodes), {"env": ENV, "bonus": bonus})
    model, kept = A2C("MlpPolicy", env, seed=0), Kept()
    model.set_logger(Logger(None, [kept]))
    return model, kept


def learn(model: BaseAlgorithm, n_steps: int, callback: BaseCallback, goes_on: bool) -> int:
    """Returns how often it was warned of hacking."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(n_steps, callback, log_interval=1, reset_num_timesteps=not goes_on)
    return sum("gaming its reward" in str(warning.message) for warning in caught)


def test_a_continued_training_is_watched_on_and_warned_of_once() -> None:
    model, kept = follow([HONEST] * 30 + [WORSE] * 40 + [WORST] * 50, BONUS)
    callback = RewardShapingCallback(hacking_window=WINDOW)
    # The first calls are too short for a window; the last one begins the script again.
    assert learn(model, 25, callback, goes_on=False) == 0
    assert learn(model, 20, callback, goes_on=True) == 0
    assert learn(model, 65, callback, goes_on=True) == 1
    seen = sum(kept.hacking)
    assert learn(model, 150, callback, goes_on=True) == 0
    assert sum(kept.hacking) > seen > 0
    assert learn(model, 260, callback, goes_on=False) == 1


def test_another_model_is_another_training() -> None:
    callback = RewardShapingCallback(hacking_window=WINDOW)
    for _ in range(2):
        model, _ = follow([HONEST] * 30 + [WORST] * 40, BONUS)
        model.num_timesteps = 1000  # as after it was loaded
        assert learn(model, 150, callback, goes_on=True) == 1


def test_the_watch_can_be_turned_off() -> None:
    model, kept = follow([HONEST] * 30 + [WORST] * 40, BONUS)
    assert learn(model, 150, RewardShapingCallback(hacking_window=None), goes_on=False) == 0
    assert kept.hacking == []


@pytest.mark.parametrize(
    ("bonus", "n_warnings"),
    [
        ({"class": "ExpressionReward", "params": {"expression": "next_obs[0] - obs[0]"}}, 1),
        ({"class": "PotentialShaping", "params": {"potential": "obs[0]"}}, 0),
    ],
)
def test_potentials_are_left_out(bonus: Mapping[str, Any], n_warnings: int) -> None:
    model, kept = follow([HONEST] * 30 + [WORST] * 40, bonus)
    assert learn(model, 150, RewardShapingCallback(hacking_window=WINDOW), False) == n_warnings
    assert (max(kept.hacking) == 1) is (n_warnings == 1)


@pytest.mark.parametrize(("per_step", "ends", "n_warnings"), [(-9.0, (1, 0), 0), (2.0, (0, 1), 1)])
def test_the_weights_of_now_are_those_of_the_schedule(
    per_step: float, ends: tuple[float, float], n_warnings: int
) -> None:
    # A fine that fades while more steps are taken is no gain; a bonus for them that comes up is.
    schedule = {"schedule_type": "linear", "end_step": 60}
    schedule |= {"initial_weight": ends[0], "final_weight": ends[1]}
    bonus = {"class": "StepPenalty", "params": {"penalty": per_step}, "weight_schedule": schedule}
    model, kept = follow([HONEST] * 40 + [WORST] * 60, bonus)
    callback = RewardShapingCallback(hacking_window=WINDOW)
    assert learn(model, 200, callback, goes_on=False) == n_warnings
    assert len(kept.hacking) > 3
