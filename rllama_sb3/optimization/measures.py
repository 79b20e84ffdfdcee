"""What trials are judged by beside the env return, such as the energy that a policy spends.

::

    objectives:
      energy: {component: effort, direction: minimize}

It is the sum of a component's *raw* values over an episode of the final policy, the mean over as
many episodes as an evaluation has. The component is that of the user's own config, with its
parameters there, for all trials alike; its weight does not count, so that one with the weight 0 is
measured and not paid.

A trial is then worth several numbers, of which the env return is the first. None is best: the
result is the *Pareto front*, the trials that no other one beats in one number without losing in
another. Of those the one with the greatest env return stands for the search where one is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import numpy as np
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from stable_baselines3.common.base_class import BaseAlgorithm

from rllama_sb3.algorithms import bootstraps_truncated, discount_factor
from rllama_sb3.callbacks.env_return import EnvReturnHook
from rllama_sb3.config.models import ExperimentConfig, ObjectiveConfig
from rllama_sb3.envs.factory import build_vec_env
from rllama_sb3.errors import Path, Problem, did_you_mean
from rllama_sb3.evaluation import run_episodes
from rllama_sb3.optimization.named import Named, given_name
from rllama_sb3.seeding import evaluation_seed
from rllama_sb3.training import torch_threads

SECTION: Final[Path] = ("tuning", "objectives")
# Their columns are there already.
_TAKEN: Final = (
    *("number", "state", "value", "seconds", "n_steps", "origin", "reason"),
    "env_return",
)

Components = Mapping[str, Mapping[str, Any]]
"""By name of the objective the component to measure, with class and params."""


def components_of(config: ExperimentConfig) -> Components:
    """Returns what is measured in the trials of a search.

    Args:
        config: The user's own, which has no problems.
    """
    entries = config.to_dict()["reward_shaping"]
    return {
        name: {key: entries[objective.component][key] for key in ("class", "params")}
        for name, objective in config.tuning.objectives.items()
    }


def check_objectives(
    config: ExperimentConfig, sampler: Named | BaseSampler, pruner: Named | BasePruner
) -> list[Problem]:
    """Returns what is wrong with the objectives of a search, if it has any.

    Args:
        config: The experiment.
        sampler: Who proposes.
        pruner: Who stops trials, which nobody can by several numbers.
    """
    problems = []
    objectives = config.tuning.objectives
    for name, objective in objectives.items():
        if not name.isidentifier() or name in _TAKEN:
            rule = f"must be a name: letters, digits and _, and none of {', '.join(_TAKEN)}"
            problems.append(Problem(SECTION, rule, name))
        if objective.component not in config.reward_shaping:
            place = (*SECTION, name, "component")
            remedy = did_you_mean(objective.component, config.reward_shaping)
            rule = "must be a component of reward_shaping"
            remedy = remedy or "Add it there; with initial_weight: 0 it is measured only."
            problems.append(Problem(place, rule, objective.component, remedy))
    if objectives and given_name(pruner) != "none" and not isinstance(pruner, NopPruner):
        rule = "must be none with several objectives: trials are not compared by one number"
        problems.append(
            Problem(("tuning", "pruner"), rule, given_name(pruner), "Write pruner: none.")
        )
    if objectives and given_name(sampler) == "cmaes":
        rule = "must be one for several objectives"
        remedy = "Use tpe, nsga2 or gp."
        problems.append(Problem(("tuning", "sampler"), rule, "cmaes", remedy))
    return problems


def measure(
    model: BaseAlgorithm, config: ExperimentConfig, components: Components, *, seed: int
) -> dict[str, float]:
    """Returns by name the mean over episodes of each component's sum of raw values.

    Args:
        model: The trained policy.
        config: What it was trained by.
        components: What to measure.
        seed: What it was trained from.

    Raises:
        ComponentError: A component failed.
    """
    hook = _RawValues(list(components))
    n_episodes, episode_seed = config.evaluation.n_episodes, evaluation_seed(seed)
    venv = build_vec_env(
        config.env,
        n_envs=min(config.evaluation.n_envs, n_episodes),
        seed=episode_seed,
        # The first one only says that somebody minds the task.
        reward_shaping={"env_return": {"class": "EnvReward"}, **components},
        gamma=discount_factor(config.algorithm),
        total_timesteps=config.training.total_timesteps,
        vec_env=config.env.vec_env,
        bootstrap_truncated=bootstraps_truncated(config.algorithm),
        training=False,
    )
    with closing(venv), torch_threads(config.training.torch_threads):
        run_episodes(
            model,
            venv,
            hook,
            n_episodes=n_episodes,
            deterministic=config.evaluation.deterministic,
            seed=episode_seed,
        )
    return {name: float(np.mean(values)) for name, values in hook.sums.items()}


def worse_than_seen(seen: Sequence[float], direction: str, penalty: float) -> float:
    """Returns a number that is worse than what was seen, by as much as was seen to matter.

    Args:
        seen: Finite numbers, at least one.
        direction: Which way is better.
        penalty: λ, the penalty on the spread of seeds.

    Example:
        >>> worse_than_seen([1.0, 3.0], "maximize", 0.0), worse_than_seen([5.0], "minimize", 0.0)
        (-1.0, 10.0)
    """
    low, high = min(seen), max(seen)
    # Where all were equal, the scale is their size.
    span = (1.0 + penalty) * ((high - low) or max(1.0, abs(low)))
    return low - span if direction == "maximize" else high + span


def directions_of(objectives: Mapping[str, ObjectiveConfig]) -> list[str]:
    """Returns the direction of each number, that of the env return first."""
    return ["maximize", *(objective.direction for objective in objectives.values())]


class _RawValues(EnvReturnHook):
    """Adds up the raw values of components in each episode that counts."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.sums: dict[str, list[float]] = {name: [] for name in names}

    def __call__(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        n_before = len(self._returns)
        super().__call__(locals_, globals_)
        if len(self._returns) > n_before:
            raw = locals_["info"]["reward_shaping"]["components"]
            for name, sums in self.sums.items():
                sums.append(float(raw[name]["raw"]))
