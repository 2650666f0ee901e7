"""What can be set, and what it must be. Nothing heavy is imported here."""

from __future__ import annotations

from diffmix.config.evaluation import EvaluateConfig, ProbeConfig
from diffmix.config.generation import (
    GenerateConfig,
    GeneratorConfig,
    PrepareConfig,
    SdeditConfig,
    TrainGeneratorConfig,
)
from diffmix.config.study import Arm, DemoConfig, StudyConfig
from diffmix.config.training import (
    EncoderConfig,
    ExportConfig,
    FitConfig,
    MethodConfig,
    PushConfig,
    TrainConfig,
    ViewConfig,
)

__all__ = [
    "Arm",
    "DemoConfig",
    "EncoderConfig",
    "EvaluateConfig",
    "ExportConfig",
    "FitConfig",
    "GenerateConfig",
    "GeneratorConfig",
    "MethodConfig",
    "PrepareConfig",
    "ProbeConfig",
    "PushConfig",
    "SdeditConfig",
    "StudyConfig",
    "TrainConfig",
    "TrainGeneratorConfig",
    "ViewConfig",
]
