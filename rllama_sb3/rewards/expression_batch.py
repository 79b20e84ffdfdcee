"""Expressions for many environments at once, by array operations.

The axis of the environments goes *last*: what is one number per environment is an array of shape
(n,), what is an array of shape (a, b) per environment has the shape (a, b, n). NumPy's broadcasting
aligns shapes from the end, and so does to n values what it would do to each.

What an expression means is said by its evaluation for one environment (``expression_code``). Here
whatever would be decided there by looking at one value (an error, a branch that is not taken, a
shape that differs between branches) raises instead, and the caller then evaluates one environment
after the other: the same values and the same messages, only slower.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rllama_sb3.rewards.expression_code import StepCode, divides_safely, is_constant
from rllama_sb3.rewards.expression_functions import Number
from rllama_sb3.rewards.expression_functions import number as one_number

_COMPARISONS: Final[dict[type[ast.cmpop], np.ufunc]] = {
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
}


class BatchCode(StepCode):
    """Translates a validated tree into a function of arrays whose last axis is environments."""

    def _read(self, node: ast.expr) -> ast.expr:
        """Code for a name or a subscript of one; an index leaves the last axis alone."""
        if not isinstance(node, ast.Subscript):
            return node
        index = node.slice
        if not (isinstance(index, ast.Constant) and isinstance(index.value, str)):
            parts = index.elts if isinstance(index, ast.Tuple) else [index]
            index = ast.Tuple([*parts, ast.Slice()], ast.Load())
        return ast.Subscript(self._read(node.value), index, ast.Load())

    def _number(self, node: ast.expr) -> ast.expr:
        match node:
            case ast.Subscript():
                return self._call(_numbers, self._read(node))
            case ast.UnaryOp(op=ast.Not()) | ast.BoolOp() | ast.Compare():
                return self._call(np.float64, self._truth(node))
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self._call(np.power, self._number(left), self._number(right))
            case ast.BinOp(left=left, op=op, right=right):
                operands = self._number(left), self._number(right)
                if type(op) not in _DIVISIONS or divides_safely(op, right):
                    return ast.BinOp(operands[0], op, operands[1])
                return self._call(_DIVISIONS[type(op)], *operands)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                sides = self._number(body), self._number(orelse)
                return self._call(_if_else, self._truth(test), *sides)
        return super()._number(node)

    def _truth(self, node: ast.expr) -> ast.expr:
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self._call(_not, self._truth(operand))
            case ast.BoolOp(op=op, values=values):
                combine = _and if isinstance(op, ast.And) else _or
                return self._call(combine, *map(self._truth, values))
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                compare = [_COMPARISONS[type(op)] for op in ops]
                # Each operand is written once: nested chains would double the code at each level.
                function = compare[0] if len(compare) == 1 else partial(_chain, compare)
                return self._call(function, *map(self._number, (left, *comparators)))
        return self._call(_is_true, self._number(node))

    def _function_call(self, name: str, arguments: list[ast.expr]) -> ast.expr:
        if name == "where":
            condition, *sides = arguments
            return self._call(_where, self._truth(condition), *map(self._number, sides))
        return self._call(_FUNCTIONS[name], *map(self._number, arguments))

    def _list(self, node: ast.List) -> ast.expr:
        if is_constant(node):
            return self._global(np.array(ast.literal_eval(node))[:, np.newaxis])
        return self._call(_vector, *map(self._number, node.elts))


class BatchExpression:
    """An expression as a function of the values of n environments.

    Args:
        tree: The validated tree.
        names: The names that it uses.
    """

    def __init__(self, tree: ast.expr, names: Sequence[str]) -> None:
        # What raises for one environment must not pass in silence for many.
        careful = np.errstate(divide="raise", over="raise", invalid="raise")
        self._function = careful(BatchCode(convert=_numbers).function(tree, names))

    def __call__(self, n_envs: int, *values: Any) -> NDArray[np.float64]:
        """Returns the values, shape (n,), for a value of each name whose first axis is n.

        Raises:
            ArithmeticError: As one of ``UNDECIDED``: ask for one environment after the other.
        """
        result: Any = self._function(*map(_environments_last, values))
        if result.__class__ is np.ndarray and result.shape == (n_envs,):
            return result
        # The same number for all; an array for each cannot be broadcast so, and raises.
        return np.broadcast_to(np.asarray(result, np.float64), n_envs)


# What BatchExpression raises where the environments have to be looked at one by one.
UNDECIDED: Final = (ArithmeticError, LookupError, TypeError, ValueError)


class _Infos:
    """The infos of n environments, read by one key after the other."""

    def __init__(self, infos: Sequence[Any]) -> None:
        self._infos = infos

    def __getitem__(self, key: str) -> Any:
        found = [info[key] for info in self._infos]
        if isinstance(found[0], Mapping):
            return _Infos(found)
        return np.stack([one_number(value) for value in found], axis=-1)


def _environments_last(value: Any) -> Any:
    if value.__class__ is np.ndarray:
        return value.T if value.ndim <= 2 else value.transpose(*range(1, value.ndim), 0)
    if isinstance(value, Mapping):
        return {key: _environments_last(part) for key, part in value.items()}
    return _Infos(value)


def _numbers(value: Any) -> NDArray[np.float64]:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        raise TypeError("must be an array of numbers")
    return value.astype(np.float64, copy=False)


def _is_true(x: Number) -> Any:
    return np.not_equal(x, 0.0)


def _single(*conditions: Any) -> None:
    if any(np.ndim(condition) > 1 for condition in conditions):
        raise TypeError("a condition must be a single truth value")


def _not(condition: Any) -> Any:
    _single(condition)
    return np.logical_not(condition)


def _and(*conditions: Any) -> Any:
    _single(*conditions)
    return np.logical_and.reduce(np.broadcast_arrays(*conditions))


def _or(*conditions: Any) -> Any:
    _single(*conditions)
    return np.logical_or.reduce(np.broadcast_arrays(*conditions))


def _chain(compare: Sequence[np.ufunc], *operands: Number) -> Any:
    return _and(*(holds(a, b) for holds, (a, b) in zip(compare, pairwise(operands), strict=True)))


def _division(divide: np.ufunc) -> Callable[[Number, Number], Number]:
    def apply(a: Number, b: Number) -> Number:
        # Of infinity and NaN by zero the processor takes no notice.
        if not np.all(b):
            raise ZeroDivisionError("division by zero")
        return divide(a, b)

    return apply


def _where(condition: Any, a: Number, b: Number) -> Number:
    if np.ndim(condition) <= 1 and np.shape(a)[:-1] != np.shape(b)[:-1]:
        raise TypeError("sides of different shapes cannot be mixed")
    return np.where(condition, a, b)


def _if_else(condition: Any, a: Number, b: Number) -> Number:
    _single(condition)
    return _where(condition, a, b)


def _extreme(array: np.ufunc) -> Callable[..., Number]:
    def apply(best: Number, *others: Number) -> Number:
        if not others:
            return _reduce(array, best)
        for other in others:
            best = array(best, other)
        return best

    return apply


def _reduce(array: np.ufunc, x: Number) -> Number:
    leading = np.ndim(x) - 1
    return array.reduce(x, axis=tuple(range(leading))) if leading > 0 else x


def _clip(x: Number, low: Number, high: Number) -> Number:
    if not np.all(np.less_equal(low, high)):
        raise ValueError("clip(x, low, high) needs low <= high everywhere")
    return np.clip(x, low, high)


def _norm(x: Number) -> Number:
    return np.abs(x) if np.ndim(x) <= 1 else _reduce(np.hypot, x)


def _sum(x: Number) -> Number:
    return _reduce(np.add, x)


def _dot(a: Number, b: Number) -> Number:
    if np.ndim(a) <= 1 or np.shape(a)[:-1] != np.shape(b)[:-1]:
        raise ValueError("dot(a, b) needs two arrays of one shape")
    return _reduce(np.add, a * b)


def _vector(*elements: Number) -> Number:
    if any(np.ndim(element) > 1 for element in elements):
        raise TypeError("a list must hold single numbers")
    return np.stack(np.broadcast_arrays(*map(np.atleast_1d, elements)))


_DIVISIONS: Final[dict[type[ast.operator], Callable[[Number, Number], Number]]] = {
    ast.Div: _division(np.divide),
    ast.FloorDiv: _division(np.floor_divide),
    ast.Mod: _division(np.remainder),
}
_FUNCTIONS: Final[dict[str, Callable[..., Number]]] = {
    "abs": np.absolute,
    "min": _extreme(np.minimum),
    "max": _extreme(np.maximum),
    "clip": _clip,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "norm": _norm,
    "sum": _sum,
    "dot": _dot,
}
