"""Block expansion for vision transformers: fine-tuning without forgetting (arXiv 2404.17245)."""

from isopleth.lazy import lazy_names

__version__ = "0.1.0"

# Where each lazy name lives: torch and peft are loaded when one of them is asked for.
_HOMES = {
    "BlockExpansionConfig": "tuner",
    "BlockExpansionModel": "tuner",
    "Memory": "retention",
    "adapt": "train",
    "apply_method": "methods",
    "build_classifier": "model",
}

__all__ = [
    "BlockExpansionConfig",
    "BlockExpansionModel",
    "Memory",
    "adapt",
    "apply_method",
    "build_classifier",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES, __all__)
