"""Turns the component values of one environment into one number, under the weights of the moment.

A training loop either says where it stands before each step (:meth:`RewardShaper.update_weights`,
then :meth:`RewardShaper.shape`), or sets the clock once and lets each step move it on
(:meth:`RewardShaper.set_clock`, then :meth:`RewardShaper.step`), which is what the environment
wrapper does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from operator import mul
from typing import Any

from rllama_sb3.errors import ComponentError, ConfigError
from rllama_sb3.rewards.composer import (
    Breakdown,
    RewardComposer,
    component_error,
    explain_not_finite,
    to_number,
)
from rllama_sb3.rewards.potential import PotentialShaping, discounted_difference
from rllama_sb3.rewards.transition import Transition
from rllama_sb3.rewards.weights import ScheduledWeights, build_schedules


class RewardShaper(ScheduledWeights):
    """Weights the components of a composer by their schedules, and adds them up::

        r_shaped(t) = Σ_i w_i(t) · r_i(t)

    For :class:`~rllama_sb3.rewards.potential.PotentialShaping` the weights stand inside the
    difference, as that module explains.

    Args:
        composer: The components.
        reward_shaping_config: For each component's name a mapping whose ``weight_schedule`` says
            how its weight moves (1 throughout when absent). Further keys, such as ``class`` and
            ``params``, were used to build the component, and are not looked at here.
        gamma: The learner's discount factor, in [0, 1]; needed before the first step when there
            is a potential, and possibly set later by :meth:`adopt_learner`.
        total_timesteps: The length of the training in global steps, which shares such as
            ``end_step: 80%`` are shares of.
        bootstrap_truncated: Whether the learner estimates the future of truncated states, as
            Stable-Baselines3 does (and ``None`` takes for granted) unless
            ``handle_timeout_termination`` is off; possibly set later by :meth:`adopt_learner`.

    Raises:
        ConfigError: Names do not match the composer's, a schedule is wrong, or γ is not in [0, 1].

    Example:
        >>> from rllama_sb3.rewards import EnvReward, StepPenalty
        >>> composer = RewardComposer({"env": EnvReward(), "time": StepPenalty(penalty=-1.0)})
        >>> shaper = RewardShaper(composer, {
        ...     "env": {},
        ...     "time": {"weight_schedule": {"initial_weight": 0.5, "schedule_type": "linear",
        ...                                  "final_weight": 0.0, "end_step": 100}},
        ... })
        >>> shaper.update_weights(50)
        >>> shaper.shape(raw_reward=2.0)
        1.75
    """

    def __init__(
        self,
        composer: RewardComposer,
        reward_shaping_config: Mapping[str, Mapping[str, Any]],
        *,
        gamma: float | None = None,
        total_timesteps: int | None = None,
        bootstrap_truncated: bool | None = None,
    ) -> None:
        super().__init__(
            build_schedules(composer.names, reward_shaping_config, total_timesteps),
            [name for name, part in composer.components.items() if part.policy_invariant],
            gamma=gamma,
            bootstrap_truncated=bootstrap_truncated,
        )
        self.composer = composer
        self._potentials = [
            (index, component)
            for index, component in enumerate(composer.components.values())
            if isinstance(component, PotentialShaping)
        ]
        # Φ(s) and w·Φ(s), remembered from the arrival at the present state; by component index.
        self._arrived = [0.0] * len(composer)
        self._weighted_arrived = [0.0] * len(composer)
        self._episode_is_open = False
        self._no_step_yet = True

    def _reweight_first_states(self) -> None:
        if self._no_step_yet:
            # The episode's first state was reached under the old clock, before training told the
            # time. Nothing was paid for it yet, so that its potential can still move. In the
            # middle of an episode it cannot: γ·w·Φ(s) was paid, and exactly that is owed back.
            for index, _ in self._potentials:
                self._weighted_arrived[index] = self._weights[index] * self._arrived[index]

    def reset(self, obs: Any, info: Mapping[str, Any]) -> None:
        """Begins an episode in state ``obs``.

        Raises:
            ComponentError: A potential is not a finite number there.
        """
        self.composer.reset(obs, info)
        for index, component in self._potentials:
            try:
                self._arrived[index] = to_number(component.potential(obs, info))
                if not isfinite(self._arrived[index]):
                    raise ComponentError(f"must be finite, but is {self._arrived[index]!r}")
            except Exception as error:
                reason = component_error(self.composer.names[index], error)
                raise ComponentError(
                    f"at the reset before global step {self._global_step}, {reason}"
                ) from error
            self._weighted_arrived[index] = self._weights[index] * self._arrived[index]
        self._episode_is_open = True
        self._no_step_yet = True

    def step(self, transition: Transition) -> Breakdown:
        """Shapes one transition of an episode begun with :meth:`reset`, and moves the clock on.

        Returns:
            The shaped reward, the raw values and the weighted values, in the composer's order.

        Raises:
            ComponentError: A component raised, or gave anything but one finite number.
            ConfigError: A potential needs γ, and none was set.
        """
        weights = self._weights
        next_step = self._global_step + self._stride
        next_weights = self._weights_at(next_step) if self._varying else weights
        try:
            breakdown = self.composer.weigh(transition, weights)
        except Exception as error:
            reason = self.composer.blame(error)
            raise ComponentError(f"at global step {self._global_step}, {reason}") from error
        total = breakdown[0]
        # One look at the sum finds any odd value: NaN, infinity, a NumPy scalar, an array.
        if self._potentials or type(total) is not float or not isfinite(total):
            has_future = self.bootstrap_truncated or not transition.truncated
            breakdown = self._weigh_with_care(breakdown[1], next_weights, has_future)
        self._global_step, self._weights = next_step, next_weights
        return breakdown

    def shape(
        self,
        raw_reward: float,
        info: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> float:
        """Shapes one step of a hand-written loop, under the weights of :meth:`update_weights`.

        Args:
            raw_reward: The environment's own reward.
            info: The environment's info.
            context: What else the components need: ``terminated``, ``truncated``, ``obs``,
                ``action``, ``next_obs``, and anything that a component of yours reads. After a
                step with either flag set, the next call begins an episode in ``obs``; a loop
                that ends episodes in another way calls :meth:`reset` itself.

        Returns:
            The shaped reward.

        Raises:
            ComponentError: A component raised, or gave anything but one finite number.
            ConfigError: A potential needs γ, and none was set.
        """
        given: Mapping[str, Any] = {} if context is None else context
        transition = Transition(
            obs=given.get("obs"),
            action=given.get("action"),
            next_obs=given.get("next_obs"),
            env_reward=float(raw_reward),
            terminated=bool(given.get("terminated", False)),
            truncated=bool(given.get("truncated", False)),
            info={} if info is None else info,
            context=given,
        )
        if not self._episode_is_open:
            if self._potentials and transition.obs is None:
                raise ConfigError(
                    "a potential needs observations, but the context has none. "
                    'Pass context={"obs": ..., "next_obs": ..., "terminated": ...} to shape()'
                )
            self.reset(transition.obs, {})
        clock = self._global_step, self._weights
        total, _, _ = self.step(transition)
        self._global_step, self._weights = clock
        self._episode_is_open = not (transition.terminated or transition.truncated)
        return total

    def _weigh_with_care(
        self, values: Sequence[Any], next_weights: list[float], has_future: bool
    ) -> Breakdown:
        """Weighs values among which there are potentials, or such as are no plain numbers."""
        try:
            raw = self.composer.to_numbers(values)
        except ComponentError as error:
            raise ComponentError(f"at global step {self._global_step}, {error}") from error
        weighted = list(map(mul, raw, self._weights))
        if self._potentials:
            self._difference_potentials(raw, weighted, next_weights, has_future)
        total = sum(weighted)
        if not isfinite(total):
            reason = explain_not_finite(self.names, raw, weighted)
            raise ComponentError(f"at global step {self._global_step}, {reason}")
        return total, raw, weighted

    def _difference_potentials(
        self,
        raw: list[float],
        weighted: list[float],
        next_weights: list[float],
        has_future: bool,
    ) -> None:
        """Replaces each Φ(s') in ``raw`` by γΦ(s') − Φ(s), and likewise in ``weighted``."""
        gamma = self.known_gamma()
        arrived, weighted_arrived = self._arrived, self._weighted_arrived
        for index, _ in self._potentials:
            # Without a critic for what comes after a truncation, there is no future to shape.
            potential = raw[index] if has_future else 0.0
            weighted_potential = next_weights[index] * potential
            raw[index] = discounted_difference(gamma, potential, arrived[index])
            weighted[index] = discounted_difference(
                gamma, weighted_potential, weighted_arrived[index]
            )
            arrived[index], weighted_arrived[index] = potential, weighted_potential
        self._no_step_yet = False
