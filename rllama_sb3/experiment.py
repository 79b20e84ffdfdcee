"""From an experiment file to a config that is known to run, or to all that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from rllama_sb3.algorithms import check_algorithm, check_algorithm_sees_reward
from rllama_sb3.config import (
    EvaluationConfig,
    ExperimentConfig,
    TuningConfig,
    override_document,
    parse_sections,
    read_yaml,
)
from rllama_sb3.envs.factory import check_env_config
from rllama_sb3.errors import ConfigError, Problem
from rllama_sb3.optimization.checks import check_tuning
from rllama_sb3.optimization.search_space import build_search_space, check_search_space
from rllama_sb3.rewards import check_reward_shaping
from rllama_sb3.training import check_runnable

_ANY_LENGTH: Final = 2**62


def load_config(path: str | os.PathLike[str], *, overrides: Iterable[str] = ()) -> ExperimentConfig:
    """Reads an experiment file and checks everything that can be checked without training.

    Args:
        path: The YAML file.
        overrides: ``"key.path=value"``, laid over the file in their order, as by ``--set``.

    Raises:
        ConfigError: The file cannot be read, or describes nothing that can be trained and tuned.
            All problems are listed, each with the line it stands on; those of an override are
            located at ``--set``.

    Example:
        >>> load_config("no_such_experiment.yaml")
        Traceback (most recent call last):
        ...
        rllama_sb3.errors.ConfigError: no_such_experiment.yaml: must be an existing file...
    """
    document = override_document(read_yaml(path), overrides)
    sections, problems = parse_sections(document.data)
    if not problems:
        config = ExperimentConfig(**sections)
        problems = check_experiment(config)
        if not problems:
            return config
    else:
        problems += _check_sections(sections, document.data)
    raise ConfigError(*document.attach(problems))


@contextmanager
def located_in(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Iterator[None]:
    """Adds the lines of an experiment file to the problems that are found in its block.

    Only to those of its sections: another place, such as a folder for results, has no line there.

    Args:
        path: The YAML file, which has been loaded before.
        overrides: Those that were laid over it.
    """
    try:
        yield
    except ConfigError as error:
        document = override_document(read_yaml(path), overrides)
        problems = [
            document.attach([problem])[0]
            if problem.path and problem.path[0] in ExperimentConfig.model_fields
            else problem
            for problem in error.problems
        ]
        raise ConfigError(*problems) from error


def check_experiment(config: ExperimentConfig) -> list[Problem]:
    """Returns everything that keeps a config from being trained or tuned, or an empty list.

    The environment and the components are built once; nothing is trained.

    Example:
        >>> from rllama_sb3.config import parse_experiment
        >>> config = parse_experiment({
        ...     "env": {"id": "CartPole-v1"},
        ...     "algorithm": {"name": "PPPO"},
        ...     "training": {"total_timesteps": 1_000},
        ... })
        >>> for problem in check_experiment(config):
        ...     print(problem)
        algorithm.name: must be an algorithm, but got 'PPPO'. Did you mean 'PPO'?
    """
    data = config.to_dict()
    return [*check_runnable(config), *_check_search(config.tuning, config.evaluation, data)]


def _check_search(
    tuning: TuningConfig,
    evaluation: EvaluationConfig | None,
    data: Mapping[str, Any],
    space: Mapping[str, Any] | None = None,
) -> list[Problem]:
    """Checks the section ``tuning``, and of its search space as much as can be looked up."""
    space = tuning.search_space if space is None else space
    problems = check_search_space(space, data)
    sound = None if problems else build_search_space(space, data)
    n_evaluations = None if evaluation is None else evaluation.n_evaluations
    return [*problems, *check_tuning(tuning, n_evaluations, sound)]


def _check_sections(sections: Mapping[str, Any], data: Mapping[str, Any]) -> list[Problem]:
    """Checks the sections that are sound, where another one is not."""
    problems: list[Problem] = []
    plain = {name: _plain(section) for name, section in sections.items()}
    components = plain.get("reward_shaping")
    if "env" in sections:
        problems += check_env_config(sections["env"])
    if components:
        # Without a length to be a share of, any that is long enough lets a schedule be checked.
        total_timesteps = plain.get("training", {}).get("total_timesteps", _ANY_LENGTH)
        problems += check_reward_shaping(components, total_timesteps=total_timesteps)
    if "algorithm" in sections:
        problems += check_algorithm(sections["algorithm"])
        if components:
            problems += check_algorithm_sees_reward(sections["algorithm"])
    if "tuning" in sections:
        space = _below_sound(sections["tuning"].search_space, plain, data)
        if isinstance(components, Mapping) and isinstance(space.get("reward_shaping"), Mapping):
            inner = _below_sound(space["reward_shaping"], components, data["reward_shaping"])
            space["reward_shaping"] = inner
        evaluation = sections.get("evaluation")
        problems += _check_search(sections["tuning"], evaluation, {**data, **plain}, space)
    return problems


def _below_sound(
    space: Mapping[str, Any], sound: Mapping[str, Any], data: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns a search space without what is below unsound values and cannot be looked up there."""
    return {key: value for key, value in space.items() if key in sound or key not in data}


def _plain(section: Any) -> Any:
    """Returns a section as plain values, defaults included."""
    if isinstance(section, Mapping):
        return {name: _plain(component) for name, component in section.items()}
    return section.model_dump(by_alias=True)
