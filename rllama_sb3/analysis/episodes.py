"""What happened in rolled episodes, as numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rllama_sb3.analysis.findings import Finding

Actor = Literal["random", "trained"]


@dataclass(frozen=True)
class ValueRange:
    """What one component gave over all steps, before its weight.

    Attributes:
        low: The least value.
        high: The greatest value.
        mean: The mean over steps.
        fired: The share of steps, from 0 to 1, on which the value was not 0.
    """

    low: float
    high: float
    mean: float
    fired: float

    @property
    def is_constant(self) -> bool:
        """Whether it was the same on every step."""
        return self.low == self.high


@dataclass(frozen=True)
class Episodes:
    """Episodes that were rolled with one policy.

    Attributes:
        actor: Who acted: ``random`` actions, or a ``trained`` model.
        env_returns: The env return of each episode.
        lengths: The steps of each episode.
        raw_sums: For each component its raw value summed over each episode.
        values: For each component its values over all steps; empty when there was no step.
        n_cut: Episodes that had not ended when they were cut.
        failure: What ended the last episode before its end, as a problem, if anything did.
    """

    actor: Actor
    env_returns: tuple[float, ...]
    lengths: tuple[int, ...]
    raw_sums: Mapping[str, tuple[float, ...]]
    values: Mapping[str, ValueRange]
    n_cut: int
    failure: Finding | None

    def __len__(self) -> int:
        return len(self.env_returns)

    def weighted_sums(self, weights: Mapping[str, float]) -> dict[str, NDArray[np.float64]]:
        """Returns what components add to the shaped return of each episode, under given weights.

        Args:
            weights: For each component that is wanted its weight.
        """
        return {
            name: weight * np.array(self.raw_sums.get(name, ())) for name, weight in weights.items()
        }

    def shares(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Returns how much of the shaped return is each component's, under given weights::

            share_i = Σ_e |w_i·R_ie| / Σ_j Σ_e |w_j·R_je|

        R_ie is the summed raw value of component i in episode e. The shares add up to 1; all are
        NaN when nothing was paid. A potential's values cancel over an episode, so that its share
        tells little of how strong its advice is at a step.
        """
        sizes = {name: float(np.abs(s).sum()) for name, s in self.weighted_sums(weights).items()}
        total = sum(sizes.values())
        return {name: size / total if total else math.nan for name, size in sizes.items()}

    def describe(self) -> str:
        """Returns what the episodes are, in words."""
        return f"{len(self)} {self.actor} episode{'' if len(self) == 1 else 's'}"


class EpisodeRecord:
    """Adds up the values of components, an episode at a time.

    Attributes:
        lengths: The steps of each episode that has ended.
    """

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._env_returns: list[float] = []
        self._sums: dict[str, list[float]] = {}
        self._n_cut = 0
        self._names: tuple[str, ...] = ()
        self._rows: list[Sequence[float]] = []
        # Of each episode the least, the greatest and the summed values, and how many were not 0.
        self._parts: list[tuple[NDArray[np.float64], ...]] = []
        self._n_steps = 0

    def add_step(self, values: Mapping[str, float]) -> None:
        """Adds what each component gave on one step."""
        self._names = tuple(values)
        self._rows.append(tuple(values.values()))

    def end_episode(self, info: Mapping[str, Any]) -> None:
        """Ends an episode, of which the shaper has put the sums into ``info``."""
        episode = info["reward_shaping"]
        self.lengths.append(episode["length"])
        self._env_returns.append(episode["env_return"])
        self._n_cut += "cut" in info
        for name, sums in episode["components"].items():
            self._sums.setdefault(name, []).append(sums["raw"])
        self._add_up_rows()

    def to_episodes(self, actor: Actor, failure: Finding | None) -> Episodes:
        """Returns all that was added; the arguments are as for :class:`Episodes`."""
        self._add_up_rows()
        return Episodes(
            actor=actor,
            env_returns=tuple(self._env_returns),
            lengths=tuple(self.lengths),
            raw_sums={name: tuple(self._sums.get(name, ())) for name in self._names},
            values=self._ranges(),
            n_cut=self._n_cut,
            failure=failure,
        )

    def _add_up_rows(self) -> None:
        if not self._rows:
            return
        rows = np.array(self._rows, dtype=float)
        self._parts.append((rows.min(0), rows.max(0), rows.sum(0), np.count_nonzero(rows, 0)))
        self._n_steps += len(rows)
        self._rows = []

    def _ranges(self) -> dict[str, ValueRange]:
        if not self._parts:
            return {}
        lows, highs, sums, counts = (np.stack(part) for part in zip(*self._parts, strict=True))
        return {
            name: ValueRange(
                low=float(lows[:, i].min()),
                high=float(highs[:, i].max()),
                mean=float(sums[:, i].sum() / self._n_steps),
                fired=float(counts[:, i].sum() / self._n_steps),
            )
            for i, name in enumerate(self._names)
        }
