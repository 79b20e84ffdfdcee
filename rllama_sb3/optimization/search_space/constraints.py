"""Constraints of a search: what must hold between the values of a config for it to be trained.

::

    constraints:
      whole_batches:
        expression: steps * envs % batch == 0
        where:
          steps: algorithm.params.n_steps
          envs: env.n_envs
          batch: algorithm.params.batch_size

An expression is one of numbers (see :mod:`rllama_sb3.rewards.expression`) over names of its own,
which stand for paths of the config. A trial whose config does not fulfil it is not trained: it ends
as pruned, with the reason. TPE learns from such trials (by Optuna's ``Trial.set_constraint``);
samplers that learn from complete trials only do not. Of these ``gp`` is refused, which would
propose the same point again and again. They count as trials, so that a search ends.

Where a path is not in the config of a trial, as it goes with another choice, the constraint says
nothing about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import optuna
from optuna.samplers import BaseSampler, GPSampler
from optuna.trial import Trial
from pydantic import ValidationError

from rllama_sb3.config.models import ConstraintConfig
from rllama_sb3.config.validation import problems_from_validation_error
from rllama_sb3.errors import (
    NO_VALUE,
    ComponentError,
    ConfigError,
    Path,
    Problem,
    did_you_mean,
    format_path,
)
from rllama_sb3.optimization.named import Named, given_name
from rllama_sb3.optimization.search_space.conditions import value_at
from rllama_sb3.optimization.search_space.defaults import default_at, known_keys
from rllama_sb3.optimization.search_space.leaves import DeclaredLeaf
from rllama_sb3.optimization.search_space.space import SearchSpace
from rllama_sb3.rewards.expression import CompiledExpression, compile_expression

SECTION: Final[Path] = ("tuning", "constraints")


@dataclass(frozen=True)
class Constraint:
    """An expression over values of the config that must be true.

    Attributes:
        name: What it is called.
        expression: Takes the values at the paths, in their order.
        paths: By the names in the expression.

    Example:
        >>> expression = compile_expression("steps % batch == 0", ["steps", "batch"])
        >>> constraint = Constraint("whole", expression, {"steps": ("n",), "batch": ("b",)})
        >>> constraint.violation({"n": 64, "b": 32}), constraint.violation({"n": 64})
        ('', '')
        >>> constraint.violation({"n": 64, "b": 48})
        'violates whole: steps % batch == 0, with steps=64, batch=48'
    """

    name: str
    expression: CompiledExpression
    paths: Mapping[str, Path]

    def violation(self, config: Mapping[str, Any]) -> str:
        """Returns why a config does not fulfil the constraint, or nothing where it does.

        Raises:
            ComponentError: The expression cannot be computed from its values, or is no truth value.
        """
        values = {name: _value(config, path) for name, path in self.paths.items()}
        if NO_VALUE in values.values():
            return ""
        result = self.expression(*values.values())
        if result not in (0.0, 1.0):
            rule = "must be true or false: compare it with something, as in steps % batch == 0"
            raise ComponentError(f"constraint {self.name} {rule}, but got {result!r}")
        if result:
            return ""
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
        return f"violates {self.name}: {self.expression.source}, with {shown}"


def build_constraints(
    section: Any, space: SearchSpace, base: Mapping[str, Any]
) -> tuple[list[Constraint], list[Problem]]:
    """Returns the constraints of a search, and what is wrong with them.

    Args:
        section: ``tuning.constraints``, as plain values.
        space: What is searched.
        base: The config that it belongs to, which must fulfil them: it is the first trial.
    """
    if not isinstance(section, Mapping):
        return [], [Problem(SECTION, "must be a mapping of constraints by name", section)]
    constraints: list[Constraint] = []
    problems: list[Problem] = []
    for name, entry in section.items():
        constraint, wrong = _build(name, entry, space, base)
        if not wrong and constraint is not None:
            wrong = _check_base(constraint, base)
        if not wrong and constraint is not None:
            constraints.append(constraint)
        problems += [problem.below((*SECTION, name)) for problem in wrong]
    return constraints, problems


def check_constrained_sampler(
    constraints: Sequence[Constraint], sampler: Named | BaseSampler
) -> list[Problem]:
    """Returns why a sampler cannot be used beside constraints, if it cannot.

    Args:
        constraints: Those of the search, which may be none.
        sampler: Who proposes.
    """
    name = given_name(sampler)
    if not constraints or not (name == "gp" or isinstance(name, GPSampler)):
        return []
    rule = (
        "must be another one beside constraints: it learns from complete trials only, and would "
        "propose a point again and again that is refused"
    )
    return [Problem(("tuning", "sampler"), rule, "gp", "Use tpe, or remove the constraints.")]


def refuse_violations(
    trial: Trial, config: Mapping[str, Any], constraints: Sequence[Constraint]
) -> None:
    """Ends a trial whose config does not fulfil all constraints, and tells the sampler which.

    Raises:
        TrialPruned: It does not; says why.
    """
    reasons = {c.name: reason for c in constraints if (reason := c.violation(config))}
    # Only these: a trial without them is feasible, and a sampler has nothing else to model.
    for name in reasons:
        trial.set_constraint(name, 1.0)
    if reasons:
        raise optuna.TrialPruned("; ".join(reasons.values()))


def _build(
    name: str, entry: Any, space: SearchSpace, base: Mapping[str, Any]
) -> tuple[Constraint | None, list[Problem]]:
    try:
        config = ConstraintConfig.model_validate(entry)
    except ValidationError as error:
        return None, problems_from_validation_error(error, (), ConstraintConfig)
    paths: dict[str, Path] = {key: tuple(dotted.split(".")) for key, dotted in config.where.items()}
    problems = [
        problem.below(("where", key))
        for key, path in paths.items()
        for problem in _check_path(path, space, base)
    ]
    try:
        expression = compile_expression(config.expression, tuple(paths), path=("expression",))
    except ConfigError as error:
        return None, [*problems, *error.problems]
    problems += [
        Problem(("where", key), "must be used in the expression", remedy="Remove it, or use it.")
        for key in paths
        if key not in expression.names
    ]
    return Constraint(name, expression, paths), problems


def _check_base(constraint: Constraint, base: Mapping[str, Any]) -> list[Problem]:
    try:
        reason = constraint.violation(base)
    except ComponentError as error:
        reason = str(error)
    if not reason:
        return []
    remedy = "It is the first trial: change its values, or the constraint."
    return [Problem((), f"must hold in the config itself ({reason})", remedy=remedy)]


def _check_path(path: Path, space: SearchSpace, base: Mapping[str, Any]) -> list[Problem]:
    own = _value(base, path)
    found = [] if own is NO_VALUE else [own]
    leaves = [leaf for leaf in space.leaves if leaf.path == path]
    for leaf in leaves:
        if isinstance(leaf, DeclaredLeaf):
            found += leaf.config.choices or ()
    if not found and not leaves:
        known = [format_path(leaf.path) for leaf in space.leaves]
        known += [format_path((*path[:-1], key)) for key in known_keys(base, path[:-1])]
        dotted = format_path(path)
        remedy = did_you_mean(dotted, known)
        return [Problem((), "must be a path of the config", dotted, remedy)]
    odd = [value for value in found if not isinstance(value, int | float)]
    return [Problem((), "must lead to numbers", odd[0])] if odd else []


def _value(config: Mapping[str, Any], path: Path) -> Any:
    value = value_at(config, path)
    return default_at(config, path) if value is NO_VALUE else value
