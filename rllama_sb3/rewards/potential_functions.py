"""The kinds of potential: expressions, tables, and functions of a user's own.

A potential scores states by what is observed of them. It is a function Φ(obs, info); that it
changes over time, as one that is learned meanwhile does, is no harm, because what was paid for a
state is remembered from the arrival there (Devlin & Kudenko 2012).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path as FilePath
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from rllama_sb3.errors import ComponentError, ConfigError, Problem
from rllama_sb3.rewards.component import AnyFactory, Registry
from rllama_sb3.rewards.expression import POTENTIAL_NAMES, compile_expression
from rllama_sb3.rewards.expression_batch import UNDECIDED
from rllama_sb3.rewards.parameters import parse_parameters
from rllama_sb3.rewards.transition import row_of
from rllama_sb3.rewards.vectorized import each_env

Potential = Callable[[Any, Mapping[str, Any]], float]
# Φ of n states: of the observations of all of them, and their infos.
BatchPotential = Callable[[Any, Sequence[Mapping[str, Any]]], NDArray[np.float64]]

_potentials: Final[Registry[Callable[..., Any]]] = Registry("potential", None, "obs", "info")


@overload
def register_potential(function: AnyFactory, /) -> AnyFactory: ...
@overload
def register_potential(*, name: str) -> Callable[[AnyFactory], AnyFactory]: ...
def register_potential(function: Any = None, /, *, name: str | None = None) -> Any:
    """Registers a potential, so that configurations can name it; returns it unchanged.

    Stands above a plain function ``(obs, info, **arguments) -> float``, a finite number for every
    state that is not terminal.

    Args:
        function: The function.
        name: The name in configurations; by default that of the function.

    Raises:
        ConfigError: The name is taken by something else, is no identifier, or means what is
            observed in an expression; or what is decorated is not a function of a state.

    Example:
        >>> @register_potential(name="doc_height")
        ... def height(obs, info, scale: float = 1.0):
        ...     return scale * float(obs[0])
        >>> find_potential("doc_height", {"scale": 2})([3.0], {})
        6.0
    """

    def register(decorated: Any) -> Any:
        if (name or getattr(decorated, "__name__", None)) in POTENTIAL_NAMES:
            rule = f"the name of a potential must not be {' or '.join(POTENTIAL_NAMES)}"
            raise ConfigError(Problem((), rule, decorated, "Give another one with name=."))
        _potentials.add(decorated, name)
        return decorated

    return register if function is None else register(function)


def potential_registry() -> Mapping[str, Callable[..., Any]]:
    """Returns the registered potential functions by name, as a read-only view."""
    return _potentials.factories


class TablePotential:
    """A potential that is looked up: Φ(s) = table[s], for observations of a ``Discrete`` space.

    Args:
        values: Φ of each state, finite; the first is that of state 0.

    Raises:
        ConfigError: They are not one row of finite numbers.

    Example:
        >>> TablePotential([0.0, 0.5, 1.0])(2, {})
        1.0
    """

    def __init__(self, values: Sequence[float] | NDArray[Any]) -> None:
        if not _is_table(values):
            rule = "must be one row of finite numbers, one for each state"
            raise ConfigError(Problem(("potential",), rule, values))
        self.values = np.array(values, dtype=np.float64)

    def __call__(self, obs: Any, info: Mapping[str, Any]) -> float:
        """Returns Φ of one state.

        Raises:
            ComponentError: The observation is not the number of a state in the table.
        """
        state = np.asarray(obs)
        if state.dtype.kind not in "iu" or state.ndim:
            raise ComponentError(
                f"a table needs the number of a state (a Discrete space), but got {obs!r:.80}"
            )
        # A negative number would be looked up from the end.
        if not 0 <= state < len(self.values):
            raise ComponentError(
                f"the table has {len(self.values)} values, none for state {state}. Give one for "
                f"each state, from 0 on"
            )
        return float(self.values[state])

    def compute_batch(self, obs: Any, infos: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """Returns Φ of n states."""
        numbered = isinstance(obs, np.ndarray) and obs.dtype.kind in "iu" and obs.ndim == 1
        if numbered and obs.min() >= 0 and obs.max() < len(self.values):
            found: NDArray[np.float64] = self.values[obs]
            return found
        return each_env(self(row_of(obs, index), info) for index, info in enumerate(infos))


class ExpressionPotential:
    """A potential that is computed by an expression of ``obs`` and ``info``.

    Args:
        expression: See :func:`~rllama_sb3.rewards.expression.compile_expression`.

    Raises:
        ConfigError: The expression is not allowed.

    Example:
        >>> round(ExpressionPotential("sin(3 * obs[0])")([0.5, 0.0], {}), 3)
        0.997
    """

    def __init__(self, expression: str) -> None:
        self._expression = compile_expression(expression, POTENTIAL_NAMES, path=("potential",))

    def __call__(self, obs: Any, info: Mapping[str, Any]) -> float:
        """Returns Φ of one state."""
        return self._expression(obs, info)

    def compute_batch(self, obs: Any, infos: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """Returns Φ of n states."""
        values = {"obs": obs, "info": infos}
        try:
            return self._expression.batch(
                len(infos), *[values[name] for name in self._expression.names]
            )
        except UNDECIDED:
            return each_env(self(row_of(obs, index), info) for index, info in enumerate(infos))


def find_potential(potential: Any, arguments: Mapping[str, Any] | None = None) -> Potential:
    """Returns the potential that a value of a configuration, or of Python, stands for.

    Args:
        potential: The name of a registered function; the path of a ``.npy`` file that holds a
            table; an expression; a table; or a function of (obs, info).
        arguments: Of a registered function, those after ``obs`` and ``info``.

    Raises:
        ConfigError: It stands for none, or the arguments do not fit.
    """
    if isinstance(potential, str) and _is_name(potential):
        function = _potentials.get(potential, ("potential",))
        _, info, *_ = inspect.signature(function).parameters
        values = parse_parameters(function, arguments or {}, ("arguments",), skip=(info,))
        return partial(function, **values) if values else function
    if arguments:
        rule = "must be left out where the potential is not a registered function"
        raise ConfigError(Problem(("arguments",), rule, dict(arguments)))
    if isinstance(potential, str) and potential.endswith(".npy"):
        return TablePotential(_load_table(potential))
    if isinstance(potential, str):
        return ExpressionPotential(potential)
    if isinstance(potential, Sequence | np.ndarray):
        return TablePotential(potential)
    if callable(potential):
        found: Potential = potential
        return found
    rule = "must be an expression, a table, or a function of (obs, info)"
    raise ConfigError(Problem(("potential",), rule, potential))


def in_batches(potential: Potential) -> BatchPotential:
    """Returns the function that evaluates a potential for n states.

    A function of a user's own is called for one after the other, unless it has a method
    ``compute_batch(obs, infos)`` that takes all of them.
    """
    own: BatchPotential | None = getattr(potential, "compute_batch", None)
    if own is not None:
        return own

    def one_by_one(obs: Any, infos: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        return each_env(potential(row_of(obs, index), info) for index, info in enumerate(infos))

    return one_by_one


def _is_table(values: Any) -> bool:
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        return False
    is_row = array.dtype.kind in "iuf" and array.ndim == 1 and array.size > 0
    return is_row and bool(np.isfinite(array).all())


def _is_name(text: str) -> bool:
    return text.isidentifier() and text not in POTENTIAL_NAMES


def _load_table(path: str) -> NDArray[Any]:
    try:
        table: NDArray[Any] = np.load(FilePath(os.path.expanduser(path)), allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        rule = f"must be a file that numpy.save wrote ({error})"
        raise ConfigError(Problem(("potential",), rule, path)) from error
    return table
