"""Learning: both likelihoods, critics, and coarse means; days are never paired unless asked for."""

from __future__ import annotations

import logging
import typing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from climalign.config import FitConfig, ModelConfig, ObjectiveConfig, TrainConfig
from climalign.data import COARSE, FINE, Fields, Prepared, check_embargo, open_prepared
from climalign.model.critic import PatchCritic, critic_loss
from climalign.model.flow import ActNorm, MixingConvolution
from climalign.model.glow import standard_normal
from climalign.model.pair import ClimAlign, Filled, Noise
from climalign.model.standard import Standardiser
from isopleth.errors import ConfigError, TrainingError
from isopleth.train import FitResult, RunDirectory, fit, load_checkpoint
from isopleth.train.randomness import derive_seed

Batch = dict[str, Tensor]
_LOG = logging.getLogger(__name__)
_VALIDATION_STREAM = 1 << 20


class Days(Dataset[Batch]):
    """Coarse and fine days, of other years or of the same.

    Parameters
    ----------
    coarse, fine : Fields
    paired : bool
        Whether day k of the one is day k of the other; else each fine day meets a coarse one drawn once.
    seed : int
        Of that draw.
    """

    def __init__(self, coarse: Fields, fine: Fields, *, paired: bool, seed: int) -> None:
        sizes = len(coarse.values), len(fine.values)
        self.coarse, self.fine = (
            (torch.from_numpy(each.values), torch.from_numpy(each.months)) for each in (coarse, fine)
        )
        self.length = sizes[0] if paired else max(sizes)
        rng = np.random.default_rng(seed)
        orders = [np.arange(self.length) % size for size in sizes]
        self.order_coarse = orders[0] if paired else rng.permutation(orders[0])
        self.order_fine = orders[1]

    def __len__(self) -> int:
        return int(self.length)

    def __getitem__(self, index: int) -> Batch:
        return {name: value[0] for name, value in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> Batch:
        rows = np.asarray(indices)
        ours, theirs = torch.from_numpy(self.order_coarse[rows]), torch.from_numpy(self.order_fine[rows])
        return {
            "coarse": self.coarse[0][ours],
            "coarse_month": self.coarse[1][ours],
            "fine": self.fine[0][theirs],
            "fine_month": self.fine[1][theirs],
            "index": torch.from_numpy(rows),
        }


@dataclass(frozen=True, eq=False)
class Passes:
    """What one batch gives: numbers, likelihoods (nats a cell), latents; and where fine cells are known."""

    coarse: Filled
    fine: Filled
    land: Tensor
    nll_coarse: Tensor
    nll_fine: Tensor
    latent_coarse: Tensor
    latent_fine: Tensor


class Alignment(L.LightningModule):
    r"""One step of training, after Groenke et al. (2020).

    .. math:: L = a \, (A_X + A_Y) + \lambda \, (\mathrm{nll}_X + \mathrm{nll}_Y)
              + \alpha \, (C_X + C_Y) + R

    with the likelihoods in nats a cell, the critics' scores of what the flows make of each other's days
    (WGAN-GP), the absolute error of coarse means, and small penalties of scales and kernels. Nothing compares
    a coarse with a fine day unless the mode is supervised.

    Parameters
    ----------
    model : ClimAlign
        With the statistics of the training days.
    objective : ObjectiveConfig
    settings : FitConfig
    seed : int
    """

    def __init__(
        self, model: ClimAlign, objective: ObjectiveConfig, settings: FitConfig, *, seed: int
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.objective, self.settings, self.seed = model, objective, settings, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, 3))
            self.critics = nn.ModuleDict(
                {side: PatchCritic(settings.critic_filters) for side in (COARSE, FINE)}
                if objective.mode == "unsupervised" and objective.adversarial
                else {}
            )
        self.exploded, self.moved = False, False

    def training_step(self, batch: Batch, _batch_index: int) -> None:
        """Improve the flows, then the critics."""
        generator = self.generator(self.current_epoch, *batch["index"][:2].tolist())
        passes = self.look(batch, generator)
        loss, fakes = self._flow_loss(passes)
        nll = float((passes.nll_coarse + passes.nll_fine).detach())
        self.log("train_nll", nll)
        if not nll < self.objective.explosion:
            self._stop(nll)
            return
        optimizers: Any = self.optimizers()
        flows, *critics = optimizers if self.critics else [optimizers]
        self._step(flows, loss, self.model)
        self.moved = True
        reals = {COARSE: passes.coarse, FINE: passes.fine}
        for optimizer, side in zip(critics, self.critics, strict=True):
            critic, valid = typing.cast("PatchCritic", self.critics[side]), reals[side].valid
            real, fake = (torch.where(valid, each, 0.0) for each in (reals[side].values, fakes[side]))
            mix = torch.rand(len(real), 1, 1, 1, generator=generator, device=real.device)
            penalty = self.objective.gradient_penalty
            self._step(optimizer, critic_loss(critic, real, fake, penalty=penalty, mix=mix), critic)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Log both likelihoods, and how well coarse means are kept."""
        generator = self.generator(_VALIDATION_STREAM, batch_index)
        passes = self.look(batch, generator)
        nll = passes.nll_coarse + passes.nll_fine
        made = self.model.fine.inverse(passes.latent_coarse)[0]
        kept = self._kept(passes, made, None)
        total = self.objective.nll * nll + max(self.objective.coarse, 0.01) * kept
        size = len(batch["index"])
        for name, value in (("val_nll", nll), ("val_coarse_error", kept), ("val_loss", total)):
            self.log(name, value, batch_size=size)

    def configure_optimizers(self) -> Any:
        """Return three Adams: of the flows, and of each critic."""
        options = {"lr": self.settings.learning_rate, "betas": (0.5, 0.9)}
        parts: list[nn.Module] = [self.model, *self.critics.values()]
        return [torch.optim.Adam(part.parameters(), **options) for part in parts]  # type: ignore[arg-type]

    def look(self, batch: Batch, generator: torch.Generator) -> Passes:
        """Bring both kinds of days to the latent."""
        model = self.model
        size, rows, columns = batch["fine"].shape
        noise = Noise.draw(size, rows, columns, model.config.field.factor, generator)
        numbers = model.coarse_scale.encode(batch["coarse"], batch["coarse_month"], noise.uniform_coarse)
        upsampled = model.upsample(numbers)
        numbers = model.fine_scale.encode(batch["fine"], batch["fine_month"], noise.uniform_fine)
        window = self._choose_window(rows, columns, generator)
        coarse = model.fill_coarse(upsampled[window], noise.coarse[window])
        fine = model.fill_fine(numbers[window], noise.fine[window])
        latents, nlls = [], []
        for flow, filled in ((model.coarse, coarse), (model.fine, fine)):
            latent, logabsdet = flow(filled.values)
            latents.append(latent)
            density = standard_normal(latent) + logabsdet
            nlls.append(filled.negative_log_likelihood(density).mean())
        land = model.fine_scale.valid[window[2:]].expand_as(fine.valid)
        return Passes(coarse, fine, land, *nlls, *latents)

    def _choose_window(self, rows: int, columns: int, generator: torch.Generator) -> tuple[slice, ...]:
        """Choose what is cut out of a larger region in this batch, from whole blocks."""
        factor, window = self.model.config.field.factor, self.settings.window or (rows, columns)
        slices = [slice(None), slice(None)]
        for have, want in zip((rows, columns), window, strict=True):
            places = (have - want) // factor + 1
            start = factor * int(torch.randint(places, (1,), generator=generator, device=generator.device))
            slices.append(slice(start, start + want))
        return tuple(slices)

    def _flow_loss(self, passes: Passes) -> tuple[Tensor, dict[str, Tensor]]:
        """Give what the flows minimise, and what they made of each other's days."""
        weights, model = self.objective, self.model
        loss = weights.nll * (passes.nll_coarse + passes.nll_fine) + self._penalty()
        if weights.mode == "nll-only":
            return loss, {}
        made = {
            FINE: model.fine.inverse(passes.latent_coarse)[0],
            COARSE: model.coarse.inverse(passes.latent_fine)[0],
        }
        if weights.mode == "supervised":
            loss = loss + weights.paired * _error(made[FINE], passes.fine)
        if weights.coarse:
            loss = loss + weights.coarse * self._kept(passes, made[FINE], made[COARSE])
        for side, critic in self.critics.items():
            valid = (passes.coarse if side == COARSE else passes.fine).valid
            loss = loss - weights.adversarial * critic(torch.where(valid, made[side], 0.0)).mean()
        self.log("train_loss", loss.detach())
        return loss, made

    def _coarse_error(
        self, given: Tensor, made: Tensor, known: Tensor, own: Standardiser, other: Standardiser
    ) -> Tensor:
        """Compare the means over blocks of what was given and what was made of it, in the latter's units."""
        means, has = self.model.block_mean(given * own.scale + own.mean, known)
        again, _ = self.model.block_mean(made * other.scale + other.mean, known)
        return torch.where(has, (means - again).abs(), 0.0).sum() / has.sum().clamp(min=1) / other.scale

    def _kept(self, passes: Passes, made_fine: Tensor, made_coarse: Tensor | None) -> Tensor:
        """Measure how far coarse means are from kept, from coarse to fine and, if given, back."""
        scales = self.model.coarse_scale, self.model.fine_scale
        land = passes.coarse.valid & passes.land
        kept = self._coarse_error(passes.coarse.values, made_fine, land, *scales)
        if made_coarse is not None:
            known = passes.fine.valid
            kept = kept + self._coarse_error(passes.fine.values, made_coarse, known, *scales[::-1])
        return kept

    def _penalty(self) -> Tensor:
        """Sum the squares of log-scales and log-diagonals, and of kernels, each with its weight."""
        scales: list[Tensor] = []
        kernels: list[Tensor] = []
        for part in self.model.modules():
            if isinstance(part, ActNorm):
                scales.append(part.log_scale)
            elif isinstance(part, MixingConvolution):
                scales.append(part.log_diagonal)
            elif isinstance(part, nn.Conv2d):
                kernels.append(part.weight)
        terms = ((self.objective.scale_penalty, scales), (self.objective.kernel_penalty, kernels))
        return torch.stack(
            [weight * torch.stack([each.square().sum() for each in found]).sum() for weight, found in terms]
        ).sum()

    def _step(self, optimizer: Any, loss: Tensor, part: nn.Module) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        nn.utils.clip_grad_norm_(part.parameters(), self.settings.gradient_clip)
        optimizer.step()

    def _stop(self, nll: float) -> None:
        self.exploded = True
        self.trainer.should_stop = True
        _LOG.warning(
            "training stops at epoch %d: the likelihoods must stay below %g nats a cell, got %g",
            self.current_epoch,
            self.objective.explosion,
            nll,
        )

    def generator(self, *parts: int) -> torch.Generator:
        """Seed what is random in a batch by what the batch is: not by the batches before it."""
        generator = torch.Generator(device=self.device)
        return generator.manual_seed(derive_seed(self.seed, *parts))


