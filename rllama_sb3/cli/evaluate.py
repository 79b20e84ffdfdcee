"""``rllama-sb3 evaluate``: judges a trained model on fresh episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rllama_sb3.cli.options import Imports, import_modules


def evaluate(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_MODEL",
            help="The folder of a training or a study, or a model.zip in one.",
            show_default=False,
        ),
    ],
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes.")] = 100,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seeds the environments.", show_default="episodes of its own"),
    ] = None,
    stochastic: Annotated[
        bool, typer.Option("--stochastic", help="Sample actions instead of the most likely one.")
    ] = False,
    imports: Imports = None,
) -> None:
    """Judge a trained model by fresh episodes' env return."""
    import_modules(imports or ())
    from rllama_sb3.algorithms import discount_factor
    from rllama_sb3.analysis.statistics import mean_interval
    from rllama_sb3.cli.console import format_number, get_console, say
    from rllama_sb3.config import parse_experiment, read_yaml
    from rllama_sb3.envs.factory import build_vec_env
    from rllama_sb3.evaluation import evaluate as judge
    from rllama_sb3.saved_model import find_model, load_model
    from rllama_sb3.seeding import evaluation_seed, test_seed

    model_file, config_file = find_model(run)
    config = parse_experiment(read_yaml(config_file).data)
    if seed is None:
        # Not the episodes by which a best model was chosen.
        seed = evaluation_seed(test_seed(config.training.seed, 0))
    venv = build_vec_env(
        config.env,
        n_envs=min(config.evaluation.n_envs, episodes),
        seed=config.training.seed,
        gamma=discount_factor(config.algorithm),
        training=False,
    )
    try:
        model = load_model(model_file, config.algorithm.name, venv)
        result = judge(model, venv, n_episodes=episodes, deterministic=not stochastic, seed=seed)
    finally:
        venv.close()
    interval = mean_interval(result.env_returns)
    returns = result.env_returns
    say(
        get_console(),
        f"{model_file} on {config.env.id}, {episodes} episodes",
        f"env return  {format_number(result.mean)}, 95 % interval of the mean "
        f"[{format_number(interval.low)}, {format_number(interval.high)}]",
        f"over episodes  std {format_number(result.std)}, "
        f"min {format_number(float(returns.min()))}, max {format_number(float(returns.max()))}, "
        f"mean length {format_number(float(result.lengths.mean()))}",
    )
