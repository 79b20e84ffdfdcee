"""Tells the shaped training environments the time, and logs what their rewards consist of."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final, cast

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from rllama_sb3.buffers import RelabelingBuffer, relabeling
from rllama_sb3.callbacks.hacking_watch import HackingWatch
from rllama_sb3.callbacks.learner import check_continuation, check_discounting, describe_learner
from rllama_sb3.envs.shaped_envs import begin_training

if TYPE_CHECKING:
    from rllama_sb3.rewards.schedules import WeightSchedule
    from rllama_sb3.rewards.weights import RewardDescription

# Stable-Baselines3 cuts the keys of its printed table at 36 characters, and raises when two keys
# are the same after that, as raw, weight and weighted of a long name are.
_LONGEST_PRINTED_NAME: Final = 20
_PRINTED: Final = ("stdout", "log")


class RewardShapingCallback(BaseCallback):
    """Advances the weight schedules of the training environments, and logs their components.

    When training starts, one message gives each environment the global step, the number of
    environments and the algorithm's γ. From then on each environment counts by itself, so that the
    weight at global step t is exactly w(t) without another word between processes.

    Where a weight moves and the algorithm learns from a replay buffer, the buffer is replaced,
    empty as it is, by one that weights its rewards when they are sampled: see
    :mod:`rllama_sb3.buffers`.

    Logged, as means over the episodes that ended since the last dump of the logger:

    ========================== ==============================================================
    ``reward/env_return``      episode sum of the original environment's reward
    ``reward/shaped_return``   episode sum of what the agent is trained on
    ``reward/NAME/raw``        episode sum of the component's values before the weight
    ``reward/NAME/weighted``   episode sum of its share in the shaped reward
    ``reward/NAME/weight``     its weight now, at the global step that it is logged at
    ``reward/hacking``         1 when the shaped return rises while the env return falls, else 0;
                               a mean over looks at both, one each third of ``hacking_window``
                               (what counts: :mod:`~rllama_sb3.callbacks.hacking_watch`)
    ========================== ==============================================================

    The first time that an agent games its reward so, a ``UserWarning`` names the component that
    grew. It is given once in a training: ``learn(reset_num_timesteps=False)`` with the same
    callback goes on with one, and any other ``learn`` begins one.

    Args:
        verbose: As in Stable-Baselines3: 0 for no output.
        hacking_window: Episodes over which the two returns are compared at the least, 30 or more;
            ``None`` compares nothing.

    Raises:
        ConfigError: ``hacking_window`` is out of range; or, at the start of training, when somebody
            discounts by another γ than the algorithm.
        RllamaError: At the start of training, when not every environment is shaped, or a replay
            buffer would serve rewards of other weights than the present ones.
    """

    def __init__(self, verbose: int = 0, *, hacking_window: int | None = 120) -> None:
        super().__init__(verbose)
        self._hacking_watch = None if hacking_window is None else HackingWatch(hacking_window)
        self._watched: tuple[Any, ...] = ()
        self._has_warned = False
        self._weights: dict[str, float] = {}
        self._weights_move = False
        self._weight_logs: list[tuple[str, str, WeightSchedule, tuple[str, ...] | None]] = []

    def _on_training_start(self) -> None:
        learner = describe_learner(self.model)
        reward = begin_training(self.training_env, self.num_timesteps, learner)
        check_discounting(self.model, reward)
        check_continuation(self.model, reward)
        self._weights = reward.weights_at(self.num_timesteps)
        self._weights_move = not reward.is_constant
        # The component, under which key its weight is logged, and from which outputs it is hidden.
        self._weight_logs = [
            (name, f"reward/{name}/weight", schedule, _hidden_from(name))
            for name, schedule in reward.schedules.items()
        ]
        buffer = getattr(self.model, "replay_buffer", None)
        if buffer is not None and self._weights_move:
            cast(OffPolicyAlgorithm, self.model).replay_buffer = relabeling(buffer)
        self._set_weights_of_buffer()
        self._begin_watch(reward)

    def _begin_watch(self, reward: RewardDescription) -> None:
        can_be_gamed = [name for name in reward.schedules if name not in reward.policy_invariant]
        watched = (self.model, can_be_gamed, self.training_env.num_envs)
        goes_on = self.num_timesteps > 0 and watched == self._watched
        if self._hacking_watch is not None and not goes_on:
            self._watched, self._has_warned = watched, False
            self._hacking_watch.begin(can_be_gamed, self.training_env.num_envs)

    def _on_step(self) -> bool:
        # ARS runs its episodes elsewhere, and shows none of their infos to callbacks.
        for index, info in enumerate(self.locals.get("infos", ())):
            if "reward_shaping" in info:
                self._log_episode(info["reward_shaping"])
                self._watch_episode(info["reward_shaping"], index)
        # Anyone may dump the logger after this step, and then the weight has to be that of now.
        for name, key, schedule, hidden in self._weight_logs:
            if not schedule.is_constant:
                self._weights[name] = schedule(self.num_timesteps)
            elif key in self.logger.name_to_value:
                continue
            self.logger.record(key, self._weights[name], hidden)
        if self._weights_move:
            self._set_weights_of_buffer()
        return True

    def _on_training_end(self) -> None:
        buffer = getattr(self.model, "replay_buffer", None)
        if isinstance(buffer, RelabelingBuffer) and self._weights_move:
            buffer.await_weights()

    def _set_weights_of_buffer(self) -> None:
        buffer = getattr(self.model, "replay_buffer", None)
        if isinstance(buffer, RelabelingBuffer):
            buffer.set_weights(self._weights)

    def _log_episode(self, episode: dict[str, Any]) -> None:
        self.logger.record_mean("reward/env_return", episode["env_return"])
        self.logger.record_mean("reward/shaped_return", episode["shaped_return"])
        for name, sums in episode["components"].items():
            hidden = _hidden_from(name)
            self.logger.record_mean(f"reward/{name}/raw", sums["raw"], hidden)
            self.logger.record_mean(f"reward/{name}/weighted", sums["weighted"], hidden)

    def _watch_episode(self, episode: dict[str, Any], env_index: int) -> None:
        if self._hacking_watch is None or not self._hacking_watch.add(episode, env_index):
            return
        hacking = self._hacking_watch.look(self._weights)
        self.logger.record_mean("reward/hacking", float(hacking is not None))
        if hacking is not None and not self._has_warned:
            self._has_warned = True
            warnings.warn(str(hacking), UserWarning, stacklevel=2)


class EnvReturnCallback(BaseCallback):
    """Logs the returns of an unshaped training under the names that a shaped one has.

    Without components both returns are what ``Monitor`` records; curves of trainings with and
    without shaping then share one plot.
    """

    def _on_step(self) -> bool:
        for info in self.locals.get("infos", ()):
            if "episode" in info:
                self.logger.record_mean("reward/env_return", info["episode"]["r"])
                self.logger.record_mean("reward/shaped_return", info["episode"]["r"])
        return True


def _hidden_from(name: str) -> tuple[str, ...] | None:
    return _PRINTED if len(name) > _LONGEST_PRINTED_NAME else None
