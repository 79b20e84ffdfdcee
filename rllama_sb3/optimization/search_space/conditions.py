"""Conditions of a search space: which values go with which choices.

::

    schedule_type: {suggest: categorical, choices: [constant, exponential]}
    decay_rate:
      suggest: float
      low: 0.9
      high: 0.999
      when: {reward_shaping.height.weight_schedule.schedule_type: exponential}

``when`` maps dotted paths of the config to the value, or to the list of values, that goes with the
leaf; all of several paths must fit. In a trial where one does not, the config has no such key at
all, whatever the user's own config has there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rllama_sb3.errors import NO_VALUE, Path, Problem, format_path

_EXAMPLE: Final = "Write for example when: {algorithm.name: PPO}."


@dataclass(frozen=True)
class Condition:
    """One path of the config that must have one of some values.

    Example:
        >>> condition = Condition(("algorithm", "name"), ("PPO", "A2C"))
        >>> condition.holds({"algorithm": {"name": "A2C"}}), condition.holds({})
        (True, False)
        >>> print(condition)
        algorithm.name: PPO or A2C
    """

    path: Path
    values: tuple[Any, ...]

    def holds(self, config: Mapping[str, Any]) -> bool:
        """Whether the config has one of the values."""
        found = value_at(config, self.path)
        return any(same_value(found, value) for value in self.values)

    def __str__(self) -> str:
        return f"{format_path(self.path)}: {' or '.join(map(str, self.values))}"


def parse_when(when: Mapping[str, Any]) -> tuple[tuple[Condition, ...], list[Problem]]:
    """Returns the conditions of a leaf, and what is wrong with their form.

    Args:
        when: By dotted path the value, or the list of values.
    """
    conditions: list[Condition] = []
    problems: list[Problem] = []
    if not when:
        problems.append(Problem(("when",), "must name at least one path", when, _EXAMPLE))
    for text, values in when.items():
        path = tuple(text.split("."))
        if not all(path):
            rule = "must be keys joined by dots"
            problems.append(Problem(("when",), rule, text, _EXAMPLE))
        elif values == [] or isinstance(values, Mapping):
            rule = "must be a value, or a list of values"
            problems.append(Problem(("when", text), rule, values, _EXAMPLE))
        else:
            listed = values if isinstance(values, list) else [values]
            conditions.append(Condition(path, tuple(listed)))
    return tuple(conditions), problems


def all_hold(conditions: Iterable[Condition], config: Mapping[str, Any]) -> bool:
    """Whether a config fulfils all of some conditions, which it does where there are none."""
    return all(condition.holds(config) for condition in conditions)


def exclude_each_other(one: Sequence[Condition], other: Sequence[Condition]) -> bool:
    """Whether two sets of conditions can never hold both.

    Example:
        >>> ppo, dqn = Condition(("name",), ("PPO",)), Condition(("name",), ("DQN",))
        >>> exclude_each_other([ppo], [dqn]), exclude_each_other([ppo], [ppo])
        (True, False)
    """
    return any(
        mine.path == theirs.path
        and not any(same_value(a, b) for a in mine.values for b in theirs.values)
        for mine in one
        for theirs in other
    )


def value_at(config: Any, path: Path) -> Any:
    """Returns the value at a path of nested mappings, or ``NO_VALUE``.

    Example:
        >>> value_at({"a": {"b": 1}}, ("a", "b")), value_at({"a": 1}, ("a", "b"))
        (1, <no value>)
    """
    for key in path:
        if not isinstance(config, Mapping) or key not in config:
            return NO_VALUE
        config = config[key]
    return config


def assign(fragment: dict[str, Any], path: Path, value: Any) -> None:
    """Sets the value at a path of a fragment of the config."""
    for key in path[:-1]:
        fragment = fragment.setdefault(key, {})  # type: ignore[arg-type]
    fragment[path[-1]] = value  # type: ignore[index]


def remove(config: dict[str, Any], path: Path) -> None:
    """Takes the key at a path out of nested mappings, if it is there."""
    parent = value_at(config, path[:-1])
    if isinstance(parent, dict):
        parent.pop(path[-1], None)


def same_value(one: Any, other: Any) -> bool:
    """Whether two values of a config are the same: Python finds ``True == 1``, a config does not.

    Example:
        >>> same_value(1, 1.0), same_value(1, True)
        (True, False)
    """
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
