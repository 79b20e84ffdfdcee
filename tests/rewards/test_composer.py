from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from rllama_sb3.errors import ComponentError, ConfigError
from rllama_sb3.rewards import EnvReward, RewardComponent, RewardComposer, StepPenalty, Transition


class Gives(RewardComponent):
    def __init__(self, value: object) -> None:
        self.value = value

    def compute(self, transition: Transition) -> float:
        return self.value  # type: ignore[return-value]


class Raises(RewardComponent):
    def compute(self, transition: Transition) -> float:
        raise KeyError("speed")


class CountsResets(RewardComponent):
    n_resets = 0

    def reset(self, obs: object, info: object) -> None:
        self.n_resets += 1

    def compute(self, transition: Transition) -> float:
        return float(self.n_resets)


def transition(env_reward: float = 1.0) -> Transition:
    return Transition(0, 1, 2, env_reward, False, False, {})


def test_values_come_in_the_order_of_the_names() -> None:
    composer = RewardComposer({"time": StepPenalty(penalty=-0.5), "env": EnvReward()})
    assert composer.names == ("time", "env")
    assert composer.weigh(transition(3.0), [2.0, 1.0]) == (2.0, (-0.5, 3.0), (-1.0, 3.0))


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.array(0.5), 0.5])
def test_a_numpy_number_becomes_a_plain_float(value: object) -> None:
    (result,) = RewardComposer({"a": Gives(value)}).to_numbers([value])
    assert type(result) is float
    assert result == 0.5


@pytest.mark.parametrize("value", [True, np.True_, 1, np.int64(1)])
def test_whole_numbers_and_truth_values_count_as_numbers(value: object) -> None:
    assert RewardComposer({"a": Gives(value)}).to_numbers([value]) == [1.0]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        ("3.0", "'3.0'"),
        (1j, "1j"),
        (np.ones(3), r"an array of shape \(3,\)"),
        (np.ones(1), r"an array of shape \(1,\)"),
        ([1.0], r"\[1.0\]"),
    ],
)
def test_anything_but_one_number_is_an_error_that_names_the_component(
    value: object, shown: str
) -> None:
    composer = RewardComposer({"fine": EnvReward(), "odd": Gives(value)})
    with pytest.raises(ComponentError, match=f"'odd' failed.*one number, but gave {shown}"):
        composer.to_numbers([1.0, value])


def test_a_component_that_raises_is_named() -> None:
    composer = RewardComposer({"fine": EnvReward(), "broken": Raises(), "after": EnvReward()})
    with pytest.raises(KeyError) as caught:
        composer.weigh(transition(), [1.0] * 3)
    assert str(composer.blame(caught.value)) == "component 'broken' failed: KeyError: 'speed'"


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("component", [Raises(), Gives(None), Gives("a")])
def test_the_component_at_fault_is_told_by_its_position(
    position: int, component: RewardComponent
) -> None:
    components: list[RewardComponent] = [EnvReward(), EnvReward()]
    components.insert(position, component)
    composer = RewardComposer({f"c{index}": c for index, c in enumerate(components)})
    with pytest.raises((KeyError, TypeError)) as caught:
        composer.weigh(transition(), [1.0] * 3)
    assert str(composer.blame(caught.value)).startswith(f"component 'c{position}' failed")


def test_a_reset_reaches_every_component() -> None:
    component = CountsResets()
    composer = RewardComposer({"a": component})
    composer.reset(0, {})
    assert composer.weigh(transition(), [1.0])[0] == 1.0


def test_copies_and_pickles_share_no_state_with_the_original() -> None:
    composer = RewardComposer({"a": CountsResets()})
    for twin in (copy.deepcopy(composer), pickle.loads(pickle.dumps(composer))):
        twin.reset(0, {})
        assert twin.weigh(transition(), [1.0])[0] == 1.0
    assert composer.weigh(transition(), [1.0])[0] == 0.0


def test_a_reward_without_components_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one component"):
        RewardComposer({})


def test_what_is_not_a_component_is_refused() -> None:
    with pytest.raises(ConfigError, match="'env' must be a RewardComponent, but got"):
        RewardComposer({"env": EnvReward})  # type: ignore[dict-item]
