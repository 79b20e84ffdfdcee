"""What is searched and how, once all of it is known to go together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import BaseTrial, FrozenTrial

from rllama_sb3.config.merging import merge_configs
from rllama_sb3.config.models import ExperimentConfig, TuningConfig
from rllama_sb3.config.validation import parse_experiment
from rllama_sb3.errors import ConfigError, Path, Problem
from rllama_sb3.optimization.blind_sampler import BlindSampler
from rllama_sb3.optimization.checks import check_tuning
from rllama_sb3.optimization.exhaustive import ExhaustiveSampler
from rllama_sb3.optimization.first_trials import (
    UNSHAPED_ORIGIN,
    FirstTrial,
    as_tried,
    is_unshaped,
    read_enqueue,
)
from rllama_sb3.optimization.measures import check_objectives, directions_of
from rllama_sb3.optimization.named import Named
from rllama_sb3.optimization.pruners import build_pruner, check_pruner
from rllama_sb3.optimization.samplers import build_sampler, check_sampler
from rllama_sb3.optimization.search_space import SearchSpace, build_search_space, check_search_space
from rllama_sb3.optimization.search_space.constraints import (
    Constraint,
    build_constraints,
    check_constrained_sampler,
)
from rllama_sb3.optimization.search_space.reach import check_reach
from rllama_sb3.optimization.search_space.space import SECTION
from rllama_sb3.optimization.study.attributes import BASE_ORIGIN
from rllama_sb3.training import check_runnable

_DEFAULT_N_TRIALS: Final = 100


@dataclass(frozen=True)
class Search:
    """What is searched and how.

    Attributes:
        experiment: The experiment, or None where the user has an objective of his own.
        base_config: The config that trials start from, as plain values.
        space: The search space.
        space_source: As the user wrote it.
        constraints: What must hold in the config of a trial.
        known_trials: What is tried before anything is proposed, beside the base.
        n_trials: Trials of the study in total.
        directions: Of each objective.
        sampler: Who proposes, as the user said it.
        pruner: Who stops trials, likewise.
        seed: Of the sampler.
    """

    experiment: ExperimentConfig | None
    base_config: Mapping[str, Any]
    space: SearchSpace
    space_source: Mapping[str, Any]
    constraints: Sequence[Constraint]
    known_trials: Sequence[FirstTrial]
    n_trials: int
    directions: Sequence[str]
    sampler: Named | BaseSampler
    pruner: Named | BasePruner
    seed: int | None

    @property
    def has_shaping(self) -> bool:
        """Whether there is a reward to be shaped, and so a trial without shaping."""
        return self.experiment is not None and bool(self.experiment.reward_shaping)

    def suggest_config(self, trial: BaseTrial) -> dict[str, Any]:
        """Returns the config of a trial, suggesting its parameters as it goes."""
        with known_values_in_peace():
            suggested = self.space.suggest(trial)
        return as_tried(trial, self.space.merge(self.base_config, suggested))

    def fragment_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """Returns what a past trial has tried, as a fragment of the config."""
        return as_tried(trial, self.space.replay(trial.params, trial.number))

    def config_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """Returns the config of a past trial."""
        fragment = self.space.replay(trial.params, trial.number)
        return as_tried(trial, self.space.merge(self.base_config, fragment))

    def first_trials(self, *, is_new: bool) -> list[FirstTrial]:
        """Returns the trials that the study begins with.

        Args:
            is_new: Whether the user has not been told of values outside of what is searched.

        Warns:
            UserWarning: As of :meth:`SearchSpace.base_values`, if it is new.
        """
        with warnings.catch_warnings():
            if not is_new:
                warnings.simplefilter("ignore")
            base = self.space.base_values(self.base_config)
        trials = [FirstTrial(base, BASE_ORIGIN)] if base else []
        for known in self.known_trials:
            if all(known.params != trial.params for trial in trials):
                trials.append(known)
        if base and self.has_shaping:
            trials.insert(1, FirstTrial(base, UNSHAPED_ORIGIN))
        return trials

    def build_sampler(self, n_known: int, worker: int = 0) -> BaseSampler:
        """Returns the sampler of a process.

        Args:
            n_known: How many trials the study has.
            worker: A number of the process, as samplers with one seed would propose the same.
        """
        if isinstance(self.sampler, BaseSampler):
            sampler = self.sampler
        else:
            sampler = build_sampler(
                self.sampler,
                self.seed,
                space=self.space,
                n_trials=self.n_trials,
                n_known=n_known,
                worker=worker,
            )
        if self.has_shaping and not isinstance(sampler, ExhaustiveSampler):
            return BlindSampler(sampler, is_unshaped)
        return sampler

    def build_pruner(self) -> BasePruner:
        """Returns the pruner."""
        if isinstance(self.pruner, BasePruner):
            return self.pruner
        if self.experiment is None:
            return build_pruner(self.pruner)
        return build_pruner(
            self.pruner,
            n_evaluations=self.experiment.evaluation.n_evaluations,
            n_seeds=self.experiment.tuning.seeds_per_trial,
        )


def read_search(
    base_config: ExperimentConfig | Mapping[str, Any],
    search_space: Mapping[str, Any] | None,
    *,
    is_experiment: bool,
    n_trials: int | None,
    direction: str,
    sampler: Named | BaseSampler | None,
    pruner: Named | BasePruner | None,
    seed: int | None,
    other_problems: Callable[[], Sequence[Problem]] = tuple,
) -> Search:
    """Returns what is searched, as the arguments of the optimizer of the same names say it.

    Args:
        base_config: As there.
        search_space: As there.
        is_experiment: Whether trials train, instead of calling an objective of the user's own.
        n_trials: As there.
        direction: As there.
        sampler: As there.
        pruner: As there.
        seed: As there.
        other_problems: What is wrong with further arguments, to be told with the rest.

    Raises:
        ConfigError: Something is wrong, or does not go together; all problems are listed.

    Warns:
        UserWarning: As of :func:`~rllama_sb3.optimization.first_trials.read_enqueue`.
    """
    experiment, base, problems = _parse(base_config, is_experiment=is_experiment)
    tuning = TuningConfig() if experiment is None else experiment.tuning
    source: Any = search_space
    where: Path = ("search_space",)
    if search_space is None:
        source, where = _own_tuning(base, "search_space", {}), SECTION
    if n_trials is None:
        n_trials = _DEFAULT_N_TRIALS if experiment is None else tuning.n_trials
    problems += [*_check_arguments(n_trials, direction, experiment), *other_problems()]
    problems += check_search_space(source, base, where=where)
    if is_experiment and not source:
        problems.append(Problem(where, "must name at least one value to search"))
    if problems:
        raise ConfigError(*problems)
    space = build_search_space(source, base, where=where)
    base = merge_configs(base, space.defaults)
    constraints, problems = build_constraints(_own_tuning(base, "constraints", {}), space, base)
    entries = _own_tuning(base, "enqueue", [])
    is_known = experiment is not None
    known, wrong = read_enqueue(entries, space, base, constraints, is_experiment=is_known)
    search = Search(
        experiment=experiment,
        base_config=base,
        space=space,
        space_source=source,
        constraints=constraints,
        known_trials=known,
        n_trials=n_trials,
        directions=[direction] if experiment is None else directions_of(tuning.objectives),
        sampler=tuning.sampler if sampler is None else sampler,
        pruner=tuning.pruner if pruner is None else pruner,
        seed=tuning.seed if seed is None else seed,
    )
    problems += [*wrong, *_check_search(search)]
    if problems:
        raise ConfigError(*problems)
    return search


@contextmanager
def known_values_in_peace() -> Iterator[None]:
    """Keeps Optuna from warning about the config's own values, of which the user was told."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Fixed parameter .* is out of range", UserWarning)
        warnings.filterwarnings("ignore", "The value .* is out of the range", UserWarning)
        yield


