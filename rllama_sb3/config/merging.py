"""Deep merging of configs, and values set from the command line.

Nothing here changes its arguments or shares a mutable value with them: a config that is merged for
one trial can never leak into the next.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from rllama_sb3.config.loading import Document
from rllama_sb3.config.yaml_text import dump_yaml, parse_yaml
from rllama_sb3.errors import NO_VALUE, ConfigError, Path, Problem

__all__ = ["apply_overrides", "dump_yaml", "merge_configs", "override_document", "parse_override"]

_SOURCE: Final = "--set"
_EXAMPLE: Final = "Write a key and a value, such as --set training.seed=1."


def merge_configs(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a deep copy of ``base`` with ``changes`` laid over it.

    A mapping over a mapping is merged key by key; anything else, lists included, replaces what was
    there. Every key of ``base`` is kept, in its place; new keys follow.

    Example:
        >>> merge_configs({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}, "b": [4]})
        {'a': {'x': 1, 'y': 3}, 'b': [4]}
    """
    merged = {key: _copy(value) for key, value in base.items()}
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            merged[key] = merge_configs(old, value)
        else:
            merged[key] = _copy(value)
    return merged


def parse_override(text: str) -> tuple[Path, Any]:
    """Returns the path and the value of ``"a.b.c=value"``, the value read as YAML.

    An item of a list is written ``a.0`` or ``a[0]``.

    Raises:
        ConfigError: There is no ``=``, the key is empty, or the value is not YAML.

    Example:
        >>> parse_override("algorithm.params.learning_rate=1e-3")
        (('algorithm', 'params', 'learning_rate'), 0.001)
        >>> parse_override("env.normalize={obs: true}")
        (('env', 'normalize'), {'obs': True})
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals:
        raise ConfigError(Problem((), "must be key.path=value", text, _EXAMPLE, _SOURCE))
    if not re.fullmatch(r"[^.\[\]]+(?:\[\d+\])*(?:\.[^.\[\]]+(?:\[\d+\])*)*", key):
        raise ConfigError(Problem((), "must have keys joined by dots", key, _EXAMPLE, _SOURCE))
    path = tuple(
        int(part[1:-1]) if part.startswith("[") else part.strip()
        for part in re.findall(r"\[\d+\]|[^.\[\]]+", key)
    )
    try:
        return path, parse_yaml(value, _SOURCE)[0]
    except ConfigError as error:
        problems = [replace(p.below(path), location=_SOURCE) for p in error.problems]
        raise ConfigError(*problems) from None


def apply_overrides(data: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Returns a deep copy of ``data`` with each ``"a.b=value"`` set, the later ones last.

    Missing mappings on the way are made; the value replaces what was there, mappings included.

    Raises:
        ConfigError: An override cannot be parsed, or its path leads through a value that is not a
            mapping, or beyond the end of a list. All such overrides are listed.

    Example:
        >>> apply_overrides({"env": {"id": "CartPole-v1"}}, ["env.n_envs=4", "training.seed=1"])
        {'env': {'id': 'CartPole-v1', 'n_envs': 4}, 'training': {'seed': 1}}
    """
    return _override(data, overrides)[0]


def override_document(document: Document, overrides: Iterable[str]) -> Document:
    """Returns a document with overrides applied, whose values it locates at ``--set``.

    Raises:
        ConfigError: As :func:`apply_overrides`.
    """
    data, paths = _override(document.data, overrides)
    return replace(document, data=data, overridden=(*document.overridden, *paths))


def _override(
    data: Mapping[str, Any], overrides: Iterable[str]
) -> tuple[dict[str, Any], list[Path]]:
    result = merge_configs(data, {})
    paths: list[Path] = []
    problems: list[Problem] = []
    for text in overrides:
        try:
            path, value = parse_override(text)
            paths.append(_assign(result, path, value))
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(*problems)
    return result, paths


def _assign(data: dict[str, Any], path: Path, value: Any) -> Path:
    """Sets ``value`` at ``path`` and returns the path with list indices as integers."""
    done: Path = ()
    inner: Any = data
    for i, key in enumerate(path):
        key = _checked_key(inner, key, done)
        done = (*done, key)
        if i == len(path) - 1:
            inner[key] = value
        elif isinstance(inner, dict) and inner.get(key) is None:
            inner[key] = {}
        inner = inner[key]
    return done


def _checked_key(container: Any, key: str | int, path: Path) -> str | int:
    if isinstance(container, list):
        if str(key).isdecimal() and int(key) < len(container):
            return int(key)
        rule = f"must have an item {key!r}"
        value: Any = container
        remedy = "Set the whole list." if str(key).isdecimal() else "Name an item by its number."
    elif isinstance(container, dict) and isinstance(key, str):
        return key
    else:
        kind = "mapping" if isinstance(key, str) else "list"
        rule = f"must be a {kind} to have an item {key!r}"
        value = container if not isinstance(container, dict) else NO_VALUE
        remedy = "Set the whole value, or a key that exists."
    raise ConfigError(Problem(path, rule, value, remedy, _SOURCE))


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return copy.deepcopy(value)
