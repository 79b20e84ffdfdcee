"""``rllama-sb3 compare``, and what becomes of its processes."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from command_line import children_of, run, start, wait_until_gone
from tiny import tiny_yaml

needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_component_of_ones_own_is_known_to_the_processes(here: Path) -> None:
    Path("compare_test_rewards.py").write_text(
        "from rllama_sb3 import register_component\n\n"
        "@register_component\n"
        "def compare_test_bonus(transition):\n"
        "    return 1.0\n"
    )
    Path("mine.yaml").write_text(tiny_yaml(reward_shaping={"b": {"class": "compare_test_bonus"}}))
    options = ("--import", "compare_test_rewards", "--n-seeds", "1", "--out", "results")
    result = run("compare", "mine.yaml", *options)
    assert result.exit_code == 0, result.output
    assert "test run 1/1: mine" in result.stdout
    written = {path.name for path in Path("results").iterdir()}
    assert written == {"comparison.csv", "comparison.html", "comparison_runs.csv"}


def test_the_problems_of_all_files_are_told(here: Path) -> None:
    Path("a.yaml").write_text(tiny_yaml(env={"id": "CartPol-v1"}))
    Path("b.yaml").write_text(tiny_yaml(algorithm={"name": "PPPO"}))
    result = run("compare", "a.yaml", "b.yaml", "c.yaml")
    assert result.exit_code == 2
    first, second, third = result.stderr.splitlines()
    assert "a.yaml:" in first
    assert "b.yaml:" in second
    assert third.startswith("c.yaml: must be an existing file")


@needs_proc
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_no_process_outlives_an_interrupted_comparison(
    here: Path, sent: signal.Signals, code: int
) -> None:
    Path("long.yaml").write_text(tiny_yaml(training={"total_timesteps": 50_000_000}))
    options = ("--n-seeds", "2", "--n-jobs", "2", "--out", "results")
    process = start("compare", "long.yaml", *options, cwd=here)
    deadline = time.monotonic() + 60
    # Two workers, and the process by which Python keeps track of shared resources.
    while len(children_of(process.pid)) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    children = children_of(process.pid)
    assert len(children) == 3
    process.send_signal(sent)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code, output
    if sent == signal.SIGINT:
        assert "Finished runs are in results; the same command continues from there" in output
        assert "Traceback" not in output
    assert wait_until_gone(children) == []
