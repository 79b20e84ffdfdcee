"""Draws what the other modules here compute."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rllama_sb3.analysis.comparison import Comparison, ComparisonRow


def render_comparison_plot(comparison: Comparison) -> Any:
    """Returns a plotly figure: each seed as a dot, the IQM and its interval beside them."""
    # Plotly takes half a second to import, which a comparison without a plot need not pay.
    import plotly.graph_objects as go

    names = [_label(row) for row in comparison.rows]
    measure = "IQM" if comparison.uses_iqm else "mean"
    seeds = [
        (name, seed, value)
        for name, row in zip(names, comparison.rows, strict=True)
        for seed, value in zip(row.seeds, row.env_returns, strict=True)
    ]
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=[name for name, _, _ in seeds],
            y=[float(value) for _, _, value in seeds],
            text=[f"seed {seed}" for _, seed, _ in seeds],
            mode="markers",
            marker={"color": "lightslategray", "opacity": 0.6, "size": 8},
            name="one seed",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=names,
            y=[row.iqm for row in comparison.rows],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [row.interval.high - row.iqm for row in comparison.rows],
                "arrayminus": [row.iqm - row.interval.low for row in comparison.rows],
            },
            mode="markers",
            marker={"color": "crimson", "size": 12, "symbol": "diamond"},
            name=f"{measure}, 95 % interval",
        )
    )
    figure.update_layout(
        title=f"Env return on {len(comparison.base.seeds)} test seeds",
        yaxis_title="env return",
        template="plotly_white",
    )
    return figure


def _label(row: ComparisonRow) -> str:
    return f"{row.name} ({row.n_diverged} diverged)" if row.n_diverged else row.name


def write_comparison_plot(comparison: Comparison, path: str | os.PathLike[str]) -> None:
    """Writes the plot as an HTML file that needs no network."""
    render_comparison_plot(comparison).write_html(os.fspath(path), include_plotlyjs=True)
