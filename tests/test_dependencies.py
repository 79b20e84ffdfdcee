"""What is imported is asked for, and what is asked for was tested."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import rllama_sb3

PACKAGE = Path(rllama_sb3.__file__).parent
ROOT = PACKAGE.parent
# It belongs to pydantic, which says itself which one it needs.
_PART_OF = {"pydantic_core": "pydantic"}


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for group in groups for line in group]


def imported() -> set[str]:
    """The packages of others that ours imports anywhere."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
    tops = {name.partition(".")[0] for name in found}
    return tops - {"rllama_sb3"} - set(sys.stdlib_module_names)


@pytest.mark.parametrize("package", sorted(imported()))
def test_what_is_imported_is_a_dependency(package: str) -> None:
    asked = {canonicalize_name(requirement.name) for requirement in requirements()}
    # Installed by none of them: it is asked whether it is there.
    known = packages_distributions().get(_PART_OF.get(package, package), [package])
    assert asked & {canonicalize_name(name) for name in known}


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_the_version_that_was_tested_is_one_that_is_asked_for(requirement: Requirement) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    tested = {canonicalize_name(name): version for name, version in pins.items()}
    assert tested[canonicalize_name(requirement.name)] in requirement.specifier
