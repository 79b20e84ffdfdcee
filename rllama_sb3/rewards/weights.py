"""The weights of a reward: their schedules, their clock, and what the learner said of itself.

The clock. A weight schedule is a pure function of the global step, the number of environment
steps taken before this one, summed over all environments. Whoever steps environments sets the
clock once (:meth:`ScheduledWeights.set_clock`), and each step moves it on; a loop that knows the
global step says it before each step (:meth:`ScheduledWeights.update_weights`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Final, Literal

from rllama_sb3.errors import ConfigError, Problem, did_you_mean
from rllama_sb3.rewards.schedules import WeightSchedule, build_schedule

_KEYS: Final = ("class", "params", "weight_schedule")


@dataclass(frozen=True)
class Learner:
    """What a reward has to know of the algorithm that learns from it.

    Attributes:
        gamma: Its discount factor; ``None`` where it has none, or it is not known.
        bootstrap_truncated: Whether it estimates the future of truncated states; ``None`` where
            that is not known.
        record_components: Whether it needs the raw values of each step, or ``"varying"`` if it
            does where a weight moves.
    """

    gamma: float | None = None
    bootstrap_truncated: bool | None = None
    record_components: bool | Literal["varying"] = False


@dataclass(frozen=True)
class RewardDescription:
    """What a reward consists of, for whoever logs it or learns from it.

    Attributes:
        schedules: The weight schedule of each component.
        policy_invariant: The components that cannot change which policies are optimal.
    """

    schedules: Mapping[str, WeightSchedule]
    policy_invariant: frozenset[str]

    @property
    def is_constant(self) -> bool:
        """Whether no weight ever moves."""
        return all(schedule.is_constant for schedule in self.schedules.values())

    def is_recorded_for(self, learner: Learner) -> bool:
        """Whether a learner needs the raw values of this reward."""
        if learner.record_components == "varying":
            return not self.is_constant
        return learner.record_components

    def weights_at(self, global_step: int) -> dict[str, float]:
        """Returns the weight of each component at a global step."""
        return {name: schedule(global_step) for name, schedule in self.schedules.items()}


class ScheduledWeights:
    """What a reward for one environment and a reward for many of them have in common.

    Args:
        schedules: The weight schedule of each component, by name.
        policy_invariant: The names of those that cannot change which policies are optimal.
        gamma: The learner's discount factor, in [0, 1], if it is known.
        bootstrap_truncated: Whether the learner estimates the future of truncated states, if that
            is known; ``None`` takes it for granted.

    Raises:
        ConfigError: γ is not in [0, 1].
    """

    def __init__(
        self,
        schedules: Mapping[str, WeightSchedule],
        policy_invariant: Iterable[str] = (),
        *,
        gamma: float | None = None,
        bootstrap_truncated: bool | None = None,
    ) -> None:
        self.names: tuple[str, ...] = tuple(schedules)
        self.schedules: dict[str, WeightSchedule] = dict(schedules)
        self.description = RewardDescription(self.schedules, frozenset(policy_invariant))
        self.gamma: float | None = None
        self.bootstrap_truncated = True
        # What the user said, which no learner may contradict.
        self._given: dict[str, Any] = {}
        self.give_learner(gamma=gamma, bootstrap_truncated=bootstrap_truncated)
        self._constant_weights = [
            schedule(0) if schedule.is_constant else 0.0 for schedule in schedules.values()
        ]
        self._varying = [
            (index, schedule)
            for index, schedule in enumerate(schedules.values())
            if not schedule.is_constant
        ]
        self._stride = 1
        self._global_step = 0
        self._weights = self._weights_at(0)

    @property
    def global_step(self) -> int:
        """The global step that the present weights belong to."""
        return self._global_step

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each component at the present global step."""
        return dict(zip(self.names, self._weights, strict=True))

    def get_current_weight(self, name: str) -> float:
        """Returns the present weight of one component.

        Raises:
            ConfigError: There is no component of that name.
        """
        if name not in self.schedules:
            raise ConfigError(
                Problem((), "unknown component", name, did_you_mean(name, self.names))
            )
        return self._weights[self.names.index(name)]

    def adopt_learner(
        self, *, gamma: float | None = None, bootstrap_truncated: bool | None = None
    ) -> None:
        """Takes over what a learner says of itself; ``None`` says nothing.

        Raises:
            ConfigError: It differs from what the user said, or γ is not in [0, 1].
        """
        told = {"gamma": gamma, "bootstrap_truncated": bootstrap_truncated}
        for name, value in told.items():
            if value is None:
                continue
            if name == "gamma":
                _check_gamma(value)
            given = self._given.get(name, value)
            if given != value:
                raise ConfigError(
                    Problem(
                        (name,),
                        f"must be the learner's own, {value!r}, or potentials change the task",
                        given,
                        "Pass the same value to both, or none to the reward: training sets it.",
                    )
                )
            setattr(self, name, value)

    def give_learner(
        self, *, gamma: float | None = None, bootstrap_truncated: bool | None = None
    ) -> None:
        """Says what the learner will be like, which it is then held to; as for the constructor.

        Raises:
            ConfigError: Something else was said before, or γ is not in [0, 1].
        """
        self.adopt_learner(gamma=gamma, bootstrap_truncated=bootstrap_truncated)
        told = {"gamma": gamma, "bootstrap_truncated": bootstrap_truncated}
        self._given |= {name: value for name, value in told.items() if value is not None}

    @property
    def given_learner(self) -> dict[str, Any]:
        """What :meth:`give_learner` was told; its arguments for another reward."""
        return dict(self._given)

    def known_gamma(self) -> float:
        """Returns γ, which potentials cannot be paid without.

        Raises:
            ConfigError: Nobody has said it.
        """
        if self.gamma is None:
            raise ConfigError(
                Problem(
                    ("gamma",),
                    "a PotentialShaping component needs the learner's discount factor",
                    remedy="Pass gamma=model.gamma. A RewardShapingCallback sets it in training "
                    "environments; those of an EvalCallback need it from you, or no shaping.",
                )
            )
        return self.gamma

    def update_weights(self, global_step: int) -> None:
        """Moves the clock to ``global_step``, for the steps that follow.

        Raises:
            ConfigError: ``global_step`` is negative.
        """
        self.set_clock(global_step, self._stride)

    def set_clock(self, global_step: int, stride: int) -> None:
        """Moves the clock, and says how far each :meth:`step` is to move it on.

        Args:
            global_step: Environment steps taken so far, summed over all environments.
            stride: Environment steps taken while this environment takes one: their number.

        Raises:
            ConfigError: ``global_step`` is negative or ``stride`` is not positive.
        """
        if not (_is_count(global_step, least=0) and _is_count(stride, least=1)):
            raise ConfigError(
                "a clock needs whole numbers, global_step >= 0 and n_envs >= 1, "
                f"but got {global_step!r} and {stride!r}"
            )
        self._global_step, self._stride = int(global_step), int(stride)
        self._weights = self._weights_at(self._global_step)
        self._reweight_first_states()

    def _reweight_first_states(self) -> None:
        """Weights anew the states that were arrived at and not left yet: the clock was set."""

    def _weights_at(self, global_step: int) -> list[float]:
        # Most weights never change: they are copied, and only the others computed.
        weights = self._constant_weights.copy()
        for index, schedule in self._varying:
            weights[index] = schedule(global_step)
        return weights


