"""What can be set, and what it must be. Nothing heavy is imported here."""

from conservation_decisions.config.commands import (
    AllocateConfig,
    CheckConfig,
    DemoConfig,
    EvaluateConfig,
    ExportConfig,
    ImportConfig,
    InterveneConfig,
    OutputConfig,
    PlanConfig,
)
from conservation_decisions.config.problem import (
    OBJECTIVES,
    ProblemConfig,
    SampleConfig,
    SolverConfig,
    UncertaintyConfig,
)
from conservation_decisions.config.study import StudyConfig

__all__ = [
    "OBJECTIVES",
    "AllocateConfig",
    "CheckConfig",
    "DemoConfig",
    "EvaluateConfig",
    "ExportConfig",
    "ImportConfig",
    "InterveneConfig",
    "OutputConfig",
    "PlanConfig",
    "ProblemConfig",
    "SampleConfig",
    "SolverConfig",
    "StudyConfig",
    "UncertaintyConfig",
]
