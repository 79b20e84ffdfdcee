"""Samplers that try every point of a finite space once, and then end the search.

``grid`` knows its points beforehand, ``brute_force`` finds out about them as the trials ask. Of all
points that are left both choose one at random, so that a search that ends early has seen a bit of
everything.

What was tried is read from the study: the user's own config counts as the point that it is, or as
none when it lies off the grid; a trial that was cut off and waits to be run again keeps its point;
and workers on one study do not get in each other's way. Optuna's samplers of these names try an
enqueued point twice, or end with an error after an enqueued trial off the grid or a trial that was
killed before it asked for anything.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
from optuna import TrialPruned
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from rllama_sb3.errors import ConfigError, Problem
from rllama_sb3.optimization.first_trials import is_unshaped
from rllama_sb3.optimization.search_space import SearchSpace
from rllama_sb3.optimization.search_space.finite import (
    Point,
    distributions_of,
    points_of,
    values_of,
)
from rllama_sb3.optimization.study.attributes import FIXED, INTERRUPTED

_MISSING: Final = object()
_OVER: Final = (TrialState.COMPLETE, TrialState.PRUNED)


class ExhaustiveSampler(BaseSampler):
    """What the samplers of this module share: they end the search when nothing is left to try."""

    def __init__(self) -> None:
        self._in_vain: set[int] = set()

    def is_exhausted(self, study: Study) -> bool:
        """Whether every point of the space was tried, is being tried, or waits to be."""
        raise NotImplementedError

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Ends the search after the last trial, and a worker for which nothing was left."""
        if trial.number in self._in_vain or is_exhausted(study, self):
            # Outside of Study.optimize there is no loop to end, which Optuna calls an error.
            with suppress(RuntimeError):
                study.stop()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Returns what is chosen jointly: nothing."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Returns what is chosen jointly: nothing."""
        return {}

    def _end_in_vain(self, trial: FrozenTrial) -> TrialPruned:
        self._in_vain.add(trial.number)
        return TrialPruned("every point of the space is tried, or being tried by another worker")