def _check_gamma(gamma: Any) -> None:
    if isinstance(gamma, bool) or not isinstance(gamma, int | float) or not 0 <= gamma <= 1:
        raise ConfigError(Problem(("gamma",), "must be a number in [0, 1]", gamma))


def _is_count(value: Any, *, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def _check_entries(config: Mapping[str, Any]) -> list[Problem]:
    problems = []
    for name, entry in config.items():
        if not isinstance(entry, Mapping):
            rule, remedy = "must be a mapping", "An empty one gives the component the weight 1."
            problems.append(Problem(("reward_shaping", name), rule, entry, remedy))
            continue
        problems += [
            Problem(("reward_shaping", name, key), "unknown key", remedy=did_you_mean(key, _KEYS))
            for key in entry
            if key not in _KEYS
        ]
    return problems


def build_schedules(
    names: Sequence[str],
    config: Mapping[str, Mapping[str, Any]],
    total_timesteps: int | None,
) -> dict[str, WeightSchedule]:
    """Builds the weight schedule of each component.

    Args:
        names: The components.
        config: For each name a mapping whose ``weight_schedule`` says how its weight moves.
        total_timesteps: What shares such as ``end_step: 80%`` are shares of.

    Raises:
        ConfigError: A component has no entry or an entry no component, or a schedule is wrong.
    """
    problems = [
        Problem(
            ("reward_shaping", name),
            "has a component but no entry in the config",
            remedy="Add one; an empty mapping gives it the weight 1.",
        )
        for name in names
        if name not in config
    ]
    problems += [
        Problem(
            ("reward_shaping", name),
            "has an entry in the config but no component",
            remedy=did_you_mean(name, names),
        )
        for name in config
        if name not in names
    ]
    problems += _check_entries(config)
    if problems:
        raise ConfigError(*problems)
    return {
        name: build_schedule(
            config[name].get("weight_schedule", {}),
            total_timesteps=total_timesteps,
            path=("reward_shaping", name, "weight_schedule"),
        )
        for name in names
    }
