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

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from rllama_sb3.errors import ConfigError, Problem
from rllama_sb3.rewards.component import RewardComponent, register_component
from rllama_sb3.rewards.expression import POTENTIAL_NAMES, compile_expression
from rllama_sb3.rewards.transition import Transition

Potential = Callable[[Any, Mapping[str, Any]], float]


def discounted_difference(gamma: float, next_potential: float, potential: float) -> float:
    """Returns γ·Φ(s') − Φ(s), for numbers as well as for arrays of them.

    Both potentials are already weighted, or both are not.

    Example:
        >>> discounted_difference(0.9, next_potential=10.0, potential=2.0)
        7.0
    """
    return gamma * next_potential - potential


@register_component
class PotentialShaping(RewardComponent):
    """Pays γ·Φ(s') − Φ(s); keeps the optimal policies of the environment.

    In logs, the raw value is the unweighted difference, and the weighted value has the weights
    inside it (see the module's text), so their ratio is the weight only while that is constant.

    Args:
        potential: Φ, as an expression of ``obs`` and ``info``, or as a function of both. It is
            evaluated on each state that an episode reaches, terminal states excepted.

    Raises:
        ConfigError: The expression is not allowed, or ``potential`` is neither.

    Example:
        >>> height = PotentialShaping("sin(3 * obs[0])")
        >>> round(height.potential([0.5, 0.0], {}), 3)
        0.997
    """

    policy_invariant: ClassVar[bool] = True
    pursues_task = False

    def __init__(self, potential: str | Potential) -> None:
        if isinstance(potential, str):
            self.potential: Potential = compile_expression(
                potential, POTENTIAL_NAMES, path=("potential",)
            )
        elif callable(potential):
            self.potential = potential
        else:
            raise ConfigError(
                Problem(
                    ("potential",), "must be an expression or a function of (obs, info)", potential
                )
            )

    def compute(self, transition: Transition) -> float:
        """Returns Φ of the state arrived at, 0 if it is terminal; the shaper differences it."""
        if transition.terminated:
            return 0.0
        return self.potential(transition.next_obs, transition.info)
