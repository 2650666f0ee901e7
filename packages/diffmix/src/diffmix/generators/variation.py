"""Stable Diffusion: image variations as published, and image to image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from diffmix.config import GeneratorConfig
from diffmix.generators import hash_weights
from isopleth.errors import DataError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

# Of CLIP's own training (Radford et al. 2021).
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class Variation:
    """Stable Diffusion image variations: the real image is seen through one CLIP embedding alone.

    Its layout is not kept, its content is (Bafghi et al. 2024; the released code of arXiv 2406.12368).

    Parameters
    ----------
    pipeline : diffusers.StableDiffusionImageVariationPipeline
    config : GeneratorConfig
    weights : str
        A hash or a revision, for the manifest.
    """

    pipeline_name = "StableDiffusionImageVariationPipeline"

    def __init__(self, pipeline: Any, config: GeneratorConfig, *, weights: str = "") -> None:
        self.pipeline, self.config, self.weights = pipeline, config, weights
        pipeline.set_progress_bar_config(disable=True)
        set_scheduler(pipeline, config.scheduler)

    @classmethod
    def load(cls, config: GeneratorConfig, *, device: torch.device) -> Self:
        """Read the pipeline from a folder, from the hub's cache, or, if asked, from the hub."""
        import diffusers
        import torch

        half = config.half and device.type == "cuda"
        folder = Path(config.model)
        try:
            # Without the safety checker: it turns what it flags black, which would be a twin of nothing.
            pipeline = getattr(diffusers, cls.pipeline_name).from_pretrained(
                config.model, revision=config.revision, local_files_only=not config.download,
                use_safetensors=folder.is_dir() or None,
                safety_checker=None, requires_safety_checker=False,
            )  # fmt: skip
        except (OSError, ValueError, RuntimeError) as error:
            hint = "nothing is fetched unless asked: --generator.download true"
            raise DataError(
                f"a generator must be a folder of diffusers or a hub id, got {type(error).__name__}",
                where=config.model, hint=None if config.download or folder.is_dir() else hint,
            ) from error  # fmt: skip
        weights = hash_weights(folder) if folder.is_dir() else str(config.revision or "main")
        return cls(pipeline.to(device, torch.float16 if half else torch.float32), config, weights=weights)

    def describe(self) -> dict[str, Any]:
        """Return the settings that matter, and the hash of the weights or their revision."""
        unused = {"download", "revision", "model"} | (
            {"strength", "prompt"} if type(self) is Variation else set()
        )
        settings = {name: value for name, value in asdict(self.config).items() if name not in unused}
        return {**settings, "model": Path(self.config.model).name, "weights": self.weights}

    def generate(
        self,
        images: Sequence[Image],
        ids: Sequence[str],  # noqa: ARG002 - the protocol's
        seeds: Sequence[int],
    ) -> list[np.ndarray]:
        """Make variations, `resolution` pixels a side."""
        pictures = [image.convert("RGB") for image in images]
        published = self.config.preprocessing == "published"
        size = self.pipeline.image_encoder.config.image_size
        return self._run(seeds, image=prepare_for_clip(pictures, size) if published else pictures,
                         height=self.config.resolution, width=self.config.resolution)  # fmt: skip

    def _run(self, seeds: Sequence[int], **inputs: Any) -> list[np.ndarray]:
        import torch

        # Drawn on the CPU: the same numbers on every device.
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        made = self.pipeline(
            **inputs, num_inference_steps=self.config.steps, guidance_scale=self.config.guidance,
            generator=generators, output_type="np",
        ).images  # fmt: skip
        return [np.asarray(image, np.float32) for image in made]


class Img2img(Variation):
    """Stable Diffusion from a real image that noise of `strength` was added to: layout is kept."""

    pipeline_name = "StableDiffusionImg2ImgPipeline"

    def generate(
        self,
        images: Sequence[Image],
        ids: Sequence[str],  # noqa: ARG002 - the protocol's
        seeds: Sequence[int],
    ) -> list[np.ndarray]:
        """Make variations, `resolution` pixels a side."""
        from PIL import Image, ImageOps

        size = (self.config.resolution, self.config.resolution)
        pictures = [ImageOps.fit(image.convert("RGB"), size, Image.Resampling.BICUBIC) for image in images]
        prompts = [self.config.prompt] * len(images)
        return self._run(seeds, image=pictures, prompt=prompts, strength=self.config.strength)


def prepare_for_clip(images: Sequence[Image], size: int = 224) -> torch.Tensor:
    """Resize as the checkpoint was trained with: bicubic, squeezed to a square, without antialiasing.

    Parameters
    ----------
    images : sequence of PIL.Image
        RGB.
    size : int

    Returns
    -------
    Tensor, shape (image, 3, size, size)
        Standardised with CLIP's moments.
    """
    import torch
    from torchvision.transforms.v2 import functional  # type: ignore[import-untyped]

    ready = [
        functional.resize(
            functional.pil_to_tensor(image).float() / 255, [size, size],
            interpolation=functional.InterpolationMode.BICUBIC, antialias=False,
        )
        for image in images
    ]  # fmt: skip
    return functional.normalize(torch.stack(ready), list(_CLIP_MEAN), list(_CLIP_STD))


def set_scheduler(pipeline: Any, name: str) -> None:
    """Put another sampler in a pipeline, with the noise schedule of its own."""
    import diffusers

    if name == "ddim":
        # Latents have no bounds to clip to.
        pipeline.scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    elif name == "dpm++":
        pipeline.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
