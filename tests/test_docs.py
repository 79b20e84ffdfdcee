"""The search spaces in docs/search_spaces.md, laid into a file, can be searched."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny import tiny_experiment

from rllama_sb3.config import parse_yaml
from rllama_sb3.optimization import BayesianRewardOptimizer
from rllama_sb3.optimization.search_space.leaf_config import LeafConfig
from rllama_sb3.optimization.search_space.stock_spaces import render_stock_spaces

PAGE = (Path(__file__).parents[1] / "docs" / "search_spaces.md").read_text()


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL))
def test_what_the_page_shows_can_be_searched(text: str) -> None:
    experiment = tiny_experiment()
    experiment["tuning"] = parse_yaml(text, "search_spaces.md")[0]
    assert BayesianRewardOptimizer(experiment).search_space.leaves


def test_the_page_has_every_key_of_a_leaf() -> None:
    table = PAGE.partition("| key |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)", table)) >= set(LeafConfig.model_fields)


def test_the_page_has_the_stock_spaces_as_they_are() -> None:
    assert render_stock_spaces() in PAGE
