"""Which leaves of a search space depend on which, and in what order they can be suggested."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from typing import Any

from rllama_sb3.errors import NO_VALUE, Path, Problem, did_you_mean, format_path
from rllama_sb3.optimization.search_space.conditions import (
    Condition,
    exclude_each_other,
    same_value,
    value_at,
)
from rllama_sb3.optimization.search_space.leaves import DeclaredLeaf, Leaf


def in_order(leaves: Sequence[Leaf]) -> tuple[list[Leaf], list[Problem]]:
    """Returns the leaves, each after all that its conditions look at, else in the order given.

    Leaves that wait for each other come last, with a problem for each.
    """
    waiting = list(dict.fromkeys(leaf.path for leaf in leaves))
    needs = {path: _needs(path, leaves) & set(waiting) for path in waiting}
    ordered: list[Path] = []
    while ready := next((path for path in waiting if needs[path] <= set(ordered)), None):
        waiting.remove(ready)
        ordered.append(ready)
    problems = [
        Problem(
            (*leaf.place, "when"),
            "must not lead back to the leaf itself",
            list(map(str, leaf.when)),
            "Let one of the leaves do without the other.",
        )
        for leaf in leaves
        if leaf.path in waiting and leaf.when
    ]
    return [leaf for path in (*ordered, *waiting) for leaf in leaves if leaf.path == path], problems


def check_conditions(
    leaves: Sequence[Leaf], base: Mapping[str, Any], unsound: Collection[Path] = ()
) -> list[Problem]:
    """Returns a problem for each condition that cannot hold, and for alternatives that both can.

    Args:
        leaves: All leaves of the search space that are sound themselves.
        base: The config that it belongs to.
        unsound: Paths of its other leaves, of which nothing more is said.
    """
    problems = [
        problem.below((*leaf.place, "when", format_path(condition.path)))
        for leaf in leaves
        for condition in leaf.when
        if condition.path not in unsound
        for problem in _check_condition(condition, leaves, base)
    ]
    for number, leaf in enumerate(leaves):
        for other in leaves[:number]:
            if other.path == leaf.path and not exclude_each_other(leaf.when, other.when):
                rule = f"must exclude {format_path(other.place)}, as a path has one value at a time"
                remedy = "Give both a when with the same path and different values."
                problems.append(Problem(leaf.place, rule, NO_VALUE, remedy))
    return problems


def without_constants(leaf: Leaf, leaves: Sequence[Leaf]) -> Leaf:
    """Returns a leaf without those conditions that hold always, as what they look at is fixed."""
    if not isinstance(leaf, DeclaredLeaf):
        return leaf
    searched = {other.path for other in leaves}
    return replace(leaf, when=tuple(c for c in leaf.when if c.path in searched))


def check_all_apply(leaves: Sequence[Leaf]) -> list[Problem]:
    """Returns a problem for each leaf that applies in no trial: its conditions contradict others.

    Args:
        leaves: Those of the search space, each of whose conditions can hold by itself.
    """
    rule = "must hold in some trial, but its conditions contradict those of what they look at"
    return [
        Problem((*leaf.place, "when"), rule, list(map(str, leaf.when)), "Remove one of them.")
        for leaf in leaves
        if all(isinstance(source, DeclaredLeaf) for source in leaves)
        and next(contexts(leaf, leaves), None) is None
    ]


def contexts(leaf: Leaf, leaves: Sequence[Leaf]) -> Iterator[dict[str, Any]]:
    """Yields parameters of other leaves under which a leaf applies, for each case of its ``when``.

    Nothing where its conditions contradict each other, or where a condition looks at a callable
    that asks for more than one parameter.

    Args:
        leaf: One of ``leaves``.
        leaves: Those of the search space, without constant conditions.
    """
    cases = [
        [
            {**params, **way}
            for value in condition.values
            for source in leaves
            if source.path == condition.path and _may_suggest(source, value)
            if (params := source.parameters_for(value)) is not None
            for way in islice(contexts(source, leaves), 1)
        ]
        for condition in leaf.when
    ]
    for combination in product(*cases):
        items = [item for case in combination for item in case.items()]
        params = dict(items)
        if all(same_value(params[name], value) for name, value in items):
            yield params


def _may_suggest(leaf: Leaf, value: Any) -> bool:
    return not isinstance(leaf, DeclaredLeaf) or leaf.config.may_suggest(value)


def _needs(path: Path, leaves: Sequence[Leaf]) -> set[Path]:
    return {condition.path for leaf in leaves if leaf.path == path for condition in leaf.when}


def _check_condition(
    condition: Condition, leaves: Sequence[Leaf], base: Mapping[str, Any]
) -> list[Problem]:
    sources = [leaf for leaf in leaves if leaf.path == condition.path]
    if sources:
        return _check_values(condition, sources)
    own = value_at(base, condition.path)
    if own is NO_VALUE:
        known = {format_path(leaf.path) for leaf in leaves}
        remedy = did_you_mean(format_path(condition.path), known)
        return [Problem((), "must be a path of the search space or of the config", remedy=remedy)]
    if isinstance(own, Mapping):
        return [Problem((), "must lead to a single value, but the config has a mapping there")]
    if not condition.holds(base):
        rule = f"must be {own!r}, which the config has there and does not search"
        found = list(condition.values)
        return [Problem((), rule, found, "Search it, or remove the leaf: it would never be used.")]
    return []


def _check_values(condition: Condition, sources: Sequence[Leaf]) -> list[Problem]:
    # What a callable returns cannot be known beforehand.
    declared = [leaf.config for leaf in sources if isinstance(leaf, DeclaredLeaf)]
    if len(declared) < len(sources):
        return []
    if all(config.suggest == "float" for config in declared):
        rule = "must be searched as categorical or int, where a leaf depends on it"
        return [Problem((), rule)]
    known = [choice for config in declared for choice in config.choices or ()]
    rule = "must be a value that is searched there"
    return [
        Problem((), rule, value, did_you_mean(value, map(str, known)))
        for value in condition.values
        if not any(config.may_suggest(value) for config in declared)
    ]
