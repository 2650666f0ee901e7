"""Self-supervised training on pairs: SimCLR, Barlow Twins and DINO."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diffmix.batches import Batch, make_loader
from diffmix.collapse import CollapseWatch
from diffmix.config import TrainConfig
from diffmix.loss import DistillationLoss, PairLoss
from diffmix.model.encoder import Encoder, PrototypeHead, build_encoder, build_projector
from diffmix.model.optimiser import build_optimiser, cosine_between, set_weight_decay
from diffmix.pairs import Pairs, open_pairs
from diffmix.views import Recipe, augment, make_recipe
from isopleth.errors import ConfigError
from isopleth.train import fit, seed_everything, step_config, warm_schedule

FOLDER = "encoder"


class Pretraining(L.LightningModule):
    """What the methods share: sides and views of a batch, the optimiser, what collapse is seen by.

    Attributes
    ----------
    features : Tensor, shape (view, feature)
        Of the encoder for the last batch, without gradients.
    last_loss : Tensor
    """

    features: Tensor
    last_loss: Tensor

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder: Encoder = build_encoder(config.encoder, crops=config.method.kind == "dino")

    def setup(self, stage: str) -> None:  # noqa: ARG002 - Lightning's
        """Let batch norms share their moments where they can: before DDP takes hold of the module."""
        if can_share_moments(self.trainer.world_size, self.trainer.strategy.root_device):
            for name, part in list(self.named_children()):
                setattr(self, name, nn.SyncBatchNorm.convert_sync_batchnorm(part))

    @property
    def trained_encoder(self) -> Encoder:
        """The encoder to use."""
        return self.encoder

    def chance(self) -> float | None:
        """Return the loss of outputs that say nothing."""
        raise NotImplementedError

    def make_view(self, images: Tensor, synthetic: Tensor, recipe: Recipe) -> Tensor:
        """Augment images of both domains, synthetic ones as the config says.

        Parameters
        ----------
        images : Tensor of uint8, shape (batch, channel, row, column)
        synthetic : Tensor of bool, shape (batch,)
        recipe : Recipe
        """
        how = self.config.views.augment_synthetic
        return augment(
            images, recipe, crops=~synthetic if how == "none" else None,
            colours=None if how == "full" else ~synthetic,
        )  # fmt: skip

    def remember(self, features: Tensor, loss: Tensor) -> None:
        """Log the loss, and keep what collapse is seen by."""
        self.features, self.last_loss = features.detach(), loss.detach()
        self.log("train_loss", loss.detach())

    def configure_optimizers(self) -> Any:
        """Return the optimiser, its rate in proportion to the batch, a warm-up and a cosine."""
        config = self.config.fit
        rate = config.base_learning_rate * config.batch_size * self.trainer.world_size / 256
        optimizer = build_optimiser(self, config, rate=rate)
        total = max(int(self.trainer.estimated_stepping_batches), 1)
        schedule = warm_schedule(
            optimizer,
            total_steps=total,
            warmup_steps=min(int(config.warmup_share * total), total - 1),
            floor=config.floor,
        )
        return step_config(optimizer, schedule)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Set the decay of this step, which follows from its number alone."""
        config = self.config.fit
        if config.final_weight_decay is not None:
            set_weight_decay(
                optimizer, cosine_between(config.weight_decay, config.final_weight_decay, self.done())
            )

    def done(self) -> float:
        """Return the share of all steps that are done, from 0 to 1."""
        return self.trainer.global_step / max(self.trainer.estimated_stepping_batches, 1)

    def epoch(self) -> float:
        """Return the epochs that are done, with the begun one's share."""
        return self.trainer.global_step / max(int(self.trainer.num_training_batches), 1)

    def sides(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Give images and domains of a batch; a sequential training has one domain after the other."""
        images, synthetic = batch["images"], batch["synthetic"]
        if self.config.views.mode == "sequential":
            late = self.trainer.global_step >= self.trainer.estimated_stepping_batches / 2
            side = slice(0, 1) if late else slice(1, 2)
            return images[:, side], synthetic[:, side]
        return images, synthetic


class PairTraining(Pretraining):
    """SimCLR and Barlow Twins: one forward pass of both views, real and synthetic in one batch norm.

    Parameters
    ----------
    config : TrainConfig
    """

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        self.projector = build_projector(self.encoder.dim, config.method)
        self.loss = PairLoss(config.method)
        size = config.encoder.image_size
        self.recipes = tuple(make_recipe(config.views, size, second=second) for second in (False, True))

    def chance(self) -> float | None:
        """Return the loss of equal projections."""
        return self.loss.chance(self.config.fit.batch_size * self.trainer.world_size)

    def training_step(self, batch: Batch, _batch_index: int) -> Tensor:
        """Return the loss of a batch of pairs."""
        images, synthetic = self.sides(batch)
        sides = choose_sides(images, synthetic, random=self.config.views.random_sides)
        views = [self.make_view(*side, recipe) for side, recipe in zip(sides, self.recipes, strict=True)]
        features = self.encoder(torch.cat(views))
        loss = self.loss(*self.projector(features).chunk(2))
        self.remember(features, loss)
        return loss


class DinoTraining(Pretraining):
    """DINO: from large and small crops a student predicts what its own average says of the large ones.

    Of the large crops one is real and one synthetic; of the small ones `n_local_synthetic` are synthetic, and
    only the student sees them.

    Parameters
    ----------
    config : TrainConfig
    """

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        self.head = PrototypeHead(self.encoder.dim, config.method)
        self.teacher = copy.deepcopy(nn.ModuleDict({"encoder": self.encoder, "head": self.head}))
        self.teacher.requires_grad_(requires_grad=False)
        self.loss = DistillationLoss(config.method)
        views, size = config.views, config.encoder.image_size
        self.large = tuple(
            make_recipe(views, size, area=views.global_area, second=second) for second in (False, True)
        )
        self.small = make_recipe(views, views.local_size, area=views.local_area)
        self._stepped = 0

    @property
    def trained_encoder(self) -> Encoder:
        """The teacher's."""
        encoder: Any = self.teacher["encoder"]
        return encoder

    def chance(self) -> float | None:
        """Return ln K."""
        return self.loss.chance()

    def training_step(self, batch: Batch, _batch_index: int) -> Tensor:
        """Return the loss of a batch."""
        images, synthetic = self.sides(batch)
        sides = choose_sides(images, synthetic, random=self.config.views.random_sides)
        large = torch.cat(
            [self.make_view(*side, recipe) for side, recipe in zip(sides, self.large, strict=True)]
        )
        with torch.no_grad():
            taught = self.teacher["head"](self.teacher["encoder"](large)).chunk(2)
        features = self.encoder(large)
        logits = list(self.head(features).chunk(2))
        logits += self._see_small(images, synthetic)
        loss = self.loss(taught, logits, epoch=self.epoch())
        self.remember(features, loss)
        return loss

    def on_after_backward(self) -> None:
        """Hold the prototypes still at first."""
        if self.current_epoch < self.config.method.freeze_last_epochs:
            self.head.prototypes.grad = None

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,  # noqa: ARG002 - Lightning's
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002 - Lightning's
    ) -> None:
        """Clip every parameter's gradient by its own norm, as DINO's released code does."""
        if gradient_clip_val is not None:
            for weight in self.parameters():
                if weight.grad is not None:
                    nn.utils.clip_grad_norm_(weight, gradient_clip_val)

    def on_train_start(self) -> None:
        """Note where a resumed run is."""
        self._stepped = self.trainer.global_step

    def on_train_batch_end(self, *_: Any) -> None:
        """Move the teacher, once the optimiser has made its step."""
        if self.trainer.global_step == self._stepped:
            return  # in the middle of an accumulation
        self._stepped = self.trainer.global_step
        momentum = cosine_between(self.config.method.teacher_momentum, 1.0, self.done())
        follow(self.teacher["encoder"], self.encoder, momentum)
        follow(self.teacher["head"], self.head, momentum)

    def _see_small(self, images: Tensor, synthetic: Tensor) -> list[Tensor]:
        """Return the student's logits of the small crops, seen in one pass."""
        views = self.config.views
        if not views.n_local:
            return []
        numbers = [-1] * views.n_local_synthetic + [0] * (views.n_local - views.n_local_synthetic)
        crops = [self.make_view(images[:, side], synthetic[:, side], self.small) for side in numbers]
        return list(self.head(self.encoder(torch.cat(crops))).chunk(views.n_local))


