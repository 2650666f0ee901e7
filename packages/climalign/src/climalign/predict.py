"""Use: coarse fields in, fine ones out, and back; samples, pairs from nothing, densities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import dask.array as da
import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from climalign import __version__
from climalign.alignment import align_coarse, join_seam
from climalign.config import PredictConfig, SamplingConfig
from climalign.model.pair import ClimAlign, Noise
from climalign.tiles import Floats, Tiling
from isopleth.config import config_hash
from isopleth.errors import DataError
from isopleth.io import Provenance, find_sources, open_fields, write_netcdf, write_zarr
from isopleth.train.randomness import derive_seed

Direction = Literal["downscale", "upscale"]
_NANOSECONDS_A_DAY = 86_400_000_000_000
# Days that pass a flow together.
_BATCH = 32


@dataclass(frozen=True, eq=False)
class Sampler:
    """Draw fields from a trained pair.

    Noise follows from the seed, the member and the day alone: a sample is the same whatever chunk, batch or
    tile it is computed in, so that tiles agree where they overlap.

    Parameters
    ----------
    model : ClimAlign
        In evaluation mode.
    sampling : SamplingConfig
    """

    model: ClimAlign
    sampling: SamplingConfig

    def __post_init__(self) -> None:
        self.model.eval()
        self.model.coarse.use_caches()
        self.model.fine.use_caches()

    def draw(
        self, values: Floats, months: NDArray[np.int64], days: NDArray[np.int64], direction: Direction
    ) -> Floats:
        """Draw all members of some days.

        Parameters
        ----------
        values : array, shape (time, lat, lon)
            Coarse (or fine) fields in the units of training; NaN where missing.
        months : array of int, shape (time,)
            0 to 11.
        days : array of int, shape (time,)
            What tells the days apart; seeds the noise.
        direction : {"downscale", "upscale"}

        Returns
        -------
        array, shape (member, time, row, column)
        """
        self.check_months(months)
        parts = []
        for start in range(0, len(values), _BATCH):
            batch = slice(start, start + _BATCH)
            members = [
                self._member(member, values[batch], months[batch], days[batch], direction)
                for member in range(max(self.sampling.members, 1))
            ]
            parts.append(np.stack(members))
        return np.concatenate(parts, 1)

    def check_months(self, months: NDArray[np.int64]) -> None:
        """Refuse months (0 to 11) that the training period had not."""
        for scale in (self.model.coarse_scale, self.model.fine_scale):
            scale.check_months(torch.from_numpy(months))

    def density(
        self, values: Floats, months: NDArray[np.int64], days: NDArray[np.int64], direction: Direction
    ) -> Floats:
        """Give the log-density of some days' input fields, nats, shape (time,)."""
        rows, columns = len(self.model.config.lat), len(self.model.config.lon)
        found = []
        compute = self.model.coarse_density if direction == "downscale" else self.model.fine_density
        for start in range(0, len(values), _BATCH):
            batch = slice(start, start + _BATCH)
            noise = self._noise(0, days[batch], rows, columns)
            with torch.no_grad():
                found.append(compute(torch.from_numpy(values[batch]), torch.from_numpy(months[batch]), noise))
        return torch.cat(found).numpy()

    def sample(self, month: int, count: int) -> tuple[Floats, Floats]:
        """Draw coarse and fine fields that go together, from nothing, for a month (1 to 12).

        Returns
        -------
        array, shape (sample, lat, lon); array, shape (sample, row, column)
        """
        rows, columns = len(self.model.config.lat), len(self.model.config.lon)
        noise = self._noise(month, np.arange(count), rows, columns)
        with torch.no_grad():
            found = self.model.sample(torch.full((count,), month - 1), noise.latent)
        return found[0].numpy(), found[1].numpy()

    def _member(
        self, member: int, values: Floats, months: NDArray, days: NDArray, direction: Direction
    ) -> Floats:
        config, down = self.model.config, direction == "downscale"
        rows, columns = len(config.lat), len(config.lon)
        noise = self._noise(member, days, rows, columns)
        given = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
        index = torch.from_numpy(months)
        scale = self.model.coarse_scale if down else self.model.fine_scale
        uniform = noise.uniform_coarse if down else noise.uniform_fine
        numbers = scale.encode(given, index, uniform)
        if down:
            numbers = self.model.upsample(numbers)
        tiling = Tiling(rows, columns, self.sampling.tile, self.sampling.overlap, self.model.multiple)
        made = torch.from_numpy(tiling.blend(lambda window: self._cross(window, numbers, noise, down=down)))
        with torch.no_grad():
            if not down:
                made = self.model.block_mean(made, torch.ones_like(made, dtype=torch.bool))[0]
            result = (self.model.fine_scale if down else self.model.coarse_scale).decode(made, index)
            if down and self.sampling.conserve != "none":
                result = self._conserve(result, given, index)
        return result.numpy()

    def _cross(self, window: tuple[slice, slice], numbers: Tensor, noise: Noise, *, down: bool) -> Floats:
        """Take one tile through one flow to the latent, and through the other from it."""
        place = (slice(None), slice(None), *window)
        source, target = (self.model.coarse, self.model.fine)[:: 1 if down else -1]
        with torch.no_grad():
            if down:
                amount = 0.0 if self.sampling.members == 0 else self.sampling.noise
                filled = self.model.fill_coarse(numbers[place], noise.coarse[place], amount)
            else:
                filled = self.model.fill_fine(numbers[place], noise.fine[place])
            latent = source(filled.values)[0]
            if self.sampling.members and self.sampling.temperature:
                latent = latent + self.sampling.temperature * noise.latent[place]
            made: Floats = target.inverse(latent)[0].numpy()
        return made

    def _conserve(self, fine: Tensor, coarse: Tensor, months: Tensor) -> Tensor:
        """Let the mean over the known cells of each block equal the coarse value, or its anomaly."""
        model = self.model
        valid = torch.isfinite(fine)[:, None]
        means, has = model.block_mean(fine.nan_to_num()[:, None], valid)
        wanted = coarse[:, None]
        if model.config.field.kind == "temperature":
            if self.sampling.conserve == "anomaly":
                normal = model.fine_scale.monthly[months][:, None]
                own, _ = model.block_mean(normal, valid)
                wanted = wanted - model.coarse_scale.monthly[months][:, None] + own
            change = torch.where(has & torch.isfinite(wanted), wanted - means, 0.0)
            return fine + model.upsample(change)[:, 0]
        wanted = wanted.clamp(min=0)
        ratio = torch.where(means > 0, wanted / means.clamp(min=1e-30), 1.0)
        # A block that came out dry gets its rain evenly: nothing says where else.
        evenly = torch.where((means > 0) | ~torch.isfinite(wanted), 0.0, wanted)
        ratio = torch.where(torch.isfinite(ratio), ratio, 1.0)
        return fine * model.upsample(ratio)[:, 0] + model.upsample(evenly)[:, 0]

    def _noise(self, member: int, days: NDArray[np.int64], rows: int, columns: int) -> Noise:
        factor = self.model.config.field.factor
        drawn = []
        for day in days.tolist():
            seed = derive_seed(self.sampling.seed, member, day % (1 << 62))
            drawn.append(Noise.draw(1, rows, columns, factor, torch.Generator().manual_seed(seed)))
        fields = ("coarse", "fine", "latent", "uniform_coarse", "uniform_fine")
        return Noise(*(torch.cat([getattr(each, name) for each in drawn]) for name in fields))


