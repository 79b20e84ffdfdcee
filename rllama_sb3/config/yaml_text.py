"""YAML text to plain values and back, with the line of every key.

Scalars follow the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), which is
what people expect of a config: ``1e-3`` is a number, ``yes``, ``on`` and ``2024-01-01`` are text.
Beyond it, ``100_000`` is an integer, as in Python.

Values are built here from PyYAML's node graph: its constructors would forget the lines, keep the
last of two equal keys, and share one object between all uses of an alias.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from rllama_sb3.errors import ConfigError, Path, Problem

_TAG: Final = "tag:yaml.org,2002:"
_DIGITS: Final = r"[0-9]+(?:_[0-9]+)*"
# Tag, pattern, and the characters that such a scalar can start with.
_SCALARS: Final = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", rf"[-+]?{_DIGITS}|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        rf"[-+]?(?:\.{_DIGITS}|{_DIGITS}(?:\.(?:{_DIGITS})?)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
)
# Aliases of aliases can make a small file describe more values than fit in memory.
_MOST_VALUES: Final = 100_000


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


class _Dumper(yaml.SafeDumper):
    """Quotes whatever YAML 1.1 or 1.2 would read as something else than text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_list(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
    is_short = not any(isinstance(item, dict | list) for item in data)
    return dumper.represent_sequence(f"{_TAG}seq", data, flow_style=is_short)


def _represent_text(dumper: yaml.SafeDumper, data: str) -> yaml.Node:
    # PyYAML writes these line breaks as they are, and reads them back as others; escapes are safe.
    style = '"' if any(character in data for character in "\x85\u2028\u2029") else None
    return dumper.represent_scalar(f"{_TAG}str", data, style=style)


for _name, _pattern, _first in _SCALARS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"(?:{_pattern})\\Z"), _first)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(str, _represent_text)


def parse_yaml(text: str, name: str) -> tuple[Any, dict[Path, int]]:
    r"""Returns the value that a YAML text describes, and the line of each of its keys.

    Mappings, lists and scalars are all there is; nothing is ever imported or run. Every use of an
    alias is a copy of its own.

    Args:
        text: One YAML document.
        name: What the text is called in errors, such as the name of its file.

    Returns:
        The value, and for each path of keys the line (from 1) on which it is written; the empty
        path is the line of the first value.

    Raises:
        ConfigError: The text is not YAML, or gives a key twice, or has a key that is not text or a
            tag beyond plain data. All such places are listed, except after a syntax error.

    Example:
        >>> parse_yaml("training:\n  seed: 1_000", "a.yaml")
        ({'training': {'seed': 1000}}, {(): 1, ('training',): 1, ('training', 'seed'): 2})
    """
    builder = _Builder(name)
    try:
        # The loader is a SafeLoader, and only its parser is used.
        node = yaml.compose(text, Loader=_Loader)
        value = None if node is None else builder.build(node, ())
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax_problem(error, name)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = chr(error.character) if isinstance(error.character, int) else error.character
        raise ConfigError(
            Problem(
                (), "must be printable text", character, "Remove the character.", f"{name}:{line}"
            )
        ) from None
    except RecursionError:
        rule = "must not nest so deep"
        raise ConfigError(Problem((), rule, remedy="Flatten the file.", location=name)) from None
    if builder.problems:
        raise ConfigError(*builder.problems)
    return value, {(): 1, **builder.lines}


def dump_yaml(data: Mapping[str, Any]) -> str:
    """Returns plain data as YAML that :func:`parse_yaml` reads back to an equal value.

    Keys keep their order; tuples and arrays become lists, and NumPy's numbers plain ones.

    Raises:
        ConfigError: Something in ``data`` is not plain data, such as a function.

    Example:
        >>> print(dump_yaml({"params": {"learning_rate": 1e-4, "net_arch": [64, 64]}}), end="")
        params:
          learning_rate: 0.0001
          net_arch: [64, 64]
    """
    plain = _to_plain(data, ())
    # One line for each value: folded text is correct, but hard to compare and to edit.
    return str(
        yaml.dump(
            plain,
            Dumper=_Dumper,
            sort_keys=False,
            default_flow_style=False,
            allow_unicode=True,
            width=2**31,
        )
    )


