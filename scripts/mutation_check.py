"""Breaks the package on purpose, one known mistake at a time, and sees that a test fails.

Each break is made in a copy of the sources, in which the tests that are meant to catch it are run.
A break that no test notices is printed in bold, and makes the exit code 1. About three minutes on
two cores. Run: python scripts/mutation_check.py
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

ROOT: Final = Path(__file__).resolve().parents[1]
_COPIED: Final = ("rllama_sb3", "tests", "configs", "examples", "scripts", "pyproject.toml")
_FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (tests/\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Break:
    """A mistake, as a change of the sources.

    Attributes:
        name: What is wrong then.
        file: The module, below the package.
        old: Text that stands exactly once in it.
        new: What it is replaced by.
        tests: The test files that are to notice.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, root: Path) -> None:
        """Makes the change in a copy of the sources.

        Raises:
            ValueError: The text does not stand there exactly once: the source has moved on.
        """
        path = root / "rllama_sb3" / self.file
        source = path.read_text()
        if source.count(self.old) != 1:
            raise ValueError(f"{self.name}: not exactly once in {self.file}: {self.old!r}")
        path.write_text(source.replace(self.old, self.new))


_MISTAKES: Final = ("tests/rewards/test_known_mistakes.py", "tests/rewards/test_potential.py")
_TWIN: Final = ("tests/envs/test_vec_wrapper.py",)
_EXACT: Final = ("tests/test_exact_schedules.py",)
_BUFFERS: Final = ("tests/callbacks/test_relabeling.py", "tests/callbacks/test_learner.py")

BREAKS: Final[tuple[Break, ...]] = (
    Break(
        "the potential of a terminal state is kept",
        "rewards/potential.py",
        "        if transition.terminated:\n            return 0.0\n",
        "",
        _MISTAKES,
    ),
    Break(
        "the potential of a terminal state is kept, in the twin",
        "rewards/batch_shaper.py",
        "        reached[batch.ended] = 0.0\n",
        "",
        _TWIN,
    ),
    Break(
        "the potential of a truncated state is zeroed",
        "rewards/shaper.py",
        "self.bootstrap_truncated or not transition.truncated",
        "not transition.truncated",
        _MISTAKES,
    ),
    Break(
        "the potential of a truncated state is zeroed, in the twin",
        "rewards/batch_shaper.py",
        "        if self.bootstrap_truncated:\n",
        "        if not self.bootstrap_truncated:\n",
        _TWIN,
    ),
    Break(
        "the potential of a truncated state is kept without a bootstrap",
        "rewards/shaper.py",
        "has_future = self.bootstrap_truncated or not transition.truncated",
        "has_future = True",
        _MISTAKES,
    ),
    Break(
        "the weight stands outside the difference",
        "rewards/shaper.py",
        """            weighted[index] = discounted_difference(
                gamma, weighted_potential, weighted_arrived[index]
            )
""",
        "            weighted[index] = self._weights[index] * raw[index]\n",
        _MISTAKES,
    ),
    Break(
        "the weight stands outside the difference, in the twin",
        "rewards/batch_shaper.py",
        "difference = discounted_difference(gamma, weight * reached, arrived)",
        "difference = self._weights[index] * self._raw[index]",
        _TWIN,
    ),
    Break(
        "the state is left under a newer weight than it was arrived at under",
        "rewards/shaper.py",
        "weighted_potential = next_weights[index] * potential",
        "weighted_potential = self._weights[index] * potential",
        _MISTAKES,
    ),
    Break(
        "nothing is paid on the last step",
        "rewards/shaper.py",
        "            arrived[index], weighted_arrived[index] = potential, weighted_potential\n",
        """            arrived[index], weighted_arrived[index] = potential, weighted_potential
            if potential == 0.0:
                weighted[index] = 0.0
""",
        _MISTAKES,
    ),
    Break(
        "a potential is remembered across a reset",
        "rewards/shaper.py",
        "            self._weighted_arrived[index] = self._weights[index] * self._arrived[index]\n"
        "        self._episode_is_open = True\n",
        "        self._episode_is_open = True\n",
        _MISTAKES,
    ),
    Break(
        "the difference is taken with γ = 1",
        "rewards/weights.py",
        "        return self.gamma\n",
        "        return 1.0\n",
        _MISTAKES,
    ),
    Break(
        "the clock is ahead by the number of environments",
        "rewards/weights.py",
        "self._global_step, self._stride = int(global_step), int(stride)",
        "self._global_step, self._stride = int(global_step) + int(stride), int(stride)",
        _EXACT,
    ),
    Break(
        "each environment counts its own steps only",
        "rewards/weights.py",
        "self._global_step, self._stride = int(global_step), int(stride)",
        "self._global_step, self._stride = int(global_step), 1",
        _EXACT,
    ),
    Break(
        "the clock is set by set_attr, which ends in the outermost wrapper",
        "envs/shaped_envs.py",
        'answers = venv.env_method("begin_training", global_step, venv.num_envs, learner)',
        'venv.set_attr("global_step", global_step)\n'
        '        answers = venv.env_method("begin_training", 0, venv.num_envs, learner)',
        _EXACT,
    ),
    Break(
        "the first state keeps the weight of the old clock",
        "rewards/shaper.py",
        "        if self._no_step_yet:\n",
        "        if False:\n",
        ("tests/envs/test_wrapper.py",),
    ),
    Break(
        "stale rewards are sampled: the buffer is left as it is",
        "callbacks/reward_shaping.py",
        "if buffer is not None and self._weights_move:",
        "if False:",
        _BUFFERS,
    ),
    Break(
        "stale rewards are sampled: the buffer keeps the first weights",
        "callbacks/reward_shaping.py",
        """        if self._weights_move:
            self._set_weights_of_buffer()
        return True
""",
        "        return True\n",
        _BUFFERS,
    ),
    Break(
        "the first observation of the next episode is taken for the last of this one",
        "envs/vec_wrapper.py",
        "            next_obs = _with_last_observations(obs, ended, infos)\n",
        "",
        _TWIN,
    ),
    Break(
        "the last observation of an episode is remembered for the next one",
        "rewards/batch_shaper.py",
        "        self._arrived[index] = begun\n",
        "        self._arrived[index] = reached\n",
        _TWIN,
    ),
    Break(
        "a truncated episode counts as terminated, in the twin",
        "envs/vec_wrapper.py",
        'infos[env].get("TimeLimit.truncated", False)',
        "False",
        _TWIN,
    ),
    Break(
        "Monitor stands outside, and its shaped return is believed",
        "callbacks/env_return.py",
        "if shaping is not None and monitored and _monitor_saw_shaped_reward(info):",
        "if False:",
        ("tests/test_evaluation.py", "tests/callbacks/test_trial_eval.py"),
    ),
    Break(
        "Monitor is built outside the shaper",
        "envs/factory.py",
        "        wrapper_class=around_each,\n",
        "        wrapper_class=around_each and (lambda env: Monitor(around_each(env.env))),\n",
        ("tests/envs/test_factory.py",),
    ),
    Break(
        "an n-step buffer may discount by another γ",
        "callbacks/learner.py",
        "buffer.gamma != gamma",
        "False",
        _BUFFERS,
    ),
    Break(
        "VecNormalize may discount by another γ",
        "callbacks/learner.py",
        "normalize.gamma != gamma",
        "False",
        _BUFFERS,
    ),
)


