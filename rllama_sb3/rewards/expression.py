"""Expressions in configurations: arithmetic on a transition, and nothing else.

A string such as ``"sin(3 * obs[0])"`` is parsed by Python's own parser and goes through separate
steps: every node is held against a whitelist (``expression_grammar``), constant parts are computed
and the rest is translated into a Python function (``expression_code``) that calls a few functions
of numbers (``expression_functions``). What a string can do is therefore decided in one place,
before any of it runs: it reads the values it is given by constant indices, computes with floats,
and cannot reach an attribute, a builtin, a module or an unbounded amount of work.

Semantics:

* All numbers are 64-bit floats, those read from float32 or uint8 observations included; ``true``
  counts as 1. A name or a slice that is an array stays one, and arithmetic on it is element by
  element; the whole expression must give a single number.
* ``and``, ``or``, ``not`` and ``a if c else b`` are lazy and need single truth values. ``where(c,
  a, b)`` is lazy too, unless ``c`` is an array: then both sides are computed for all elements.
* ``min`` and ``max`` of one array, ``sum`` and ``norm`` reduce over all elements; ``log`` is
  natural; ``dot`` needs two arrays of one shape. A NaN is passed on, never hidden by ``min``.
* Division by zero, a logarithm or a root of a negative number and an overflowing ``exp`` or ``**``
  raise, for arrays as for single numbers. Sums and products beyond 1.8e308 are infinite, which
  the shaper refuses.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from rllama_sb3.errors import ComponentError, ConfigError, Path, Problem
from rllama_sb3.rewards.expression_batch import BatchExpression
from rllama_sb3.rewards.expression_code import Folder, StepCode
from rllama_sb3.rewards.expression_functions import number
from rllama_sb3.rewards.expression_grammar import Grammar

REWARD_NAMES: Final = ("obs", "action", "next_obs", "reward", "terminated", "truncated", "info")
POTENTIAL_NAMES: Final = ("obs", "info")


class CompiledExpression:
    """An expression as a function of the values it may name; made by :func:`compile_expression`.

    Immutable. A pickle holds the source and is compiled again when loaded.

    Attributes:
        source: The expression as it was written.
        arguments: The names whose values a call takes, in this order.
        names: Those of them that the expression uses.
        batch: The same for many environments: a function of their number and of the values of
            ``names``; see :class:`~rllama_sb3.rewards.expression_batch.BatchExpression`.
    """

    __slots__ = ("_function", "_tree", "arguments", "batch", "names", "source")

    def __init__(self, source: str, arguments: tuple[str, ...], tree: ast.expr) -> None:
        self.source, self.arguments, self._tree = source, arguments, tree
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        self.names: tuple[str, ...] = tuple(name for name in arguments if name in used)
        self._function = StepCode().function(tree, arguments)
        self.batch = BatchExpression(tree, self.names)

    def __call__(self, *values: Any) -> float:
        """Returns the value for one value per name in ``arguments``.

        Raises:
            ComponentError: It cannot be computed from these values, or is an array.
        """
        try:
            result = self._function(*values)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            reason = self._explain(error, values)
            raise ComponentError(f"in expression {self.source!r}: {reason}") from error
        if result.__class__ is float:
            return result
        raise ComponentError(
            f"expression {self.source!r} must give a single number, but gave an array of shape "
            f"{result.shape}. Take one element, such as obs[0], or reduce it by sum() or norm()"
        )

    def __repr__(self) -> str:
        return f"compile_expression({self.source!r}, {self.arguments!r})"

    def __reduce__(self) -> tuple[Callable[..., CompiledExpression], tuple[Any, ...]]:
        return compile_expression, (self.source, self.arguments)

    def _explain(self, error: Exception, values: Sequence[Any]) -> str:
        """Says in the expression's own terms why it could not be computed."""
        if len(values) != len(self.arguments):
            return f"needs values of {', '.join(self.arguments)}, but got {len(values)} values"
        given = dict(zip(self.arguments, values, strict=True))
        for name in self.names:
            if given[name] is None:
                return explain_missing(name)
        if isinstance(error, LookupError | TypeError):
            for node in ast.walk(self._tree):
                if isinstance(node, ast.Subscript):
                    reason = _explain_read(node, given)
                    if reason:
                        return reason
        if "truth value of an array" in str(error):
            return (
                "a condition must be a single truth value, but got an array. Compare one element, "
                "such as obs[0] > 0, or use where() or sum(obs > 0)"
            )
        return str(error)


def compile_expression(source: str, names: Sequence[str], *, path: Path = ()) -> CompiledExpression:
    """Compiles an expression into a function of the values of ``names``, in that order.

    Args:
        source: Numbers, the names, ``+ - * / // % **``, comparisons, ``and``/``or``/``not``,
            ``a if c else b``, ``[1, 2]``, constant indices as in ``obs[0]``, ``obs[1:3]`` and
            ``info["key"]``, and the functions ``abs min max clip sqrt exp log sin cos tanh norm
            sum dot where``. At most 1000 characters.
        names: The names that the expression may use: ``REWARD_NAMES`` or ``POTENTIAL_NAMES``.
        path: Keys from the root of the experiment to the expression, for messages.

    Raises:
        ConfigError: Anything else stands in it, or a constant part of it cannot be computed.

    Example:
        >>> height = compile_expression("sin(3 * obs[0])", ["obs"])
        >>> round(height([0.5, 0.0]), 3)
        0.997
        >>> compile_expression("sin(3 * obz[0])", ["obs"], path=("potential",))
        Traceback (most recent call last):
        rllama_sb3.errors.ConfigError: potential: must use only known names (column 9), but got
        'obz'. Did you mean 'obs'? Names: obs.
    """
    grammar = Grammar(source, tuple(names), path)
    try:
        with warnings.catch_warnings():
            # Python warns of odd but harmless spellings, such as "1if c else 2".
            warnings.simplefilter("ignore")
            tree = Folder(grammar).fold(grammar.validate())
            return CompiledExpression(grammar.source, tuple(names), tree)
    except (MemoryError, RecursionError) as error:
        rule = "must be a simpler expression"
        raise ConfigError(Problem(path, rule, source, "Nest it less deeply.")) from error


def explain_missing(name: str) -> str:
    """Says what to do about an ``obs``, ``action`` or ``next_obs`` that is None.

    Example:
        >>> explain_missing("action")
        "needs action, but got None. In a loop of your own, pass context={'action': ...} to shape()"
    """
    return (
        f"needs {name}, but got None. In a loop of your own, pass "
        f"context={{{name!r}: ...}} to shape()"
    )


def _explain_read(node: ast.Subscript, given: Mapping[str, Any]) -> str:
    """Says why a validated subscript cannot be read, or nothing when it can."""

    def read(part: ast.expr) -> Any:
        code = compile(ast.fix_missing_locations(ast.Expression(part)), "<expression>", "eval")
        return eval(code, {"__builtins__": {}}, dict(given))

    text, base = ast.unparse(node), ast.unparse(node.value)
    try:
        container = read(node.value)
    except Exception:
        return ""  # The inner subscript is the one to explain.
    try:
        number(read(node))
    except KeyError:
        keys = ", ".join(map(repr, container)) or "none"
        return f"there is no {text}; keys of {base}: {keys}"
    except Exception as error:
        shape = f" of shape {container.shape}" if isinstance(container, np.ndarray) else ""
        kind = f"{base} is a {type(container).__name__}{shape}"
        return f"{text} cannot be read as a number ({error}); {kind}"
    return ""
