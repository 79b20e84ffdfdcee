"""Configs that are known before they are tried, as the parameters of trials that have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllama_sb3.errors import NO_VALUE, Problem
from rllama_sb3.optimization.search_space.conditions import all_hold, assign, remove, value_at
from rllama_sb3.optimization.search_space.defaults import default_at
from rllama_sb3.optimization.search_space.leaves import ComputedLeaf, DeclaredLeaf, Leaf
from rllama_sb3.optimization.search_space.space import SearchSpace


def complete(
    space: SearchSpace, base: Mapping[str, Any], fragment: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the config that a fragment means.

    What the fragment leaves out is as in the base. Where it makes another choice, so that the base
    has nothing to say about what goes with it, that is the default of the algorithm, the component
    or the schedule, or missing where there is none.

    Args:
        space: The search space, whose conditions say what goes with what.
        base: The config that it belongs to.
        fragment: Mirrors the config.
    """
    config = space.merge(base, fragment)
    for leaf in space.leaves:
        if leaf.when and all_hold(leaf.when, config):
            value = value_at(fragment, leaf.path)
            if value is NO_VALUE and all_hold(leaf.when, base):
                value = value_at(base, leaf.path)
            if value is NO_VALUE:
                value = default_at(config, leaf.path)
            if value is NO_VALUE:
                remove(config, leaf.path)
            else:
                assign(config, leaf.path, value)
    return config


def parameters_of(
    space: SearchSpace, config: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem]]:
    """Returns the parameters for which a search space suggests the values of a config.

    Values beyond the ends of a range have parameters, too.

    Returns:
        The parameters, and a problem for each value of the config that no trial can have.
    """
    params: dict[str, Any] = {}
    problems: list[Problem] = []
    for leaf in space.leaves:
        if not all_hold(leaf.when, config):
            continue
        value = value_at(config, leaf.path)
        found = parameter_for(leaf, value)
        if found is None:
            problems.append(Problem(leaf.path, _rule(leaf, value), value))
        else:
            params |= found
    return params, problems


def parameter_for(leaf: Leaf, value: Any) -> dict[str, Any] | None:
    """Returns the parameters for which a leaf suggests a value, or None where there are none."""
    if value is NO_VALUE or isinstance(value, Mapping):
        return None
    if isinstance(leaf, DeclaredLeaf) and leaf.config.check_base(value) is not None:
        return None
    return leaf.parameters_for(value)


def _rule(leaf: Leaf, value: Any) -> str:
    if value is NO_VALUE:
        return "must have a value, as it is searched and has no default"
    if isinstance(leaf, ComputedLeaf):
        return "must be a value that the callable of the search space can give"
    if leaf.config.choices is not None:
        return f"must be one of the choices that are searched, {leaf.config.choices}"
    log = " by its logarithm" if leaf.config.log else ""
    return f"must be a number that can be searched as {leaf.config.suggest}{log}"
