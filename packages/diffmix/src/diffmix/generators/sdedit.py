"""Variations by a small diffusion model of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffmix.generators import hash_weights
from diffmix.pixels import cut_square

if TYPE_CHECKING:
    import torch
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from PIL.Image import Image


class Sdedit:
    """Noise and denoise: a variation that keeps what survives the noise.

    Parameters
    ----------
    network : UNet2DModel
    sampler : DDIMScheduler
    strength : float
    steps : int
    weights : str
        A hash, for the manifest.
    """

    def __init__(
        self, network: UNet2DModel, sampler: DDIMScheduler, *, strength: float, steps: int, weights: str = ""
    ) -> None:
        self.network, self.sampler = network, sampler
        self.strength, self.steps, self.weights = strength, steps, weights

    @classmethod
    def load(cls, folder: Path, *, strength: float, steps: int, device: torch.device) -> Sdedit:
        """Read a model that ``train-generator`` wrote."""
        from diffmix.model.denoiser import load_denoiser

        network, sampler = load_denoiser(folder, device)
        return cls(network, sampler, strength=strength, steps=steps, weights=hash_weights(folder))

    def describe(self) -> dict[str, Any]:
        """Return kind, strength, steps and a hash of the weights."""
        return {"kind": "sdedit", "strength": self.strength, "steps": self.steps, "weights": self.weights}

    def generate(
        self,
        images: Sequence[Image],
        ids: Sequence[str],  # noqa: ARG002 - the protocol's
        seeds: Sequence[int],
    ) -> list[np.ndarray]:
        """Make variations in the model's own size."""
        settings: Any = self.network.config
        squares = [cut_square(image, settings.sample_size, settings.in_channels) for image in images]
        return list(self.vary(np.stack(squares), seeds).transpose(0, 2, 3, 1))

    def vary(self, pixels: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
        """Make variations of arrays.

        Parameters
        ----------
        pixels : array of uint8, shape (image, channel, row, column)
            In the model's own size.
        seeds : sequence of int

        Returns
        -------
        array of float32, of the same shape, from 0 to 1
        """
        import torch

        from diffmix.model.denoiser import edit

        start = torch.from_numpy(pixels).to(self.network.device).float() / 255
        made = edit(self.network, self.sampler, start, seeds, strength=self.strength, steps=self.steps)
        return made.cpu().numpy()