def check(mutation: Break) -> str:
    """Returns the name of a test that fails with the break, or nothing."""
    with _copy() as root:
        mutation.apply(root)
        return _first_failure(root, mutation.tests)


def check_unbroken() -> str:
    """Returns the name of a test that fails without any break, which none should."""
    with _copy() as root:
        return _first_failure(root, sorted({test for one in BREAKS for test in one.tests}))


def _first_failure(root: Path, tests: Sequence[str]) -> str:
    command = [sys.executable, "-m", "pytest", "-x", "-rf", "--tb=no", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, *tests],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    failed = _FAILED.search(run.stdout)
    # Pytest exits with 0 when all passed, with 1 when one failed; with more, nothing was tested.
    if run.returncode > 1 or bool(run.returncode) != bool(failed):
        raise RuntimeError(f"the tests could not be run:\n{run.stdout}\n{run.stderr}")
    return failed[1] if failed else ""


@contextmanager
def _copy() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mutation_check_") as folder:
        root = Path(folder)
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(
                    source, root / name, ignore=shutil.ignore_patterns("__pycache__", ".*")
                )
            else:
                shutil.copy(source, root / name)
        yield root


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="breaks at a time")
    parser.add_argument("--only", default="", help="only breaks whose name contains this")
    options = parser.parse_args(arguments)
    chosen = [mutation for mutation in BREAKS if options.only in mutation.name]
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    with ThreadPoolExecutor(options.jobs) as pool, console.status("Breaking things ..."):
        unbroken = pool.submit(check_unbroken)
        found = dict(zip(chosen, pool.map(check, chosen), strict=True))
    if unbroken.result():
        console.print(f"{unbroken.result()} fails without any break: mend that first.")
        return 1
    table = Table("break", "noticed by")
    for mutation, test in found.items():
        table.add_row(mutation.name, test or "[bold red]nobody[/]")
    console.print(table)
    n_noticed = sum(map(bool, found.values()))
    console.print(f"{n_noticed} of {len(found)} breaks were noticed.")
    return 0 if n_noticed == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