def _to_plain(value: Any, path: Path) -> Any:
    # NumPy's scalars and arrays know their plain form; importing NumPy to ask would be dearer.
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(Problem(path, "must have text as keys", key, "Use str(key)."))
        return {str(key): _to_plain(item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item, (*path, index)) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    rule = "must be plain data to be written as YAML"
    raise ConfigError(Problem(path, rule, value, "Use text, numbers, lists and mappings."))


class _Builder:
    """Turns nodes into values; collects lines, and problems that do not stop the reading."""

    def __init__(self, name: str) -> None:
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self._name = name
        self._open: list[yaml.Node] = []
        self._n_values = 0

    def build(self, node: yaml.Node, path: Path) -> Any:
        self.lines.setdefault(path, _line(node))
        self._n_values += 1
        if self._n_values > _MOST_VALUES:
            rule = f"must describe at most {_MOST_VALUES:,} values"
            raise ConfigError(Problem((), rule, remedy="Use fewer aliases.", location=self._name))
        if any(node is parent for parent in self._open):
            self._report(node, path, "must not contain itself", "Remove the alias.")
            return None
        self._open.append(node)
        try:
            return self._build_by_tag(node, path)
        finally:
            self._open.pop()

    def _build_by_tag(self, node: yaml.Node, path: Path) -> Any:
        tag = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.MappingNode) and tag == "map":
            return self._build_mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and tag == "seq":
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and tag in ("str", "null", "bool", "int", "float"):
            try:
                return _scalar_value(tag, node.value)
            except ValueError:
                self._report(node, path, f"must be what its tag says ({tag})", value=node.value)
                return None
        shown = f"!!{tag}" if node.tag.startswith(_TAG) else node.tag
        remedy = "Remove the tag: loading a file never creates objects or runs code."
        self._report(node, path, "must be plain data", remedy, shown)
        return None

    def _build_mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        first_lines: dict[str, int] = {}
        merges: list[yaml.Node] = []
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            here = path if key_node.tag == f"{_TAG}merge" else (*path, key)
            if key in first_lines:
                rule = f"key given twice, on lines {first_lines[key]} and {_line(key_node)}"
                remedy = "Write <<: [*a, *b]." if here == path else "Keep one of them."
                self._report(key_node, (*path, key), rule, remedy)
                continue
            first_lines[key] = _line(key_node)
            if here == path:
                merges.append(value_node)
                continue
            # What is written out goes before what is merged in, also for the line of a key.
            self.lines[here] = _line(key_node)
            own[key] = self.build(value_node, here)
        for value_node in merges:
            merged = self._build_merge(value_node, path, own)
        return {**merged, **own}

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        if isinstance(node, yaml.ScalarNode):
            if node.tag in (f"{_TAG}str", f"{_TAG}merge"):
                return str(node.value)
            remedy = f'Quote it: "{node.value}".' if node.value else "Write the key's name."
            self._report(node, path, "must have text as keys", remedy, node.value)
        else:
            self._report(node, path, "must have text as keys", "A list or mapping is no key.")
        return None

    def _build_merge(self, node: yaml.Node, path: Path, own: dict[str, Any]) -> dict[str, Any]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                remedy = "Merge mappings only: <<: *name, or <<: [*a, *b]."
                self._report(source, (*path, "<<"), "must be a mapping", remedy)
                continue
            lines, self.lines = self.lines, {}
            values = self.build(source, path)
            for key in values or {}:
                if key in own or key in merged:
                    continue
                merged[key] = values[key]
                at = (*path, key)
                lines.update({p: n for p, n in self.lines.items() if p[: len(at)] == at})
            self.lines = lines
        return merged

    def _report(
        self, node: yaml.Node, path: Path, rule: str, remedy: str = "", value: Any = None
    ) -> None:
        location = f"{self._name}:{_line(node)}"
        if value is None:
            self.problems.append(Problem(path, rule, remedy=remedy, location=location))
        else:
            self.problems.append(Problem(path, rule, value, remedy, location))


def _scalar_value(tag: str, text: str) -> Any:
    if tag == "null":
        return None
    if tag == "str":
        return text
    plain = text.replace("_", "").lower()
    if tag == "bool":
        if plain not in ("true", "false"):
            raise ValueError(text)
        return plain == "true"
    if tag == "int":
        return int(plain, {"0x": 16, "0o": 8}.get(plain[:2], 10))
    return float(plain.replace(".inf", "inf").replace(".nan", "nan"))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _syntax_problem(error: yaml.MarkedYAMLError, name: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    location = f"{name}:{mark.line + 1}" if mark else name
    said = error.problem or "not understood"
    context = f", {error.context}" if error.context else ""
    if "\\t" in said:
        remedy = "Indent with spaces, not tabs."
    elif "mapping values are not allowed" in said:
        remedy = "Check the indentation, and quote text that contains ': '."
    elif "another document" in said:
        remedy = "Keep one document in a file: remove the line '---'."
    elif "undefined alias" in said:
        remedy = "Define it above with &, or quote text that starts with *."
    else:
        remedy = "Check indentation, quotes and brackets on this line and the one before."
    return Problem((), f"must be valid YAML ({said}{context})", remedy=remedy, location=location)
