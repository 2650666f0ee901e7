"""The normaliser as part of a model: it moves with it, and is saved in its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isopleth.data.normaliser import Normaliser
from isopleth.errors import DataError


class NormaliserBuffers(nn.Module):
    r"""Turn fields into z-scores and back, on whatever device the model is.

    .. math:: z = (x - \mu_c) / \sigma_c

    Each float64 statistic is kept as three float32 numbers that add up to it, so that `normaliser` gives back
    what came in (numbers above 1e-25) from safetensors, from devices without float64, and from an average of
    weights; a cast of the model to half precision passes them by. The arithmetic is in float32.

    Parameters
    ----------
    normaliser : Normaliser or sequence of str
        Statistics, or only the channel names of a model whose weights are still to be loaded (which until
        then leaves fields as they are).

    Examples
    --------
    >>> buffers = NormaliserBuffers(Normaliser(("t",), [280.0], [20.0]))
    >>> buffers(torch.full((1, 1, 1), 300.0)).item()
    1.0
    """

    parts: Tensor

    def __init__(self, normaliser: Normaliser | Sequence[str]) -> None:
        super().__init__()
        if not isinstance(normaliser, Normaliser):
            names = tuple(normaliser)
            normaliser = Normaliser(names, np.zeros(len(names)), np.ones(len(names)))
        self.channels = normaliser.channels
        self._period, self._area_weighted = normaliser.period, normaliser.area_weighted
        parts = _split(np.stack([normaliser.mean, normaliser.std]))
        self.register_buffer("parts", torch.tensor(parts.tolist(), dtype=torch.float32))

    @property
    def mean(self) -> Tensor:
        """Mean of each channel, rounded to float32, shape (channel, 1, 1)."""
        return self.parts[0, 0, :, None, None]

    @property
    def std(self) -> Tensor:
        """Standard deviation of each channel, rounded to float32, shape (channel, 1, 1)."""
        return self.parts[0, 1, :, None, None]

    @property
    def normaliser(self) -> Normaliser:
        """The statistics, exactly as they came in."""
        high, middle, low = self.parts.detach().cpu().double().numpy()
        mean, std = (high + middle) + low
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

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NormaliserBuffers:
        exact = self.parts
        super()._apply(fn, recurse)
        if self.parts.dtype != exact.dtype:  # `.half()` and the like are for weights
            self.parts = exact.to(self.parts.device)
        return self


def _split(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Write float64 numbers as sums of three float32 ones, the first of them nearest: shape (3, ...)."""
    parts, rest = [], values
    for _ in range(3):
        parts.append(rest.astype(np.float32))
        rest = rest - parts[-1]
    return np.stack(parts)
