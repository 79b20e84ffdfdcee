"""Tunes a config by Bayesian optimization: the reward and the algorithm together."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path as FilePath
from typing import Any, Final

from optuna import TrialPruned, load_study
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import BaseTrial, FrozenTrial, Trial, TrialState
from stable_baselines3.common.callbacks import BaseCallback

from rllama_sb3.config.merging import merge_configs
from rllama_sb3.config.models import ExperimentConfig, TuningConfig
from rllama_sb3.config.validation import parse_experiment
from rllama_sb3.errors import ConfigError, Path, Problem, RllamaError
from rllama_sb3.optimization.blind_sampler import BlindSampler
from rllama_sb3.optimization.checks import check_tuning
from rllama_sb3.optimization.constraints import build_constraints, refuse_violations
from rllama_sb3.optimization.exhaustive import ExhaustiveSampler, is_exhausted, warn_of_grid
from rllama_sb3.optimization.failures import describe_failure, write_failure
from rllama_sb3.optimization.first_trials import (
    UNSHAPED_ORIGIN,
    FirstTrial,
    as_tried,
    enqueue_missing,
    is_unshaped,
    params_as_tried,
    read_enqueue,
)
from rllama_sb3.optimization.measures import check_objectives, components_of, directions_of
from rllama_sb3.optimization.named import Named
from rllama_sb3.optimization.objective import OnEvaluation, TrainingObjective
from rllama_sb3.optimization.owner import claim
from rllama_sb3.optimization.patience import StorageAwayError
from rllama_sb3.optimization.pruners import build_pruner, check_pruner
from rllama_sb3.optimization.reach import check_reach
from rllama_sb3.optimization.results import ResultsFolder
from rllama_sb3.optimization.samplers import build_sampler, check_sampler
from rllama_sb3.optimization.search_space import (
    SECTION,
    SearchSpace,
    build_search_space,
    check_search_space,
)
from rllama_sb3.optimization.storage import open_storage
from rllama_sb3.optimization.study import (
    BASE_ORIGIN,
    FAILURE,
    INTERRUPTED,
    MOST_RETRIES,
    ORIGIN,
    Progress,
    best_trial,
    clear_stop,
    close_abandoned_trials,
    crew_number,
    describe_purpose,
    enqueue_again,
    main_value,
    open_study,
    read_progress,
    read_stop,
    stop_study,
    take_over_silent_trials,
    why_needless,
)
from rllama_sb3.optimization.study_database import HEARTBEAT_SECONDS
from rllama_sb3.optimization.warm_start import warm_start_trials
from rllama_sb3.optimization.worker_task import WorkerTask
from rllama_sb3.optimization.workers import (
    main_module_registrations,
    run_workers,
    worker_logs,
)
from rllama_sb3.training import check_runnable

StudyCallback = Callable[[Study, FrozenTrial], None]

_logger: Final = logging.getLogger(__name__)

_DEFAULT_NAME = "rllama_sb3"
_DEFAULT_N_TRIALS = 100
_IDLE_SECONDS: Final = 1.0


class _NeedlessError(Exception):
    """A trial was begun that the study does not need."""


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
        config, base, problems = _parse(base_config, is_experiment=objective_function is None)
        tuning = TuningConfig() if config is None else config.tuning
        space: Any = search_space
        where: Path = ("search_space",)
        if search_space is None:
            space, where = _own_tuning(base, "search_space", {}), SECTION
        default = _DEFAULT_N_TRIALS if config is None else tuning.n_trials
        self.n_trials = default if n_trials is None else n_trials
        problems += _check_arguments(self.n_trials, direction, study_name, config)
        in_process = (*callbacks, *training_callbacks, on_trial_start, on_evaluation)
        problems += _check_workers(n_workers, storage, any(in_process))
        problems += check_search_space(space, base, where=where)
        if objective_function is None and not space:
            problems.append(Problem(where, "must name at least one value to search"))
        if problems:
            raise ConfigError(*problems)
        self.search_space = build_search_space(space, base, where=where)
        self.base_config = merge_configs(base, self.search_space.defaults)
        self._sampler = tuning.sampler if sampler is None else sampler
        self._pruner = tuning.pruner if pruner is None else pruner
        self._constraints, problems = build_constraints(
            _own_tuning(base, "constraints", {}), self.search_space, self.base_config
        )
        self._known_trials, wrong = read_enqueue(
            _own_tuning(base, "enqueue", []),
            self.search_space,
            self.base_config,
            self._constraints,
            is_experiment=config is not None,
        )
        problems += wrong
        problems += _check_search(
            self.search_space, self.base_config, config, self._sampler, self._pruner
        )
        if problems:
            raise ConfigError(*problems)
        if warm_start is not None:
            self._known_trials += warm_start_trials(
                str(warm_start),
                self.search_space,
                self.base_config,
                storage=storage,
                study_name=study_name or _DEFAULT_NAME,
            )
        self.study: Study | None = None
        self._config = config
        self._has_shaping = config is not None and bool(config.reward_shaping)
        self._study_name = study_name or _DEFAULT_NAME
        self._storage = storage
        self._directions = [direction] if config is None else directions_of(tuning.objectives)
        self._seed = tuning.seed if seed is None else seed
        self._out = None if out is None else FilePath(out)
        self._callbacks = tuple(callbacks)
        self._on_trial_start = on_trial_start
        self._worker = 0
        # The trial that is being run, while what it raises is not its own failure.
        self._present: Trial | None = None
        self._n_workers, self._on_poll, self._heartbeat = n_workers, on_poll, heartbeat
        self._trial_timeout = tuning.trial_timeout if trial_timeout is None else trial_timeout
        self._task = WorkerTask(
            optimizer={
                "base_config": config if config is not None else base_config,
                "search_space": space,
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
        self._objective: Callable[[Trial], float | tuple[float, ...]]
        if objective_function is None:
            self._objective = TrainingObjective(
                self.generate_trial_config,
                self._out,
                on_evaluation,
                training_callbacks,
                {} if config is None else components_of(config),
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
        best = self._best_trial()
        return as_tried(best, self.search_space.replay(best.params, best.number))

    @property
    def best_config(self) -> dict[str, Any]:
        """The base config with the best trial's values.

        Raises:
            RllamaError: No trial has a value yet.
        """
        return self._config_of(self._best_trial())

    def generate_trial_config(self, trial: BaseTrial) -> dict[str, Any]:
        """Returns the config of a trial: the base with what the trial suggests laid over it.

        Args:
            trial: A live trial, a past one, or an ``optuna.trial.FixedTrial``.
        """
        with _known_values_in_peace():
            suggested = self.search_space.suggest(trial)
        return as_tried(trial, self.search_space.merge(self.base_config, suggested))

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
            ConfigError: The storage or the folder cannot be used, or the study there is of another
                search. Nothing has started.
            RllamaError: Every trial was pruned or failed.
            KeyboardInterrupt: What has ended is kept; calling again continues.

        Warns:
            UserWarning: As of :meth:`SearchSpace.base_values`; or a grid has fewer or more points
                than the study will have trials.
        """
        with _no_empty_folders_left(self._out):
            study, results = self._open()
        self._keep(study, results)
        if not self._is_over(study):
            try:
                if self._n_workers is None:
                    self._run_here(study, results)
                else:
                    self._run_workers(study, results)
            finally:
                # Optuna calls no callback after a trial that raised; and what the storage does not
                # answer now it is asked below.
                with suppress(StorageInternalError):
                    self._keep(study, results)
        best = self._best_trial()
        value = main_value(best)
        assert value is not None  # It is complete.
        return self.best_params, value, study

    def work(self, worker: int, crew: int = 0) -> None:
        """Runs trials of a study that exists until it has all of them: what a worker process does.

        Args:
            worker: Its number among the workers of the process that started it.
            crew: A number of that process, which its sampler's seed is mixed with: workers with
                the same seed would propose the same.

        Raises:
            Exception: Whatever a trial raised; the other workers stop after their present trials.
        """
        storage = open_storage(self._storage, heartbeat=self._heartbeat, is_known=True)
        study = load_study(study_name=self._study_name, storage=storage)
        n_known = len(study.get_trials(deepcopy=False))
        study.sampler = self._build_sampler(n_known, crew + worker)
        study.pruner = self._build_pruner()
        self.study, self._worker = study, worker
        # What runs out of memory with these values need not with others.
        self._run_missing(study, catch=(MemoryError,), is_experiment=True)

    def _is_over(self, study: Study, progress: Progress | None = None) -> bool:
        progress = progress or read_progress(study)
        if progress.n_finished >= self.n_trials:
            return True
        return progress.n_running == 0 and is_exhausted(study)

    def _run_here(self, study: Study, results: ResultsFolder | None) -> None:
        self._run_missing(
            study,
            callbacks=[lambda study, _: self._keep(study, results), *self._callbacks],
            is_experiment=self._config is not None,
        )
        stop = read_stop(study)
        if stop is not None:
            raise RllamaError(stop)

    def _run_missing(
        self,
        study: Study,
        *,
        catch: tuple[type[Exception], ...] = (),
        callbacks: Sequence[StudyCallback] = (),
        is_experiment: bool,
    ) -> None:
        """Runs trials until the study has all of them, is stopped, or a callback stops this."""
        study._stop_flag = False
        while read_stop(study) is None:
            progress = read_progress(study)
            if self._is_over(study, progress):
                return
            is_full = progress.n_finished + progress.n_running >= self.n_trials
            if is_full or is_exhausted(study):
                time.sleep(_IDLE_SECONDS)
                take_over_silent_trials(study)
                continue
            self._present = None
            try:
                study.optimize(
                    self._run,
                    n_trials=1,
                    catch=(*catch, _NeedlessError),
                    callbacks=callbacks,
                    # Environments and networks of a trial point at each other.
                    gc_after_trial=is_experiment,
                )
            except Exception:
                if not self._was_taken_away(study):
                    raise
            # A sampler stops it when nothing is left to propose; the loop sees that by itself.
            if study._stop_flag and not is_exhausted(study):
                return

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
            replace(self._task, crew=crew_number(study)),
            n_workers=self._n_workers,
            is_over=self._is_over,
            logs=worker_logs(self._out),
            trial_timeout=self._trial_timeout,
            on_poll=poll,
        )

    def _keep(self, study: Study, results: ResultsFolder | None) -> None:
        if results is not None:
            results.update(study, self.search_space.names())

    def _open(self) -> tuple[Study, ResultsFolder | None]:
        """Opens the study and the folder, and sees to what was cut off and what comes first."""
        results = None
        if self._out is not None:
            objective = "last" if self._config is None else self._config.tuning.objective
            params_of = partial(params_as_tried, space=self.search_space)
            names = () if self._config is None else tuple(self._config.tuning.objectives)
            results = ResultsFolder(self._out, self._config_of, objective, params_of, names)
        storage = open_storage(self._storage, heartbeat=self._heartbeat)
        purpose = describe_purpose(self.search_space.fingerprint(), self.base_config)
        study = open_study(storage, self._study_name, purpose, directions=self._directions)
        if results is not None:
            results.check_free_for(study)
        clear_stop(study)
        close_abandoned_trials(study, "the process ended while it ran", most_retries=MOST_RETRIES)
        n_known = len(study.get_trials(deepcopy=False))
        if n_known:
            enqueue_again(study)
        enqueue_missing(study, self._first_trials(study))
        study.sampler = self._build_sampler(n_known, crew_number(study))
        study.pruner = self._build_pruner()
        warn_of_grid(study, self.n_trials)
        self.study = study
        return study, results

    def _first_trials(self, study: Study) -> list[FirstTrial]:
        origins = {t.user_attrs.get(ORIGIN) for t in study.get_trials(deepcopy=False)}
        with warnings.catch_warnings():
            if BASE_ORIGIN in origins:
                warnings.simplefilter("ignore")  # The user was told when it was enqueued.
            base = self.search_space.base_values(self.base_config)
        trials = [FirstTrial(base, BASE_ORIGIN)] if base else []
        for known in self._known_trials:
            if all(known.params != trial.params for trial in trials):
                trials.append(known)
        if base and self._has_shaping:
            trials.insert(1, FirstTrial(base, UNSHAPED_ORIGIN))
        return trials

    def _run(self, trial: Trial) -> float | tuple[float, ...]:
        self._present = trial
        claim(trial, self._worker)
        needless = why_needless(trial.study, trial, self.n_trials)
        if needless is not None:
            for name, value in needless.items():
                trial.set_user_attr(name, value)
            raise _NeedlessError(needless[FAILURE])
        if self._on_trial_start is not None:
            self._on_trial_start(trial)
        try:
            with _known_values_in_peace():
                if self._constraints:
                    refuse_violations(trial, self.generate_trial_config(trial), self._constraints)
                value = self._objective(trial)
            if not _is_value(value) and FAILURE not in trial.user_attrs:
                trial.set_user_attr(FAILURE, f"no finite value, but {value!r}")
            return value
        except KeyboardInterrupt:
            trial.set_user_attr(INTERRUPTED, True)
            trial.set_user_attr(FAILURE, "interrupted")
            raise
        except TrialPruned as error:
            if str(error):
                trial.set_user_attr(FAILURE, _first_line(error))
            raise
        except (StorageAwayError, UpdateFinishedTrialError):
            raise  # It is not the trial that failed.
        except Exception as error:
            self._present = None
            trial.set_user_attr(FAILURE, f"{type(error).__name__}: {_first_line(error)}")
            write_failure(self._out, trial, error)
            if not isinstance(error, MemoryError):
                stop_study(trial.study, describe_failure(trial, error))
            raise

    def _was_taken_away(self, study: Study) -> bool:
        """Whether others ended the present trial, as they had not heard of this process."""
        if self._present is None:
            return False
        trial = study._storage.get_trial(self._present._trial_id)
        if trial.state != TrialState.FAIL:
            return False
        _logger.warning(
            "Trial %d was given to another process meanwhile, as this one was not heard of; what "
            "came out of it here is dropped.",
            trial.number,
        )
        return True

    def _config_of(self, trial: FrozenTrial) -> dict[str, Any]:
        fragment = self.search_space.replay(trial.params, trial.number)
        return as_tried(trial, self.search_space.merge(self.base_config, fragment))

    def _best_trial(self) -> FrozenTrial:
        if self.study is None:
            raise RllamaError("there is no best trial before optimize() has run")
        best = best_trial(self.study)
        if best is not None:
            return best
        trials = self.study.get_trials(deepcopy=False)
        trials = [trial for trial in trials if trial.state != TrialState.WAITING]
        states = Counter(trial.state.name.lower() for trial in trials)
        counts = ", ".join(f"{n} {state}" for state, n in states.items()) or "no trials"
        reasons = [trial.user_attrs[FAILURE] for trial in trials if FAILURE in trial.user_attrs]
        last = f" The last reason given: {reasons[-1]}." if reasons else ""
        raise RllamaError(
            f"no trial of the study {self._study_name!r} came to a value ({counts}).{last}"
        )

    def _build_sampler(self, n_known: int, worker: int = 0) -> BaseSampler:
        sampler = self._build_seeing_sampler(n_known, worker)
        if self._has_shaping and not isinstance(sampler, ExhaustiveSampler):
            return BlindSampler(sampler, is_unshaped)
        return sampler

    def _build_seeing_sampler(self, n_known: int, worker: int) -> BaseSampler:
        if isinstance(self._sampler, BaseSampler):
            return self._sampler
        return build_sampler(
            self._sampler,
            self._seed,
            space=self.search_space,
            n_trials=self.n_trials,
            n_known=n_known,
            worker=worker,
        )

    def _build_pruner(self) -> BasePruner:
        if isinstance(self._pruner, BasePruner):
            return self._pruner
        if self._config is None:
            return build_pruner(self._pruner)
        return build_pruner(
            self._pruner,
            n_evaluations=self._config.evaluation.n_evaluations,
            n_seeds=self._config.tuning.seeds_per_trial,
        )


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
    n_trials: Any, direction: Any, study_name: Any, config: ExperimentConfig | None
) -> list[Problem]:
    problems = []
    if isinstance(n_trials, bool) or not isinstance(n_trials, int) or n_trials < 1:
        rule = "must be a whole number of at least 1"
        problems.append(Problem(("n_trials",), rule, n_trials))
    if direction not in ("maximize", "minimize"):
        problems.append(Problem(("direction",), "must be maximize or minimize", direction))
    elif config is not None and direction == "minimize":
        rule = "must be maximize, as trials are judged by their env return"
        problems.append(Problem(("direction",), rule, direction))
    if study_name is not None and not (isinstance(study_name, str) and study_name):
        problems.append(Problem(("study_name",), "must be text", study_name))
    return problems


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


def _check_search(
    space: SearchSpace,
    base: Mapping[str, Any],
    config: ExperimentConfig | None,
    sampler: Named | BaseSampler,
    pruner: Named | BasePruner,
) -> list[Problem]:
    """Returns why a space cannot be searched in this way."""
    if config is None:
        return [*check_sampler(sampler, space), *check_pruner(pruner)]
    n_evaluations = config.evaluation.n_evaluations
    return [
        *check_reach(space, base),
        *check_tuning(config.tuning, n_evaluations, space, sampler=sampler, pruner=pruner),
        *check_objectives(config, sampler, pruner),
    ]


@contextmanager
def _known_values_in_peace() -> Iterator[None]:
    """Keeps Optuna from warning about the config's own values, of which the user was told."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Fixed parameter .* is out of range", UserWarning)
        warnings.filterwarnings("ignore", "The value .* is out of the range", UserWarning)
        yield


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


def _is_value(value: Any) -> bool:
    """Whether Optuna takes a trial's value, or values of several objectives, for numbers."""
    values = value if isinstance(value, Sequence) else (value,)
    with suppress(TypeError, ValueError):
        return not any(math.isnan(float(number)) for number in values)
    return False


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]
