"""Which configs of a search are trained again on test seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from optuna.trial import FrozenTrial

from rllama_sb3.analysis.runs import run_key
from rllama_sb3.config import ExperimentConfig, parse_experiment
from rllama_sb3.optimization import BayesianRewardOptimizer
from rllama_sb3.optimization.first_trials import UNSHAPED_ORIGIN
from rllama_sb3.optimization.objective import trial_folder
from rllama_sb3.optimization.study.attributes import BASE_ORIGIN, DIVERGED, ORIGIN
from rllama_sb3.optimization.study.ranking import best_trial, pareto_front, valued_trials

BASE_NAME: Final = "your config"
UNSHAPED_NAME: Final = "shaping off"


def choose_candidates(
    experiment: ExperimentConfig, optimizer: BayesianRewardOptimizer
) -> dict[str, ExperimentConfig]:
    """Returns what is compared by name: the user's config, the same unshaped, the best trials.

    What diverged in the search is left out, as there is nothing to compare.
    """
    # As the trials have it, with the defaults of what is searched.
    base = parse_experiment(optimizer.base_config)
    candidates = {BASE_NAME: base}
    if base.reward_shaping:
        candidates[UNSHAPED_NAME] = base.model_copy(update={"reward_shaping": {}})
    for name, origin in ((BASE_NAME, BASE_ORIGIN), (UNSHAPED_NAME, UNSHAPED_ORIGIN)):
        if _has_diverged(optimizer, origin):
            candidates.pop(name, None)
    known = {run_key(config, 0) for config in candidates.values()}
    wanted = len(candidates) + experiment.tuning.n_top_configs
    for trial in _by_value(optimizer):
        config = parse_experiment(optimizer.generate_trial_config(trial))
        # The first trial is the user's own config.
        if run_key(config, 0) not in known and len(candidates) < wanted:
            known.add(run_key(config, 0))
            candidates[_trial_name(trial)] = config
    return candidates


def file_of_winner(name: str, optimizer: BayesianRewardOptimizer, out: Path) -> Path | None:
    """Returns the config of a candidate that is a trial, but not the best one of the search.

    Args:
        name: The candidate.
        optimizer: The search.
        out: Its folder.
    """
    trial = next((t for t in _by_value(optimizer) if _trial_name(t) == name), None)
    assert optimizer.study is not None  # The search has run.
    best = best_trial(optimizer.study)
    if trial is None or best is None or trial.number == best.number:
        return None
    # One folder for each seed, if there are several; they differ in the seed only.
    return next(iter(sorted(trial_folder(out, trial.number).rglob("config.yaml"))), None)


def _trial_name(trial: FrozenTrial) -> str:
    return f"trial {trial.number}"


def _by_value(optimizer: BayesianRewardOptimizer) -> list[FrozenTrial]:
    """Returns the trials that may be the best, by env return; of several objectives the front."""
    assert optimizer.study is not None  # The search has run.
    if len(optimizer.study.directions) > 1:
        return pareto_front(optimizer.study)
    return valued_trials(optimizer.study)


def _has_diverged(optimizer: BayesianRewardOptimizer, origin: str) -> bool:
    assert optimizer.study is not None  # The search has run.
    attrs = [trial.user_attrs for trial in optimizer.study.get_trials(deepcopy=False)]
    return any(known.get(ORIGIN) == origin and DIVERGED in known for known in attrs)
