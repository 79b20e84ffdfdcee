"""Turns the validated tree of an expression into a Python function of the values of one step."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from rllama_sb3.rewards.expression_functions import (
    CHECKED_OPERATORS,
    FUNCTIONS,
    Number,
    norm_of_list,
    number,
    vector,
    where,
)
from rllama_sb3.rewards.expression_grammar import Grammar

_OPERATOR_NAMES: Final[dict[type[ast.operator], str]] = {
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
}


class Folder(ast.NodeTransformer):
    """Computes the constant parts of a validated tree, so that what must fail fails at once.

    Args:
        grammar: What validated the tree; words the refusals.
    """

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar

    def fold(self, tree: ast.expr) -> ast.expr:
        """Returns the tree with each constant part replaced by its value.

        Raises:
            ConfigError: A constant part cannot be computed or is not finite, or the whole is one
                list.
        """
        folded: ast.expr = self.visit(tree)
        if isinstance(folded, ast.List):
            remedy = "Take one element, or reduce it by sum(), norm() or dot()."
            raise self._grammar.refusal(None, "must give a single number, not a list", remedy)
        return folded

    def visit(self, node: ast.AST) -> Any:
        """Folds the operands of a node, then the node itself when all of them are constant."""
        if isinstance(node, ast.Subscript) or not isinstance(node, ast.expr):
            return node
        self.generic_visit(node)
        if isinstance(node, ast.Constant | ast.Name | ast.List):
            return node
        operands = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        if isinstance(node, ast.Call):
            operands = node.args
        if not all(map(is_constant, operands)):
            self._check_bounds(node)
            return node
        return ast.copy_location(self._evaluate(node), node)

    def _check_bounds(self, node: ast.expr) -> None:
        match node:
            case ast.Call(
                func=ast.Name(id="clip"),
                args=[_, ast.Constant(value=float(low)), ast.Constant(value=float(high))],
            ) if low > high:
                rule = f"must clip between a lower and a higher number, not {low} and {high}"
                raise self._grammar.refusal(node, rule, "Write clip(x, low, high).")

    def _evaluate(self, node: ast.expr) -> ast.expr:
        try:
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                value = StepCode().function(node, ())()
        except (ArithmeticError, TypeError, ValueError) as error:
            rule = f"must be computable: {error}"
            raise self._grammar.refusal(node, rule, "Correct this constant part.") from error
        if not np.all(np.isfinite(value)):
            rule = "must stay within the range of numbers, 1.8e308"
            raise self._grammar.refusal(node, rule, "Use smaller numbers.")
        if isinstance(value, float):
            return ast.Constant(value)
        return ast.List([ast.Constant(element) for element in value.tolist()], ast.Load())


class StepCode:
    """Translates a validated tree into one Python function; use an instance once.

    Args:
        convert: Turns what is read from the arguments into what the function computes with.
    """

    def __init__(self, convert: Callable[[Any], Number] = number) -> None:
        self._convert = convert
        # Generated code sees these names and its arguments, and no builtins.
        self._globals: dict[str, Any] = {"__builtins__": {}}
        self._whole: set[str] = set()

    def function(self, tree: ast.expr, arguments: Sequence[str]) -> Callable[..., Number]:
        """Returns a function of the arguments, by position, that gives a float or an array."""
        result = ast.Return(self._number(tree))
        # A name that is used as a whole is converted once, however often it is used.
        prelude = [
            ast.Assign([ast.Name(f"_{name}", ast.Store())], self._call(self._convert, _load(name)))
            for name in arguments
            if name in self._whole
        ]
        module = ast.parse(f"def expression({', '.join(arguments)}): pass")
        definition = module.body[0]
        assert isinstance(definition, ast.FunctionDef)
        definition.body = [*prelude, result]
        exec(compile(ast.fix_missing_locations(module), "<expression>", "exec"), self._globals)
        function: Callable[..., Number] = self._globals["expression"]
        return function

    def _number(self, node: ast.expr) -> ast.expr:
        """Code that gives a float or a float64 array."""
        match node:
            case ast.Name(id=name):
                self._whole.add(name)
                return _load(f"_{name}")
            case ast.Subscript():
                return self._call(self._convert, node)
            case ast.List():
                return self._list(node)
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return self._function_call(name, arguments)
            case ast.UnaryOp(op=ast.USub() as minus, operand=operand):
                return ast.UnaryOp(minus, self._number(operand))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._number(operand)
            case ast.UnaryOp(op=ast.Not()) | ast.BoolOp():
                return ast.IfExp(self._truth(node), ast.Constant(1.0), ast.Constant(0.0))
            case ast.Compare():
                return self._call(number, self._truth(node))
            case ast.BinOp(left=left, op=op, right=right):
                operands = self._number(left), self._number(right)
                if type(op) not in _OPERATOR_NAMES or divides_safely(op, right):
                    return ast.BinOp(operands[0], op, operands[1])
                return self._call(CHECKED_OPERATORS[_OPERATOR_NAMES[type(op)]], *operands)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return ast.IfExp(self._truth(test), self._number(body), self._number(orelse))
        return node

    def _truth(self, node: ast.expr) -> ast.expr:
        """Code for a place where Python asks for a truth value; it may be an array for where()."""
        match node:
            case ast.UnaryOp(op=ast.Not() as negation, operand=operand):
                return ast.UnaryOp(negation, self._truth(operand))
            case ast.BoolOp(op=op, values=values):
                return ast.BoolOp(op, [self._truth(value) for value in values])
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return ast.Compare(self._number(left), ops, list(map(self._number, comparators)))
        return self._number(node)

    def _function_call(self, name: str, arguments: list[ast.expr]) -> ast.expr:
        if name == "where":
            condition, *sides = arguments
            nothing = ast.arguments([], [], None, [], [], None, [])
            lazy = [ast.Lambda(nothing, self._number(side)) for side in sides]
            return self._call(where, self._truth(condition), *lazy)
        if name == "norm" and isinstance(arguments[0], ast.List):
            return self._call(norm_of_list, *map(self._number, arguments[0].elts))
        return self._call(FUNCTIONS[name].compute, *map(self._number, arguments))

    def _list(self, node: ast.List) -> ast.expr:
        if not is_constant(node):
            return self._call(vector, *map(self._number, node.elts))
        # Safe to share between calls: no operation changes an array in place.
        return self._global(np.array(ast.literal_eval(node)))

    def _call(self, function: Callable[..., Any], *arguments: ast.expr) -> ast.expr:
        return ast.Call(self._global(function), list(arguments), [])

    def _global(self, value: Any) -> ast.Name:
        for name, known in self._globals.items():
            if known is value:
                return _load(name)
        name = f"_global_{len(self._globals)}"
        self._globals[name] = value
        return _load(name)


def _load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def is_constant(node: ast.expr) -> bool:
    """Whether a folded part of an expression is a number or a list of numbers."""
    if isinstance(node, ast.List):
        return all(map(is_constant, node.elts))
    return isinstance(node, ast.Constant)


def divides_safely(op: ast.operator, right: ast.expr) -> bool:
    """Whether an operator needs no check, because it divides by a constant that is not 0."""
    if isinstance(op, ast.Pow) or not isinstance(right, ast.Constant):
        return False
    return isinstance(right.value, float) and right.value != 0.0
