"""Keeps trials from a sampler whose values are not those of their parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class BlindSampler(BaseSampler):
    """A sampler that never sees some of the trials of its study.

    Args:
        sampler: Who proposes.
        is_hidden: Whether a trial is not to be seen.

    Example:
        >>> import optuna
        >>> study = optuna.create_study(sampler=BlindSampler(
        ...     optuna.samplers.RandomSampler(0), lambda trial: "odd" in trial.user_attrs))
        >>> study.enqueue_trial({"x": 0.5}, user_attrs={"odd": True})
        >>> study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
        >>> len(study.trials)
        2
    """

    def __init__(self, sampler: BaseSampler, is_hidden: Callable[[FrozenTrial], bool]) -> None:
        self.sampler, self._is_hidden = sampler, is_hidden

    def reseed_rng(self) -> None:
        """As of any sampler."""
        self.sampler.reseed_rng()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As of any sampler."""
        return self.sampler.infer_relative_search_space(self._seen(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As of any sampler."""
        return self.sampler.sample_relative(self._seen(study), trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """As of any sampler."""
        seen = self._seen(study)
        return self.sampler.sample_independent(seen, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """As of any sampler."""
        self.sampler.before_trial(self._seen(study), trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """As of any sampler."""
        self.sampler.after_trial(self._seen(study), trial, state, values)

    def _seen(self, study: Study) -> Study:
        return _PartOfStudy(study, self._is_hidden)  # type: ignore[return-value]


class _PartOfStudy:
    """A study without some of its trials."""

    def __init__(self, study: Study, is_hidden: Callable[[FrozenTrial], bool]) -> None:
        self._whole, self._is_hidden = study, is_hidden

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    # By this one samplers ask for trials, all of Optuna's.
    def _get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        trials = self._whole._get_trials(*args, **kwargs)
        return [trial for trial in trials if not self._is_hidden(trial)]

    def get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        trials = self._whole.get_trials(*args, **kwargs)
        return [trial for trial in trials if not self._is_hidden(trial)]

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.get_trials()
