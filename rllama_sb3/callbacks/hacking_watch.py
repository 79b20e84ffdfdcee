"""Notices when an agent games its reward: the shaped return rises while the env return falls.

Episodes are compared in windows of three thirds each. The last third must have a higher shaped
return than the first, and a lower env return, by a one-sided Welch t-test each at a level of 1e-5;
and so must the second, at 1e-3. What is compared, and why:

* The shaped return of every episode is taken **under the weights of now**, Σ w_now · raw. What
  was paid at the time rises with a fading penalty even while the policy stays as it is.
* **Policy-invariant components, such as potentials, take no part.** They cannot change which
  policies are best, and the episode sums of their differences γΦ(s') − Φ(s) do not show it: they
  are the same for all policies only when discounted.
* **Three thirds, not two halves.** Policies sway from update to update, so that successive
  episodes are no independent samples, and two halves differ now and then at any level. What sways
  comes back; the last third asks whether a change has lasted.
* **Windows of many widths.** The narrowest holds the latest ``window`` episodes. The next holds
  as many, but every second episode only, the next every fourth, and so on over the whole training:
  one agent finds a loophole within fifty episodes, another in five thousand. Thinned rather than
  averaged, all of them ask for a change of the same size, with thirds of 40 about one standard
  deviation of single episodes; in averages of many the slightest change is significant.
* **From when every environment has ended an episode.** Of many that start together, those with
  the shortest episodes are heard of first, and longer ones later, as if the policy had changed.

What an agent does within a third of the narrowest window from the start has nothing to be compared
with. False alarms in 1,000 simulated trainings of 2,000 episodes with ``window=120``, of which
tests marked ``slow`` hold the order of magnitude:

====================================================================== ======
noise around one policy, the two returns opposed in every episode       0
the same, with returns of only two values                               0
the same, with heavy tails (Student's t with 2 degrees of freedom)      0
both returns on one learning curve, with noise                          0
both returns on one random walk, with noise                             0
env return and bonus swaying independently over about 50 episodes, by
0.7 and 1.4 times the noise: such changes are real, but pass           53
====================================================================== ======
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from rllama_sb3.errors import ConfigError, Problem

# In thirds of fewer than ten, returns of two values often agree by chance, and then seem certain.
_MIN_WINDOW: Final = 30
_LEVEL: Final = 1e-5
_LEVEL_ON_THE_WAY: Final = 1e-3
# Returns that differ by less, as a share of their size, differ by the rounding of sums.
_ROUNDING: Final = 1e-9

Returns = NDArray[np.float64]


@dataclass(frozen=True)
class Hacking:
    """A shaped return that rose while the env return fell; as text, a warning that says so.

    Each pair holds the means over the first and the last third of the window.

    Attributes:
        n_episodes: The width of the window.
        env_return: By the original environment's reward.
        shaped_return: Under the present weights, without policy-invariant components.
        component: The one whose share in the shaped return grew most.
        share: That share.
    """

    n_episodes: int
    env_return: tuple[float, float]
    shaped_return: tuple[float, float]
    component: str
    share: tuple[float, float]

    def __str__(self) -> str:
        return (
            f"The agent may be gaming its reward: over the last {self.n_episodes:,} episodes the "
            f"env return fell {_from_to(self.env_return)}, while the shaped return rose "
            f"{_from_to(self.shaped_return)} (under the present weights, without potentials). "
            f"Component {self.component!r} grew most, {_from_to(self.share)}. Lower its weight, "
            "let its schedule end in 0, or give the same advice as a potential "
            "(PotentialShaping), which cannot change which policy is best."
        )


class HackingWatch:
    """Looks for :class:`Hacking` among the episodes of a training, as the module's text explains.

    It remembers ``window`` episodes of each width, and has one more width whenever the number of
    episodes has doubled.

    Args:
        window: Episodes in the narrowest window, 30 or more. A longer one sees smaller changes,
            and more of those that mean nothing.

    Raises:
        ConfigError: ``window`` is no whole number of at least 30.

    Example:
        >>> watch = HackingWatch(window=30)
        >>> watch.begin(["env", "bonus"], n_envs=1)
        >>> for n in range(100):
        ...     lingers = n > 50
        ...     sums = {"env": {"raw": 1.0 - lingers}, "bonus": {"raw": 5.0 * lingers}}
        ...     if watch.add({"env_return": 1.0 - lingers, "components": sums}):
        ...         hacking = watch.look({"env": 1.0, "bonus": 0.5})
        ...         if hacking is not None:
        ...             print(n + 1, hacking.component, hacking.env_return, hacking.share)
        ...             break
        71 bonus (1.0, 0.0) (0.0, 2.5)
    """

    def __init__(self, window: int = 120) -> None:
        if isinstance(window, bool) or not isinstance(window, int) or window < _MIN_WINDOW:
            rule = f"must be a whole number of episodes, {_MIN_WINDOW} or more"
            remedy = "To watch nothing, write null (None)."
            raise ConfigError(Problem(("hacking_window",), rule, window, remedy))
        self._third = window // 3
        self.begin((), n_envs=1)

    def begin(self, components: Iterable[str], n_envs: int) -> None:
        """Forgets everything: a training begins.

        Args:
            components: The names of those that can be gamed: all but the policy-invariant ones.
            n_envs: How many environments start together.
        """
        self._components = tuple(components)
        self._not_ended_yet = set(range(n_envs))
        self._n_episodes = 0
        # By exponent: the latest of every 2**exponent-th episode, as env return and raw sums.
        self._windows: list[deque[tuple[float, ...]]] = []

    def add(self, episode: Mapping[str, Any], env_index: int = 0) -> bool:
        """Takes the sums of an episode that ended.

        Args:
            episode: As in ``info["reward_shaping"]``.
            env_index: Which of the environments it was in.

        Returns:
            Whether it is time to :meth:`look`: a third of the narrowest window is new.
        """
        if self._not_ended_yet:
            self._not_ended_yet.discard(env_index)
            return False
        sums = episode["components"]
        row = (episode["env_return"], *(sums[name]["raw"] for name in self._components))
        self._n_episodes += 1
        # The number of powers of two, 1 included, that divide the number of episodes.
        n_windows = (self._n_episodes & -self._n_episodes).bit_length()
        if n_windows > len(self._windows):
            self._windows.append(deque(maxlen=3 * self._third))
        for kept in self._windows[:n_windows]:
            kept.append(row)
        n_thirds, rest = divmod(self._n_episodes, self._third)
        return n_thirds >= 3 and rest == 0

    def look(self, weights: Mapping[str, float]) -> Hacking | None:
        """Returns what is seen in the narrowest window that shows anything, or ``None``.

        Args:
            weights: The present weight of each component.
        """
        now = np.array([weights[name] for name in self._components])
        for exponent, kept in enumerate(self._windows):
            if len(kept) < 3 * self._third:
                break
            rows = np.array(kept)
            env_returns, shares = rows[:, 0], rows[:, 1:] * now
            shaped_returns = shares.sum(axis=1)
            if _falls_for_good(env_returns) and _falls_for_good(-shaped_returns):
                first, _, last = np.split(shares, 3)
                grew = int(np.argmax(last.mean(axis=0) - first.mean(axis=0)))
                return Hacking(
                    n_episodes=len(kept) << exponent,
                    env_return=_first_and_last(env_returns),
                    shaped_return=_first_and_last(shaped_returns),
                    component=self._components[grew],
                    share=_first_and_last(shares[:, grew]),
                )
        return None


def _falls_for_good(returns: Returns) -> bool:
    """Whether the second third and the last are both below the first."""
    thirds = returns.reshape(3, -1)
    n = thirds.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        first, second, last = thirds.mean(axis=1).tolist()
        if not max(second, last) < first - _ROUNDING * float(np.abs(returns).max()):
            return False
        errors = (thirds.var(axis=1, ddof=1) / n).tolist()
    return (
        _p_value(last - first, errors[2], errors[0], n) < _LEVEL
        and _p_value(second - first, errors[1], errors[0], n) < _LEVEL_ON_THE_WAY
    )


def _p_value(difference: float, error: float, other_error: float, n: int) -> float:
    """Returns Welch's p-value for two means of n values each, against that the first is lower.

    Args:
        difference: The first mean less the other.
        error: The squared standard error of the first mean.
        other_error: That of the other.
        n: The number of values in each.
    """
    total = error + other_error
    if total == 0.0:
        return 0.0 if difference < 0.0 else 1.0
    share = error / total
    degrees_of_freedom = (n - 1) / (share**2 + (1 - share) ** 2)
    return float(stdtr(degrees_of_freedom, difference / math.sqrt(total)))


def _first_and_last(returns: Returns) -> tuple[float, float]:
    first, _, last = returns.reshape(3, -1).mean(axis=1).tolist()
    return first, last


def _from_to(pair: tuple[float, float]) -> str:
    return f"from {pair[0]:.4g} to {pair[1]:.4g}"