def can_share_moments(processes: int, device: torch.device) -> bool:
    """Say whether `SyncBatchNorm` has other processes to share with, and runs there: it needs CUDA."""
    return processes > 1 and device.type == "cuda"


def choose_sides(
    images: Tensor, synthetic: Tensor, *, random: bool
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Give both views' images and domains: real first, or in an order drawn for each pair.

    Parameters
    ----------
    images : Tensor, shape (batch, side, channel, row, column)
        With one side both views are of it.
    synthetic : Tensor of bool, shape (batch, side)
    random : bool
    """
    first = torch.zeros(len(images), dtype=torch.long, device=images.device)
    if random and images.shape[1] == 2:
        first = torch.randint(2, (len(images),), device=images.device)
    second = images.shape[1] - 1 - first
    rows = torch.arange(len(images), device=images.device)
    return (images[rows, first], synthetic[rows, first]), (images[rows, second], synthetic[rows, second])


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    r"""Move a teacher's weights, and copy its buffers.

    .. math:: \theta' \leftarrow m\,\theta' + (1 - m)\,\theta

    Moments of batch norms are averages already: averaged again they would lag behind the weights.
    """
    for weight, target in zip(teacher.parameters(), student.parameters(), strict=True):
        weight.lerp_(target, 1 - momentum)
    for buffer, source in zip(teacher.buffers(), student.buffers(), strict=True):
        buffer.copy_(source)


def build_module(config: TrainConfig) -> Pretraining:
    """Build the method's module, its weights drawn from the runtime's seed."""
    seed_everything(config.runtime.seed)
    return DinoTraining(config) if config.method.kind == "dino" else PairTraining(config)


def pretrain(pairs: Pairs, config: TrainConfig) -> Encoder:
    """Train an encoder on pairs; labels are not looked at.

    Parameters
    ----------
    pairs : Pairs
    config : TrainConfig

    Returns
    -------
    Encoder
        In evaluation mode; of DINO the teacher's.

    Raises
    ------
    ConfigError
        If the images have other channels than the encoder.
    """
    channels = pairs.real.shape[1]
    if channels != config.encoder.channels:
        raise ConfigError(
            f"encoder.channels must be the {channels} of the pairs, got {config.encoder.channels}"
        )
    module = build_module(config)
    loader = make_loader(
        pairs, config.views.mode, batch_size=config.fit.batch_size, seed=config.runtime.seed,
        workers=config.runtime.workers, pin=config.runtime.device == "cuda",
    )  # fmt: skip
    fit(
        module, loader, run_dir=config.out, runtime=config.runtime, resume=config.resume,
        max_epochs=config.fit.epochs, max_steps=config.fit.steps, config=config,
        gradient_clip=config.fit.gradient_clip, callbacks=[CollapseWatch()],
    )  # fmt: skip
    return module.trained_encoder.eval()


def train_from_config(config: TrainConfig) -> dict[str, Any]:
    """Train, and write the encoder as a folder of timm: the verb ``train``."""
    from diffmix.export import save_encoder
    from isopleth.train import is_main_process

    pairs = open_pairs(config.pairs, memory_gb=config.memory_gb)
    encoder = pretrain(pairs, config)
    folder = Path(config.out) / FOLDER
    if is_main_process():
        save_encoder(encoder, folder, summary=describe_run(config))
    return {
        "run": str(config.out),
        "encoder": str(folder),
        "mode": config.views.mode,
        "pairs": len(pairs),
        "parameters": sum(weight.numel() for weight in encoder.parameters()),
    }


def describe_run(config: TrainConfig) -> str:
    """Say in a sentence what an encoder was trained with."""
    return (
        f"{config.encoder.name}, pre-trained without labels by {config.method.kind} in the mode "
        f"{config.views.mode}, "
        f"augmentation of strength {config.views.strength:g}, seed {config.runtime.seed}."
    )
