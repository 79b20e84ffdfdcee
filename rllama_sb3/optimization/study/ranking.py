"""Which trials of a study are best, and which may be: those with a value of their own."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.study import Study, StudyDirection
from optuna.study._multi_objective import _get_pareto_front_trials_by_trials
from optuna.trial import FrozenTrial, TrialState

from rllama_sb3.optimization.study.attributes import DIVERGED


def best_trial(study: Study) -> FrozenTrial | None:
    """Returns the trial that came to the best value, if there is one; of equal ones the first.

    Of several objectives it is the trial of the Pareto front with the best of the first, which is
    the env return. One that diverged is never the best, as its value is made up, nor is one that
    breaks a constraint of Optuna's.
    """
    if len(study.directions) > 1:
        return next(iter(pareto_front(study)), None)
    # Not by Study.best_trial: of equal ones it may name another one each time it is asked, and of
    # all but the best the models are removed.
    return next(iter(valued_trials(study)), None)


def pareto_front(study: Study) -> list[FrozenTrial]:
    """Returns the trials that no other one beats in all objectives, the best first.

    The order is that of the first objective. With one objective these are the best trials. Those
    that diverged are left out.
    """
    front = _get_pareto_front_trials_by_trials(valued_trials(study), study.directions)
    return _best_first(front, study)


def valued_trials(study: Study) -> list[FrozenTrial]:
    """Returns the trials that came to a value of their own, the best of the first one first.

    Those that break a constraint of Optuna's are left out.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sound = [
        trial
        for trial in complete
        if not has_diverged(trial) and all(value <= 0.0 for value in trial.constraints.values())
    ]
    return _best_first(sound, study)


def has_diverged(trial: FrozenTrial) -> bool:
    """Whether a training of a trial diverged, so that its value was made up for the sampler."""
    return DIVERGED in trial.user_attrs


def state_of(trial: FrozenTrial) -> str:
    """Returns how a trial ended: ``complete``, ``diverged``, ``pruned``, ``fail``; or runs."""
    return "diverged" if has_diverged(trial) else trial.state.name.lower()


def _best_first(trials: Sequence[FrozenTrial], study: Study) -> list[FrozenTrial]:
    sign = _sign(study)
    return sorted(trials, key=lambda trial: (sign * trial.values[0], trial.number))


def main_value(trial: FrozenTrial) -> float | None:
    """Returns the value of a trial, of several the first, if it came to one."""
    return trial.values[0] if trial.values else None


def _sign(study: Study) -> float:
    """The factor that makes the best value of the first objective the least."""
    return -1.0 if study.directions[0] == StudyDirection.MAXIMIZE else 1.0
