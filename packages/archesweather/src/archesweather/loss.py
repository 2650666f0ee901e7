r"""The loss of ArchesWeather: squared errors by area, pressure and variable, in units of the increment.

In z-scores, with :math:`\sigma^{norm}` the deviation of the field and :math:`\sigma^\Delta` that of its
increment over one lead,

.. math::
    L = \frac{1}{\sum_v w_v} \sum_v w_v \frac{1}{n_v} \sum_{l} \frac{p_l}{\bar p}
        \Bigl\langle a_\varphi \bigl(\tfrac{\sigma^{norm}_{vl}}{\sigma^\Delta_v}\bigr)^2
        (\hat y_{vl} - y_{vl})^2 \Bigr\rangle,

:math:`a` the cells' area with mean 1, :math:`n_v` the levels of a variable (1 at the surface, where
:math:`p_l / \bar p` is 1), the brackets a mean over the map. With the paper's ten variables the weights add
up to 6 + 1.3: the published 7.3, and its group means times 6 and 4 are these sums over variables.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from archesweather.config import FieldsConfig, LossConfig
from isopleth.errors import ConfigError

# GraphCast (Lam et al. 2023, supplementary material, section 4.3.2); every other variable has 1.
DEFAULT_WEIGHTS = {
    "10m_u_component_of_wind": 0.1,
    "10m_v_component_of_wind": 0.1,
    "mean_sea_level_pressure": 0.1,
    "total_precipitation_6hr": 0.1,
    "total_precipitation_24hr": 0.1,
}


def channel_weights(
    fields: FieldsConfig, increment_std: ArrayLike, config: LossConfig
) -> NDArray[np.float64]:
    """Return each channel's weight, that of its area not included.

    Parameters
    ----------
    fields : FieldsConfig
    increment_std : array_like, shape (channel,)
        Standard deviations of the increments, in units of the channels' own.
    config : LossConfig

    Raises
    ------
    ConfigError
        If a weight is given for a variable that there is not, or all are 0.
    """
    names = (*fields.surface, *fields.upper)
    unknown = [name for name in config.weights if name not in names]
    if unknown:
        raise ConfigError(
            f"loss.weights must name variables of the state, got {', '.join(unknown)}",
            hint=f"there are {', '.join(names)}",
        )
    chosen = {name: config.weights.get(name, DEFAULT_WEIGHTS.get(name, 1.0)) for name in names}
    total = sum(chosen.values())
    if total <= 0:
        raise ConfigError(f"loss.weights must have one above 0, got {chosen}")
    levels = np.asarray(fields.levels if config.pressure_weighted else np.ones(len(fields.levels)), float)
    profile = levels / levels.mean() / len(levels) if fields.upper else levels
    parts = [chosen[name] for name in fields.surface]
    parts += [chosen[name] * share for name in fields.upper for share in profile]
    scale = np.asarray(increment_std, dtype=np.float64) if config.increment_scaled else 1.0
    return np.array(parts) / total / scale**2


class WeightedError(nn.Module):
    """The weighted squared error of z-scored states; in float32, autocast or not.

    Parameters
    ----------
    channel_weight : ndarray, shape (channel,)
        See `channel_weights`.
    area_weight : ndarray, shape (lat,)
        Weight of each row's cells, mean 1; see `isopleth.grid.Grid.weights`.
    """

    weight: Tensor

    def __init__(self, channel_weight: NDArray[Any], area_weight: NDArray[Any]) -> None:
        super().__init__()
        weight = np.outer(channel_weight, area_weight)[..., None]
        self.register_buffer("weight", torch.tensor(weight, dtype=torch.float32), persistent=False)

    def forward(
        self,
        prediction: Float[Tensor, "batch channel lat lon"],
        target: Float[Tensor, "batch channel lat lon"],
        valid: Bool[Tensor, "batch channel lat lon"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the mean over the batch; a cell that is not valid counts as no error."""
        with torch.autocast(prediction.device.type, enabled=False):
            miss = prediction.float() - target.float()
            if valid is not None:
                # Before the square: the gradient of what is masked after it could still be NaN.
                miss = torch.where(valid, miss, 0.0)
            return (miss.square() * self.weight).mean(dim=(0, 2, 3)).sum()


def rollout_weights(steps: int, discount: float) -> tuple[float, ...]:
    r"""Return the weights of the leads of a rollout, :math:`i^{-d} / \sum_j j^{-d}` for lead i = 1, 2, ...

    Examples
    --------
    >>> rollout_weights(2, 2.0)
    (0.8, 0.2)
    """
    raw = [number**-discount for number in range(1, steps + 1)]
    return tuple(weight / sum(raw) for weight in raw)
