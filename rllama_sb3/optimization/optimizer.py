"""Tunes a config by Bayesian optimization: the reward and the algorithm together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path as FilePath
from typing import Any, Final

from optuna import load_study
from optuna.exceptions import StorageInternalError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import BaseTrial, FrozenTrial, Trial, TrialState
from stable_baselines3.common.callbacks import BaseCallback

from rllama_sb3.config.models import ExperimentConfig, TuningConfig
from rllama_sb3.errors import ConfigError, Problem, RllamaError
from rllama_sb3.optimization.exhaustive import warn_of_grid
from rllama_sb3.optimization.first_trials import enqueue_missing, values_as_tried
from rllama_sb3.optimization.measures import components_of
from rllama_sb3.optimization.named import Named
from rllama_sb3.optimization.objective import OnEvaluation, TrainingObjective
from rllama_sb3.optimization.results import ResultsFolder
from rllama_sb3.optimization.search import known_values_in_peace, read_search
from rllama_sb3.optimization.search_space.constraints import refuse_violations
from rllama_sb3.optimization.storage import open_storage
from rllama_sb3.optimization.storage.database import HEARTBEAT_SECONDS
from rllama_sb3.optimization.study.attributes import BASE_ORIGIN, FAILURE, ORIGIN
from rllama_sb3.optimization.study.opening import crew_number, describe_purpose, open_study
from rllama_sb3.optimization.study.ranking import best_trial, main_value, state_of
from rllama_sb3.optimization.study.retries import (
    MOST_RETRIES,
    close_abandoned_trials,
    enqueue_again,
)
from rllama_sb3.optimization.study.stop import read_stop
from rllama_sb3.optimization.trial_loop import StudyCallback, TrialLoop, Values, is_over
from rllama_sb3.optimization.warm_start import warm_start_trials
from rllama_sb3.optimization.workers.crew import main_module_registrations, run_workers
from rllama_sb3.optimization.workers.task import WorkerTask

_DEFAULT_NAME: Final = "rllama_sb3"


class BayesianRewardOptimizer:
    """Searches for the values that make an objective best, starting from the user's own.

    With an objective of your own the config is yours in shape and meaning. Without one it is an
    experiment: each trial trains with Stable-Baselines3 and is judged by the env return (see
    :mod:`rllama_sb3.optimization.objective`).

    Args:
        base_config: The config that trials start from; not changed.
        search_space: Mirrors the config, with a callable ``(trial) -> value`` or a declared leaf
            such as ``{"suggest": "float", "low": 0.1, "high": 10.0}`` in place of the values to
            search; ``tuning.search_space`` of the config by default.
        objective_function: ``(trial, **objective_kwargs) -> float``. What it raises stops the
            search, but for ``optuna.TrialPruned``.
        objective_kwargs: Its further arguments.
        n_trials: Trials of the study in total, those of earlier runs included; at least 1. By
            default ``tuning.n_trials`` of an experiment, 100 with an objective of your own.
        study_name: Under it the study is found again in its storage.
        storage: ``sqlite:///file.db``, another URL, or an Optuna storage; memory only by default.
        direction: ``"maximize"`` or ``"minimize"``.
        sampler: A name or mapping as in a file (see
            :func:`~rllama_sb3.optimization.build_sampler`), or one of Optuna's; ``tuning.sampler``
            by default.
        pruner: Likewise (see :func:`~rllama_sb3.optimization.build_pruner`); ``tuning.pruner`` by
            default.
        seed: Of the sampler; ``tuning.seed`` by default.
        out: Folder for results, which :mod:`rllama_sb3.optimization.results` describes; nothing is
            written without it.
        callbacks: Called with the study and each trial that has ended, results being on disk.
        on_trial_start: Called with each trial before its objective.
        on_evaluation: Called with the trial and each evaluation of the built-in objective.
        training_callbacks: Stable-Baselines3 callbacks for each training of the built-in objective.
        n_workers: Processes that run trials side by side, on a storage that is a URL; ``None`` runs
            them in this process. The callbacks above are called in this process only.
        imports: Modules that workers import first, because they register what the config names.
        on_poll: Called with the study about twice a second while workers run.
        trial_timeout: Seconds after which a trial of a worker is ended, as failed;
            ``tuning.trial_timeout`` by default.
        heartbeat: Seconds between two signs of life of a running trial; see
            :func:`~rllama_sb3.optimization.storage.open_storage`.
        warm_start: A ``best.yaml``, a folder of results, or a study as ``sqlite:///study.db#name``:
            what was found there is tried first (see :mod:`rllama_sb3.optimization.warm_start`).

    Attributes:
        base_config: The config as plain values, with all defaults of an experiment filled in, and
            those of the parameters that are searched.
        study: Optuna's study, once :meth:`optimize` has opened it.

    Raises:
        ConfigError: An argument, the config or the search space is wrong; all problems are listed.

    Example:
        >>> import optuna
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> optimizer = BayesianRewardOptimizer(
        ...     base_config={"penalty": 3.0, "goal": 1.0},
        ...     search_space={"penalty": {"suggest": "float", "low": -5.0, "high": 5.0}},
        ...     objective_function=lambda trial: optimizer.generate_trial_config(trial)["penalty"],
        ...     n_trials=1,
        ... )
        >>> best_params, best_value, study = optimizer.optimize()
        >>> best_params, best_value, optimizer.best_config
        ({'penalty': 3.0}, 3.0, {'penalty': 3.0, 'goal': 1.0})
    """

    def __init__(
        self,
        base_config: ExperimentConfig | Mapping[str, Any],
        search_space: Mapping[str, Any] | None = None,
        objective_function: Callable[..., float] | None = None,
        objective_kwargs: Mapping[str, Any] | None = None,
        n_trials: int | None = None,
        study_name: str | None = None,
        storage: str | BaseStorage | None = None,
        direction: str = "maximize",
        *,
        sampler: Named | BaseSampler | None = None,
        pruner: Named | BasePruner | None = None,
        seed: int | None = None,
        out: str | FilePath | None = None,
        callbacks: Sequence[StudyCallback] = (),
        on_trial_start: Callable[[Trial], None] | None = None,
        on_evaluation: OnEvaluation | None = None,
        training_callbacks: Sequence[BaseCallback] = (),
        n_workers: int | None = None,
        imports: Sequence[str] = (),
        on_poll: Callable[[Study], None] | None = None,
        trial_timeout: float | None = None,
        heartbeat: int = HEARTBEAT_SECONDS,
        warm_start: str | FilePath | None = None,
    ) -> None:
        in_process = (*callbacks, *training_callbacks, on_trial_start, on_evaluation)
        search = read_search(
            base_config,
            search_space,
            is_experiment=objective_function is None,
            n_trials=n_trials,
            direction=direction,
            sampler=sampler,
            pruner=pruner,
            seed=seed,
            other_problems=lambda: [
                *_check_name(study_name),
                *_check_workers(n_workers, storage, any(in_process)),
                *_check_seconds(trial_timeout=trial_timeout, heartbeat=heartbeat),
            ],
        )
        self._study_name = study_name or _DEFAULT_NAME
        if warm_start is not None:
            found = warm_start_trials(
                str(warm_start),
                search.space,
                search.base_config,
                storage=storage,
                study_name=self._study_name,
            )
            search = replace(search, known_trials=[*search.known_trials, *found])
        self._search = search
        self.n_trials, self.search_space = search.n_trials, search.space
        self.base_config = dict(search.base_config)
        self.study: Study | None = None
        self._storage, self._heartbeat = storage, heartbeat
        self._stop_before: str | None = None
        self._out = None if out is None else FilePath(out)
        self._callbacks, self._on_trial_start = tuple(callbacks), on_trial_start
        self._n_workers, self._on_poll = n_workers, on_poll
        tuning = TuningConfig() if search.experiment is None else search.experiment.tuning
        self._trial_timeout = tuning.trial_timeout if trial_timeout is None else trial_timeout
        self._task = WorkerTask(
            optimizer={
                "base_config": search.experiment or base_config,
                "search_space": search.space_source,
                "objective_function": objective_function,
                "objective_kwargs": objective_kwargs,
                "n_trials": self.n_trials,
                "study_name": self._study_name,
                "storage": storage,
                "direction": direction,
                "sampler": sampler,
                "pruner": pruner,
                "seed": seed,
                "out": out,
                "heartbeat": heartbeat,
            },
            imports=tuple(imports),
            registered=main_module_registrations(),
        )
        self._objective: Callable[[Trial], Values]
        if objective_function is None:
            assert search.experiment is not None  # It has been parsed as one.
            self._objective = TrainingObjective(
                self.generate_trial_config,
                self._out,
                on_evaluation,
                training_callbacks,
                components_of(search.experiment),
            )
        else:
            self._objective = partial(objective_function, **(objective_kwargs or {}))

    @property
    def best_params(self) -> dict[str, Any]:
        """The best trial's values, as a fragment of the config that merges into the base.

        Where the search space has conditions, the base may have values that do not go with them;
        :attr:`best_config` is without those.

        Parameters that an objective suggested by itself, outside of the search space, are in
        ``study.best_params`` only.

        Raises:
            RllamaError: No trial has a value yet.
        """
        return self._search.fragment_of(self._best_trial())

    @property
    def best_config(self) -> dict[str, Any]:
        """The base config with the best trial's values.

        Raises:
            RllamaError: No trial has a value yet.
        """
        return self._search.config_of(self._best_trial())

    def generate_trial_config(self, trial: BaseTrial) -> dict[str, Any]:
        """Returns the config of a trial: the base with what the trial suggests laid over it.

        Args:
            trial: A live trial, a past one, or an ``optuna.trial.FixedTrial``.
        """
        return self._search.suggest_config(trial)

    def optimize(self) -> tuple[dict[str, Any], float, Study]:
        """Runs the trials that the study still lacks; the first one is the base config.

        Of an experiment the second one is the same without shaping. Those of ``tuning.enqueue``
        and of the warm start follow (see :mod:`rllama_sb3.optimization.first_trials`).

        A study that exists under this name in this storage is continued. Trials of it that were
        interrupted are run again, and do not count.

        Returns:
            The best values as a nested fragment of the config, the best objective value, and
            Optuna's study. Of several objectives (see :mod:`rllama_sb3.optimization.measures`)
            these are the values and the env return of the trial of the Pareto front with the
            greatest env return; ``study.best_trials`` has the others.

        Raises:
            ConfigError: The storage or the folder cannot be used, the study there is of another
                search, or there is a ``trial_timeout`` without workers. Nothing has started.
            RllamaError: Every trial was pruned or failed.
            KeyboardInterrupt: What has ended is kept; calling again continues.

        Warns:
            UserWarning: As of :meth:`SearchSpace.base_values`; or a grid has fewer or more points
                than the study will have trials.
        """
        if self._trial_timeout is not None and self._n_workers is None:
            rule = "must be left out without worker processes, which alone can be ended"
            remedy = "Set n_workers."
            raise ConfigError(Problem(("trial_timeout",), rule, self._trial_timeout, remedy))
        with _no_empty_folders_left(self._out):
            study, results = self._open()
        self._keep(study, results)
        if not is_over(study, self.n_trials):
            try:
                if self._n_workers is None:
                    self._run_here(study, results)
                else:
                    self._run_workers(study, results)
            except BaseException:
                # Optuna calls no callback after a trial that raised. What cannot be written or
                # asked now must not hide why.
                with suppress(StorageInternalError, OSError):
                    self._keep(study, results)
                raise
            self._keep(study, results)
        best = self._best_trial()
        value = main_value(best)
        assert value is not None  # It is complete.
        return self.best_params, value, study

    def work(self, worker: int, crew: int = 0, stop_before: str | None = None) -> None:
        """Runs trials of a study that exists until it has all of them: what a worker process does.

        Args:
            worker: Its number among the workers of the process that started it.
            crew: A number of that process, which its sampler's seed is mixed with: workers with
                the same seed would propose the same.
            stop_before: What had stopped the study, and no longer does.

        Raises:
            Exception: Whatever a trial raised; the other workers are stopped by it.
        """
        storage = open_storage(self._storage, heartbeat=self._heartbeat, is_known=True)
        study = load_study(study_name=self._study_name, storage=storage)
        n_known = len(study.get_trials(deepcopy=False))
        study.sampler = self._search.build_sampler(n_known, crew + worker)
        study.pruner = self._search.build_pruner()
        self.study = study
        loop = TrialLoop(
            self._value_of,
            self.n_trials,
            out=self._out,
            worker=worker,
            stop_before=stop_before,
        )
        # What runs out of memory with these values need not with others.
        loop.run(study, catch=(MemoryError,))

    def _run_here(self, study: Study, results: ResultsFolder | None) -> None:
        loop = TrialLoop(
            self._value_of,
            self.n_trials,
            out=self._out,
            on_start=self._on_trial_start,
            stop_before=self._stop_before,
        )
        loop.run(
            study,
            callbacks=[lambda study, _: self._keep(study, results), *self._callbacks],
            gc_after_trial=self._search.experiment is not None,
        )
        stop = read_stop(study, self._stop_before)
        if stop is not None:
            raise RllamaError(stop)

    def _run_workers(self, study: Study, results: ResultsFolder | None) -> None:
        n_kept = 0

        def poll(study: Study) -> None:
            nonlocal n_kept
            trials = study.get_trials(deepcopy=False)
            n_ended = sum(trial.state.is_finished() for trial in trials)
            if n_ended > n_kept:
                self._keep(study, results)
                n_kept = n_ended
            if self._on_poll is not None:
                self._on_poll(study)

        assert self._n_workers is not None
        run_workers(
            study,
            replace(self._task, crew=crew_number(study), stop_before=self._stop_before),
            n_workers=self._n_workers,
            is_over=partial(is_over, n_trials=self.n_trials),
            out=self._out,
            trial_timeout=self._trial_timeout,
            on_poll=poll,
        )

    def _keep(self, study: Study, results: ResultsFolder | None) -> None:
        if results is not None:
            results.update(study, self.search_space.columns())

    def _open(self) -> tuple[Study, ResultsFolder | None]:
        """Opens the study and the folder, and sees to what was cut off and what comes first."""
        search = self._search
        results = None if self._out is None else self._open_results(self._out)
        storage = open_storage(self._storage, heartbeat=self._heartbeat)
        purpose = describe_purpose(search.space.fingerprint(), search.base_config)
        study = open_study(storage, self._study_name, purpose, directions=search.directions)
        if results is not None:
            results.check_free_for(study)
        self._stop_before = read_stop(study)
        close_abandoned_trials(study, "the process ended while it ran", most_retries=MOST_RETRIES)
        known = study.get_trials(deepcopy=False)
        if known:
            enqueue_again(study)
        is_new = all(trial.user_attrs.get(ORIGIN) != BASE_ORIGIN for trial in known)
        enqueue_missing(study, search.first_trials(is_new=is_new))
        study.sampler = search.build_sampler(len(known), crew_number(study))
        study.pruner = search.build_pruner()
        warn_of_grid(study, self.n_trials)
        self.study = study
        return study, results

    def _open_results(self, out: FilePath) -> ResultsFolder:
        values_of = partial(values_as_tried, space=self.search_space)
        experiment = self._search.experiment
        if experiment is None:
            return ResultsFolder(out, self._search.config_of, values_of=values_of)
        tuning = experiment.tuning
        names = tuple(tuning.objectives)
        return ResultsFolder(out, self._search.config_of, tuning.objective, values_of, names)

    def _value_of(self, trial: Trial) -> Values:
        with known_values_in_peace():
            constraints = self._search.constraints
            if constraints:
                refuse_violations(trial, self.generate_trial_config(trial), constraints)
            return self._objective(trial)

    def _best_trial(self) -> FrozenTrial:
        if self.study is None:
            raise RllamaError("there is no best trial before optimize() has run")
        best = best_trial(self.study)
        if best is not None:
            return best
        trials = self.study.get_trials(deepcopy=False)
        trials = [trial for trial in trials if trial.state != TrialState.WAITING]
        states = Counter(state_of(trial) for trial in trials)
        counts = ", ".join(f"{n} {state}" for state, n in states.items()) or "no trials"
        reasons = [trial.user_attrs[FAILURE] for trial in trials if FAILURE in trial.user_attrs]
        last = f" The last reason given: {reasons[-1]}." if reasons else ""
        raise RllamaError(
            f"no trial of the study {self._study_name!r} came to a value ({counts}).{last}"
        )


def _check_name(study_name: Any) -> list[Problem]:
    if study_name is None or (isinstance(study_name, str) and study_name):
        return []
    return [Problem(("study_name",), "must be text", study_name)]


def _check_workers(
    n_workers: int | None, storage: str | BaseStorage | None, has_callbacks: bool
) -> list[Problem]:
    if n_workers is None:
        return []
    problems = []
    if isinstance(n_workers, bool) or not isinstance(n_workers, int) or n_workers < 1:
        rule = "must be a whole number of at least 1, or None for this process"
        problems.append(Problem(("n_workers",), rule, n_workers))
    if not isinstance(storage, str):
        rule = "must be a URL where processes share the study"
        problems.append(Problem(("storage",), rule, storage, "Example: sqlite:///study.db."))
    if has_callbacks:
        rule = "must be left out with worker processes, which cannot call what is in this one"
        problems.append(Problem(("callbacks",), rule, remedy="Use on_poll."))
    return problems


def _check_seconds(**arguments: Any) -> list[Problem]:
    return [
        Problem((name,), "must be a number of seconds greater than 0", value)
        for name, value in arguments.items()
        if value is not None
        and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0)
    ]


@contextmanager
def _no_empty_folders_left(path: FilePath | None) -> Iterator[None]:
    """Takes away the folders made for a search that cannot start."""
    made = [] if path is None else [p for p in (path, *path.parents) if not p.exists()]
    try:
        yield
    except RllamaError:
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise
