"""From disk to plain data that remembers where each of its values was written."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rllama_sb3.config.yaml_text import parse_yaml
from rllama_sb3.errors import NO_VALUE, ConfigError, Path, Problem, did_you_mean

_MOST_NAMES: Final = 12


@dataclass(frozen=True)
class Document:
    """The content of a YAML file, and the line of each of its keys.

    Attributes:
        path: The file, as the user named it.
        data: Its content: mappings, lists and scalars.
        lines: The line (from 1) of each path of keys.
        overridden: Paths whose values did not come from the file but from ``--set``.
    """

    path: pathlib.Path
    data: dict[str, Any]
    lines: Mapping[Path, int] = field(repr=False)
    overridden: tuple[Path, ...] = ()

    def locate(self, path: Path) -> str:
        """Returns ``file:line`` of a path, or of its nearest ancestor that the file has.

        Example:
            >>> document = Document(pathlib.Path("a.yaml"), {"env": {}}, {(): 1, ("env",): 3})
            >>> document.locate(("env", "id"))
            'a.yaml:3'
        """
        if any(path[: len(source)] == source for source in self.overridden):
            return "--set"
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.path}:{self.lines.get(path, 1)}"

    def attach(self, problems: Iterable[Problem]) -> list[Problem]:
        """Returns the problems with their location filled in, where they have none yet."""
        return [
            problem if problem.location else problem.at(self.locate(problem.path))
            for problem in problems
        ]


def read_yaml(path: str | os.PathLike[str]) -> Document:
    """Reads a YAML file whose top level is a mapping; never imports or runs anything.

    Args:
        path: The file, in UTF-8.

    Raises:
        ConfigError: The file is missing, a directory, unreadable, not UTF-8, not YAML, gives a key
            twice, has a key that is not text, or is not a mapping.
    """
    file = pathlib.Path(path)
    data, lines = parse_yaml(_read_text(file), str(file))
    if not isinstance(data, dict):
        value = NO_VALUE if data is None else data
        rule = "must be a mapping" + (", but is empty" if data is None else "")
        remedy = "Write keys at the top level, such as `env:`."
        raise ConfigError(Problem((), rule, value, remedy, f"{file}:{lines[()]}"))
    return Document(file, data, lines)


def load_reward_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the components of a file: the content of its key ``reward_shaping``.

    Other keys of the file are ignored, so that an experiment file serves as well.

    Raises:
        ConfigError: The file cannot be read, or has no mapping ``reward_shaping``.
    """
    document = read_yaml(path)
    where = ("reward_shaping",)
    if where[0] not in document.data:
        looks_bare = any(isinstance(v, dict) and "class" in v for v in document.data.values())
        remedy = (
            "Indent the components below `reward_shaping:`."
            if looks_bare
            else did_you_mean(where[0], document.data)
        )
        raise ConfigError(*document.attach([Problem(where, "missing key", remedy=remedy)]))
    components = document.data[where[0]]
    if not isinstance(components, dict):
        remedy = "Write components by name below it, or {} for none."
        problem = Problem(where, "must be a mapping", components, remedy)
        raise ConfigError(*document.attach([problem]))
    return components


def _read_text(file: pathlib.Path) -> str:
    try:
        raw = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(_file_problem(file, "must be an existing file", _nearby(file))) from None
    except IsADirectoryError:
        names = _yaml_names(file)
        remedy = f"Name a file in it: {', '.join(names[:_MOST_NAMES])}." if names else ""
        raise ConfigError(_file_problem(file, "must be a file, not a directory", remedy)) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        remedy = "Check its name and its permissions."
        raise ConfigError(_file_problem(file, f"must be readable ({reason})", remedy)) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        rule, value = "must be UTF-8 text", raw[error.start : error.start + 1]
        problem = Problem((), rule, value, "Save the file as UTF-8.", f"{file}:{line}")
        raise ConfigError(problem) from None


def _file_problem(file: pathlib.Path, rule: str, remedy: str) -> Problem:
    return Problem((), rule, remedy=remedy, location=str(file))


def _nearby(file: pathlib.Path) -> str:
    names = _yaml_names(file.parent)
    remedy = did_you_mean(file.name, names)
    if not names or (len(names) > _MOST_NAMES and remedy.startswith("Known")):
        return "Check the path."
    return remedy


def _yaml_names(folder: pathlib.Path) -> list[str]:
    try:
        found = [path.name for path in folder.iterdir() if path.suffix in (".yaml", ".yml")]
    except OSError:
        return []
    return sorted(found)
