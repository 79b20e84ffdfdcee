"""What compiled expressions compute with: functions of single numbers and of arrays alike.

Each value in a compiled expression is exactly a ``float``, or a float64 array with at least one
dimension: :func:`number` sees to that where a value is read. Python's own arithmetic is several
times faster than NumPy's on single numbers, and more exact than float32's, hence the two ways
through every function.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

# Exactly a float, or a float64 array with ndim >= 1.
Number = Any

_SCALARS: Final = frozenset(
    {int, bool, np.bool, np.float16, np.float32, np.float64, np.longdouble}
    | {np.dtype(code).type for code in "bBhHiIlLqQ"}
)


def number(value: Any) -> Number:
    """Returns what an observation, action or info holds as a float or a float64 array.

    Raises:
        TypeError: It is neither a number nor an array of numbers.
    """
    kind = value.__class__
    if kind is float:
        return value
    if kind in _SCALARS:
        return float(value)
    array = np.asarray(value) if isinstance(value, np.ndarray | list | tuple) else None
    if array is None or array.dtype.kind not in "biuf":
        raise TypeError(f"must be a number or an array of numbers, but got {value!r:.80}")
    return array.astype(np.float64, copy=False) if array.ndim else float(array)


def _array_errors() -> np.errstate:
    return np.errstate(over="raise", invalid="raise", divide="raise")


def _elementwise(single: Callable[[float], float], array: np.ufunc) -> Callable[[Number], Number]:
    def apply(x: Number) -> Number:
        if x.__class__ is float:
            return single(x)
        with _array_errors():
            return array(x)

    return apply


def _binary(
    single: Callable[[float, float], float], array: np.ufunc
) -> Callable[[Number, Number], Number]:
    def apply(a: Number, b: Number) -> Number:
        if a.__class__ is float and b.__class__ is float:
            return single(a, b)
        with _array_errors():
            return array(a, b)

    return apply


def _extreme(better: Callable[[float, float], bool], array: np.ufunc) -> Callable[..., Number]:
    def apply(best: Number, *others: Number) -> Number:
        if not others and best.__class__ is not float:
            return float(array.reduce(best, axis=None))
        for other in others:
            if best.__class__ is not float or other.__class__ is not float:
                best = array(best, other)
            # Python's min and max drop a NaN or not, depending on where it stands.
            elif better(other, best) or other != other:
                best = other
        return best

    return apply


def _clip(x: Number, low: Number, high: Number) -> Number:
    if x.__class__ is float and low.__class__ is float and high.__class__ is float:
        if not low <= high:  # nor when one of them is NaN
            raise ValueError(f"clip(x, low, high) needs low <= high, not {low} and {high}")
        return low if x < low else high if x > high else x
    if not np.all(np.less_equal(low, high)):
        raise ValueError("clip(x, low, high) needs low <= high everywhere")
    return np.clip(x, low, high)


def _norm(x: Number) -> float:
    if x.__class__ is float:
        return abs(x)
    return math.hypot(*x.ravel().tolist()) if x.size <= 64 else float(np.linalg.norm(x.ravel()))


def norm_of_list(*elements: Number) -> float:
    """Returns the norm of a list of single numbers, without making it an array."""
    _check_elements(elements)
    return math.hypot(*elements)


def _sum(x: Number) -> float:
    return x if x.__class__ is float else float(x.sum())


def _dot(a: Number, b: Number) -> float:
    shape_a, shape_b = np.shape(a), np.shape(b)
    if shape_a != shape_b or not shape_a:
        raise ValueError(f"dot(a, b) needs two arrays of one shape, not {shape_a} and {shape_b}")
    return float(np.vdot(a, b))


def where(condition: Any, a: Callable[[], Number], b: Callable[[], Number]) -> Number:
    """Returns one of two lazy values, or an array that picks element by element from both."""
    if isinstance(condition, np.ndarray):
        return np.where(condition, a(), b())
    return a() if condition else b()


def vector(*elements: Number) -> Number:
    """Returns a list of single numbers as an array.

    Raises:
        TypeError: One of them is an array.
    """
    _check_elements(elements)
    return np.array(elements)


def _check_elements(elements: Sequence[Number]) -> None:
    for element in elements:
        if element.__class__ is not float:
            raise TypeError(
                f"a list must hold single numbers, not an array of shape {element.shape}"
            )


@dataclass(frozen=True)
class Function:
    """A function that expressions may call.

    Attributes:
        usage: How it is written, for messages.
        compute: What computes it.
        n_arguments: How many arguments it takes; ``None`` for one or more.
    """

    usage: str
    compute: Callable[..., Number]
    n_arguments: int | None = 1


CHECKED_OPERATORS: Final[dict[str, Callable[[Number, Number], Number]]] = {
    "/": _binary(operator.truediv, np.divide),
    "//": _binary(operator.floordiv, np.floor_divide),
    "%": _binary(operator.mod, np.remainder),
    # Not the operator: of a negative number it would give a complex one.
    "**": _binary(math.pow, np.power),
}
FUNCTIONS: Final[dict[str, Function]] = {
    "abs": Function("abs(x)", _elementwise(abs, np.absolute)),
    "min": Function("min(a, b)", _extreme(operator.lt, np.minimum), n_arguments=None),
    "max": Function("max(a, b)", _extreme(operator.gt, np.maximum), n_arguments=None),
    "clip": Function("clip(x, low, high)", _clip, n_arguments=3),
    "sqrt": Function("sqrt(x)", _elementwise(math.sqrt, np.sqrt)),
    "exp": Function("exp(x)", _elementwise(math.exp, np.exp)),
    "log": Function("log(x)", _elementwise(math.log, np.log)),
    "sin": Function("sin(x)", _elementwise(math.sin, np.sin)),
    "cos": Function("cos(x)", _elementwise(math.cos, np.cos)),
    "tanh": Function("tanh(x)", _elementwise(math.tanh, np.tanh)),
    "norm": Function("norm(x)", _norm),
    "sum": Function("sum(x)", _sum),
    "dot": Function("dot(a, b)", _dot, n_arguments=2),
    "where": Function("where(condition, a, b)", where, n_arguments=3),
}
