"""Between physical fields and the numbers that a flow learns."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from climalign.config import FieldConfig
from isopleth.errors import DataError

_TO_MM = {"kg m-2 s-1": 86400.0, "m": 1000.0, "mm": 1.0, "mm day-1": 1.0}
_MONTHS = 12


class Standardiser(nn.Module):
    r"""Make a field's values about standard normal, and turn them back.

    Temperature: :math:`(v - m_k) / s` with the training period's mean of the calendar month and cell, and one
    standard deviation. Precipitation: :math:`(c - m) / s` with the cube root c of mm/day, where every c of a
    dry day (below 1 as published) is drawn uniformly from there down to 0; back, such values are 0.

    Missing values stay NaN. All statistics are of the values given to `fit`.

    Parameters
    ----------
    field : FieldConfig
    rows, columns : int
    """

    monthly: Tensor
    known: Tensor
    mean: Tensor
    scale: Tensor
    valid: Tensor
    to_mm: Tensor

    def __init__(self, field: FieldConfig, rows: int, columns: int) -> None:
        super().__init__()
        self.field = field
        self.register_buffer("monthly", torch.zeros(_MONTHS, rows, columns))
        self.register_buffer("known", torch.zeros(_MONTHS, dtype=torch.bool))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("valid", torch.ones(rows, columns, dtype=torch.bool))
        self.register_buffer("to_mm", torch.ones(()))

    @property
    def dry_root(self) -> float:
        """Cube root of the rain below which a day is dry."""
        return float(self.field.dry_mm ** (1 / 3))

    def fit(self, values: NDArray[np.float32], months: NDArray[np.int64], units: str) -> None:
        """Take the statistics of training fields.

        Parameters
        ----------
        values : array, shape (time, lat, lon)
            NaN where missing. A cell that is missing on every day is masked from then on.
        months : array of int, shape (time,)
            0 to 11.
        units : str
            Of precipitation.
        """
        observed = np.isfinite(values)
        if not observed.any():
            raise DataError("training fields must have values, got none", hint="look at periods and region")
        self.valid.copy_(torch.from_numpy(observed.any(0)))
        present = np.unique(months)
        self.known[torch.from_numpy(present)] = True
        if self.field.kind == "temperature":
            for month in present:
                self.monthly[int(month)] = torch.from_numpy(_mean_of(values[months == month]))
            residual = values - self.monthly.numpy()[months]
        else:
            self.to_mm.fill_(_rain_factor(units))
            roots = np.cbrt(np.clip(values * float(self.to_mm), 0, None))
            # The expected value of what is drawn for a dry day.
            residual = np.where(roots < self.dry_root, self.dry_root / 2, roots)
            residual = np.where(observed, residual, np.nan)
            self.mean.fill_(float(np.nanmean(residual, dtype=np.float64)))
        spread = float(np.nanstd(residual, dtype=np.float64))
        self.scale.fill_(spread if spread > 0 else 1.0)

    def encode(
        self,
        values: Float[Tensor, "batch lat lon"],
        months: Int[Tensor, " batch"],
        uniform: Float[Tensor, "batch lat lon"],
    ) -> Float[Tensor, "batch 1 lat lon"]:
        """Bring physical values to numbers of order one; `uniform` in [0, 1) is what is drawn from."""
        if self.field.rounding:
            values = values + (uniform - 0.5) * self.field.rounding
        if self.field.kind == "temperature":
            result = values - self.monthly[months]
        else:
            roots = (values * self.to_mm).clamp(min=0) ** (1 / 3)
            result = torch.where(roots < self.dry_root, uniform * self.dry_root, roots)
        return ((result - self.mean) / self.scale)[:, None]

    def decode(
        self, values: Float[Tensor, "batch 1 lat lon"], months: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch lat lon"]:
        """Bring them back; cells that were always missing in training are NaN."""
        result = values[:, 0] * self.scale + self.mean
        if self.field.kind == "temperature":
            result = result + self.monthly[months]
        else:
            result = torch.where(result < self.dry_root, 0.0, result**3) / self.to_mm
        return result.masked_fill(~self.valid, torch.nan)

    def check_months(self, months: Int[Tensor, " batch"]) -> None:
        """Refuse months that the training period had not."""
        if self.field.kind == "temperature" and not bool(self.known[months].all()):
            absent = sorted({int(month) + 1 for month in months[~self.known[months]]})
            raise DataError(
                "every calendar month must have been in the training period, got fields of month "
                + ", ".join(map(str, absent)),
                hint="train on a period with all months, or leave those days out",
            )


def observe(values: Float[Tensor, ...]) -> Bool[Tensor, ...]:
    """Tell where there are values."""
    return torch.isfinite(values)


def _mean_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average over time, float64 within; cells without any value get 0, and are masked."""
    observed = np.isfinite(values)
    total = np.where(observed, values, 0).sum(0, dtype=np.float64)
    return np.asarray(total / np.maximum(observed.sum(0), 1), dtype=np.float32)


def _rain_factor(units: str) -> float:
    if units not in _TO_MM:
        raise DataError(f"precipitation must be in one of {', '.join(_TO_MM)}, got {units!r}")
    return _TO_MM[units]
