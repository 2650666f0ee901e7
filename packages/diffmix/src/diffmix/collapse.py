"""Whether a training has collapsed: all images on one point, or on a line."""

from __future__ import annotations

import logging
import math
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor

logger = logging.getLogger("isopleth.diffmix")


@torch.no_grad()
def effective_rank(features: Tensor) -> float:
    r"""Return how many directions features really use (RankMe, Garrido et al. 2023, eq. 1).

    .. math:: \exp\Bigl(-\sum_k p_k \ln p_k\Bigr), \qquad p_k = \sigma_k / \lVert \sigma \rVert_1

    with the singular values of the centred features.

    Parameters
    ----------
    features : Tensor, shape (sample, feature)

    Returns
    -------
    float
        From 0 (all features equal) to the smaller of both lengths.
    """
    centred = features.float() - features.float().mean(0)
    values = torch.linalg.svdvals(centred)
    total = float(values.sum())
    if total <= 1e-6 * max(float(features.float().abs().max()), 1e-12) * len(features):
        return 0.0
    shares = values / total
    return math.exp(float(-(shares * shares.clamp(min=1e-12).log()).sum()))


class CollapseWatch(L.Callback):
    """Look at the features now and then, and warn once, with the reason and what helps.

    The module must have ``features`` (those of the last batch), ``last_loss``, and ``chance()``, the loss of
    outputs that say nothing, or None.

    Parameters
    ----------
    every : int
        Steps between looks.
    patience : int
        Looks in a row that must be bad: at the very start a loss is near chance.
    """

    def __init__(self, *, every: int = 50, patience: int = 4) -> None:
        self.every, self.patience = every, patience
        self.bad = 0
        self.warned = ""

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        """Look, if this is such a step."""
        if trainer.global_step % self.every:
            return
        rank = effective_rank(pl_module.features)
        pl_module.log("feature_rank", rank)
        reason = find_collapse(rank, pl_module.features.shape, float(pl_module.last_loss), pl_module.chance())
        self.bad = self.bad + 1 if reason else 0
        if self.bad >= self.patience and not self.warned:
            self.warned = reason
            logger.warning("step %d: the training has collapsed: %s", trainer.global_step, reason)


def find_collapse(rank: float, shape: tuple[int, ...], loss: float, chance: float | None) -> str:
    """Say why a training looks collapsed; nothing if it does not.

    Parameters
    ----------
    rank : float
        `effective_rank` of a batch of features.
    shape : (int, int)
        Of the features.
    loss : float
    chance : float or None
        The loss of outputs that say nothing.
    """
    help_ = "lower the learning rate or the teacher's temperature, or, on a small set, its momentum to 0.99"
    if rank < 2:
        where = "a point" if rank < 1 else "a line"
        return f"features lie on {where} (effective rank {rank:.2f} of {min(shape)}); {help_}"
    if chance is not None and abs(loss - chance) < 0.001 * chance:
        return f"the loss stays at {loss:.4f}, that of outputs that say nothing (ln K); {help_}"
    return ""
