"""The vectorised twin of the environment wrapper: shapes the rewards of a whole ``VecEnv``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, unwrap_vec_normalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rllama_sb3.envs.episode import summarize_episode
from rllama_sb3.envs.reward_source import RewardSource, own_shaper
from rllama_sb3.errors import ConfigError, Problem, RllamaError
from rllama_sb3.rewards.batch_shaper import BatchBreakdown, BatchRewardShaper
from rllama_sb3.rewards.transition import TransitionBatch
from rllama_sb3.rewards.weights import Learner, RewardDescription


class VecRewardShaping(VecEnvWrapper):
    """Pays the shaped rewards in all environments of a ``VecEnv``, computed together.

    The same rewards, to float32 precision, as a
    :class:`~rllama_sb3.envs.wrapper.RewardShapingWrapper` around each environment, and the same
    ``info["reward_shaping"]`` at the end of an episode. Components are evaluated in this process
    on arrays of all environments: with many environments that takes a fraction of the time, and
    environments in processes of their own are sent no messages. A component that is no
    :class:`~rllama_sb3.rewards.vectorized.VectorizedComponent` works unchanged, as a copy for each
    environment.

    Where it stands. Below ``VecNormalize``, which may scale what this wrapper pays, and below or
    above ``VecFrameStack``; components see the observations of the place. Above a
    ``VecNormalize`` that scales rewards it is refused, since the environments' own rewards can no
    longer be told there. A ``Monitor`` inside each environment records the env return.

    For evaluation, Stable-Baselines3 wants the wrappers of both environments to correspond one to
    one: without a reward this wrapper passes everything through, and is the counterpart there.

    A ``VecEnv`` does not tell whether an episode that terminated was truncated in the same step;
    it counts as terminated.

    Args:
        venv: The environments.
        reward_shaping: As for ``RewardShapingWrapper``; or ``None`` to pass everything through.
        gamma: As for ``RewardShapingWrapper``.
        total_timesteps: As for ``RewardShapingWrapper``.
        record_components: Put the raw values of each step into ``info["reward_components"]``.
        bootstrap_truncated: As for ``RewardShapingWrapper``.

    Attributes:
        shaper: Owns weights and clock; ``None`` when everything passes through.

    Raises:
        ConfigError: ``reward_shaping`` is wrong (all its problems are listed), the environments are
            shaped already or observe tuples, or their rewards are scaled.

    Example:
        >>> from stable_baselines3.common.env_util import make_vec_env
        >>> venv = VecRewardShaping(make_vec_env("CartPole-v1", n_envs=3), {
        ...     "env": {"class": "EnvReward"},
        ...     "time": {"class": "StepPenalty", "params": {"penalty": -0.5}},
        ... })
        >>> _ = venv.reset()
        >>> venv.step(np.array([0, 1, 0]))[1]
        array([0.5, 0.5, 0.5], dtype=float32)
    """

    def __init__(
        self,
        venv: VecEnv,
        reward_shaping: RewardSource | None,
        *,
        gamma: float | None = None,
        total_timesteps: int | None = None,
        record_components: bool = False,
        bootstrap_truncated: bool | None = None,
    ) -> None:
        super().__init__(venv)
        self.shaper: BatchRewardShaper | None = None
        self.record_components = record_components
        if reward_shaping is not None:
            _check_place(venv)
            one = own_shaper(reward_shaping, gamma, total_timesteps, bootstrap_truncated)
            self.shaper = BatchRewardShaper(one, self.num_envs)
        self._obs: Any = None
        self._actions: Any = None

    def set_global_step(self, global_step: int) -> None:
        """Sets the clock of the weight schedules; each step moves it by the number of environments.

        Args:
            global_step: Steps taken so far, summed over all environments.

        Raises:
            ConfigError: ``global_step`` is negative.
        """
        if self.shaper is not None:
            self.shaper.set_clock(global_step, self.num_envs)

    def begin_training(self, global_step: int, learner: Learner) -> RewardDescription:
        """Sets the clock, and what is known of the learner; as for a ``RewardShapingWrapper``.

        Returns:
            What the reward consists of.

        Raises:
            ConfigError: The wrapper was built with another γ, or for other bootstrapping.
            RllamaError: There is no reward: everything passes through.
        """
        if self.shaper is None:
            raise RllamaError("a VecRewardShaping without a reward cannot be trained in")
        self.shaper.adopt_learner(
            gamma=learner.gamma, bootstrap_truncated=learner.bootstrap_truncated
        )
        self.set_global_step(global_step)
        self.record_components |= self.shaper.description.is_recorded_for(learner)
        return self.shaper.description

    def reset(self) -> VecEnvObs:
        """Resets the environments, and begins an episode of the reward in each."""
        obs = self.venv.reset()
        self._obs = _kept(obs)
        if self.shaper is not None:
            self.shaper.reset(obs, self._reset_infos())
        return obs

    def step_async(self, actions: NDArray[Any]) -> None:
        """Starts a step of all environments."""
        self._actions = actions
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Waits for the step, and pays the shaped rewards.

        Raises:
            ComponentError: A component raised, or gave anything but one finite number for each.
        """
        obs, rewards, dones, infos = self.venv.step_wait()
        if self.shaper is None:
            return obs, rewards, dones, infos
        infos = list(infos)
        ended = dones.nonzero()[0]
        terminated = truncated = dones
        next_obs, begun = obs, infos
        if ended.size:
            terminated, truncated = _tell_apart(dones, ended, infos)
            next_obs = _with_last_observations(obs, ended, infos)
            begun = self._with_reset_infos(infos, ended)
        batch = TransitionBatch(
            obs=self._obs,
            action=self._actions,
            next_obs=next_obs,
            # Float64 here, whatever the VecEnv gives: DummyVecEnv float32, SubprocVecEnv float64.
            env_reward=rewards.astype(np.float64),
            terminated=terminated,
            truncated=truncated,
            ended=ended,
            infos=infos,
        )
        breakdown = self.shaper.step(batch, obs, begun)
        self._obs = _kept(obs)
        if self.record_components or breakdown.finished:
            infos = self._tell(infos, breakdown)
        return obs, breakdown.total.astype(np.float32), dones, infos

    def _with_reset_infos(
        self, infos: list[dict[str, Any]], ended: NDArray[np.intp]
    ) -> list[dict[str, Any]]:
        changed = infos.copy()
        reset_infos = self._reset_infos()
        for env in ended.tolist():
            changed[env] = reset_infos[env]
        return changed

    def _reset_infos(self) -> list[dict[str, Any]]:
        # Those of a wrapper stay empty; the environments' own are at the bottom.
        return self.unwrapped.reset_infos

    def _tell(self, infos: list[dict[str, Any]], breakdown: BatchBreakdown) -> list[dict[str, Any]]:
        """Returns the infos with what the reward has to say; those of the environments stay."""
        assert self.shaper is not None
        names = self.shaper.names
        told = infos.copy()
        if self.record_components:
            for env, values in enumerate(breakdown.raw.T.tolist()):
                recorded = dict(zip(names, values, strict=True))
                told[env] = {**told[env], "reward_components": recorded}
        for env, sums in breakdown.finished.items():
            summary = summarize_episode(
                names,
                env_return=sums.env_return,
                length=sums.length,
                raw=sums.raw,
                weighted=sums.weighted,
            )
            told[env] = {**told[env], "reward_shaping": summary}
        return told