def downscale(
    model: ClimAlign, coarse: xr.DataArray, sampling: SamplingConfig | None = None, *, density: bool = False
) -> xr.Dataset:
    """Draw fine fields for coarse ones.

    Parameters
    ----------
    model : ClimAlign
    coarse : DataArray, dims (time, lat, lon)
        In the units of training, on any grid that covers the model's; interpolated where it does not nest.
        A dask array stays lazy: memory is bounded by its chunks of time.
    sampling : SamplingConfig, optional
    density : bool
        Add the log-density of each coarse field.

    Returns
    -------
    Dataset
        The variable, dims (member, time, lat, lon), its mean over the members as NAME_mean, and
        ``log_density`` in nats on request. Cells that were always missing in training are NaN.

    Raises
    ------
    DataError
        If a month was absent from training, or the field does not cover the model's cells.
    """
    fine = xr.Dataset(coords=_cells(model, fine=True))
    aligned = align_coarse(coarse.to_dataset(name="value"), fine, model.config.field.factor)["value"]
    return _apply(model, aligned, sampling or SamplingConfig(), "downscale", density=density)


def upscale(
    model: ClimAlign, fine: xr.DataArray, sampling: SamplingConfig | None = None, *, density: bool = False
) -> xr.Dataset:
    """Draw coarse fields, with the coarse data's own climate, for fine ones on the model's cells.

    Parameters, result and errors as for `downscale`.
    """
    cells = _cells(model, fine=True)
    fine = join_seam(fine)
    for dim, values in cells.items():
        if fine.sizes.get(dim) != len(values) or not np.allclose(fine[dim], values, atol=1e-3):
            raise DataError(
                f"fine fields must have the model's {len(values)} {dim}, got {fine.sizes.get(dim)} or others",
                hint="cut them by region, or bring them to the model's grid by isopleth.io.regrid",
            )
    return _apply(model, fine, sampling or SamplingConfig(), "upscale", density=density)


def sample_pairs(model: ClimAlign, month: int, count: int, *, seed: int = 0) -> xr.Dataset:
    """Draw coarse and fine fields that go together, unconditionally.

    Parameters
    ----------
    model : ClimAlign
    month : int
        1 to 12; its normal is added to temperature.
    count : int
    seed : int

    Returns
    -------
    Dataset
        ``coarse`` (sample, coarse_lat, coarse_lon) and ``fine`` (sample, lat, lon).
    """
    coarse, fine = Sampler(model, SamplingConfig(seed=seed)).sample(month, count)
    own = _cells(model, fine=False)
    coords = {**_cells(model, fine=True), "coarse_lat": own["lat"], "coarse_lon": own["lon"]}
    return xr.Dataset(
        {
            "coarse": (("sample", "coarse_lat", "coarse_lon"), coarse),
            "fine": (("sample", "lat", "lon"), fine),
        },
        coords,
    )


