"""What can be set, and what it must be. Nothing heavy is imported here."""

from climalign.config.model import (
    KINDS,
    Conserve,
    FieldConfig,
    FlowConfig,
    Kind,
    ModelConfig,
    SamplingConfig,
)
from climalign.config.training import (
    FitConfig,
    Mode,
    ObjectiveConfig,
    Period,
    SplitConfig,
    TrainConfig,
)
from climalign.config.verbs import (
    BaselineConfig,
    BmdConfig,
    CrossvalidateConfig,
    DemoConfig,
    EvaluateConfig,
    PredictConfig,
    PrepareConfig,
    WorldConfig,
)

__all__ = [
    "KINDS",
    "BaselineConfig",
    "BmdConfig",
    "Conserve",
    "CrossvalidateConfig",
    "DemoConfig",
    "EvaluateConfig",
    "FieldConfig",
    "FitConfig",
    "FlowConfig",
    "Kind",
    "Mode",
    "ModelConfig",
    "ObjectiveConfig",
    "Period",
    "PredictConfig",
    "PrepareConfig",
    "SamplingConfig",
    "SplitConfig",
    "TrainConfig",
    "WorldConfig",
]
