"""Turns the component values of many environments into rewards, under the weights of the moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllama_sb3.errors import ComponentError
from rllama_sb3.rewards.batch_composer import BatchComposer, to_numbers
from rllama_sb3.rewards.composer import component_error, explain_not_finite, to_number
from rllama_sb3.rewards.potential import PotentialShaping, discounted_difference
from rllama_sb3.rewards.potential_functions import BatchPotential, Potential
from rllama_sb3.rewards.shaper import RewardShaper
from rllama_sb3.rewards.transition import TransitionBatch, row_of
from rllama_sb3.rewards.vectorized import environment_error
from rllama_sb3.rewards.weights import ScheduledWeights

Infos = Sequence[Mapping[str, Any]]


@dataclass(slots=True)
class EpisodeSums:
    """The sums of an episode that has ended.

    Attributes:
        env_return: Of the original environment's rewards.
        length: The number of steps.
        raw: Of each component's raw values.
        weighted: Of each component's weighted values.
    """

    env_return: float
    length: int
    raw: list[float]
    weighted: list[float]


@dataclass(slots=True)
class BatchBreakdown:
    """The rewards of one step of n environments.

    Attributes:
        total: The shaped rewards, shape (n,).
        raw: The raw value of each component, shape (number of components, n); valid until the
            next step.
        finished: By environment the sums of the episodes that ended.
    """

    total: NDArray[np.float64]
    raw: NDArray[np.float64]
    finished: dict[int, EpisodeSums]


class BatchRewardShaper(ScheduledWeights):
    """A :class:`RewardShaper` for n environments that are stepped together.

    It pays each of them what a shaper of its own would pay it, to rounding; one clock serves all,
    since at each step all stand at the same global step. It also keeps the sums of the episodes,
    which in its layout takes a single addition.

    The layout. The values of a step are the rows of one array: the raw value of each component,
    the weighted value of those whose weight moves, and the env reward. The shaped reward is a
    constant combination of all but the last, since the other weights are constants.

    Args:
        shaper: Components, schedules, and what is known of the learner. It is left as it is, and
            but for its potentials, which are functions of states, nothing is shared with it.
        n_envs: n.

    Example:
        >>> from rllama_sb3.rewards import build_shaper
        >>> shaper = BatchRewardShaper(build_shaper({"env": {"class": "EnvReward"}}), n_envs=2)
        >>> no, obs = np.zeros(2, bool), np.zeros((2, 1))
        >>> shaper.reset(obs, [{}, {}])
        >>> shaper.step(TransitionBatch(obs=obs, action=no, next_obs=obs, terminated=no,
        ...             truncated=no, ended=no.nonzero()[0], infos=[{}, {}],
        ...             env_reward=np.array([1.0, 2.0])), obs, [{}, {}]).total
        array([1., 2.])
    """

    def __init__(self, shaper: RewardShaper, n_envs: int) -> None:
        super().__init__(shaper.schedules, shaper.description.policy_invariant)
        self.give_learner(**shaper.given_learner)
        self.adopt_learner(gamma=shaper.gamma, bootstrap_truncated=shaper.bootstrap_truncated)
        components = shaper.composer.components
        self._composer = BatchComposer(components, n_envs)
        self._potentials = [
            (index, component.potential, component.batch_potential)
            for index, component in enumerate(components.values())
            if isinstance(component, PotentialShaping)
        ]
        n_raw, n_varying = len(components), len(self._varying)
        self._rows = np.zeros((n_raw + n_varying + 1, n_envs))
        self._raw, self._env_reward = self._rows[:n_raw], self._rows[-1]
        # The row of the weighted values of each component whose weight moves.
        self._weighted_rows = {
            index: self._rows[n_raw + place] for place, (index, _) in enumerate(self._varying)
        }
        self._coefficients = np.array([*self._constant_weights, *[1.0] * n_varying])
        self._ones = np.ones(n_envs)
        # Of the running episodes: the sums of the rows, and the steps at which they began.
        self._sums = np.zeros_like(self._rows)
        self._n_steps = 0
        self._began = [0] * n_envs
        # Φ(s), remembered from the arrival at the present states, and w·Φ(s) where w moves.
        self._arrived = {index: np.zeros(n_envs) for index, *_ in self._potentials}
        self._weighted_arrived = {
            index: arrived
            for index, arrived in self._arrived.items()
            if index in self._weighted_rows
        }
        # The environments whose episode has had no step yet.
        self._at_start = np.arange(n_envs)
        self.set_clock(shaper.global_step, n_envs)

    def _reweight_first_states(self) -> None:
        # As for one environment: what nothing was paid for yet can still move.
        starts = self._at_start
        for index, weighted in self._weighted_arrived.items():
            moved = weighted.copy()
            moved[starts] = self._weights[index] * self._arrived[index][starts]
            self._weighted_arrived[index] = moved

    def reset(self, obs: Any, infos: Infos) -> None:
        """Begins an episode in every environment.

        Args:
            obs: Their first observations: an array, or a dict of arrays, whose first axis is
                environments.
            infos: The infos of their resets.

        Raises:
            ComponentError: A potential is not a finite number there.
        """
        for index, _, potential in self._potentials:
            self._arrived[index] = begun = self._evaluate(index, potential, obs, infos)
            if index in self._weighted_rows:
                self._weighted_arrived[index] = self._weights[index] * begun
        self._begin_episodes(np.arange(len(self._began)), obs, infos)

    def step(self, batch: TransitionBatch, obs: Any, infos: Infos) -> BatchBreakdown:
        """Shapes one step of each environment, and moves the clock on.

        Args:
            batch: What happened.
            obs: The observations that the next actions are chosen on. They are
                ``batch.next_obs``, but for episodes that ended: there the next one has begun.
            infos: Likewise: the infos of the step, or of the reset.

        Raises:
            ComponentError: A component raised, or gave anything but one finite number for each.
            ConfigError: A potential needs γ, and none was set.
        """
        try:
            self._composer.evaluate(batch, self._raw)
        except ComponentError as error:
            raise ComponentError(f"at global step {self._global_step}, {error}") from error
        self._env_reward[:] = batch.env_reward
        next_step = self._global_step + self._stride
        next_weights = self._weights_at(next_step) if self._varying else self._weights
        arrivals = []
        for index, one, many in self._potentials:
            begun = reached = self._evaluate(index, many, obs, infos)
            if batch.ended.size:
                reached = self._where_it_led(index, one, begun, batch)
            arrivals.append((index, reached, begun))
        total = self._weigh(next_weights, arrivals)
        # One look at the sum finds any NaN or infinity.
        if not isfinite(total.dot(self._ones)):
            self._check_finite(total)
        self._sums += self._rows
        self._n_steps += 1
        self._global_step, self._weights = next_step, next_weights
        finished = {env: self._sum_up(env) for env in batch.ended.tolist()}
        self._begin_episodes(batch.ended, obs, infos)
        return BatchBreakdown(total, self._raw, finished)

    # What is not finite is found in the sum, and told with its name.
    @np.errstate(over="ignore", invalid="ignore")
    def _weigh(
        self,
        next_weights: Sequence[float],
        arrivals: Sequence[tuple[int, NDArray[np.float64], NDArray[np.float64]]],
    ) -> NDArray[np.float64]:
        """Fills the rows of weighted values, pays the potentials, and adds up.

        Args:
            next_weights: The weights at the next global step.
            arrivals: Of each potential the index of its component, Φ of the states that the step
                led to, and Φ of those that the next step leaves.
        """
        for index, weighted in self._weighted_rows.items():
            np.multiply(self._raw[index], self._weights[index], out=weighted)
        for index, reached, begun in arrivals:
            gamma = self.known_gamma()
            self._raw[index] = discounted_difference(gamma, reached, self._arrived[index])
            self._arrived[index] = begun
            if index in self._weighted_rows:
                # The weights stand inside the difference.
                weight, arrived = next_weights[index], self._weighted_arrived[index]
                difference = discounted_difference(gamma, weight * reached, arrived)
                self._weighted_rows[index][:] = difference
                self._weighted_arrived[index] = weight * begun
        total: NDArray[np.float64] = self._coefficients @ self._rows[:-1]
        return total

    def _where_it_led(
        self,
        index: int,
        potential: Potential,
        begun: NDArray[np.float64],
        batch: TransitionBatch,
    ) -> NDArray[np.float64]:
        """Returns Φ(s') given Φ of the states that the next step leaves, some of them first ones.

        Termination has no future, so Φ(s') = 0. A time limit still has one, which the critic
        estimates from the last observation; without a critic for it there is none to shape.
        """
        reached = begun.copy()
        reached[batch.ended] = 0.0
        if self.bootstrap_truncated:
            for env in batch.truncated.nonzero()[0].tolist():
                try:
                    last = potential(row_of(batch.next_obs, env), batch.infos[env])
                    reached[env] = to_number(last)
                except Exception as error:
                    raise self._blame(index, environment_error(env, error)) from error
        return reached

    def _evaluate(
        self, index: int, potential: BatchPotential, obs: Any, infos: Infos
    ) -> NDArray[np.float64]:
        try:
            # A copy: it is remembered, and whoever computed it may use the array again.
            return to_numbers(potential(obs, infos), len(infos)).astype(np.float64)
        except Exception as error:
            raise self._blame(index, error) from error

    def _blame(self, index: int, error: Exception) -> ComponentError:
        reason = component_error(self.names[index], error)
        return ComponentError(f"at global step {self._global_step}, {reason}")

    def _sum_up(self, env: int) -> EpisodeSums:
        raw, weighted = self._raw_and_weighted(self._sums[:, env])
        env_return: float = self._sums[-1, env].item()
        return EpisodeSums(env_return, self._n_steps - self._began[env], raw, weighted)

    def _raw_and_weighted(self, column: NDArray[np.float64]) -> tuple[list[float], list[float]]:
        """Returns the values of the components from the rows of one environment, or their sums."""
        values: list[float] = column.tolist()
        raw = values[: len(self.names)]
        weighted = [
            weight * value for weight, value in zip(self._constant_weights, raw, strict=True)
        ]
        for place, (index, _) in enumerate(self._varying):
            weighted[index] = values[len(raw) + place]
        return raw, weighted

    def _begin_episodes(self, starts: NDArray[np.intp], obs: Any, infos: Infos) -> None:
        self._at_start = starts
        if not starts.size:
            return
        for index, arrived in self._arrived.items():
            for env in starts[~np.isfinite(arrived[starts])].tolist():
                error = ComponentError(f"must be finite, but is {arrived[env].item()!r}")
                raise self._blame(index, environment_error(env, error))
        self._sums[:, starts] = 0.0
        for env in starts.tolist():
            self._began[env] = self._n_steps
        self._composer.reset(starts, obs, infos)

    def _check_finite(self, total: NDArray[np.float64]) -> None:
        """Raises if a reward is not finite; names the component and the environment."""
        for env in (~np.isfinite(total)).nonzero()[0].tolist():
            reason = explain_not_finite(self.names, *self._raw_and_weighted(self._rows[:, env]))
            raise ComponentError(
                f"at global step {self._global_step}, in environment {env}, {reason}"
            )