def predict_from_files(config: PredictConfig) -> dict[str, Any]:
    """Read fields, draw the others, write them: the verb ``predict``."""
    open_fields(find_sources(config.source)[0])  # headers of the first file: what was named comes first
    model = ClimAlign.from_pretrained(config.model)
    name = model.config.field.variable
    fields = open_fields(
        config.source,
        variables=[name],
        period=config.period,
        region=_region(model),
        chunks={"time": config.chunk_days},
    )
    convert = downscale if config.direction == "downscale" else upscale
    result = convert(model, fields[name], config.sampling, density=config.density)
    source = Provenance(
        tool="climalign",
        version=__version__,
        config_hash=config_hash(config),
        inputs=(str(config.source), str(config.model)),
    )
    if config.scheduler is not None:
        from isopleth.cluster import connect

        with connect(config.scheduler, set_as_default=True):
            _write(result, config, source)
    else:
        _write(result, config, source)
    return {"fields": str(config.out), **{str(dim): int(size) for dim, size in result.sizes.items()}}


def _write(result: xr.Dataset, config: PredictConfig, source: Provenance) -> None:
    if config.out.suffix == ".nc":
        write_netcdf(result, config.out, provenance=source)
    else:
        write_zarr(result, config.out, provenance=source)


def _apply(
    model: ClimAlign, field: xr.DataArray, sampling: SamplingConfig, direction: Direction, *, density: bool
) -> xr.Dataset:
    """Draw for a field, in memory or chunk by chunk."""
    field = field.transpose("time", "lat", "lon")
    sampler = Sampler(model, sampling)
    cells = _cells(model, fine=direction == "downscale")
    shape = (max(sampling.members, 1), *(len(values) for values in cells.values()))
    months = np.asarray(field["time"].dt.month.values - 1, dtype=np.int64)
    # Now, and not when the first such chunk is computed.
    sampler.check_months(months)
    days = _number_days(field["time"].values)
    if not isinstance(field.data, da.Array):
        data: Any = sampler.draw(np.asarray(field.values, np.float32), months, days, direction)
        log: Any = (
            sampler.density(np.asarray(field.values, np.float32), months, days, direction)
            if density
            else None
        )
    else:
        chunked = field.data.rechunk({1: -1, 2: -1}).astype(np.float32)
        times = [da.from_array(each, chunks=(chunked.chunks[0],)) for each in (months, days)]
        data = da.map_blocks(
            lambda v, m, d: sampler.draw(v, m[:, 0, 0], d[:, 0, 0], direction),
            chunked,
            *(each[:, None, None] for each in times),
            chunks=((shape[0],), chunked.chunks[0], (shape[1],), (shape[2],)),
            new_axis=0,
            dtype=np.float32,
            meta=np.empty((0, 0, 0, 0), np.float32),
        )
        log = None
        if density:
            log = da.map_blocks(
                lambda v, m, d: sampler.density(v, m[:, 0, 0], d[:, 0, 0], direction),
                chunked,
                *(each[:, None, None] for each in times),
                drop_axis=(1, 2),
                dtype=np.float32,
                meta=np.empty((0,), np.float32),
            )
    name = model.config.field.variable
    coords = {"time": field["time"], **cells}
    drawn = xr.DataArray(
        data,
        {"member": np.arange(shape[0]), **coords},
        ("member", "time", "lat", "lon"),
        attrs=dict(field.attrs),
    )
    result = xr.Dataset({name: drawn, f"{name}_mean": drawn.mean("member", keep_attrs=True)})
    if log is not None:
        result["log_density"] = (
            "time",
            log,
            {"units": "1", "long_name": "log-density of the input field, nats"},
        )
    return result


def _cells(model: ClimAlign, *, fine: bool) -> dict[str, NDArray[np.float64]]:
    axes = {"lat": np.asarray(model.config.lat), "lon": np.asarray(model.config.lon)}
    if fine:
        return axes
    return {dim: values.reshape(-1, model.config.field.factor).mean(1) for dim, values in axes.items()}


def _region(model: ClimAlign) -> tuple[float, float, float, float]:
    """Give the model's cells with two coarse cells more on each side."""
    edges: list[float] = []
    for values in (model.config.lat, model.config.lon):
        step = abs(values[-1] - values[0]) / max(len(values) - 1, 1)
        margin = 2 * step * model.config.field.factor
        edges += [min(values) - margin, max(values) + margin]
    return max(edges[0], -90.0), min(edges[1], 90.0), edges[2], edges[3]


def _number_days(times: NDArray[Any]) -> NDArray[np.int64]:
    """Count time stamps so that each has its own noise."""
    if np.issubdtype(times.dtype, np.datetime64):
        return np.asarray(times.astype("datetime64[ns]").astype(np.int64) // _NANOSECONDS_A_DAY + (1 << 40))
    return np.array([t.year * 10_000 + t.month * 100 + t.day for t in times], dtype=np.int64)
