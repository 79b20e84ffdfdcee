"""Writes the stock leaves of an algorithm into a search space that asks for them.

::

    search_space:
      algorithm:
        search_space: default
        params:
          learning_rate: {suggest: float, low: 1.0e-4, high: 1.0e-3}    # instead of the stock one

Where the algorithm is searched too, each of its parameters goes with its name. What the config says
of its own algorithm is always among what is searched: it joins the choices, or widens the range.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rllama_sb3.errors import NO_VALUE, Path, Problem, did_you_mean
from rllama_sb3.optimization.search_space.conditions import same_value, value_at
from rllama_sb3.optimization.search_space.defaults import default_at
from rllama_sb3.optimization.search_space.leaf_config import one_minus
from rllama_sb3.optimization.search_space.stock_spaces import STOCK_SPACES

_KEY: Final = "search_space"
_WHERE: Final[Path] = ("algorithm", _KEY)
_NAME: Final = "algorithm.name"


def expand_stock(
    space: Mapping[str, Any], base: Mapping[str, Any]
) -> tuple[Mapping[str, Any], list[Problem]]:
    """Returns a search space with stock leaves in place of ``algorithm.search_space: default``.

    Args:
        space: The search space; one that does not ask for stock leaves is returned as it is.
        base: The config that it belongs to.

    Example:
        >>> base = {"algorithm": {"name": "PPO", "params": {"clip_range": 0.25}}}
        >>> expanded, _ = expand_stock({"algorithm": {"search_space": "default"}}, base)
        >>> expanded["algorithm"]["params"]["clip_range"]
        {'suggest': 'categorical', 'choices': [0.1, 0.2, 0.25, 0.3, 0.4]}
    """
    algorithm = space.get("algorithm")
    if not isinstance(algorithm, Mapping) or _KEY not in algorithm:
        return space, []
    own = {key: entry for key, entry in algorithm.items() if key != _KEY}
    rest = {**space, "algorithm": own}
    if algorithm[_KEY] != "default":
        return rest, [Problem(_WHERE, "must be default", algorithm[_KEY], "Or name leaves only.")]
    names, problems = _names(algorithm, base)
    params = own.get("params", {})
    if problems or not isinstance(params, Mapping):
        return rest, problems
    own["params"] = {**_stock_params(names, base), **params}
    return rest, []


def _names(
    algorithm: Mapping[str, Any], base: Mapping[str, Any]
) -> tuple[list[str], list[Problem]]:
    """Returns the algorithms that trials can have."""
    leaf = algorithm.get("name")
    names = [value_at(base, ("algorithm", "name"))] if leaf is None else None
    if isinstance(leaf, Mapping):
        names = leaf.get("choices")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        rule = "needs to know the algorithms by name"
        remedy = "Write algorithm.name in the config, and search it as categorical if at all."
        return [], [Problem(_WHERE, rule, remedy=remedy)]
    return names, [
        Problem(_WHERE, "must be of an algorithm with a stock space", name, _remedy(name))
        for name in names
        if name not in STOCK_SPACES
    ]


def _remedy(name: str) -> str:
    return f"{did_you_mean(name, STOCK_SPACES)} For others name the leaves yourself."


def _stock_params(names: Iterable[str], base: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the leaves by parameter: one leaf, or one for each group of algorithms."""
    by_key: dict[str, dict[str, dict[str, Any]]] = {}
    for name in names:
        for key, stock in STOCK_SPACES[name].items():
            leaf = dict(stock.leaf)
            if name == value_at(base, ("algorithm", "name")):
                leaf = _including(leaf, _own_value(base, key))
            by_key.setdefault(key, {})[name] = leaf
    n_names = len(set(names))
    return {key: _alternatives(leaves, n_names) for key, leaves in by_key.items()}


def _alternatives(leaves: Mapping[str, dict[str, Any]], n_names: int) -> Any:
    """Returns the leaves of one parameter, each with the names that it goes with."""
    groups: list[tuple[dict[str, Any], list[str]]] = []
    for name, leaf in leaves.items():
        names = next((names for other, names in groups if other == leaf), None)
        if names is None:
            groups.append((leaf, [name]))
        else:
            names.append(name)
    if len(groups) == 1 and len(leaves) == n_names:
        return groups[0][0]
    found = [{**leaf, "when": {_NAME: names}} for leaf, names in groups]
    return found[0] if len(found) == 1 else found


def _own_value(base: Mapping[str, Any], key: str) -> Any:
    path: Path = ("algorithm", "params", key)
    own = value_at(base, path)
    return default_at(base, path) if own is NO_VALUE else own


def _including(leaf: dict[str, Any], own: Any) -> dict[str, Any]:
    """Returns a stock leaf that can suggest the config's own value, if any of its kind can."""
    if "choices" in leaf:
        choices = leaf["choices"]
        if any(same_value(choice, own) for choice in choices):
            return leaf
        both = [*choices, own]
        return {**leaf, "choices": sorted(both) if _is_number(own) else both}
    if not _is_number(own):
        return leaf
    value = one_minus(own) if leaf.get("transform") else float(own)
    if leaf.get("log") and value <= 0:
        return leaf
    return {**leaf, "low": min(leaf["low"], value), "high": max(leaf["high"], value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
