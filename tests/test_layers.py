"""The map of the package: a module imports only from rows above its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rllama_sb3

PACKAGE = Path(rllama_sb3.__file__).parent

# From the bottom of the package to its top. Modules in one row do not import each other, but for
# the modules of one folder, whose own order is given where it matters.
ROWS: list[list[str]] = [
    ["errors", "lifetime", "seeding"],
    ["disk"],
    ["config.models", "config.yaml_text"],
    ["config.loading"],
    ["config.merging"],
    ["config.validation", "config.schema"],
    ["config"],
    ["rewards.transition"],
    ["rewards.signature"],
    ["rewards.parameters"],
    ["rewards.component"],
    ["rewards.vectorized"],
    ["rewards.expression_functions", "rewards.expression_grammar"],
    ["rewards.expression_code"],
    ["rewards.expression_batch"],
    ["rewards.expression", "rewards.weight_schedule", "rewards.arguments"],
    ["rewards.potential_functions"],
    ["rewards.stock_schedules"],
    ["rewards.schedules"],
    ["rewards.builtin_actions", "rewards.builtin_states"],
    ["rewards.builtin", "rewards.potential"],
    ["rewards.composer", "rewards.weights"],
    ["rewards.batch_composer"],
    ["rewards.shaper", "rewards.batch_shaper"],
    ["rewards.build"],
    ["rewards"],
    ["envs.episode", "envs.reward_source"],
    ["envs"],
    ["buffers"],
    ["callbacks"],
    ["evaluation"],
    ["algorithms", "run_folder"],
    ["training", "saved_model"],
    ["optimization.failures", "optimization.named", "optimization.values"],
    ["optimization.measures", "optimization.search_space", "optimization.study"],
    ["optimization.storage"],
    ["optimization.workers"],
    ["optimization"],
    ["analysis"],
    ["experiment"],
    ["cli"],
]


def row_of(module: str) -> int:
    """The row of a module below ``rllama_sb3.``: that of its longest listed prefix."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        for row, names in enumerate(ROWS):
            if ".".join(parts[:length]) in names:
                return row
    raise AssertionError(f"rllama_sb3.{module} has no row: add it to the table of layers")


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            found.append(node.module or "")
    return [name.partition(".")[2] for name in found if name.startswith("rllama_sb3.")]


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE] + [
    path for path in sorted(PACKAGE.glob("*.py")) if path.stem not in {"__init__", "__main__"}
]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_from_rows_above_its_own(path: Path) -> None:
    module = name_of(path)
    for imported in imports_of(path):
        same_folder = imported.split(".")[0] == module.split(".")[0]
        allowed = row_of(imported) < row_of(module) or (
            same_folder and row_of(imported) == row_of(module)
        )
        assert allowed, f"{module} imports {imported}, which stands in a row below it"


def test_no_module_imports_itself_through_others() -> None:
    graph = {name_of(path): set(imports_of(path)) for path in MODULES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail, module])
        if module not in done:
            for imported in sorted(graph.get(module, ())):
                visit(imported, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize(
    ("module", "banned"),
    [
        ("rllama_sb3", {"torch", "stable_baselines3", "optuna", "gymnasium", "numpy", "pydantic"}),
        ("rllama_sb3.cli", {"torch", "stable_baselines3", "optuna", "gymnasium", "numpy"}),
        ("rllama_sb3.config", {"torch", "stable_baselines3", "optuna", "gymnasium", "numpy"}),
        ("rllama_sb3.rewards", {"torch", "stable_baselines3", "optuna", "gymnasium"}),
        ("rllama_sb3.envs.wrapper", {"torch", "stable_baselines3", "optuna"}),
    ],
)
def test_importing_a_light_module_leaves_heavy_ones_alone(module: str, banned: set[str]) -> None:
    code = f"import sys, {module}; print(*({banned!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
