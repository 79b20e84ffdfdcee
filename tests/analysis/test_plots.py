"""The plot of a comparison."""

from __future__ import annotations

from pathlib import Path

from rllama_sb3.analysis.comparison import compute_comparison
from rllama_sb3.analysis.plots import render_comparison_plot, write_comparison_plot

COMPARISON = compute_comparison({"base": [1.0, 2.0], "tuned": [3.0, 5.0]}, [7, 8])


def test_the_plot_shows_every_seed_and_the_interval() -> None:
    seeds, means = render_comparison_plot(COMPARISON).data
    assert list(seeds.y) == [1.0, 2.0, 3.0, 5.0]
    assert list(means.y) == [1.5, 4.0]
    assert list(means.error_y.array) == [0.5, 1.0]


def test_the_file_needs_no_network(tmp_path: Path) -> None:
    write_comparison_plot(COMPARISON, tmp_path / "plot.html")
    text = (tmp_path / "plot.html").read_text()
    assert "cdn.plot.ly" not in text.split("</script>")[-1]
    assert "src=" not in text[:2_000]
