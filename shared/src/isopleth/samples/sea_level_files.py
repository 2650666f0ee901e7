"""The sea level sample as the real products' files: what an archive would hand out, folder by folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isopleth.errors import ConfigError
from isopleth.fields.land import land_mask
from isopleth.io.stored import pack, write_stored
from isopleth.samples.ocean import Terms
from isopleth.samples.ocean_grids import OceanGrid, displaced_pole_grid
from isopleth.samples.ocean_layouts import (
    DUACS_FILL,
    Intervals,
    altimetry_layout,
    cmip_layout,
    pop_layout,
    zostoga_layout,
)
from isopleth.samples.sea_level import SINGLE_FORCING, SeaLevelSample
from isopleth.samples.waves import unit_vectors

ALTIMETRY_FOLDER = "altimetry"
_GREENLAND, _SIBERIA = (80.0, 320.0), (74.0, 100.0)


@dataclass(frozen=True, kw_only=True)
class _Archive:
    """How a model's runs are filed: the layout, the last year of history, and the names of files."""

    layout: str
    calendar: str
    history_until: int
    history: str
    scenario: str
    pole: tuple[float, float] = _GREENLAND
    first_lon: float = 0.0
    since: str = "days since 1850-01-01"
    attrs: tuple[tuple[str, str], ...] = ()


def _cesm(case: str, history: str, scenario: str, until: int) -> _Archive:
    attrs = (("source", "CCSM POP2, the CCSM Ocean Component"), ("title", case))
    return _Archive(
        layout="pop", calendar="noleap", history_until=until, history=history, scenario=scenario,
        first_lon=320.0, attrs=attrs,
    )  # fmt: skip


def _cmip6(source: str, scenario: str) -> _Archive:
    history = f"zos_Omon_{source}_historical_r{{member}}i1p1f1_gn_{{span}}.nc"
    attrs = (
        ("mip_era", "CMIP6"),
        ("source_id", source),
        ("table_id", "Omon"),
        ("Conventions", "CF-1.7 CMIP-6.2"),
    )
    return _Archive(
        layout="cmip", calendar="proleptic_gregorian", history_until=2014, history=history,
        scenario=history.replace("historical", scenario), attrs=attrs,
    )  # fmt: skip


_POP = ".pop.h.SSH.{span}.nc"
_ARCHIVES = {
    "CESM1": _cesm(
        "b.e11.B20TRC5CNBDRD.f09_g16",
        f"b.e11.B20TRC5CNBDRD.f09_g16.{{member:03d}}{_POP}",
        f"b.e11.BRCP85C5CNBDRD.f09_g16.{{member:03d}}{_POP}",
        2005,
    ),
    "CESM2": _cesm(
        "b.e21.BHISTcmip6.f09_g17",
        f"b.e21.BHISTcmip6.f09_g17.LE2-1301.{{member:03d}}{_POP}",
        f"b.e21.BSSP370cmip6.f09_g17.LE2-1301.{{member:03d}}{_POP}",
        2014,
    ),
    "GFDL-ESM2M": _Archive(
        layout="cmip", calendar="noleap", history_until=2005,
        history="zos_Omon_GFDL-ESM2M_historical_r{member}i1p1_{span}.nc",
        scenario="zos_Omon_GFDL-ESM2M_rcp85_r{member}i1p1_{span}.nc",
        pole=_SIBERIA, first_lon=-280.0, since="days since 1861-01-01",
        attrs=(("project_id", "CMIP5"), ("model_id", "GFDL-ESM2M")),
    ),
    "MPI-GE": _Archive(
        layout="cmip_members", calendar="proleptic_gregorian", history_until=2005,
        history="zos_Omon_MPI-ESM_historical_allmembers_{span}.nc",
        scenario="zos_Omon_MPI-ESM_rcp85_allmembers_{span}.nc",
        attrs=(("project_id", "MPI-GE"), ("model_id", "MPI-ESM")),
    ),
    "MPI-ESM1-2-HR": _cmip6("MPI-ESM1-2-HR", "ssp585"),
    "MPI-ESM1-2-LR": _cmip6("MPI-ESM1-2-LR", "ssp585"),
    **{
        name: _cesm(
            f"b.e21.B1850cmip6.f09_g17.{name.replace('CESM2', 'CESM2-SF')}",
            f"b.e21.B1850cmip6.f09_g17.{name.replace('CESM2', 'CESM2-SF')}.{{member:03d}}{_POP}",
            f"b.e21.B1850cmip6.f09_g17.{name.replace('CESM2', 'CESM2-SF')}.{{member:03d}}{_POP}",
            2014,
        )
        for name in SINGLE_FORCING
    },
}  # fmt: skip


