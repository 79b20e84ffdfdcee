"""What commands share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from rllama_sb3.cli.options import file_name, import_modules, next_folder
from rllama_sb3.errors import ConfigError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_modules_of_the_current_folder_can_be_imported(here: Path) -> None:
    (here / "my_options_module.py").write_text("value = 3\n")
    assert import_modules(["my_options_module"]) == ("my_options_module",)
    assert sys.modules.pop("my_options_module").value == 3


def test_a_module_that_does_not_exist_is_bad_input(here: Path) -> None:
    with pytest.raises(ConfigError, match="--import: must be a module that can be imported") as e:
        import_modules(["no_such_package.rewards"])
    assert os.getcwd() in str(e.value)


def test_what_goes_wrong_inside_a_module_is_not_hidden(here: Path) -> None:
    (here / "my_broken_module.py").write_text("import no_such_dependency\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        import_modules(["my_broken_module"])


def test_runs_are_numbered_after_the_last(tmp_path: Path) -> None:
    assert next_folder(tmp_path / "none", "a").name == "a_1"
    for name in ("a_1", "a_10", "a_x", "ab_20"):
        (tmp_path / name).mkdir()
    assert next_folder(tmp_path, "a").name == "a_11"


@pytest.mark.parametrize(
    ("text", "name"),
    [("a b", "a-b"), ("../up", "..-up"), ("", "unnamed"), ("mod:Env-v0", "mod-Env-v0")],
)
def test_a_part_of_a_file_name_has_no_separators(text: str, name: str) -> None:
    assert file_name(text) == name
