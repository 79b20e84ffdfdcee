"""What each component of a reward does to the task: its weight over a training, and its effect.

A component *preserves* the optimal policies when adding it can never change which policies are
optimal, as with a potential (Ng et al. 1999), whose weight may move since it stands inside the
difference (Devlin & Kudenko 2012). The environment's own reward under a constant positive weight
is the task itself. Everything else *can* change the optimal policies, which is not to say that it
does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import isfinite, nan
from typing import Final

import numpy as np

from rllama_sb3.analysis.episodes import Episodes, ValueRange
from rllama_sb3.analysis.findings import Finding
from rllama_sb3.errors import ComponentError
from rllama_sb3.rewards import EnvReward, PotentialShaping, RewardComponent, RewardShaper
from rllama_sb3.rewards.schedules import WeightSchedule

# At how many steps of a training, evenly spaced, a weight that moves is looked at.
_N_WEIGHTS: Final = 10_001
_SECTION: Final = "reward_shaping"


class Effect(StrEnum):
    """What a component does to the optimal policies of the environment."""

    TASK = "the task itself"
    PRESERVES = "preserves the optimal policy"
    CHANGES = "can change the optimal policy"
    NOTHING = "does not count"


@dataclass(frozen=True)
class ComponentValues(ValueRange):
    """What one component gave in some episodes.

    Attributes:
        share_now: Its share of the shaped return under the weights at the start of the training;
            :meth:`~rllama_sb3.analysis.episodes.Episodes.shares` has the formula.
        share_end: The same under the weights at its end.
    """

    share_now: float
    share_end: float


@dataclass(frozen=True)
class ComponentReport:
    """One component of a reward.

    Attributes:
        name: Its name in the experiment.
        class_name: What it is.
        initial_weight: Its weight at global step 0.
        final_weight: Its weight at global step ``total_timesteps``; NaN where there is none.
        end_step: The global step from which on the weight stays the same, 0 when it never moves;
            ``None`` when it never settles.
        effect: What it does to the optimal policies.
        reason: Why, in a few words.
        until: The global step from which on it no longer can change the optimal policies, when it
            can before; ``None`` when there is no such step in the training.
        random: What it gave in episodes of random actions; ``None`` when there was no step.
        trained: What it gave in those of a trained model; ``None`` when there was no step.
    """

    name: str
    class_name: str
    initial_weight: float
    final_weight: float
    end_step: int | None
    effect: Effect
    reason: str
    until: int | None = None
    random: ComponentValues | None = None
    trained: ComponentValues | None = None


def report_component(
    name: str, class_name: str, shaper: RewardShaper, total_timesteps: int
) -> tuple[ComponentReport, list[Finding]]:
    """Returns the weight and the effect of a component, and what is odd about its weight."""
    component, schedule = shaper.composer.components[name], shaper.schedules[name]
    weights, failure = _weights_over_training(schedule, total_timesteps)
    end_step = 0 if schedule.is_constant else schedule.end_step
    settles = None if end_step is None or end_step > total_timesteps else end_step
    effect, reason, until = _judge(component, weights, settles)
    report = ComponentReport(
        name=name,
        class_name=class_name,
        initial_weight=weights[0],
        final_weight=nan if failure else weights[-1],
        end_step=end_step,
        effect=effect,
        reason=reason,
        until=until,
    )
    findings = _weight_findings(report, component, weights, failure, total_timesteps)
    return report, findings


def with_values(
    reports: Sequence[ComponentReport], random: Episodes, trained: Episodes | None = None
) -> list[ComponentReport]:
    """Returns reports that say as well what their components gave in rolled episodes."""
    by_random = _values(reports, random)
    by_trained = {} if trained is None else _values(reports, trained)
    return [
        replace(r, random=by_random.get(r.name), trained=by_trained.get(r.name)) for r in reports
    ]


def effect_findings(reports: Sequence[ComponentReport]) -> list[Finding]:
    """Returns in words what the components together do to the optimal policies."""
    if not reports:
        text = "Nothing is shaped: the agent is paid the environment's own reward."
        return [Finding("note", _SECTION, text)]
    changing = [report for report in reports if report.effect is Effect.CHANGES]
    if changing:
        return [Finding("note", _SECTION, _describe_change(reports, changing))]
    if any(report.effect is Effect.TASK for report in reports):
        text = "No component can change which policy is optimal."
        return [Finding("note", _SECTION, text)]
    if any(report.effect is Effect.NOTHING for report in reports):
        text = "Nothing but potentials counts: the agent is paid the same whatever it achieves."
        return [Finding("warning", _SECTION, text)]
    return []  # building such a reward warns of it already


def _describe_change(
    reports: Sequence[ComponentReport], changing: Sequence[ComponentReport]
) -> str:
    text = (
        f"{', '.join(report.name for report in changing)} can change which policy is optimal: one "
        "that is best by the shaped return need not be best by the env return."
    )
    ends = [report.until for report in changing if report.until is not None]
    if len(ends) < len(changing):
        return text
    text += f" That ends at global step {max(ends):,}."
    # Of what changes the policy and has settled, only the environment's own reward has a weight.
    if any(r.effect is Effect.TASK or (r.until and r.final_weight > 0.0) for r in reports):
        text += " From there on the optimal policies are the environment's own."
    return text


def value_findings(report: ComponentReport, episodes: Sequence[Episodes]) -> list[Finding]:
    """Returns what is odd about the values that a component gave.

    Args:
        report: One with values.
        episodes: Those that were rolled, of random actions first.
    """
    where = f"{_SECTION}.{report.name}"
    if report.effect is Effect.NOTHING or any(e.failure for e in episodes):
        return []  # nothing to be surprised at, or too little seen
    values = [e.values[report.name] for e in episodes]
    silent = [e for e, v in zip(episodes, values, strict=True) if v.fired == 0.0]
    if len(silent) == len(values):
        text = f"It never fired in {' or in '.join(e.describe() for e in silent)}."
        if len(episodes) == 1:
            text += " That may be for want of a better policy: a trained model would tell."
        return [Finding("warning", where, text)]
    if silent:
        others = [e for e in episodes if e not in silent]
        text = f"It never fired in {silent[0].describe()}, but did in {others[0].describe()}."
        return [Finding("note", where, text)]
    if all(v.low == v.high == values[0].low for v in values):
        text = f"It is constant: {values[0].low:.6g} on every step."
        return [Finding("note", where, text)]
    return []


def _values(reports: Sequence[ComponentReport], episodes: Episodes) -> dict[str, ComponentValues]:
    shares_now = episodes.shares({report.name: report.initial_weight for report in reports})
    shares_end = episodes.shares({report.name: report.final_weight for report in reports})
    return {
        name: ComponentValues(
            **vars(values), share_now=shares_now[name], share_end=shares_end[name]
        )
        for name, values in episodes.values.items()
        if name in shares_now
    }


def _weights_over_training(schedule: WeightSchedule, last: int) -> tuple[list[float], str]:
    """Returns weights from the first step to the last, up to one that is none, and why it is."""
    steps = np.unique(np.linspace(0, last, _N_WEIGHTS, dtype=np.int64)).tolist()
    if schedule.is_constant:
        steps = [0, last]
    weights: list[float] = []
    for step in steps:
        try:
            weight = float(schedule(step))
        except ComponentError as error:
            return weights, f"It fails {error}."
        except Exception as error:
            # A schedule of the user's can raise anything; this is where that is found out.
            return weights, f"At global step {step:,} it raised {type(error).__name__}: {error}."
        if not isfinite(weight):
            return weights, f"At global step {step:,} it gives {weight!r}, not a finite weight."
        weights.append(weight)
    return weights, ""


def _judge(
    component: RewardComponent, weights: Sequence[float], settles: int | None
) -> tuple[Effect, str, int | None]:
    """Returns the effect, the reason, and from which step on it is none."""
    is_constant = settles == 0
    gone = settles if settles is not None and weights[-1] == 0.0 else None
    if not any(weights):
        return Effect.NOTHING, "weight 0 throughout", None
    if isinstance(component, PotentialShaping):
        return Effect.PRESERVES, "potential", None
    if component.policy_invariant and is_constant:
        return Effect.PRESERVES, "as its class says", None
    if component.policy_invariant:
        return Effect.CHANGES, "its weight moves outside of its difference", gone
    if type(component) is not EnvReward:
        return Effect.CHANGES, "bonus", gone
    if min(weights) < 0.0:
        return Effect.CHANGES, "pays the opposite of the task where its weight is negative", gone
    if is_constant:
        return Effect.TASK, "", None
    # Settled, it is the task itself, or nothing.
    return Effect.CHANGES, "the task, but its weight moves", settles


def _weight_findings(
    report: ComponentReport,
    component: RewardComponent,
    weights: Sequence[float],
    failure: str,
    total_timesteps: int,
) -> list[Finding]:
    where = f"{_SECTION}.{report.name}"
    if failure:
        return [Finding("problem", f"{where}.weight_schedule", failure)]
    if report.effect is Effect.NOTHING:
        text = "Its weight is 0 during the whole training: it never matters. Remove it."
        return [Finding("warning", where, text)]
    findings = []
    if type(component) is EnvReward and min(weights) < 0.0:
        text = "Its weight is negative, which pays for the opposite of what the environment wants."
        findings.append(Finding("warning", where, text))
    if report.end_step is None or report.end_step > total_timesteps:
        when = "" if report.end_step is None else f", and would until step {report.end_step:,}"
        text = f"Its weight still moves when the training ends at step {total_timesteps:,}{when}."
        findings.append(Finding("note", where, text))
    return findings
