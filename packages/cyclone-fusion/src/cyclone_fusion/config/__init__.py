"""What can be set, and what it must be. Nothing heavy is imported here."""

from cyclone_fusion.config.data import (
    SAMPLE,
    AtmosphereConfig,
    PrepareConfig,
    SampleConfig,
    SplitConfig,
    WindowConfig,
)
from cyclone_fusion.config.forecasts import DemoConfig, EvaluateConfig, PredictConfig
from cyclone_fusion.config.network import FusionConfig, NetworkConfig
from cyclone_fusion.config.training import FitConfig, StageConfig, TrainConfig

__all__ = [
    "SAMPLE",
    "AtmosphereConfig",
    "DemoConfig",
    "EvaluateConfig",
    "FitConfig",
    "FusionConfig",
    "NetworkConfig",
    "PredictConfig",
    "PrepareConfig",
    "SampleConfig",
    "SplitConfig",
    "StageConfig",
    "TrainConfig",
    "WindowConfig",
]
