"""The normaliser as part of a model: it moves with it, and is saved in its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isopleth.data.normaliser import Normaliser
from isopleth.errors import DataError


class NormaliserBuffers(nn.Module):
    r"""Turn fields into z-scores and back, on whatever device the model is.

    .. math:: z = (x - \mu_c) / \sigma_c

    The statistics are kept as the bits of their float64 values, in an integer buffer: neither ``.half()``,
    nor a device without float64, nor safetensors rounds them, so `normaliser` gives back what came in. The
    arithmetic is in float32, whatever the precision of the model.

    Parameters
    ----------
    normaliser : Normaliser or sequence of str
        Statistics, or only the channel names of a model whose weights are still to be loaded (which then
        leaves fields as they are).

    Examples
    --------
    >>> buffers = NormaliserBuffers(Normaliser(("t",), [280.0], [20.0]))
    >>> buffers(torch.full((1, 1, 1), 300.0)).item()
    1.0
    """

    bits: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, normaliser: Normaliser | Sequence[str]) -> None:
        super().__init__()
        if not isinstance(normaliser, Normaliser):
            names = tuple(normaliser)
            normaliser = Normaliser(names, np.zeros(len(names)), np.ones(len(names)))
        self.channels = normaliser.channels
        self._period, self._area_weighted = normaliser.period, normaliser.area_weighted
        exact = torch.from_numpy(np.stack([normaliser.mean, normaliser.std]))
        self.register_buffer("bits", exact.view(torch.int64))
        self.register_buffer("mean", None, persistent=False)
        self.register_buffer("std", None, persistent=False)
        self._derive()

    @property
    def normaliser(self) -> Normaliser:
        """The statistics, exactly as they came in."""
        mean, std = self.bits.detach().cpu().view(torch.float64).numpy()
        return Normaliser(self.channels, mean, std, self._period, self._area_weighted)

    def forward(self, fields: Tensor) -> Tensor:
        """Turn fields in physical units into z-scores.

        Parameters
        ----------
        fields : Tensor, shape (..., channel, lat, lon)
            NaN stays NaN.

        Returns
        -------
        Tensor
            float32 (float64 for float64 fields).
        """
        self._check(fields)
        return (fields - self.mean) / self.std

    def inverse(self, scores: Tensor) -> Tensor:
        """Turn z-scores into physical units; the inverse of `forward`."""
        self._check(scores)
        return scores * self.std + self.mean

    def extra_repr(self) -> str:
        """Say how many channels there are."""
        return f"{len(self.channels)} channels"

    def _check(self, fields: Tensor) -> None:
        if not torch.compiler.is_compiling() and (fields.ndim < 3 or fields.shape[-3] != len(self.channels)):
            raise DataError(
                f"fields must be of shape (..., {len(self.channels)}, lat, lon), got {tuple(fields.shape)}"
            )

    def _derive(self) -> None:
        """Round the statistics to what the arithmetic uses, where the exact ones are."""
        if self.bits.device.type == "meta":
            rounded = torch.empty(self.bits.shape, dtype=torch.float32, device="meta")
        else:
            rounded = self.bits.cpu().view(torch.float64).float().to(self.bits.device)
        self.mean, self.std = rounded[:, :, None, None]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NormaliserBuffers:
        super()._apply(fn, recurse)
        self._derive()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._derive()
