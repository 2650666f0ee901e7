"""Adapt a classifier to a new domain, and watch what it forgets on the way."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from block_expansion.config import FitConfig, MethodConfig, PretrainConfig
from block_expansion.data import Domain, ImageSource
from block_expansion.methods import apply_method
from block_expansion.model import Classifier, count_parameters
from block_expansion.prefix import CachedPrefix, quieten_frozen
from block_expansion.retention import Memory, Retained, accuracy, as_floats, classify
from block_expansion.views import crop_and_flip, vary_brightness
from isopleth.errors import IsoplethError
from isopleth.report import measure_cost
from isopleth.train import Runtime, adamw, fit, seed_everything, step_config, warm_schedule

Batch = dict[str, Tensor]


class ImageBatches(Dataset[Batch | IsoplethError]):
    """Images, read a batch at a time; an error is handed over whole, for a worker's would be a traceback."""

    def __init__(self, images: ImageSource) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> Batch | IsoplethError:
        return self.__getitems__([place])

    def __getitems__(self, places: list[int]) -> Batch | IsoplethError:
        try:
            pixels = torch.from_numpy(self.images.read(places))
        except IsoplethError as error:
            return error
        index = torch.tensor(places)
        return {"pixels": pixels, "labels": torch.from_numpy(self.images.labels)[index], "index": index}


def make_loader(images: ImageSource, batch_size: int, workers: int = 0) -> DataLoader[Batch | IsoplethError]:
    """Make shuffled batches, the last one full too; workers decode ahead."""
    # Not forked: libraries that read rasters have threads and open files.
    processes: dict[str, Any] = (
        {"multiprocessing_context": "forkserver", "persistent_workers": True} if workers else {}
    )
    return DataLoader(
        ImageBatches(images), batch_size=min(batch_size, len(images)), shuffle=True, drop_last=True,
        collate_fn=_take_as_it_is, num_workers=workers, **processes,
    )  # fmt: skip


def _take_as_it_is(batch: Any) -> Any:
    return batch


def _open_batch(batch: Batch | IsoplethError) -> Batch:
    if isinstance(batch, IsoplethError):
        raise batch
    return batch


class Tuning(L.LightningModule):
    """One step of adaptation: cross-entropy on a batch, gradients only where something learns.

    Parameters
    ----------
    network : Module
        What `apply_method` gave.
    config : FitConfig
    images : ImageSource, optional
        The training images, to compute once what frozen blocks make of them; only without augmentation.
    """

    def __init__(self, network: nn.Module, config: FitConfig, images: ImageSource | None = None) -> None:
        super().__init__()
        self.network, self.config, self.images = network, config, images
        self._cached: list[CachedPrefix] = []  # in a list: no submodule, and no copy of the network's weights

    def on_train_start(self) -> None:
        """Keep what is frozen still, and compute what stays the same."""
        quieten_frozen(self.network)
        if self.images is not None and self.config.augmentation == "none":
            self._cached = [CachedPrefix(self.network, self.images, most_mb=self.config.remember_mb)]

    def on_train_end(self) -> None:
        """Let the remembered tokens go."""
        self._cached = []

    def training_step(self, batch: Batch | IsoplethError, _batch_index: int) -> Tensor:
        """Return the cross-entropy."""
        batch = _open_batch(batch)
        images = as_floats(batch["pixels"])
        if self.config.augmentation == "crops":
            images = crop_and_flip(images, least_area=self.config.least_area)
        logits = self._cached[0](images, batch["index"]) if self._cached else self.network(images)
        loss = functional.cross_entropy(logits, batch["labels"])
        self.log("train_loss", loss.detach())
        return loss

    def configure_optimizers(self) -> Any:
        """Return SGD with momentum on what learns, and a cosine after a warm-up."""
        config = self.config
        learning = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.SGD(learning, lr=config.learning_rate, momentum=config.momentum)
        schedule = warm_schedule(optimizer, total_steps=config.steps, warmup_steps=config.warmup_steps)
        return step_config(optimizer, schedule)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save only what learns: the rest is the pretrained network."""
        frozen = self._frozen()
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k not in frozen}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load what learns; what is frozen is there already."""
        frozen = self._frozen()
        there = {name: value for name, value in self.state_dict().items() if name in frozen}
        return super().load_state_dict({**there, **state_dict}, strict=strict, assign=assign)

    def _frozen(self) -> set[str]:
        return {name for name, parameter in self.named_parameters() if not parameter.requires_grad}


