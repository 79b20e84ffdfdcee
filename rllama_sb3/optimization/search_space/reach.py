"""Whether the ends of a search space lead to configs that can run.

A search that stops in the night because its 30th trial suggested a value that no algorithm takes is
a night lost. So each leaf is put to its ends, and to each of its choices, before anything starts.
The other values are the config's own; those that come with a condition are the first of what may be
suggested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from rllama_sb3.errors import NO_VALUE, Problem
from rllama_sb3.optimization.search_space.conditions import value_at
from rllama_sb3.optimization.search_space.dependencies import contexts
from rllama_sb3.optimization.search_space.judge import judging
from rllama_sb3.optimization.search_space.leaves import Leaf
from rllama_sb3.optimization.search_space.space import SearchSpace


def check_reach(space: SearchSpace, base: Mapping[str, Any]) -> list[Problem]:
    """Returns a problem for each leaf that leads to a config that cannot run.

    Combinations are not tried but for those that a leaf needs to apply, nor callables that ask for
    more than one parameter.

    Args:
        space: The search space.
        base: The config that it belongs to, which can run, with the space's defaults.
    """
    # The first choice of each conditional leaf, for the cases that the config itself is not in.
    first = {
        name: _end_values(distribution)[0]
        for leaf in space.leaves
        if leaf.when
        for name, distribution in leaf.distributions().items()
    }
    problems = []
    told: set[str] = set()
    with judging(base, space) as judge:
        for leaf in space.leaves:
            for params in _ends(leaf, space):
                wrong = judge.problems_of(space.merge(base, space.replay({**first, **params})))
                if not wrong:
                    continue
                # What is wrong with a choice is wrong with all that goes with it: once is enough.
                if str(wrong[0]) not in told or wrong[0].path == leaf.path:
                    problems.append(_tell(leaf, space, wrong[0], params, base))
                told.add(str(wrong[0]))
                break
    return problems


def _ends(leaf: Leaf, space: SearchSpace) -> Iterator[dict[str, Any]]:
    """Yields the parameters for each end of a leaf, its own parameter first."""
    asked = leaf.distributions()
    if len(asked) != 1:
        return
    for context in contexts(leaf, space.leaves):
        for name, distribution in asked.items():
            yield from ({name: value, **context} for value in _end_values(distribution))


def _end_values(distribution: BaseDistribution) -> tuple[Any, ...]:
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)  # There is no fourth.
    return distribution.low, distribution.high


def _tell(
    leaf: Leaf, space: SearchSpace, wrong: Problem, params: Mapping[str, Any], base: Any
) -> Problem:
    value, *others = params.values()
    where = f"{value!r} with {', '.join(map(repr, others))}" if others else repr(value)
    reason = str(replace(wrong, remedy="")).rstrip(".")
    rule = f"must lead to configs that can run; at {where}: {reason}"
    remedy = wrong.remedy
    own = value_at(base, wrong.path)
    searched = {other.path for other in space.leaves}
    if wrong.path not in searched and own is not NO_VALUE and not isinstance(own, Mapping):
        # A value of the config that goes with its own choice, but not with this one.
        remedy += (
            " If the config's own value goes with some choices only, say so in the search space: "
            f"{{suggest: categorical, choices: [{own}], when: ...}}."
        )
    return Problem((*space.where, *leaf.place), rule, remedy=remedy.strip())
