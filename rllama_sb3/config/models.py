"""The experiment file as pydantic models: pure data, checked for shape and range.

What a name refers to (an environment, a component class, a schedule, an algorithm) is checked by
the module that can build it; these models know only that it is a name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

Count = Annotated[StrictInt, Field(ge=1)]
# An integer is a number here, and becomes a float; true is none.
Weight = Annotated[float, Field(strict=True, allow_inf_nan=False)]
OneKey = Annotated[dict[str, dict[str, Any]], Field(min_length=1, max_length=1)]
Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0.0)]
Named = StrictStr | dict[str, Any]
Seed = Annotated[StrictInt, Field(ge=0, lt=2**31)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class NormalizeConfig(_Section):
    """What ``VecNormalize`` scales by running statistics."""

    obs: StrictBool = Field(True, description="Scale observations to zero mean, unit variance.")
    reward: StrictBool = Field(False, description="Scale the shaped reward that is trained on.")


class EnvConfig(_Section):
    """Which environment, and how many copies of it run side by side."""

    id: StrictStr = Field(description="A registered Gymnasium id.", examples=["MountainCar-v0"])
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Arguments of gym.make.")
    wrappers: list[StrictStr | OneKey] = Field(
        default_factory=list,
        description="Gymnasium wrappers below the shaper: a name from gymnasium.wrappers or "
        "package.module:Class, with arguments as a one-key mapping.",
    )
    n_envs: Count = Field(1, description="Training environments stepped together.")
    vec_env: Literal["dummy", "subproc"] = Field(
        "dummy", description="One process for all environments, or one for each."
    )
    shaping: Literal["auto", "wrapper", "vec"] = Field(
        "auto",
        description="Rewards are computed by a wrapper around each environment, or for all at "
        "once; auto takes what is faster. The rewards are the same.",
    )
    normalize: StrictBool | NormalizeConfig = Field(
        False, description="true scales observations; or say which of {obs, reward}."
    )


class WeightScheduleConfig(BaseModel):
    """The weight of a component over global steps; further keys depend on the type."""

    model_config = ConfigDict(extra="allow", frozen=True)

    initial_weight: Weight = Field(1.0, description="The weight at step 0.")
    schedule_type: StrictStr = Field(
        "constant",
        description="constant, linear, exponential, cosine, piecewise, or a registered one.",
    )


class ComponentConfig(_Section):
    """One named source of reward."""

    class_: StrictStr = Field(alias="class", description="A registered component.")
    params: dict[str, Any] = Field(default_factory=dict, description="Its arguments.")
    weight_schedule: WeightScheduleConfig = Field(default_factory=WeightScheduleConfig)


class AlgorithmConfig(_Section):
    """Which Stable-Baselines3 algorithm, with which arguments."""

    name: StrictStr = Field(description="PPO, DQN, SAC, ...", examples=["PPO", "DQN"])
    policy: StrictStr = Field("MlpPolicy", description="MlpPolicy, CnnPolicy, MultiInputPolicy.")
    params: dict[str, Any] = Field(default_factory=dict, description="Constructor arguments.")


class TrainingConfig(_Section):
    """How long to train, and from which seed."""

    total_timesteps: Count = Field(description="Environment steps, summed over environments.")
    seed: Seed = Field(0, description="Seeds the algorithm and the environments.")
    torch_threads: Count = Field(
        1, description="Torch threads; results differ between counts, so it is fixed."
    )


class EvaluationConfig(_Section):
    """How a policy is judged: always by the return of the original environment."""

    n_episodes: Count = Field(20, description="Episodes of each evaluation.")
    n_evaluations: Count = Field(10, description="Evaluations over the training, evenly spaced.")
    deterministic: StrictBool = Field(True, description="Take the policy's most likely action.")
    n_envs: Count = Field(10, description="Evaluation environments stepped together.")


class ConstraintConfig(_Section):
    """What must hold between values of the config for a trial to be trained."""

    expression: StrictStr = Field(
        description="True where it holds, over the names in where.",
        examples=["steps * envs % batch == 0"],
    )
    where: Annotated[dict[StrictStr, StrictStr], Field(min_length=1)] = Field(
        description="By the names in the expression the dotted paths of the config they stand for.",
    )


class ObjectiveConfig(_Section):
    """One more number that trials are judged by, beside the env return."""

    component: StrictStr = Field(
        description="A component of reward_shaping: the sum of its raw values over an episode, "
        "whatever its weight."
    )
    direction: Literal["maximize", "minimize"] = Field(description="Which way is better.")


class TuningConfig(_Section):
    """How reward and algorithm are searched together."""

    n_trials: Count = Field(40, description="Trials of the study in total, over all runs of it.")
    seeds_per_trial: Count = Field(
        1, description="Training runs that one trial averages, from the same seeds in all trials."
    )
    sampler: Named = Field(
        "tpe", description="Who proposes: a name, or {name: ...} with parameters beside it."
    )
    pruner: Named = Field(
        "median",
        description="Who stops trials that fall behind: a name, or {name: ...} with parameters.",
    )
    prune_during_anneal: StrictBool = Field(
        False,
        description="Let the pruner stop a trial while its weight schedules still change.",
    )
    objective: StrictStr = Field(
        "last",
        description="Which evaluations of a run make its value: last, best, auc for the mean of "
        "all, or mean-k for that of the last k.",
        json_schema_extra={"pattern": "^(last|best|auc|mean-[1-9][0-9]*)$"},
        examples=["last", "best", "auc", "mean-3"],
    )
    variance_penalty: NotNegative = Field(
        0.0, description="Times the standard deviation over seeds, taken off a trial's value."
    )
    trial_timeout: Seconds | None = Field(
        None, description="Seconds after which a trial is ended, as failed."
    )
    objectives: dict[str, ObjectiveConfig] = Field(
        default_factory=dict,
        description="By name what trials are judged by beside the env return; the result is then a "
        "Pareto front.",
    )
    seed: Seed = Field(0, description="Root of the sampler's, tuning and test seeds.")
    n_top_configs: Count = Field(
        3, description="Best configs that are trained again on test seeds after the search."
    )
    n_test_seeds: Count = Field(5, description="Test seeds of that comparison.")
    enqueue: list[dict[str, Any]] = Field(
        default_factory=list,
        description="Trials to begin with, after the config as it stands and the same without "
        "shaping: fragments of this file that say what is different.",
    )
    constraints: dict[str, ConstraintConfig] = Field(
        default_factory=dict,
        description="By name what must hold between values; a trial where one does not is pruned.",
    )
    search_space: dict[str, Any] = Field(
        default_factory=dict,
        description="Mirrors this file; a leaf {suggest: float|int|categorical, ...} is searched.",
    )


class ExperimentConfig(_Section):
    """A whole experiment: environment, reward, algorithm, training, judging and search.

    Example:
        >>> config = ExperimentConfig.model_validate({
        ...     "env": {"id": "CartPole-v1"},
        ...     "algorithm": {"name": "PPO"},
        ...     "training": {"total_timesteps": 1_000},
        ... })
        >>> config.env.n_envs, config.evaluation.deterministic
        (1, True)
    """

    env: EnvConfig
    reward_shaping: dict[str, ComponentConfig] = Field(
        default_factory=dict,
        description="Components by name; empty trains on the environment's own reward.",
    )
    algorithm: AlgorithmConfig
    training: TrainingConfig
    evaluation: EvaluationConfig = Field(default_factory=lambda: EvaluationConfig())
    tuning: TuningConfig = Field(default_factory=lambda: TuningConfig())

    def to_dict(self) -> dict[str, Any]:
        """Returns the config as plain values, defaults included, that parse back to it."""
        return self.model_dump(by_alias=True, mode="python")