def _error(made: Tensor, fine: Filled) -> Tensor:
    """Average the absolute error over the known cells."""
    return torch.where(fine.valid, (made - fine.values).abs(), 0.0).sum() / fine.valid.sum().clamp(min=1)


def build_model(config: TrainConfig, prepared: Prepared, coarse: Fields, fine: Fields) -> ClimAlign:
    """Build an untrained pair with the statistics of its training days."""
    model = ClimAlign(
        ModelConfig(
            field=replace(config.field, factor=prepared.factor, variable=prepared.fine.channels[0]),
            flow=config.flow,
            lat=tuple(map(float, fine.lat)),
            lon=tuple(map(float, fine.lon)),
            seed=config.runtime.seed,
        )
    )
    window = config.fit.window or fine.values.shape[1:]
    for name, size, whole in zip(("rows", "columns"), window, fine.values.shape[1:], strict=True):
        if size % model.multiple or size > whole:
            raise ConfigError(
                f"{name} of the training window must be a multiple of {model.multiple} and at most {whole}, "
                f"got {size}",
                hint="set fit.window, or fewer flow.levels",
            )
    model.coarse_scale.fit(coarse.values, coarse.months, coarse.units)
    model.fine_scale.fit(fine.values, fine.months, fine.units)
    return model


def train_pair(config: TrainConfig, prepared: Prepared) -> tuple[ClimAlign, FitResult]:
    """Fit a pair of flows and keep the weights of the best validation.

    Returns
    -------
    ClimAlign
        In evaluation mode; also saved to the run's folder ``pretrained``.
    FitResult

    Raises
    ------
    TrainingError
        If the likelihoods explode before anything was learned.
    """
    check_embargo(config.split, prepared)
    config.runtime.apply()
    paired = config.objective.mode == "supervised"
    if paired:
        coarse, fine = prepared.load_pairs(config.split.train_fine)
    else:
        coarse = prepared.load(COARSE, config.split.train_coarse)
        fine = prepared.load(FINE, config.split.train_fine)
    validate = [
        prepared.load(COARSE, config.split.validate_coarse),
        prepared.load(FINE, config.split.validate_fine),
    ]
    model = build_model(config, prepared, coarse, fine)
    module = Alignment(model, config.objective, config.fit, seed=config.runtime.seed)
    days = Days(coarse, fine, paired=paired, seed=config.runtime.seed)
    size = min(config.fit.batch_size, len(days))
    start_flows(module, days, min(8 * size, len(days)))
    result = fit(
        module,
        DataLoader(days, size, shuffle=True, drop_last=True, collate_fn=_whole),
        DataLoader(Days(*validate, paired=False, seed=1), 4 * size, collate_fn=_whole),
        run_dir=config.out,
        runtime=config.runtime,
        max_epochs=config.fit.epochs,
        resume=config.resume,
        config=config,
    )
    if module.exploded and not module.moved:
        raise TrainingError(
            f"the likelihoods must stay below {config.objective.explosion:g} nats a cell, got more in the "
            "first batch",
            where=config.out,
            hint="lower fit.learning_rate, or raise field.noise",
        )
    module.load_state_dict(load_checkpoint(result.checkpoint)["state_dict"])
    model.eval().save_pretrained(result.run.pretrained)
    return model, result


def start_flows(module: Alignment, days: Days, size: int) -> None:
    """Let so many days set the normalisations, before training and whatever the strategy is."""
    rows = np.random.default_rng(0).permutation(len(days))[:size].tolist()
    module.train()
    with torch.no_grad():
        module.look(days.__getitems__(rows), module.generator(_VALIDATION_STREAM, 1))


def _whole(batch: Any) -> Batch:
    """Leave a batch as it was put together."""
    return batch


def train_from_prepared(config: TrainConfig) -> dict[str, Any]:
    """Open the stores and fit: the verb ``train``."""
    model, result = train_pair(config, open_prepared(config.prepared))
    return {
        **result.to_dict(),
        "pretrained": str(RunDirectory(Path(config.out)).pretrained),
        "parameters": sum(each.numel() for each in model.parameters()),
    }
