"""What can be set, and what it must be. Nothing heavy is imported here."""

from __future__ import annotations

from archesweather.config.data import (
    SAMPLE,
    SAMPLE_FIELDS,
    DemoConfig,
    PrepareConfig,
    SampleConfig,
    SplitConfig,
    StatisticsConfig,
)
from archesweather.config.forecasts import ClimatologyConfig, EvaluateConfig, PredictConfig
from archesweather.config.network import (
    FieldsConfig,
    GenerativeConfig,
    ModelConfig,
    NetworkConfig,
    SamplingConfig,
)
from archesweather.config.training import (
    ConvertConfig,
    FitConfig,
    LossConfig,
    TrainConfig,
    TrainGenerativeConfig,
)

__all__ = [
    "SAMPLE",
    "SAMPLE_FIELDS",
    "ClimatologyConfig",
    "ConvertConfig",
    "DemoConfig",
    "EvaluateConfig",
    "FieldsConfig",
    "FitConfig",
    "GenerativeConfig",
    "LossConfig",
    "ModelConfig",
    "NetworkConfig",
    "PredictConfig",
    "PrepareConfig",
    "SampleConfig",
    "SamplingConfig",
    "SplitConfig",
    "StatisticsConfig",
    "TrainConfig",
    "TrainGenerativeConfig",
]
