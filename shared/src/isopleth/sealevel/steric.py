"""CMIP's ``zostoga``: the global mean thermosteric change that ``zos`` does not contain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from isopleth.errors import DataError
from isopleth.io.axes import find_roles
from isopleth.io.calendars import decode_time
from isopleth.io.decode import plan_decoding
from isopleth.io.formats import open_raw
from isopleth.io.units import find_conversion
from isopleth.sealevel.months import count_months

STERIC = "steric_mean"
_NAMES = ("zostoga", "zossga")
_ATTRS = {
    "standard_name": "global_average_thermosteric_sea_level_change",
    "long_name": "global mean thermosteric sea level change",
    "units": "m",
}


def is_steric_file(place: str) -> bool:
    """Whether a file's name says that it holds ``zostoga``."""
    name = place.rstrip("/").rpartition("/")[2].lower()
    return any(word in name for word in _NAMES)


def open_steric_mean(
    places: Sequence[str],
    ensemble: xr.Dataset,
    *,
    member_pattern_of: Callable[[Sequence[str]], dict[str, list[str]]],
) -> xr.DataArray:
    """Read the global mean thermosteric change on an ensemble's members and times.

    Parameters
    ----------
    places : sequence of str
        Files of ``zostoga``: those of one member serve all, else every member must have its own.
    ensemble : Dataset
        With ``member`` and ``time``.
    member_pattern_of : callable
        Groups files by member.

    Returns
    -------
    DataArray, dims (member, time)
        float64 metres.

    Raises
    ------
    DataError
        If there is none, or a member or time of the ensemble is without it.
    """
    if not places:
        raise DataError(
            "zostoga must lie beside zos to be added, got no such file", hint="fetch it, or leave zostoga out"
        )
    groups = member_pattern_of(places)
    wanted = [str(member) for member in ensemble["member"].values]
    if len(groups) == 1:
        groups = dict.fromkeys(wanted, next(iter(groups.values())))
    missing = [member for member in wanted if member not in groups]
    if missing:
        raise DataError(f"every member must have zostoga, or one for all, got none for {missing[0]}")
    months = count_months(ensemble["time"])
    monthly = ensemble.attrs["frequency"] == "month"
    rows = {key: _read_run(key, months, monthly=monthly) for key in {tuple(groups[m]) for m in wanted}}
    values = np.stack([rows[tuple(groups[member])] for member in wanted])
    coords = {"member": ensemble["member"], "time": ensemble["time"]}
    return xr.DataArray(values, coords, ("member", "time"), STERIC, _ATTRS)


def _read_run(places: tuple[str, ...], wanted: np.ndarray, *, monthly: bool) -> np.ndarray:
    """Read the files of one run, and pick the wanted months (or years)."""
    pairs = [_read_file(place) for place in places]
    months = np.concatenate([m for m, _ in pairs])
    values = np.concatenate([v for _, v in pairs])
    if not monthly:
        months, wanted = months // 12, wanted // 12
    known = dict(zip(months.tolist(), values.tolist(), strict=True))
    if len(known) < months.size:
        raise DataError("zostoga must have one value a time, got some twice", where=places[0])
    missing = [step for step in wanted.tolist() if step not in known]
    if missing:
        when = f"{missing[0] // 12}-{missing[0] % 12 + 1:02d}" if monthly else str(missing[0])
        raise DataError(f"zostoga must cover the times of zos, got none of {when}", where=places[0])
    return np.array([known[step] for step in wanted.tolist()])


def _read_file(place: str) -> tuple[np.ndarray, np.ndarray]:
    """Return counted months and metres."""
    raw = next(iter(open_raw(place))).dataset.reset_coords()
    name = next((str(n) for n in raw.variables if str(n).lower() in _NAMES), None)
    time = find_roles(raw).get("time")
    if name is None or time is None or raw[name].size != raw[time].size:
        raise DataError(
            f"the file must hold zostoga over time, got {sorted(map(str, raw.variables))}", where=place
        )
    stored = raw.variables[name]
    plan = plan_decoding(stored, None, find_conversion(str(stored.attrs.get("units", "m")), "m"))
    values = plan.apply(np.ravel(stored.values)).astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError("zostoga must have no missing value, got some", where=place)
    stamps = xr.DataArray(decode_time(raw.variables[time], time).values, dims="time")
    return count_months(stamps), values