def write_sea_level_sample(
    folder: str | os.PathLike[str],
    sample: SeaLevelSample,
    *,
    models: tuple[str, ...] | None = None,
    resolution_deg: float = 1.5,
) -> dict[str, Path]:
    """Write a sample as files of the real products' layouts, one folder a model and one for the altimeter.

    CESM's are POP's: cm on a displaced-pole grid, stamped at the end of the interval, a file a member.
    GFDL-ESM2M and the MPI models are CMIP's: metres with land 1e20, a file a member, but for MPI-GE, whose
    members are a dimension; each comes with ``zostoga``, the global mean that ``zos`` lacks. Runs are cut
    where history ends and the scenario begins. The altimeter's maps are those of C3S, from two satellites: a
    file a month, or a year where the sample has years, in 32-bit integers.

    Parameters
    ----------
    folder : path
        Made where there is none; files of the same names are replaced.
    sample : SeaLevelSample
        At least three years long.
    models : tuple of str, optional
        Which of `SeaLevelSample.models`; all by default.
    resolution_deg : float
        Of the models' own grids and of the altimeter's, a divisor of 180.

    Returns
    -------
    dict of str to Path
        The folder of each model, and of ``"altimetry"``.
    """
    names = sample.models if models is None else models
    unknown = [name for name in names if name not in _ARCHIVES]
    if unknown:
        raise ConfigError(f"models must be among {', '.join(_ARCHIVES)}, got {', '.join(unknown)}")
    folders = {name: Path(folder) / name for name in names}
    for name, place in folders.items():
        _write_model(place, sample, name, resolution_deg)
    altimetry = Path(folder) / ALTIMETRY_FOLDER
    _write_altimetry(altimetry, sample, resolution_deg)
    return {**folders, ALTIMETRY_FOLDER: altimetry}


