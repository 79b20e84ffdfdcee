"""``rllama-sb3 init``: a commented experiment file to start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from rllama_sb3.cli.options import Imports, import_modules
from rllama_sb3.errors import ConfigError, Problem, did_you_mean

if TYPE_CHECKING:
    import gymnasium as gym

_TEMPLATE: Final = """\
# An experiment: what is trained, on which reward, and what is searched.
#   rllama-sb3 train {file}      one training run
#   rllama-sb3 tune {file}       search reward and hyperparameters together
# Any value can be overridden: --set training.total_timesteps=50_000

env:
  id: {env_id}
  n_envs: {n_envs}                   # copies that are stepped together
{normalize}{wrappers}
# The reward is the weighted sum of these components, and nothing else.
# `rllama-sb3 components` lists those that can be named here.
reward_shaping:
  env: {{class: EnvReward}}     # the environment's own reward
{shaping}
algorithm:
  name: {algorithm}
  policy: {policy}
  params:
    learning_rate: {learning_rate}
    gamma: 0.99
{more_params}
training:
  total_timesteps: 100_000
  seed: 0

# Whatever the reward is, a policy is judged by the return of the original environment.
evaluation:
  n_episodes: 20
  n_evaluations: 10

tuning:
  n_trials: 40
  n_test_seeds: 5             # the best configs are trained again on seeds that no trial saw
  search_space:               # mirrors the file above; the first trial is the file as it is
{search_shaping}    algorithm:
      params:
        learning_rate: {{suggest: float, low: 1.0e-5, high: 1.0e-2, log: true}}
        gamma: {{suggest: float, low: 1.0e-3, high: 0.1, log: true, transform: one_minus}}
"""
_POTENTIAL: Final = """\
  # Pays for progress: the discounted difference of a potential, which says how good a state is.
  # {guess} is only a placeholder: write what you know, of obs and info.
  progress:
    class: PotentialShaping
    params: {{potential: "{guess}"}}
    weight_schedule:
      initial_weight: 0.1
      schedule_type: linear   # constant, linear, exponential, cosine or piecewise
      final_weight: 0.0
      end_step: 80%           # of training.total_timesteps
"""
# By wrapper, why an environment needs it.
_REASONS: Final = {
    "FlattenObservation": "observations in parts become one vector",
    "TimeLimit: {max_episode_steps: 500}": "without it a policy that goes in circles never ends",
}
_PENALTY: Final = """\
  # Pays the same at every step, so that reaching the goal sooner is better.
  time:
    class: StepPenalty
    params: {penalty: -0.01}
    weight_schedule: {initial_weight: 1.0}
"""
_SEARCH_WEIGHT: Final = """\
    reward_shaping:
      {name}:
        weight_schedule:
          initial_weight: {{suggest: float, low: 0.01, high: 10.0, log: true}}
"""
_ROLLOUT: Final = "    n_steps: 256              # of each env between two updates\n"
_LEARNING_RATES: Final = {"DQN": "1.0e-3", "A2C": "7.0e-4", "DDPG": "1.0e-3", "TD3": "1.0e-3"}
_ON_POLICY: Final = ("PPO", "A2C", "TRPO", "RecurrentPPO", "MaskablePPO")


def init(
    env_id: Annotated[
        str, typer.Argument(metavar="ENV_ID", help="A Gymnasium id.", show_default=False)
    ],
    algo: Annotated[
        str, typer.Option(help="PPO, DQN, SAC or another Stable-Baselines3 algorithm.")
    ] = "PPO",
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("experiment.yaml"),
    imports: Imports = None,
) -> None:
    """Write a commented experiment file to start from.

    It is one that train and tune accept as it is.
    """
    if out.exists():
        rule = "must be a file that does not exist yet"
        remedy = "Nothing was overwritten; name another file."
        raise ConfigError(Problem((), rule, str(out), remedy, "--out"))
    import_modules(imports or ())
    text = _render_experiment(env_id, algo, out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # "x": another process may have made the file meanwhile.
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        rule = f"must be a file that can be written ({error.strerror})"
        raise ConfigError(Problem((), rule, str(out), "Choose another.", "--out")) from None
    typer.echo(f"Wrote {out}")
    typer.echo(f"Try it:   rllama-sb3 train {out} --steps 20_000")
    typer.echo(f"Tune it:  rllama-sb3 tune {out}")


def _render_experiment(env_id: str, algorithm: str, file: Path) -> str:
    from gymnasium import spaces

    from rllama_sb3.algorithms import CONTRIB_ALGORITHMS, CORE_ALGORITHMS
    from rllama_sb3.config import parse_experiment, parse_yaml
    from rllama_sb3.config.models import EnvConfig
    from rllama_sb3.envs.factory import build_env
    from rllama_sb3.experiment import check_experiment

    known = {name.casefold(): name for name in (*CORE_ALGORITHMS, *CONTRIB_ALGORITHMS)}
    if algorithm.casefold() not in known:
        remedy = did_you_mean(algorithm, known.values())
        raise ConfigError(Problem((), "must be an algorithm", algorithm, remedy, "--algo"))
    algorithm = known[algorithm.casefold()]
    env = build_env(EnvConfig(id=env_id))
    wrappers = _choose_wrappers(env)
    space = env.observation_space
    if "FlattenObservation" in wrappers:
        space = spaces.flatten_space(space)
    env.close()
    guess = _guess_potential(space)
    is_vector = isinstance(space, spaces.Box) and len(space.shape) == 1
    note = "  # normalize: true           # scale observations to zero mean, unit variance\n"
    text = _TEMPLATE.format(
        file=file,
        env_id=env_id,
        n_envs=8 if algorithm in _ON_POLICY else 1,
        normalize=note if is_vector else "",
        wrappers=_render_wrappers(wrappers),
        shaping=_POTENTIAL.format(guess=guess) if guess else _PENALTY,
        algorithm=algorithm,
        policy=_choose_policy(space),
        learning_rate=_LEARNING_RATES.get(algorithm, "3.0e-4"),
        more_params=_ROLLOUT if algorithm == "PPO" else "",
        search_shaping=_SEARCH_WEIGHT.format(name="progress" if guess else "time"),
    )
    problems = check_experiment(parse_experiment(parse_yaml(text, str(file))[0]))
    if problems:
        raise ConfigError(*problems)
    return text


def _choose_wrappers(env: gym.Env[Any, Any]) -> list[str]:
    from gymnasium import spaces

    parts = ["FlattenObservation"] if isinstance(env.observation_space, spaces.Tuple) else []
    has_limit = env.spec is not None and env.spec.max_episode_steps is not None
    return parts if has_limit else [*parts, "TimeLimit: {max_episode_steps: 500}"]


def _render_wrappers(wrappers: Sequence[str]) -> str:
    lines = [f"    - {wrapper}   # {_REASONS[wrapper]}\n" for wrapper in wrappers]
    return "".join(["  wrappers:\n", *lines]) if lines else ""


def _choose_policy(space: gym.Space[Any]) -> str:
    from gymnasium import spaces
    from stable_baselines3.common.preprocessing import is_image_space

    if isinstance(space, spaces.Dict):
        return "MultiInputPolicy"
    return "CnnPolicy" if is_image_space(space) else "MlpPolicy"


def _guess_potential(space: gym.Space[Any]) -> str | None:
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        return "obs"
    is_vector = isinstance(space, spaces.Box) and len(space.shape) == 1
    return "obs[0]" if is_vector else None
