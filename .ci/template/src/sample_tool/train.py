"""Train a network on pairs of frames."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor

from isopleth.data import make_loader, open_store
from isopleth.train import (
    FitResult,
    adamw,
    fit,
    is_main_process,
    load_checkpoint,
    seed_everything,
    step_config,
    warm_schedule,
)
from sample_tool.config import FitConfig, ModelConfig, TrainConfig
from sample_tool.data import make_windows
from sample_tool.model import Network

Batch = dict[str, Tensor]


class Training(L.LightningModule):
    """One step of training.

    Parameters
    ----------
    network : Network
    settings : FitConfig
    area : Tensor, shape (lat, 1)
        Area of a cell in each row; its mean is 1.
    periodic : bool
        Whether the columns go around the globe.
    """

    area: Tensor

    def __init__(self, network: Network, settings: FitConfig, area: Tensor, *, periodic: bool) -> None:
        super().__init__()
        self.network, self.settings, self.periodic = network, settings, periodic
        self.register_buffer("area", area, persistent=False)

    def training_step(self, batch: Batch, _batch_index: int) -> Tensor:
        """Return the loss of a batch."""
        loss = self._loss(batch)
        self.log("train_loss", loss.detach())
        return loss

    def validation_step(self, batch: Batch, _batch_index: int) -> None:
        """Log the loss of a batch."""
        self.log("val_loss", self._loss(batch), batch_size=len(batch["index"]), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Return AdamW with a short warm-up and a cosine that ends at 0."""
        steps = self.settings.max_steps
        optimizer = adamw(self, lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay)
        return step_config(optimizer, warm_schedule(optimizer, total_steps=steps, warmup_steps=steps // 20))

    def _loss(self, batch: Batch) -> Tensor:
        forecast = self.network(batch["inputs"][:, 0], periodic=self.periodic)
        return (self.area * (forecast - batch["targets"][:, 0]).square()).mean()


def train_network(config: TrainConfig) -> tuple[Network, FitResult]:
    """Train a network and keep the weights that validated best.

    Returns
    -------
    Network
        In evaluation mode; also saved to the run's folder ``pretrained``.
    FitResult
    """
    store = open_store(config.data)
    windows = make_windows(store)
    seed_everything(config.runtime.seed)  # the first weights are the seed's, whatever ran before
    network = Network(ModelConfig(channels=store.channels, network=config.network), store.normaliser)
    area = torch.as_tensor(store.grid.weights / store.grid.weights.mean(), dtype=torch.float32)[:, None]
    module = Training(network, config.fit, area, periodic=store.grid.is_periodic)
    size = min(config.fit.batch_size, len(windows["train"]))
    result = fit(
        module,
        make_loader(
            windows["train"], batch_size=size, shuffle=True, seed=config.runtime.seed, drop_last=True
        ),
        make_loader(windows["validate"], batch_size=config.fit.batch_size, shuffle=False),
        run_dir=config.out,
        runtime=config.runtime,
        max_steps=config.fit.max_steps,
        validate_every=min(config.fit.validate_every, config.fit.max_steps),
        resume=config.resume,
        config=config,
    )
    module.load_state_dict(load_checkpoint(result.checkpoint)["state_dict"])
    network.eval()
    if is_main_process():
        network.save_pretrained(result.run.pretrained)
    return network, result


def train_model(config: TrainConfig) -> dict[str, Any]:
    """Train a network on prepared frames: the verb ``train``."""
    config.runtime.apply()
    network, result = train_network(config)
    return {
        "run": str(config.out),
        "pretrained": str(result.run.pretrained),
        "channels": list(network.config.channels),
        "steps": result.steps,
        "seconds": round(result.seconds, 1),
        "val_loss": result.best_score,
    }
