"""The networks of a table of rows: some for each segment, averaged, with a spread from dropout and seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from isopleth.errors import DataError
from isopleth.grid import Grid
from isopleth.sealevel.baselines import Forecast, Predictor
from isopleth.sealevel.rows import Floats, Rows
from isopleth.train import Networks, NetworksConfig, Pretrained
from sealevel_trend.config import GlobalMean, LearningConfig
from sealevel_trend.intervals import Calibration
from sealevel_trend.partition import Partition

# The label of networks that were trained on all segments, for rows of segments that had too few.
EVERYWHERE = -1


@dataclass(frozen=True, eq=False)
class NetworkPredictor(Predictor):
    """The networks of one table of rows.

    Attributes
    ----------
    networks : Networks
    segments : tuple of int
        Which segment each network is of; `EVERYWHERE` for all that have none.
    passes, seed : int
        Of Monte-Carlo dropout.
    membership : array, shape (segment, cell), optional
        Weights by which the networks of neighbouring segments are blended.
    """

    networks: Networks
    segments: tuple[int, ...]
    passes: int
    seed: int = 0
    membership: Floats | None = None

    def predict(self, rows: Rows) -> Floats:
        """Average the networks of each row's segment without dropout, and blend across seams if asked."""
        if self.membership is None:
            return self._predict_as(rows, rows.segment)
        blended = np.zeros(len(rows))
        for label, weights in enumerate(self.membership[:, rows.cell]):
            near = np.flatnonzero(weights > 0)
            if near.size:
                part = rows.take(near)
                blended[near] += weights[near] * self._predict_as(part, np.full(near.size, label))
        return blended

    def _predict_as(self, rows: Rows, segment: np.ndarray) -> Floats:
        """Predict as if the rows lay in other segments."""
        mean = np.full(len(rows), np.nan)
        for own, networks in self._parts(segment):
            mean[own] = networks.predict(rows.inputs[own])[..., 0].astype(np.float64).mean(axis=0)
        return mean

    def forecast(self, rows: Rows) -> Forecast:
        """Predict, with the standard deviation over all dropout passes of all networks.

        The deviation stands for what the networks do not agree on (Gal and Ghahramani, ICML 2016;
        Lakshminarayanan et al., NeurIPS 2017), not for the ocean's own variability.
        """
        return Forecast(self.predict(rows), self.measure_spread(rows))

    def measure_spread(self, rows: Rows) -> Floats:
        """Measure the standard deviation over dropout passes and networks, a draw at a time."""
        spread = np.full(len(rows), np.nan)
        for own, networks in self._parts(rows.segment):
            spread[own] = _deviation(
                networks.dropout_draws(rows.inputs[own], passes=self.passes, seed=self.seed)
            )
        return spread

    def _parts(self, segment: np.ndarray) -> Iterator[tuple[np.ndarray, Networks]]:
        """Yield where the rows of each segment are, and its networks."""
        known = np.asarray(self.segments)
        used = np.where(np.isin(segment, known), segment, EVERYWHERE)
        for label in np.unique(used):
            members = np.flatnonzero(known == label)
            if not members.size:
                raise DataError(
                    f"every segment must have a network or there be one for all, got none for {label}",
                    hint="train the model with the partition that it predicts with",
                )
            yield np.flatnonzero(used == label), self.networks.subset(members.tolist())


def _deviation(draws: Iterator[np.ndarray]) -> Floats:
    """Return the standard deviation over draws and networks, shape (row,), by Welford's sums."""
    count, mean, squares = 0, np.zeros(()), np.zeros(())
    for draw in draws:
        for values in draw[..., 0].astype(np.float64):
            count += 1
            step = values - mean
            mean = mean + step / count
            squares = squares + step * (values - mean)
    return np.asarray(np.sqrt(squares / max(count - 1, 1)))


@dataclass(frozen=True, kw_only=True)
class TrendModelConfig:
    """What a trained model must remember besides its tensors.

    Parameters
    ----------
    features : tuple of str
        Models whose trends it takes, in order.
    learning : LearningConfig
        How it was trained.
    networks : NetworksConfig
    segment_names : tuple of str
    rows, columns : int
        Of its grid.
    """

    features: tuple[str, ...]
    learning: LearningConfig
    networks: NetworksConfig
    segment_names: tuple[str, ...]
    rows: int
    columns: int


class TrendModel(Pretrained, nn.Module, license="apache-2.0", tags=["sea level", "trend"]):
    """A trained model: networks, the partition they are of, and what its intervals rest on.

    Parameters
    ----------
    config : TrendModelConfig

    Attributes
    ----------
    networks : Networks
    segments : Tensor of int, shape (network,)
        The segment of each network; -1 for all others.
    labels : Tensor of int, shape (lat, lon)
        The partition, -1 over land.
    lat, lon : Tensor of float64
        The grid.
    quantiles : Tensor of float64, shape (2,)
        Conformal half-width in standard deviations of the forecast, and in mm/year.
    mean_trend : Tensor of float64, shape ()
        Trend of the observed global mean in the past years, mm/year.
    """

    segments: Tensor
    labels: Tensor
    lat: Tensor
    lon: Tensor
    quantiles: Tensor
    mean_trend: Tensor

    def __init__(self, config: TrendModelConfig) -> None:
        super().__init__()
        self.config = config
        self.networks = Networks(config.networks)
        shape = (config.rows, config.columns)
        self.register_buffer("segments", torch.zeros(len(config.networks.names), dtype=torch.int64))
        self.register_buffer("labels", torch.full(shape, -1, dtype=torch.int64))
        for name, size in (("lat", shape[:1]), ("lon", shape[1:]), ("quantiles", (2,)), ("mean_trend", ())):
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64))

    @property
    def learning(self) -> LearningConfig:
        """How it was trained."""
        return self.config.learning

    @property
    def global_mean(self) -> GlobalMean:
        """What becomes of the global mean's trend."""
        return self.learning.global_mean

    @property
    def predictor(self) -> NetworkPredictor:
        """Its networks, to predict rows with."""
        soft = Partition(self.partition).membership(self.learning.partition)
        passes = self.learning.ensemble.passes
        return NetworkPredictor(self.networks, tuple(self.segments.tolist()), passes, membership=soft)

    @property
    def calibration(self) -> Calibration:
        """What its intervals are made of."""
        scaled, plain = self.quantiles.tolist()
        return Calibration(self.learning.level, scaled, plain)

    @property
    def partition(self) -> xr.DataArray:
        """Its segments as a map."""
        names = self.config.segment_names
        attrs = {
            "long_name": "segment",
            "flag_values": list(range(len(names))),
            "flag_meanings": " ".join(names),
            "method": self.learning.partition.kind,
        }
        coords = {"lat": self.lat.numpy(), "lon": self.lon.numpy()}
        return xr.DataArray(self.labels.numpy(), coords, ("lat", "lon"), "segment", attrs)

    def check_grid(self, grid: Grid) -> None:
        """Refuse another grid than the one that the segments are on."""
        own = Grid(self.lat.numpy(), self.lon.numpy())
        if own != grid:
            raise DataError(
                f"prepared fields must be on the model's {own}, got {grid}",
                hint="prepare them with the settings that the training data had",
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute all networks on rows of trends (row, feature), in mm/year: (network, row, 1)."""
        return cast("Tensor", self.networks(inputs))
