"""Checks of what stock components are constructed with; each returns the value that it checked.

A configuration is checked against the annotations before; these hold for calls from Python, too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rllama_sb3.errors import ConfigError, Problem


def finite_number(name: str, value: Any) -> float:
    """Returns ``value`` as a float.

    Raises:
        ConfigError: It is not a finite number.
    """
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        try:
            converted = float(value)
        except OverflowError:
            converted = math.inf
        if math.isfinite(converted):
            return converted
    raise ConfigError(Problem((name,), "must be a finite number", value))


def not_negative_number(name: str, value: Any) -> float:
    """Returns ``value`` as a float.

    Raises:
        ConfigError: It is not a finite number of at least 0.
    """
    checked = finite_number(name, value)
    if checked < 0.0:
        remedy = "Give the component a negative weight to turn its sign."
        raise ConfigError(Problem((name,), "must be at least 0", value, remedy))
    return checked


def positive_number(name: str, value: Any) -> float:
    """Returns ``value`` as a float.

    Raises:
        ConfigError: It is not a finite number greater than 0.
    """
    checked = finite_number(name, value)
    if checked <= 0.0:
        raise ConfigError(Problem((name,), "must be greater than 0", value))
    return checked


def finite_numbers(name: str, value: Any) -> list[float]:
    """Returns one number, or each of several, as a list of floats.

    Raises:
        ConfigError: There is none, or one of them is not a finite number.
    """
    values = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(values, list | tuple):
        values = [values]
    if len(values) == 0:
        raise ConfigError(Problem((name,), "must have at least one number", value))
    return [finite_number(name, element) for element in values]


def nonempty_key(name: str, value: Any) -> str:
    """Returns ``value``.

    Raises:
        ConfigError: It is not a string, or empty.
    """
    if not isinstance(value, str) or not value:
        raise ConfigError(Problem((name,), "must be a key in quotes", value))
    return value
