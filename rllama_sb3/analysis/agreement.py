"""Whether the shaped return puts episodes in the same order as the env return.

Where what the agent is paid for is highest in the episodes that the environment likes least, it
learns to do worse. The rank correlation of the two returns over episodes says so before anything is
trained. It is a hint, not a proof: it compares episodes of one policy, not policies.

Components that preserve the optimal policy are left out of the shaped return here. They cannot
change which policies are best, but they can change the order of undiscounted sums: with γ below 1 a
potential that is negative pays −(1 − γ)·Φ on every step that an episode goes on, which
discounting makes up for and a plain sum does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Final, Literal

import numpy as np

from rllama_sb3.analysis.effects import ComponentReport, Effect
from rllama_sb3.analysis.episodes import Actor, Episodes
from rllama_sb3.analysis.findings import Finding
from rllama_sb3.analysis.statistics import has_order, rank_correlation

#: A correlation as low as this in one of a hundred checks would be chance.
SIGNIFICANT: Final = 0.01

_FEWEST_EPISODES: Final = 3


@dataclass(frozen=True)
class Agreement:
    """How far the shaped return agrees with the env return over some episodes.

    Attributes:
        actor: Who acted in them.
        moment: Whether the weights are those at the start of the training or at its end.
        n_episodes: How many there are.
        value: Spearman's rank correlation of the returns, from −1 to 1; NaN where there is none.
        p_opposed: How likely one as low as this is if the returns had nothing to do with each
            other; NaN where there is none.
        reason: Why there is none; empty where there is one.
    """

    actor: Actor
    moment: Literal["start", "end"]
    n_episodes: int
    value: float
    p_opposed: float
    reason: str = ""

    @property
    def disagrees(self) -> bool:
        """Whether the correlation is negative, and by more than chance would have it.

        The limit is p < 0.01, one-sided: at 20 episodes a correlation below about −0.5.
        """
        return self.value < 0.0 and self.p_opposed < SIGNIFICANT


def compute_agreements(
    reports: Sequence[ComponentReport], episodes: Episodes
) -> tuple[Agreement, ...]:
    """Returns the agreement under the weights at the start, and at the end where they differ.

    There is none where nothing is shaped, or no episode has ended.
    """
    if not reports or not len(episodes):
        return ()
    counted = [report for report in reports if report.effect in (Effect.TASK, Effect.CHANGES)]
    at_start = {report.name: report.initial_weight for report in counted}
    at_end = {report.name: report.final_weight for report in counted}
    moments: list[tuple[Literal["start", "end"], dict[str, float]]] = [("start", at_start)]
    has_end = at_end != at_start and all(map(isfinite, at_end.values()))
    # What is the same in all episodes agrees with no weights.
    if has_end and has_order(episodes.env_returns):
        moments.append(("end", at_end))
    return tuple(_agreement(episodes, moment, weights) for moment, weights in moments)


def agreement_findings(agreements: Sequence[Agreement]) -> list[Finding]:
    """Returns a warning for each agreement that is none."""
    return [
        Finding(
            "warning",
            "reward_shaping",
            f"Shaped and env return disagree over {agreement.n_episodes} {agreement.actor} "
            f"episodes, under the weights at the {agreement.moment} of the training (rank "
            f"correlation {agreement.value:.2f}, p = {agreement.p_opposed:.2g}): what the "
            "environment likes most is paid least, so that an agent may learn to do worse.",
        )
        for agreement in agreements
        if agreement.disagrees
    ]


def _agreement(
    episodes: Episodes, moment: Literal["start", "end"], weights: dict[str, float]
) -> Agreement:
    def none(reason: str) -> Agreement:
        return Agreement(episodes.actor, moment, len(episodes), nan, nan, reason)

    if len(episodes) < _FEWEST_EPISODES:
        return none(f"fewer than {_FEWEST_EPISODES} episodes")
    if not any(weights.values()):
        return none("nothing but potentials is paid then")
    shaped = sum(episodes.weighted_sums(weights).values(), np.zeros(len(episodes)))
    for name, returns in (("env", episodes.env_returns), ("shaped", shaped)):
        if not has_order(returns):
            return none(f"the {name} return was the same in all episodes")
    found = rank_correlation(shaped, episodes.env_returns)
    return Agreement(episodes.actor, moment, len(episodes), found.value, found.p_opposed)
