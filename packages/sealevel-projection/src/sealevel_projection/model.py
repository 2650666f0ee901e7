"""The trained networks, and all that a projection needs of their training: segments, signals, intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from isopleth.errors import DataError
from isopleth.grid import Grid
from isopleth.train.fully_connected import NetworksConfig
from isopleth.train.networks import Networks
from isopleth.train.pretrained import Pretrained
from sealevel_projection.config import ProjectionConfig
from sealevel_projection.intervals import Calibration
from sealevel_projection.segments import Segments
from sealevel_projection.train import NetworkPredictor


@dataclass(frozen=True, kw_only=True)
class ProjectionModelConfig:
    """What a trained projection must remember.

    Parameters
    ----------
    projection : ProjectionConfig
        What decided the training.
    networks : NetworksConfig
        Names and shape of the networks, in the order of segments, then of seeds.
    signals : tuple of str
        Names of the inputs, in their order.
    fully_forced : tuple of str
        Those of them in which all forcings act.
    segments : tuple of str
        Names of the segments.
    rows, columns : int
        Size of the grid.
    leads : int
        Projected times for which intervals are known.
    """

    projection: ProjectionConfig
    networks: NetworksConfig
    signals: tuple[str, ...]
    fully_forced: tuple[str, ...]
    segments: tuple[str, ...]
    rows: int
    columns: int
    leads: int


class ProjectionModel(
    Pretrained,
    nn.Module,
    license="apache-2.0",
    paper_url="https://arxiv.org/abs/2308.02460",
    tags=["sea level"],
):
    """Networks that turn what climate models say into what an altimeter would see.

    Parameters
    ----------
    config : ProjectionModelConfig

    Attributes
    ----------
    networks : Networks
    membership : Tensor, shape (segment, row, column)
        How much each cell belongs to each segment.
    labels : Tensor of int, shape (row, column)
        The partition, -1 outside.
    half_widths : Tensor, shape (lead,)
        Of intervals, in standard deviations of a cell's variability.
    trend_half_width : Tensor, shape ()
    """

    membership: Tensor
    labels: Tensor
    lat: Tensor
    lon: Tensor
    half_widths: Tensor
    trend_half_width: Tensor

    def __init__(self, config: ProjectionModelConfig) -> None:
        super().__init__()
        self.config = config
        self.networks = Networks(config.networks)
        shape = config.rows, config.columns
        self.register_buffer("membership", torch.zeros(len(config.segments), *shape))
        self.register_buffer("labels", torch.full(shape, -1, dtype=torch.int32))
        self.register_buffer("lat", torch.zeros(config.rows, dtype=torch.float64))
        self.register_buffer("lon", torch.zeros(config.columns, dtype=torch.float64))
        self.register_buffer("half_widths", torch.zeros(config.leads, dtype=torch.float64))
        self.register_buffer("trend_half_width", torch.zeros((), dtype=torch.float64))

    @classmethod
    def build(
        cls,
        projection: ProjectionConfig,
        predictor: NetworkPredictor,
        signals: tuple[str, ...],
        segments: Segments,
        calibration: Calibration,
    ) -> ProjectionModel:
        """Put together what training gave."""
        grid = Grid.of(segments.labels)
        model = cls(
            ProjectionModelConfig(
                projection=projection,
                networks=predictor.networks.config,
                signals=signals,
                fully_forced=predictor.fully_forced,
                segments=segments.names,
                rows=grid.lat.size,
                columns=grid.lon.size,
                leads=len(calibration.values),
            )
        )
        model.networks.load_state_dict(predictor.networks.state_dict())
        model.membership.copy_(torch.from_numpy(segments.membership.reshape(-1, *grid.shape)))
        model.labels.copy_(torch.from_numpy(segments.labels.values))
        model.lat.copy_(torch.tensor(grid.lat))
        model.lon.copy_(torch.tensor(grid.lon))
        model.half_widths.copy_(torch.from_numpy(calibration.values))
        model.trend_half_width.fill_(calibration.trend)
        return model.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute all networks on rows (n, feature) in millimetres: (network, n, 1)."""
        return self.networks(inputs)

    @property
    def grid(self) -> Grid:
        """The grid of the training."""
        return Grid(self.lat.numpy(), self.lon.numpy())

    @property
    def segments(self) -> Segments:
        """The partition of the training."""
        grid, names = self.grid, self.config.segments
        attrs = {
            "long_name": "segment of the ocean",
            "flag_values": list(range(len(names))),
            "flag_meanings": " ".join(names),
        }
        labels = xr.DataArray(
            self.labels.numpy().astype(np.int64),
            {"lat": grid.lat, "lon": grid.lon},
            ("lat", "lon"),
            "segment",
            attrs,
        )
        membership = self.membership.numpy().reshape(len(names), -1).astype(np.float64)
        return Segments(labels=labels, membership=membership)

    @property
    def predictor(self) -> NetworkPredictor:
        """What predicts rows."""
        inputs, forced = self.config.projection.inputs, self.config.fully_forced
        return NetworkPredictor(self.networks, self.segments.membership, inputs, forced)

    @property
    def calibration(self) -> Calibration:
        """Half-widths of the intervals."""
        level = self.config.projection.intervals.level
        return Calibration(level=level, values=self.half_widths.numpy(), trend=float(self.trend_half_width))

    def check_grid(self, grid: Grid) -> None:
        """Raise `DataError` unless a dataset is on the grid of the training."""
        if grid != self.grid:
            raise DataError(
                f"a dataset to project must be on the grid of the training, {self.grid}, got {grid}",
                hint="prepare it with the same resolution",
            )