@dataclass(frozen=True, eq=False)
class _Points:
    """A curved grid, its sea cells, and the maps of a model there."""

    grid: OceanGrid
    sea: NDArray[np.bool_]
    points: NDArray[np.float64]
    terms: Terms

    @classmethod
    def of(cls, sample: SeaLevelSample, model: str, resolution_deg: float) -> _Points:
        archive = _ARCHIVES[model]
        grid = displaced_pole_grid(resolution_deg, pole=archive.pole, first_lon=archive.first_lon)
        sea = ~land_mask(grid.lat, grid.lon)
        points = unit_vectors(grid.lat[sea], grid.lon[sea])
        return cls(grid, sea, points, sample.terms(points, model))

    def spread(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        full = np.full((len(values), *self.sea.shape), np.nan, np.float32)
        full[:, self.sea] = values
        return full


def _write_model(folder: Path, sample: SeaLevelSample, model: str, resolution_deg: float) -> None:
    archive, at = _ARCHIVES[model], _Points.of(sample, model, resolution_deg)
    if archive.layout == "cmip_members":
        whole = np.stack([_member(sample, model, at, k) for k in range(sample.members)])
        _write_runs(folder, sample, archive, at, whole, member=0)
    else:
        for k in range(sample.members):
            _write_runs(folder, sample, archive, at, _member(sample, model, at, k), member=k + 1)
    if archive.layout != "pop":
        _write_zostoga(folder, sample, model, archive)


def _member(sample: SeaLevelSample, model: str, at: _Points, member: int) -> NDArray[np.float32]:
    return at.spread(sample.evaluate(at.points, model, member=member, terms=at.terms))


def _write_runs(
    folder: Path,
    sample: SeaLevelSample,
    archive: _Archive,
    at: _Points,
    values: NDArray[np.float32],
    *,
    member: int,
) -> None:
    for name, intervals, steps in _runs(sample, archive):
        part = values[..., steps, :, :]
        lat, lon = (np.where(at.sea, axis, np.nan) for axis in (at.grid.lat, at.grid.lon))
        if archive.layout == "pop":
            variables = pop_layout(part * np.float32(100.0), lat, lon % 360.0, intervals)
        else:
            variables = cmip_layout(part, lat, lon, intervals, since=archive.since)
        write_stored(
            folder / name.format(member=member), variables, attrs=dict(archive.attrs), unlimited="time"
        )


def _write_zostoga(folder: Path, sample: SeaLevelSample, model: str, archive: _Archive) -> None:
    mean = sample.steric_mean(model)
    for name, intervals, steps in _runs(sample, archive):
        path = folder / name.replace("zos_", "zostoga_").format(member=1)
        variables = zostoga_layout(mean[steps], intervals, since=archive.since)
        write_stored(path, variables, attrs=dict(archive.attrs), unlimited="time")


def _runs(sample: SeaLevelSample, archive: _Archive) -> Iterator[tuple[str, Intervals, slice]]:
    """Cut a sample's years into history and scenario: the file's name, its intervals and its time steps."""
    monthly = sample.frequency == "month"
    steps = 12 if monthly else 1
    spans = (
        (archive.history, sample.first_year, min(archive.history_until, sample.last_year)),
        (archive.scenario, max(archive.history_until + 1, sample.first_year), sample.last_year),
    )
    for name, first, last in spans:
        if first > last:
            continue
        span = f"{first}01-{last}12" if monthly else f"{first}-{last}"
        start = steps * (first - sample.first_year)
        intervals = Intervals.of_years(first, last, calendar=archive.calendar, monthly=monthly)
        yield (
            name.replace("{span}", span),
            intervals,
            slice(start, start + steps * (last + 1 - first)),
        )


def _write_altimetry(folder: Path, sample: SeaLevelSample, resolution_deg: float) -> None:
    lat = np.arange(-90.0 + resolution_deg / 2, 90.0, resolution_deg)
    west = np.arange(-180.0 + resolution_deg / 2, 180.0, resolution_deg)
    rows, columns = np.meshgrid(lat, west, indexing="ij")
    sea = ~land_mask(rows, columns)
    seen = sample.observe(unit_vectors(rows[sea], columns[sea]))
    first, last = sample.altimeter_years
    monthly = sample.frequency == "month"
    intervals = Intervals.of_years(first, last, calendar="standard", monthly=monthly)
    days = intervals.count("days since 1950-01-01")
    attrs = {
        "standard_name": "sea_surface_height_above_sea_level",
        "units": "m",
        "long_name": "Sea level anomaly",
    }
    title = {
        "Conventions": "CF-1.6",
        "title": "DT two-sat Global Ocean Gridded SSALTO/DUACS",
        "product_version": "vDT2021",
    }
    for step, values in enumerate(seen):
        full = np.full(sea.shape, np.nan)
        full[sea] = values
        raw, _ = pack(full, 1e-4, 0.0, "i4", int(DUACS_FILL))
        day = np.array([np.floor((days[step] + days[step + 1]) / 2.0)])
        stamp = intervals.edges[step]
        span = f"{stamp.year}{stamp.month:02d}" if monthly else f"{stamp.year}"
        variables = altimetry_layout({"sla": (raw[None], attrs)}, lat, west, day)
        write_stored(folder / f"dt_global_twosat_phy_l4_{span}_vDT2021-M01.nc", variables, attrs=title)
