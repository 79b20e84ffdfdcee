"""The script that breaks the package on purpose keeps up with the sources."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

import rllama_sb3

ROOT = Path(rllama_sb3.__file__).parents[1]


def load_script() -> ModuleType:
    path = ROOT / "scripts" / "mutation_check.py"
    spec = importlib.util.spec_from_file_location("mutation_check", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutation_check"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


script = load_script()


@pytest.mark.parametrize("mutation", script.BREAKS, ids=lambda one: one.name)
def test_each_break_still_applies_and_names_tests_that_exist(
    mutation: script.Break, tmp_path: Path
) -> None:
    source = Path("rllama_sb3") / mutation.file
    copy = tmp_path / source
    copy.parent.mkdir(parents=True)
    shutil.copy(ROOT / source, copy)
    mutation.apply(tmp_path)
    assert copy.read_text() != (ROOT / source).read_text()
    compile(copy.read_text(), str(source), "exec")
    assert all((ROOT / test).is_file() for test in mutation.tests)


def test_a_break_of_a_line_that_has_moved_on_is_told(tmp_path: Path) -> None:
    gone = script.Break("gone", "__init__.py", "no such line", "", ())
    (tmp_path / "rllama_sb3").mkdir()
    (tmp_path / "rllama_sb3" / "__init__.py").write_text("")
    with pytest.raises(ValueError, match="gone: not exactly once in __init__.py"):
        gone.apply(tmp_path)


@pytest.mark.slow
def test_every_break_is_noticed() -> None:
    assert script.main([]) == 0
