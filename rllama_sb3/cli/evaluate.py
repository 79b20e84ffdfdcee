"""``rllama-sb3 evaluate``: judges a trained model on fresh episodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from rllama_sb3.cli.options import Imports, import_modules
from rllama_sb3.errors import ConfigError, Problem

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from rllama_sb3.config import ExperimentConfig

_CONFIGS: Final = ("config.yaml", "best.yaml")
_MODELS: Final = ("model.zip", "best_model.zip")


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
    model_file, config_file = find_model(run)
    import_modules(imports or ())
    from rllama_sb3.analysis.statistics import mean_interval
    from rllama_sb3.cli.console import format_number, get_console, say
    from rllama_sb3.config import parse_experiment, read_yaml
    from rllama_sb3.evaluation import evaluate as judge
    from rllama_sb3.seeding import evaluation_seed, test_seed

    config = parse_experiment(read_yaml(config_file).data)
    if seed is None:
        # Not the episodes by which a best model was chosen.
        seed = evaluation_seed(test_seed(config.training.seed, 0))
    model, venv = _load(model_file, config, n_envs=min(config.evaluation.n_envs, episodes))
    try:
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


def find_model(run: Path) -> tuple[Path, Path]:
    """Returns the model file and the experiment file that belongs to it.

    Raises:
        ConfigError: There is no model, or no experiment file beside it.
    """
    folder = run if run.is_dir() else run.parent
    models = [folder / name for name in _MODELS] if run.is_dir() else [run]
    model = next((path for path in models if path.is_file()), None)
    if model is None:
        rule = f"must be a model, or a folder with {' or '.join(_MODELS)}"
        raise ConfigError(Problem((), rule, str(run), "Train one with: rllama-sb3 train CONFIG"))
    config = next((folder / n for n in _CONFIGS if (folder / n).is_file()), None)
    if config is None:
        rule = f"must have {' or '.join(_CONFIGS)} beside it, which says what it was trained in"
        raise ConfigError(Problem((), rule, str(model)))
    return model, config


def _load(model_file: Path, config: ExperimentConfig, *, n_envs: int) -> tuple[Any, VecEnv]:
    from stable_baselines3.common.vec_env import VecNormalize, unwrap_vec_normalize

    from rllama_sb3.algorithms import algorithm_class, discount_factor
    from rllama_sb3.envs.factory import build_vec_env

    venv = build_vec_env(
        config.env,
        n_envs=n_envs,
        seed=config.training.seed,
        gamma=discount_factor(config.algorithm),
        training=False,
    )
    normalize = unwrap_vec_normalize(venv)
    if normalize is not None:
        statistics = model_file.with_name(model_file.name.replace("model.zip", "vecnormalize.pkl"))
        if not statistics.is_file():
            rule = "must have the statistics of its observations beside it"
            raise ConfigError(Problem((), rule, str(model_file), f"{statistics} is missing."))
        normalize.obs_rms = VecNormalize.load(str(statistics), normalize.venv).obs_rms
    try:
        model = algorithm_class(config.algorithm.name).load(model_file)
    except (ValueError, OSError, KeyError) as error:
        rule = f"must be a model that Stable-Baselines3 saved ({error})"
        raise ConfigError(Problem((), rule, str(model_file))) from error
    return model, venv
