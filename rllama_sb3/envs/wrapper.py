"""A Gymnasium wrapper that pays the shaped reward instead of the environment's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, SupportsFloat, TypeVar

import cloudpickle
import gymnasium as gym

from rllama_sb3.envs.episode import ComponentValues, summarize_episode
from rllama_sb3.envs.reward_source import RewardSource, own_shaper
from rllama_sb3.errors import ConfigError
from rllama_sb3.rewards.transition import Transition
from rllama_sb3.rewards.weights import Learner, RewardDescription

ObsType = TypeVar("ObsType")
ActType = TypeVar("ActType")

# Steps whose values are kept before they are added up; bounds the memory of endless episodes.
_ROWS_KEPT: Final = 4096


class RewardShapingWrapper(
    gym.Wrapper[ObsType, ActType, ObsType, ActType], gym.utils.RecordConstructorArgs
):
    """Replaces each reward by the shaped one; observations and episode ends stay as they are.

    At the end of an episode, ``info["reward_shaping"]`` holds its sums::

        {"env_return": float, "shaped_return": float, "length": int,
         "components": {name: {"raw": float, "weighted": float}}}

    Wrap it around everything that can end an episode (``gym.make`` puts its ``TimeLimit``
    inside), and put a ``Monitor`` inside as well, so that it records the env return.

    The clock of the weight schedules starts at global step 0 and moves by one with each step. In
    training, :class:`~rllama_sb3.callbacks.RewardShapingCallback` sets it when ``learn`` begins,
    and says by how much each step moves it, which is the number of environments.

    Args:
        env: Any Gymnasium environment.
        reward_shaping: The components by name, each with ``class``, ``params`` and
            ``weight_schedule``; or the path of a YAML file with a ``reward_shaping`` key; or a
            ``RewardShaper``, of which the wrapper makes its own copy, so that the copies of an
            environment never share state.
        gamma: The learner's discount factor. Potentials need it; the callback sets it when it is
            left out, and refuses to train with another one.
        total_timesteps: The length of the training, which shares such as ``80%`` are shares of.
        record_components: Put the raw values of each step into ``info["reward_components"]``.
        bootstrap_truncated: Whether the learner estimates the future of truncated states; the
            callback sets this as well when it is left out.

    Raises:
        ConfigError: ``reward_shaping`` is wrong; all its problems are listed.

    Example:
        >>> env = RewardShapingWrapper(gym.make("CartPole-v1"), {
        ...     "env": {"class": "EnvReward"},
        ...     "upright": {"class": "ExpressionReward",
        ...                 "params": {"expression": "1 - abs(next_obs[2])"}},
        ... })
        >>> _ = env.reset(seed=0)
        >>> _, reward, *_ = env.step(0)
        >>> 1.9 < reward < 2.0
        True
    """

    def __init__(
        self,
        env: gym.Env[ObsType, ActType],
        reward_shaping: RewardSource,
        *,
        gamma: float | None = None,
        total_timesteps: int | None = None,
        record_components: bool = False,
        bootstrap_truncated: bool | None = None,
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self,
            reward_shaping=reward_shaping,
            gamma=gamma,
            total_timesteps=total_timesteps,
            record_components=record_components,
            bootstrap_truncated=bootstrap_truncated,
        )
        gym.Wrapper.__init__(self, env)
        self.shaper = own_shaper(reward_shaping, gamma, total_timesteps, bootstrap_truncated)
        self._record_components = record_components
        self._transition = Transition(None, None, None, 0.0, False, False, {})
        self._forget_episode()

    def set_global_step(self, global_step: int, n_envs: int = 1) -> None:
        """Sets the clock of the weight schedules.

        Args:
            global_step: Steps taken so far, summed over all environments.
            n_envs: Environments that are stepped together; each step moves the clock by it.

        Raises:
            ConfigError: ``global_step`` is negative or ``n_envs`` is not positive.
        """
        self.shaper.set_clock(global_step, n_envs)

    def begin_training(self, global_step: int, n_envs: int, learner: Learner) -> bytes:
        """Sets the clock, and what is known of the learner: one message for a whole training.

        Args:
            global_step: As for :meth:`set_global_step`.
            n_envs: As for :meth:`set_global_step`.
            learner: What the algorithm says of itself. The raw values that it needs are recorded
                beside those that the user asked for.

        Returns:
            The :class:`~rllama_sb3.rewards.weights.RewardDescription`, or the ``ConfigError`` that
            says what the wrapper was built for instead. It is pickled by value: a worker process
            can send schedules that were registered nowhere but in the user's script, and what it
            raised would end it.
        """
        answer: RewardDescription | ConfigError = self.shaper.description
        try:
            self.shaper.adopt_learner(
                gamma=learner.gamma, bootstrap_truncated=learner.bootstrap_truncated
            )
        except ConfigError as error:
            answer = error
        self.set_global_step(global_step, n_envs)
        self._record_components |= self.shaper.description.is_recorded_for(learner)
        pickled: bytes = cloudpickle.dumps(answer)
        return pickled

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Resets the environment, and begins an episode of the reward."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._transition.next_obs = obs
        self._forget_episode()
        self.shaper.reset(obs, info)
        return obs, info

    def step(self, action: ActType) -> tuple[ObsType, SupportsFloat, bool, bool, dict[str, Any]]:
        """Steps the environment, and pays the shaped reward.

        Raises:
            ComponentError: A component raised, or gave anything but one finite number.
        """
        obs, env_reward, terminated, truncated, info = self.env.step(action)
        # One transition is filled anew at each step: to build one takes three times as long.
        transition = self._transition
        transition.obs = transition.next_obs
        transition.action = action
        transition.next_obs = obs
        transition.env_reward = env_reward = float(env_reward)
        transition.terminated = terminated
        transition.truncated = truncated
        transition.info = info
        shaped, raw, weighted = self.shaper.step(transition)
        self._env_return += env_reward
        self._raw_rows.append(raw)
        self._weighted_rows.append(weighted)
        if self._record_components:
            recorded = ComponentValues(zip(self.shaper.names, raw, strict=True))
            info = {**info, "reward_components": recorded}
        if terminated or truncated:
            info = {**info, "reward_shaping": self._sum_up_episode()}
        elif len(self._raw_rows) == _ROWS_KEPT:
            self._add_up_rows()
        return obs, shaped, terminated, truncated, info

    def _forget_episode(self) -> None:
        # The values of each step are kept and added up in bulk, which costs less than adding
        # them to running sums at every step.
        self._raw_rows: list[Sequence[float]] = []
        self._weighted_rows: list[Sequence[float]] = []
        self._raw_sums = self._weighted_sums = [0.0] * len(self.shaper.composer)
        self._env_return = 0.0
        self._length = 0

    def _add_up_rows(self) -> None:
        self._length += len(self._raw_rows)
        self._raw_sums = _add_columns(self._raw_sums, self._raw_rows)
        self._weighted_sums = _add_columns(self._weighted_sums, self._weighted_rows)
        self._raw_rows, self._weighted_rows = [], []

    def _sum_up_episode(self) -> dict[str, Any]:
        self._add_up_rows()
        return summarize_episode(
            self.shaper.names,
            env_return=self._env_return,
            length=self._length,
            raw=self._raw_sums,
            weighted=self._weighted_sums,
        )


def _add_columns(sums: Sequence[float], rows: Sequence[Sequence[float]]) -> list[float]:
    return list(map(sum, zip(sums, *rows, strict=True)))
