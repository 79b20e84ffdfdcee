"""Potential-based reward shaping: advice that cannot change which policies are optimal.

A potential Φ scores states. The agent is paid the discounted difference of the scores of the
state it reaches and the state it leaves::

    F(s, s') = γ·Φ(s') − Φ(s)                                    (Ng, Harada & Russell 1999)

Over an episode these terms telescope, so that they add the same amount to every policy's return.
Three rules keep it so, and each is a line of code that is easy to get wrong:

* A weight that changes over time belongs inside: ``F = γ·w(t')·Φ(s') − w(t)·Φ(s)``, where t is
  the time at which the agent *arrived* at s (Devlin & Kudenko 2012, Eq. 4). The weighted
  potential of s is therefore remembered from the arrival, never computed again.
* The potential of a terminal state is 0 (Grześ 2017, Eq. 3).
* A truncated episode has a future that the critic estimates, so Φ(s') is real there; unless the
  learner does not bootstrap from truncated states, in which case it is 0 as well.

γ is the learner's own. Who weighs, remembers and knows γ is the
:class:`~rllama_sb3.rewards.shaper.RewardShaper`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator

from rllama_sb3.errors import ConfigError, Problem
from rllama_sb3.rewards.component import RewardComponent, register_component
from rllama_sb3.rewards.potential_functions import BatchPotential, find_potential, in_batches
from rllama_sb3.rewards.transition import Transition

FloatOrArray = TypeVar("FloatOrArray", float, NDArray[np.float64])


def discounted_difference(
    gamma: float, next_potential: FloatOrArray, potential: FloatOrArray
) -> FloatOrArray:
    """Returns γ·Φ(s') − Φ(s), for numbers as well as for arrays of them.

    Both potentials are already weighted, or both are not.

    Example:
        >>> discounted_difference(0.9, next_potential=10.0, potential=2.0)
        7.0
    """
    return gamma * next_potential - potential


def _as_list(potential: Any) -> Any:
    return potential.tolist() if isinstance(potential, np.ndarray) else potential


@register_component
class PotentialShaping(RewardComponent):
    """Pays γ·Φ(s') − Φ(s); keeps the optimal policies of the environment.

    In logs, the raw value is the unweighted difference, and the weighted value has the weights
    inside it (see the module's text), so their ratio is the weight only while that is constant.

    Args:
        potential: Φ: an expression of ``obs`` and ``info``; the name of a function registered by
            :func:`~rllama_sb3.rewards.potential_functions.register_potential`; for a ``Discrete``
            space a table with one number for each state, or the path of a ``.npy`` file that
            holds one; in Python also any function of (obs, info), or an object that is called
            so. Such a one may learn meanwhile; give it in a mapping, for a ``RewardShaper`` is
            copied with all that it holds. It is evaluated on each state that an episode reaches,
            terminal states excepted.
        arguments: Of a registered function, those after ``obs`` and ``info``.

    Raises:
        ConfigError: The expression is not allowed, or ``potential`` is none of these.

    Example:
        >>> height = PotentialShaping("sin(3 * obs[0])")
        >>> round(height.potential([0.5, 0.0], {}), 3)
        0.997
        >>> PotentialShaping([0.0, 0.5, 1.0]).potential(2, {})
        1.0
    """

    policy_invariant: ClassVar[bool] = True
    pursues_task = False

    def __init__(
        self,
        potential: Annotated[str | list[float] | Callable[..., float], BeforeValidator(_as_list)],
        arguments: dict[str, Any] | None = None,
    ) -> None:
        self.potential = find_potential(potential, arguments)

    @property
    def batch_potential(self) -> BatchPotential:
        """Φ of n states, of their observations and infos; see :func:`in_batches`.

        Raises:
            ConfigError: A subclass does for one environment what could not be done for many.
        """
        for method in ("compute", "reset"):
            if getattr(type(self), method) is not getattr(PotentialShaping, method):
                rule = f"must leave {method}() as it is to be computed for many environments"
                remedy = "Use a RewardShapingWrapper around each environment (shaping: wrapper)."
                raise ConfigError(Problem((), rule, type(self).__name__, remedy))
        return in_batches(self.potential)

    def compute(self, transition: Transition) -> float:
        """Returns Φ of the state arrived at, 0 if it is terminal; the shaper differences it."""
        if transition.terminated:
            return 0.0
        return self.potential(transition.next_obs, transition.info)
