"""Train the small diffusion model on unlabelled images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from diffmix.config import TrainGeneratorConfig
from diffmix.model.denoiser import build_denoiser, build_noising, save_denoiser
from diffmix.pixels import cut_square
from diffmix.sources import open_source
from isopleth.train import adamw, fit, seed_everything, step_config, warm_schedule

FOLDER = "generator"


class Denoising(L.LightningModule):
    r"""Learn to tell the noise in a noisy image.

    .. math:: \mathbb{E}_{x, \epsilon, t} \lVert \epsilon - \epsilon_\theta(x_t, t) \rVert^2

    (Ho et al. 2020, eq. 14.)

    Parameters
    ----------
    network : UNet2DModel
    config : TrainGeneratorConfig
    """

    def __init__(self, network: UNet2DModel, config: TrainGeneratorConfig) -> None:
        super().__init__()
        self.network, self.config = network, config
        self.noising: Any = build_noising(config.network)

    def training_step(self, batch: list[Tensor], _batch_index: int) -> Tensor:
        """Return the mean squared error of a batch of bytes."""
        images = batch[0].float() / 127.5 - 1
        if self.config.flip:
            mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
            images = torch.where(mirrored, images.flip(-1), images)
        noise = torch.randn_like(images)
        times = torch.randint(self.config.network.timesteps, (len(images),), device=images.device)
        noisy = self.noising.add_noise(images, noise, times)
        loss = functional.mse_loss(self.network(noisy, times).sample.float(), noise)
        self.log("train_loss", loss.detach())
        return loss

    def configure_optimizers(self) -> Any:
        """Return AdamW and a cosine after a short warm-up."""
        optimizer = adamw(self, lr=self.config.learning_rate, weight_decay=1e-4)
        steps = self.config.steps
        return step_config(optimizer, warm_schedule(optimizer, total_steps=steps, warmup_steps=steps // 20))


def train_generator(pixels: np.ndarray, config: TrainGeneratorConfig) -> UNet2DModel:
    """Train a model and write it to the folder ``generator`` of the run.

    Parameters
    ----------
    pixels : array of uint8, shape (image, channel, row, column)
        Training images only; a test image in here would have a twin in what is trained.
    config : TrainGeneratorConfig

    Returns
    -------
    UNet2DModel
        In evaluation mode, on the CPU.
    """
    seed_everything(config.runtime.seed)
    module = Denoising(build_denoiser(config.network), config)
    loader = DataLoader(
        TensorDataset(torch.from_numpy(pixels)), batch_size=min(config.batch_size, len(pixels)), shuffle=True,
        drop_last=True, num_workers=config.runtime.workers,
    )  # fmt: skip
    fit(
        module, loader, run_dir=config.out, runtime=replace(config.runtime, ema=config.ema or None),
        resume=config.resume, max_steps=config.steps, config=config, gradient_clip=1.0,
    )  # fmt: skip
    network = module.network.cpu().eval()
    save_denoiser(config.out / FOLDER, network, module.noising)
    return network


def train_generator_from_source(config: TrainGeneratorConfig) -> dict[str, Any]:
    """Read images and train on them: the verb ``train-generator``."""
    source = open_source(config.source)
    size, channels = config.network.size, config.network.channels
    pixels = np.stack([cut_square(source.read(number), size, channels) for number in range(len(source.ids))])
    network = train_generator(pixels, config)
    return {
        "generator": str(Path(config.out) / FOLDER),
        "images": len(pixels),
        "parameters": sum(weight.numel() for weight in network.parameters()),
    }
