"""What an expression may contain: the whitelist that each node of its tree is held against.

Knows nothing of how a tree is run, so that whatever runs one, step by step or in batches, accepts
exactly the same expressions.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Collection, Sequence
from typing import Any, Final

from rllama_sb3.errors import ConfigError, Path, Problem, did_you_mean
from rllama_sb3.rewards.expression_functions import FUNCTIONS

MAX_LENGTH: Final = 1000
MAX_DEPTH: Final = 100

_INDEXABLE: Final = frozenset({"obs", "action", "next_obs", "info"})
_SYNTAX: Final = "constant indices, + - * / // % **, comparisons, and/or/not, a if c else b"
_OPERATORS: Final = (
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow),
    *(ast.UAdd, ast.USub, ast.Not, ast.And, ast.Or),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE),
)
_REPLACEMENTS: Final[dict[type[ast.AST], str]] = {
    ast.BitAnd: "Use 'and'.",
    ast.BitOr: "Use 'or'.",
    ast.Invert: "Use 'not'.",
    ast.BitXor: "Powers are written **.",
    ast.MatMult: "Use dot(a, b).",
    ast.Is: "Use ==.",
    ast.IsNot: "Use !=.",
}
_CONSTRUCTS: Final[dict[type[ast.AST], str]] = {
    ast.Attribute: "attribute access",
    ast.Lambda: "a lambda",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.NamedExpr: "an assignment",
    ast.JoinedStr: "an f-string",
    ast.Starred: "unpacking",
    ast.Dict: "a dict",
    ast.Set: "a set",
    ast.Tuple: "a tuple",
}


class Grammar:
    """The whitelist for one expression.

    Args:
        source: The expression.
        names: What it may name.
        path: Keys from the root of the experiment to it.
    """

    def __init__(self, source: str, names: Sequence[str], path: Path) -> None:
        self.source, self.names, self.path = source, names, path

    def validate(self) -> ast.expr:
        """Returns the tree of the source, in which each number is a float.

        Raises:
            ConfigError: Something in it is not allowed.
        """
        example = "Example: 'sin(3 * obs[0])'."
        if not isinstance(self.source, str):
            raise self.refusal(None, "must be an expression in quotes", example)
        if len(self.source) > MAX_LENGTH:
            rule = f"must have at most {MAX_LENGTH} characters, not {len(self.source)}"
            raise self.refusal(None, rule, "Register a component of your own instead.")
        self.source = self.source.strip().replace("\r\n", "\n").replace("\r", "\n")
        if not self.source:
            raise self.refusal(None, "must not be empty", example)
        root = self._parse()
        self._check_depth(root)
        self._check(root)
        return root

    def refusal(self, node: ast.AST | None, rule: str, remedy: str) -> ConfigError:
        """Returns the error about a part of the source, or about all of it."""
        value = self.source
        if node is not None:
            value = ast.get_source_segment(self.source, node) or self.source
            rule += f" ({self._place(node)})"
        return ConfigError(Problem(self.path, rule, value, remedy))

    def _parse(self) -> ast.expr:
        try:
            return ast.parse(self.source, mode="eval").body
        except SyntaxError as error:
            # An offset of 0 stands for what is missing at the end.
            place = f", column {error.offset or len(self.source) + 1}"
            if error.lineno and error.lineno > 1:
                place = f", line {error.lineno}{place}"
            reason = f"{error.msg}{place}"
        except ValueError as error:
            reason = str(error)
        raise self.refusal(None, f"must be well-formed ({reason})", self._allowed())

    def _check_depth(self, root: ast.expr) -> None:
        # Before anything recursive looks at the tree.
        level: list[ast.AST] = [root]
        for _ in range(MAX_DEPTH):
            level = [child for node in level for child in ast.iter_child_nodes(node)]
            if not level:
                return
        rule = f"must not nest deeper than {MAX_DEPTH} levels"
        raise self.refusal(None, rule, "Shorten it, or register a component of your own.")

    def _check(self, node: ast.expr) -> None:
        match node:
            case ast.Constant():
                self._check_constant(node)
            case ast.Name():
                self._check_name(node)
            case ast.Subscript():
                self._check_subscript(node)
            case ast.Call():
                self._check_call(node)
            case ast.List(elts=elements):
                if not elements or any(isinstance(element, ast.List) for element in elements):
                    rule = "must have at least one number in a list, and nothing else"
                    raise self.refusal(node, rule, "Example: [0.5, 1].")
                self._check_all(elements)
            case ast.UnaryOp(op=op, operand=operand):
                self._check_operators(node, [op])
                self._check(operand)
            case ast.BinOp(left=left, op=op, right=right):
                self._check_operators(node, [op])
                self._check_all([left, right])
            case ast.BoolOp(values=values):
                self._check_all(values)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                self._check_operators(node, ops)
                self._check_all([left, *comparators])
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self._check_all([test, body, orelse])
            case _:
                what = _CONSTRUCTS.get(type(node), f"the construct {type(node).__name__}")
                raise self.refusal(node, f"must not contain {what}", self._allowed())

    def _check_all(self, nodes: Sequence[ast.expr]) -> None:
        for node in nodes:
            self._check(node)

    def _check_constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str | bytes):
            rule = "must use text only as a key, as in info['key']"
            raise self.refusal(node, rule, self._allowed())
        if not isinstance(node.value, int | float):
            raise self.refusal(node, "must use only real numbers", self._allowed())
        try:
            # A float has a fixed size, so that no arithmetic can grow without bound.
            node.value = float(node.value)
        except OverflowError:
            node.value = math.inf
        if node.value == math.inf:
            raise self.refusal(node, "must use numbers below 1.8e308", "Use a smaller number.")

    def _check_name(self, node: ast.Name) -> None:
        if node.id not in self.names:
            if node.id in FUNCTIONS:
                usage = FUNCTIONS[node.id].usage
                raise self.refusal(node, "must call a function", f"Write {usage}.")
            raise self._unknown(node, "must use only known names", "Names", self.names)
        if node.id == "info":
            raise self.refusal(node, "must read info by a key", "Example: info['key'].")

    def _check_subscript(self, node: ast.Subscript) -> None:
        match node.value:
            case ast.Subscript() as inner:
                self._check_subscript(inner)
            case ast.Name(id="info") if "info" in self.names:
                if not _is_key(node.slice):
                    raise self.refusal(node.slice, "must read info by a key", "Write info['key'].")
            case ast.Name(id=name) as base if name not in _INDEXABLE or name not in self.names:
                self._check_name(base)
                raise self.refusal(node, f"must not index {name}", "It is a single number.")
            case ast.Name():
                pass
            case _:
                known = ", ".join(name for name in self.names if name in _INDEXABLE)
                raise self.refusal(node, f"must index only {known}", "Index first, then compute.")
        index = node.slice
        parts = index.elts if isinstance(index, ast.Tuple) and index.elts else [index]
        if not _is_key(index) and not all(map(_is_index, parts)):
            remedy = "Examples: obs[0], obs[-1], obs[1:3], obs[0, 2], obs['key']."
            raise self.refusal(index, "must index by constants", remedy)

    def _check_call(self, node: ast.Call) -> None:
        if not isinstance(node.func, ast.Name):
            remedy = f"Functions: {', '.join(FUNCTIONS)}."
            raise self.refusal(node.func, "must call functions by their names", remedy)
        if node.func.id not in FUNCTIONS:
            rule = "must call only known functions"
            raise self._unknown(node.func, rule, "Functions", FUNCTIONS)
        function = FUNCTIONS[node.func.id]
        if node.keywords:
            rule = "must pass arguments by position"
            raise self.refusal(node.keywords[0], rule, f"Write {function.usage}.")
        self._check_all(node.args)
        if len(node.args) != function.n_arguments and (function.n_arguments or not node.args):
            count = function.n_arguments or "at least 1"
            rule = f"must call {node.func.id} with {count} argument{'' if count == 1 else 's'}"
            raise self.refusal(node, rule, f"Write {function.usage}.")

    def _check_operators(self, node: ast.expr, operators: Sequence[ast.AST]) -> None:
        for op in operators:
            if not isinstance(op, _OPERATORS):
                remedy = f"{_REPLACEMENTS.get(type(op), '')} {self._allowed()}".strip()
                rule = f"must not use the operator {type(op).__name__}"
                raise self.refusal(node, rule, remedy)

    def _unknown(self, node: ast.Name, rule: str, kind: str, known: Collection[str]) -> ConfigError:
        near = did_you_mean(node.id, known)
        near = f"{near} " if near.startswith("Did") else ""
        return self.refusal(node, rule, f"{near}{kind}: {', '.join(known)}.")

    def _allowed(self) -> str:
        return f"Allowed: numbers, {', '.join(self.names)}, {_SYNTAX}, {', '.join(FUNCTIONS)}."

    def _place(self, node: Any) -> str:
        line = self.source.split("\n")[node.lineno - 1]
        # The parser counts bytes of UTF-8, people count characters.
        column = len(line.encode()[: node.col_offset].decode(errors="replace")) + 1
        return f"column {column}" if node.lineno == 1 else f"line {node.lineno}, column {column}"


def _is_key(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_index(node: ast.expr) -> bool:
    if isinstance(node, ast.Slice):
        step_is_zero = isinstance(node.step, ast.Constant) and node.step.value == 0
        parts = (node.lower, node.upper, node.step)
        return not step_is_zero and all(part is None or _is_integer(part) for part in parts)
    return _is_integer(node)


def _is_integer(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) is int
