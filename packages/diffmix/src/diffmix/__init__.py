"""Self-supervised pre-training on pairs of real and synthetic images (DiffMix, arXiv 2406.12368)."""

from isopleth.lazy import lazy_names

__version__ = "0.1.0"

# Where each lazy name lives: torch is loaded when one of them is asked for.
_HOMES = {
    "Pairs": "pairs",
    "Sdedit": "generators.sdedit",
    "Variation": "generators.variation",
    "ViewGenerator": "generators",
    "augment": "views",
    "build_encoder": "model.encoder",
    "build_generator": "generators",
    "build_module": "train",
    "generate_twins": "generation",
    "open_pairs": "pairs",
    "open_source": "sources",
    "prepare_pairs": "prepare",
    "pretrain": "train",
    "train_generator": "train_generator",
}

__all__ = [
    "Pairs",
    "Sdedit",
    "Variation",
    "ViewGenerator",
    "augment",
    "build_encoder",
    "build_generator",
    "build_module",
    "generate_twins",
    "open_pairs",
    "open_source",
    "prepare_pairs",
    "pretrain",
    "train_generator",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES, __all__)