class GridSampler(ExhaustiveSampler):
    """Tries every point of a search space once, in an order that the seed decides.

    Workers may start trials in the same instant: each takes the point in the order of its trial's
    number, so that none is tried twice.

    Args:
        space: One that :func:`~rllama_sb3.optimization.search_space.finite.check_finite` has no
            objections to.
        seed: Of the order; the same in all workers.
    """

    def __init__(self, space: SearchSpace, seed: int | None = None) -> None:
        super().__init__()
        self._distributions = distributions_of(space)
        points = points_of(space)
        order = np.random.default_rng(seed or 0).permutation(len(points))
        self._points = [points[index] for index in order]
        self._known = {_key(point) for point in points}

    def is_exhausted(self, study: Study) -> bool:
        """Whether every point of the grid was tried, is being tried, or waits to be."""
        return not self._free(_trials(study))

    def n_trials_in_all(self, study: Study) -> int:
        """Returns how many trials will count when all points were tried, those of today included.

        Trials off the grid, such as the config as it stands may be, come on top of the points.
        """
        trials = _trials(study)
        unshaped = [trial for trial in _all_trials(study) if is_unshaped(trial)]
        ended = [trial for trial in trials if trial.state.is_finished()]
        counted = [trial for trial in ended if not trial.user_attrs.get(INTERRUPTED)]
        off_grid = [
            claim
            for claim in _claims(trials)
            if not any(claim.items() <= point.items() for point in self._points)
        ]
        n_unshaped = sum(not trial.user_attrs.get(INTERRUPTED) for trial in unshaped)
        return len(counted) + len(self._free(counted)) + len(off_grid) + n_unshaped

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Returns what is chosen jointly: everything."""
        return dict(self._distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Returns the point of a trial."""
        trials = _trials(study)
        others = [other for other in trials if other.number != trial.number]
        fixed = trial.system_attrs.get(FIXED, {})
        free = [p for p in self._free(others) if fixed.items() <= p.items()]
        # Trials that have begun and have not yet said where: they take the first of the points.
        n_undecided = sum(
            other.number < trial.number
            and other.state == TrialState.RUNNING
            and FIXED not in other.system_attrs
            and _key(other.params) not in self._known
            for other in others
        )
        rank = 0 if fixed else n_undecided
        return dict(free[rank]) if rank < len(free) else {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """Decides for what the point of a trial does not have.

        Raises:
            TrialPruned: No point is left.
            ConfigError: The objective asks for a parameter that the grid does not have.
        """
        own = self._distributions.get(param_name)
        if own is None:
            rule = f"must have all that is asked for, but the objective asks for {param_name!r}"
            remedy = "Declare it there, or use the sampler brute_force."
            raise ConfigError(Problem(("search_space",), rule, remedy=remedy))
        if FIXED in trial.system_attrs:
            # The config as it stands, of which this parameter could not be found, is off the grid.
            return values_of(own)[0]
        raise self._end_in_vain(trial)

    def _free(self, some: Iterable[FrozenTrial]) -> list[Point]:
        """The points that none of these trials has tried, is trying, or waits to try."""
        trials = list(some)
        tried = {_key(trial.params) for trial in trials}
        # An objective may ask for a part only: then that part is all there was to try.
        parts = [trial.params for trial in trials if trial.params and trial.state in _OVER]
        claims = [*_claims(trials), *(part for part in parts if _key(part) not in self._known)]
        return [
            point
            for point in self._points
            if _key(point) not in tried
            and not any(claim.items() <= point.items() for claim in claims)
        ]


class BruteForceSampler(ExhaustiveSampler):
    """Tries every combination of what the objective asks for, which may depend on earlier answers.

    Workers that start trials in the same instant may try the same point.

    Args:
        seed: Of the order.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        self._rng = np.random.default_rng(seed)

    def is_exhausted(self, study: Study) -> bool:
        """Whether all that was ever asked for was tried, or is being tried."""
        return _is_tried([trial for trial in _trials(study) if trial.params], {})

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """Returns a value below which something is left to try.

        Raises:
            TrialPruned: There is none.
            ConfigError: The parameter has no finite number of values.
        """
        others = [other for other in _trials(study) if other.number != trial.number]
        claims = _claims(others)

        def is_free(value: Any) -> bool:
            prefix = {**trial.params, param_name: value}
            below = [other for other in others if prefix.items() <= other.params.items()]
            claimed = any(claim.items() <= prefix.items() for claim in claims)
            return not claimed and not _is_tried(below, prefix)

        free = [value for value in values_of(param_distribution, param_name) if is_free(value)]
        if not free:
            raise self._end_in_vain(trial)
        return free[self._rng.integers(len(free))]


def is_exhausted(study: Study, sampler: BaseSampler | None = None) -> bool:
    """Whether a study has nothing left to try: no point, and no trial that waits to be run.

    Args:
        study: The study.
        sampler: Its sampler, where it is not the one that the study has.
    """
    sampler = sampler or study.sampler
    if not isinstance(sampler, ExhaustiveSampler):
        return False
    is_waited_for = any(trial.state == TrialState.WAITING for trial in _all_trials(study))
    return not is_waited_for and sampler.is_exhausted(study)


def warn_of_grid(study: Study, n_trials: int) -> None:
    """Says so when a grid has fewer or more points than the study will have trials.

    Warns:
        UserWarning: It has.
    """
    if not isinstance(study.sampler, GridSampler):
        return
    needed = study.sampler.n_trials_in_all(study)
    if needed < n_trials:
        text = (
            f"the grid is tried in {needed} trials, so the search ends before n_trials, {n_trials}"
        )
    elif needed > n_trials:
        text = f"the grid takes {needed} trials, more than n_trials, {n_trials}, which are run"
    else:
        return
    warnings.warn(f"tuning.sampler: {text}.", UserWarning, stacklevel=4)


def _key(params: Point) -> frozenset[tuple[str, Any]]:
    return frozenset(params.items())


def _trials(study: Study) -> list[FrozenTrial]:
    # The trial without shaping has the parameters of another one, and tries no point.
    return [trial for trial in _all_trials(study) if not is_unshaped(trial)]


def _all_trials(study: Study) -> list[FrozenTrial]:
    # From the storage: hyperband shows a sampler only the trials of one bracket.
    return study._storage.get_all_trials(study._study_id, deepcopy=False)


def _claims(trials: Iterable[FrozenTrial]) -> list[Point]:
    """What enqueued trials will try, which have not ended yet."""
    return [
        trial.system_attrs[FIXED]
        for trial in trials
        if FIXED in trial.system_attrs and not trial.state.is_finished()
    ]


def _is_tried(trials: Sequence[FrozenTrial], prefix: Point) -> bool:
    """Whether trials have tried all there is below a prefix, which all of them have.

    A trial ends at the prefix, unless another one was asked for more there: then it was cut off.
    """
    if not trials:
        return False
    further = [trial for trial in trials if len(trial.params) > len(prefix)]
    if not further:
        return True
    name = next(name for name in further[0].params if name not in prefix)
    return all(
        _is_tried(
            [trial for trial in further if trial.params.get(name, _MISSING) == value],
            {**prefix, name: value},
        )
        for value in values_of(further[0].distributions[name], name)
    )
