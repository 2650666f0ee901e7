"""Block expansion for vision transformers: fine-tuning without forgetting (arXiv 2404.17245)."""

__version__ = "0.1.0"