class Watch(L.Callback):
    """Measures retention after certain steps.

    Attributes
    ----------
    curve : dict of int to Retained
        By step; step 0 is the original network.
    seconds : float
        That measuring has taken.
    """

    def __init__(self, memory: Memory, at_steps: Sequence[int]) -> None:
        self.memory, self.at_steps = memory, frozenset(at_steps)
        self.curve: dict[int, Retained] = {0: memory.baseline}
        self.seconds = 0.0

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, *_: Any) -> None:
        """Measure, if this is such a step."""
        step = trainer.global_step
        if step in self.at_steps and step not in self.curve:
            started = time.perf_counter()
            self.curve[step] = self.memory.measure(module.network)
            self.seconds += time.perf_counter() - started

    def state_dict(self) -> dict[str, Any]:
        """Give plain values for a checkpoint."""
        return {str(step): asdict(retained) for step, retained in self.curve.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the curve of an interrupted run."""
        self.curve = {int(step): Retained(**values) for step, values in state_dict.items()}


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """What an adaptation brought.

    Attributes
    ----------
    method : str
    learning_rate : float
    seed : int
    parameters : int
        That learnt, the head once.
    target_val, target_test : float
        Accuracy on the new domain.
    retained : Retained or None
        On the old one; None where none was given.
    before : Retained or None
        Of the un-adapted network.
    disabled : float or None
        Largest difference of features with the adapter off; None for methods without one.
    seconds : float
        Of the training, without measurements.
    memory_mb : float or None
        The most that torch held on a GPU during it, in MiB; None on a CPU, where the system keeps one mark
        for all runs of a process (``benchmarks/step.py`` gives each method a process of its own).
    curve : dict of int to Retained
    """

    method: str
    learning_rate: float
    seed: int
    parameters: int
    target_val: float
    target_test: float
    seconds: float
    memory_mb: float | None = None
    retained: Retained | None = None
    before: Retained | None = None
    disabled: float | None = None
    curve: dict[int, Retained] = field(default_factory=dict)


def adapt(
    classifier: Classifier,
    target: Domain,
    method: MethodConfig,
    config: FitConfig,
    *,
    run_dir: Path,
    memory: Memory | None = None,
    at_steps: Sequence[int] = (),
    runtime: Runtime | None = None,
    resume: bool = False,
) -> tuple[nn.Module, Adapted]:
    """Adapt a classifier, which is changed, and measure what it learnt and what it forgot.

    Parameters
    ----------
    classifier : Classifier
        Pretrained, with a new head for the target's classes.
    target : Domain
        Trained on its training images; its test images are looked at once, at the end.
    method, config
    run_dir : Path
    memory : Memory, optional
        Of the old domain.
    at_steps : sequence of int
        When to measure retention on the way.
    runtime, resume
        As for `isopleth.train.fit`.
    """
    runtime = runtime or Runtime()
    device = next(classifier.parameters()).device
    network = apply_method(classifier, method).train()
    watch = Watch(memory, at_steps) if memory else None
    with measure_cost() as cost:
        fit(
            Tuning(network, config, target.train),
            make_loader(target.train, config.batch_size, runtime.workers),
            run_dir=run_dir, runtime=runtime, resume=resume, max_steps=config.steps,
            gradient_clip=config.gradient_clip, config={"method": method, "fit": config},
            callbacks=[watch] if watch else [],
        )  # fmt: skip
    network.to(device)  # where the original was measured: the same bits need the same kernels
    found = {
        part: accuracy(classify(network, images), torch.from_numpy(images.labels))
        for part, images in (("val", target.val), ("test", target.test))
    }
    retained = memory.measure(network) if memory else None
    if watch and retained:
        watch.curve[config.steps] = retained
    return network, Adapted(
        method=method.label, learning_rate=config.learning_rate, seed=runtime.seed,
        parameters=count_parameters(network), target_val=found["val"], target_test=found["test"],
        seconds=cost.seconds - (watch.seconds if watch else 0.0),
        memory_mb=None if cost.device.startswith("cpu") else cost.peak_memory_mb,
        retained=retained, before=memory.baseline if memory else None,
        disabled=memory.measure_disabled(network) if memory else None, curve=watch.curve if watch else {},
    )  # fmt: skip


class Pretraining(L.LightningModule):
    """SimCLR: two views of an image shall be more alike than views of two images (Chen et al. 2020, eq. 1).

    Parameters
    ----------
    classifier : Classifier
        Its backbone learns.
    config : PretrainConfig
    """

    def __init__(self, classifier: Classifier, config: PretrainConfig) -> None:
        super().__init__()
        dim = classifier.head.in_features
        self.classifier, self.config = classifier, config
        self.projector = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def training_step(self, batch: Batch | IsoplethError, _batch_index: int) -> Tensor:
        """Return the contrastive loss of a batch."""
        batch = _open_batch(batch)
        images = as_floats(batch["pixels"])
        views = [vary_brightness(crop_and_flip(images, least_area=0.4, flip=False)) for _ in range(2)]
        loss = contrast(self.projector(self.classifier.features(torch.cat(views))), self.config.temperature)
        self.log("train_loss", loss.detach())
        return loss

    def configure_optimizers(self) -> Any:
        """Return AdamW and a cosine after a warm-up."""
        optimizer = adamw(self, lr=self.config.learning_rate, weight_decay=1e-4)
        schedule = warm_schedule(
            optimizer, total_steps=self.config.steps, warmup_steps=self.config.steps // 10
        )
        return step_config(optimizer, schedule)


def contrast(projections: Tensor, temperature: float) -> Tensor:
    r"""Return the mean over all views of the normalised, temperature-scaled cross-entropy (NT-Xent).

    .. math:: -\log \frac{\exp(\cos(z_i, z_j) / \tau)}{\sum_{k \ne i} \exp(\cos(z_i, z_k) / \tau)}

    Parameters
    ----------
    projections : Tensor, shape (2 image, feature)
        First views, then second views in the same order.
    temperature : float
    """
    half = len(projections) // 2
    directions = functional.normalize(projections.float(), dim=1)
    similarity = directions @ directions.T / temperature
    similarity = similarity.masked_fill(
        torch.eye(2 * half, dtype=torch.bool, device=similarity.device), -torch.inf
    )
    partner = torch.arange(2 * half, device=similarity.device).roll(half)
    return functional.cross_entropy(similarity, partner)


def pretrain(
    classifier: Classifier, images: ImageSource, config: PretrainConfig, *, run_dir: Path, runtime: Runtime
) -> None:
    """Train the backbone of a classifier on unlabelled images, in place."""
    seed_everything(runtime.seed)
    for name in ("pos_embed", "cls_token"):
        if (parameter := getattr(classifier.backbone, name, None)) is not None:
            nn.init.normal_(parameter, std=config.position_std)
    classifier.train()
    fit(
        Pretraining(classifier, config),
        make_loader(images, config.batch_size, runtime.workers),
        run_dir=run_dir, runtime=runtime, max_steps=config.steps, config=config,
    )  # fmt: skip