def _parse(
    base_config: ExperimentConfig | Mapping[str, Any], *, is_experiment: bool
) -> tuple[ExperimentConfig | None, dict[str, Any], list[Problem]]:
    """Returns the experiment, if it is one, its plain values, and what is wrong with it."""
    if isinstance(base_config, ExperimentConfig):
        config = base_config
    elif not isinstance(base_config, Mapping):
        rule = "must be a mapping or an ExperimentConfig"
        raise ConfigError(Problem(("base_config",), rule, base_config))
    elif is_experiment:
        config = parse_experiment(base_config)
    else:
        return None, merge_configs(base_config, {}), []
    if not is_experiment:
        return None, config.to_dict(), []
    return config, config.to_dict(), check_runnable(config)


def _own_tuning(base: Mapping[str, Any], key: str, default: Any) -> Any:
    tuning = base.get("tuning")
    return tuning.get(key, default) if isinstance(tuning, Mapping) else default


def _check_arguments(
    n_trials: Any, direction: Any, experiment: ExperimentConfig | None
) -> list[Problem]:
    problems = []
    if isinstance(n_trials, bool) or not isinstance(n_trials, int) or n_trials < 1:
        rule = "must be a whole number of at least 1"
        problems.append(Problem(("n_trials",), rule, n_trials))
    if direction not in ("maximize", "minimize"):
        problems.append(Problem(("direction",), "must be maximize or minimize", direction))
    elif experiment is not None and direction == "minimize":
        rule = "must be maximize, as trials are judged by their env return"
        problems.append(Problem(("direction",), rule, direction))
    return problems


def _check_search(search: Search) -> list[Problem]:
    """Returns why a space cannot be searched in this way."""
    experiment, sampler, pruner = search.experiment, search.sampler, search.pruner
    constrained = check_constrained_sampler(search.constraints, sampler)
    if experiment is None:
        return [*check_sampler(sampler, search.space), *check_pruner(pruner), *constrained]
    n_evaluations = experiment.evaluation.n_evaluations
    tuning, space = experiment.tuning, search.space
    return [
        *check_reach(space, search.base_config),
        *check_tuning(tuning, n_evaluations, space, sampler=sampler, pruner=pruner),
        *check_objectives(experiment, sampler, pruner),
        *constrained,
    ]
