"""Every script starts, and the simulation of workers comes to its table."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "scripts").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_says_what_it_is_for(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [script.name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")


def test_simulated_workers_lose_nothing(tmp_path: Path) -> None:
    script = next(path for path in SCRIPTS if path.stem == "simulate_workers")
    options = ["--workers", "2", "--trials", "6", "--storage", f"sqlite:///{tmp_path}/study.db"]
    run = subprocess.run(
        [sys.executable, script, *options], capture_output=True, text=True, timeout=120, check=True
    )
    cells = [cell.strip() for cell in run.stdout.splitlines()[-2].strip("│ ").split("│")]
    assert cells[:3] == ["2", "database", "6"]
    assert cells[-3:] == ["0", "0", "0"]
