"""The experiment file: its shape, its reading with line numbers, its merging. Pure data."""

from rllama_sb3.config.loading import Document, load_reward_config, read_yaml
from rllama_sb3.config.merging import (
    apply_overrides,
    merge_configs,
    override_document,
    parse_override,
)
from rllama_sb3.config.models import (
    AlgorithmConfig,
    ComponentConfig,
    ConstraintConfig,
    EnvConfig,
    EvaluationConfig,
    ExperimentConfig,
    NormalizeConfig,
    ObjectiveConfig,
    TrainingConfig,
    TuningConfig,
    WeightScheduleConfig,
)
from rllama_sb3.config.schema import experiment_schema
from rllama_sb3.config.validation import (
    parse_experiment,
    parse_sections,
    problems_from_validation_error,
)
from rllama_sb3.config.yaml_text import dump_yaml, parse_yaml

__all__ = [
    "AlgorithmConfig",
    "ComponentConfig",
    "ConstraintConfig",
    "Document",
    "EnvConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "NormalizeConfig",
    "ObjectiveConfig",
    "TrainingConfig",
    "TuningConfig",
    "WeightScheduleConfig",
    "apply_overrides",
    "dump_yaml",
    "experiment_schema",
    "load_reward_config",
    "merge_configs",
    "override_document",
    "parse_experiment",
    "parse_override",
    "parse_sections",
    "parse_yaml",
    "problems_from_validation_error",
    "read_yaml",
]