def shaping_wrappers(venv: VecEnv) -> Iterator[VecRewardShaping]:
    """Yields each :class:`VecRewardShaping` among the wrappers of a ``VecEnv``, the outer first."""
    while isinstance(venv, VecEnvWrapper):
        if isinstance(venv, VecRewardShaping):
            yield venv
        venv = venv.venv


def _kept(obs: Any) -> Any:
    # Whoever gets the dict may put other arrays into it, as the Dict replay buffer of
    # Stable-Baselines3 does.
    return obs.copy() if isinstance(obs, dict) else obs


def _tell_apart(
    dones: NDArray[np.bool], ended: NDArray[np.intp], infos: Sequence[Mapping[str, Any]]
) -> tuple[NDArray[np.bool], NDArray[np.bool]]:
    """Returns which episodes terminated and which were truncated, of those that ended."""
    cut = [env for env in ended.tolist() if infos[env].get("TimeLimit.truncated", False)]
    truncated = np.zeros_like(dones)
    if not cut:
        return dones, truncated
    truncated[cut] = True
    return dones & ~truncated, truncated


def _with_last_observations(
    obs: Any, ended: NDArray[np.intp], infos: Sequence[Mapping[str, Any]]
) -> Any:
    """Returns the observations that a step led to: at the end of an episode, its last."""
    last = {env: infos[env]["terminal_observation"] for env in ended.tolist()}
    if isinstance(obs, dict):
        return {
            key: _with_rows(part, {env: row[key] for env, row in last.items()})
            for key, part in obs.items()
        }
    return _with_rows(obs, last)


def _with_rows(array: NDArray[Any], rows: Mapping[int, Any]) -> NDArray[Any]:
    copied = array.copy()
    for index, row in rows.items():
        copied[index] = row
    return copied


def _check_place(venv: VecEnv) -> None:
    if isinstance(venv.observation_space, spaces.Tuple):
        rule = "must observe one array or a dict of them, as the algorithms do"
        raise ConfigError(Problem(("venv",), rule, venv.observation_space))
    if venv.has_attr("begin_training") or any(w.shaper is not None for w in shaping_wrappers(venv)):
        rule = "must stand around environments that no other wrapper shapes"
        raise ConfigError(Problem(("venv",), rule, remedy="Use one of the two wrappers."))
    normalize = unwrap_vec_normalize(venv)
    if normalize is not None and normalize.norm_reward:
        rule = "must see the environments' own rewards, but VecNormalize below it scales them"
        remedy = "Put it inside: VecNormalize(VecRewardShaping(venv, ...)), or norm_reward=False."
        raise ConfigError(Problem(("venv",), rule, remedy=remedy))
