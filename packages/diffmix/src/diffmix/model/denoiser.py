"""A small diffusion model in pixels, and its use as an editor (SDEdit)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor

from diffmix.config import SdeditConfig
from isopleth.errors import DataError

UNET, SCHEDULER = "unet", "scheduler"


def build_denoiser(config: SdeditConfig) -> UNet2DModel:
    """Build a U-Net with attention in its lowest level."""
    levels = len(config.widths)
    return UNet2DModel(
        sample_size=config.size, in_channels=config.channels, out_channels=config.channels,
        layers_per_block=config.layers, block_out_channels=tuple(config.widths), norm_num_groups=8,
        down_block_types=("DownBlock2D",) * (levels - 1) + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (levels - 1),
    )  # fmt: skip


def build_noising(config: SdeditConfig) -> DDPMScheduler:
    """Build the noising: the cosine schedule of Nichol and Dhariwal (2021), of pixels from -1 to 1."""
    return DDPMScheduler(
        num_train_timesteps=config.timesteps, beta_schedule="squaredcos_cap_v2", clip_sample=True
    )


def save_denoiser(folder: Path, network: UNet2DModel, noising: DDPMScheduler) -> None:
    """Write a folder that diffusers' own ``DDPMPipeline.from_pretrained`` loads."""
    build: Any = DDPMPipeline  # its annotations are of classes made for when torch is missing
    build(network, noising).save_pretrained(folder, safe_serialization=True)


def load_denoiser(folder: Path, device: torch.device | str = "cpu") -> tuple[UNet2DModel, DDIMScheduler]:
    """Read a network and its sampler from a folder.

    Raises
    ------
    DataError
        If a part is missing or damaged.
    """
    try:
        network = UNet2DModel.from_pretrained(folder / UNET, use_safetensors=True, local_files_only=True)
        sampler = DDIMScheduler.from_pretrained(folder / SCHEDULER, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"a generator must be a folder of diffusers, got {type(error).__name__}: {error}", where=folder,
            hint="diffmix train-generator writes one",
        ) from error  # fmt: skip
    torch.nn.Module.to(network, device)
    return network.eval(), sampler


@torch.no_grad()
def edit(
    network: UNet2DModel,
    sampler: DDIMScheduler,
    images: Tensor,
    seeds: Sequence[int],
    *,
    strength: float,
    steps: int,
) -> Tensor:
    r"""Add noise to images and take it away again: variations that keep what survives the noise.

    .. math:: x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon

    with t the time of `strength`, then DDIM without further noise down to 0 (Meng et al. 2022, SDEdit; Song
    et al. 2021). The noise of an image follows from its seed alone, on any device.

    Parameters
    ----------
    network, sampler
    images : Tensor of float, shape (image, channel, row, column)
        From 0 to 1.
    seeds : sequence of int
        One for each image.
    strength : float
        From 0 (the image itself) to 1 (nothing of it).
    steps : int
        Of the whole diffusion; `strength` of them are done.

    Returns
    -------
    Tensor, of the same shape, from 0 to 1.
    """
    sampler.set_timesteps(steps)
    times = sampler.timesteps[steps - round(steps * strength) :]
    if not len(times):
        return images
    noise = torch.stack(
        [torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(s)) for s in seeds]
    )
    solver: Any = sampler  # its annotations forbid what its code takes
    sample = solver.add_noise(2 * images - 1, noise.to(images), times[:1].expand(len(images)))
    for time in times:
        sample = solver.step(network(sample, time).sample, time, sample).prev_sample
    return ((sample + 1) / 2).clamp(0, 1)
