"""``rllama-sb3 components`` and ``rllama-sb3 schema``."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import run

from rllama_sb3.optimization.pruners import PRUNERS
from rllama_sb3.optimization.samplers import SAMPLERS
from rllama_sb3.rewards import component_registry


def test_all_components_and_schedules_are_listed_with_their_parameters() -> None:
    output = run("components").stdout
    for name in [*component_registry(), "constant", "linear", "exponential", "cosine", "piecewise"]:
        assert name in output
    assert "target_reward=1.0" in output


def test_the_schema_knows_every_component(tmp_path: Path) -> None:
    schema = json.loads(run("schema").stdout)
    known = schema["$defs"]["ComponentConfig"]["properties"]["class"]["enum"]
    assert set(known) == set(component_registry())
    assert (
        "linear" in schema["$defs"]["WeightScheduleConfig"]["properties"]["schedule_type"]["enum"]
    )


def test_the_schema_knows_samplers_and_pruners_with_their_parameters() -> None:
    tuning = json.loads(run("schema").stdout)["$defs"]["TuningConfig"]["properties"]
    for key, kinds in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
        _, mapping = tuning[key]["anyOf"]
        assert mapping["properties"]["name"]["enum"] == list(kinds)
        for branch in mapping["allOf"]:
            kind = kinds[branch["if"]["properties"]["name"]["const"]]
            assert not set(kind.withheld) & set(branch["then"]["properties"])
    assert "p_threshold" in json.dumps(tuning["pruner"])
    assert "multivariate" in json.dumps(tuning["sampler"])


def test_the_schema_is_written_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "new" / "schema.json"
    result = run("schema", "--out", file)
    assert f"$schema={file}" in result.stdout
    assert json.loads(file.read_text())["title"] == "rllama-sb3 experiment"


def test_a_file_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("schema", "--out", tmp_path / "file" / "schema.json")
    assert result.exit_code == 2
    assert "--out: must be a file that can be written" in result.stderr
