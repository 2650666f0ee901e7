"""Miniature files in the exact layout of real ones, for tests: no download, no credentials, known truth.

Each writer takes a folder and a seed, and returns the path together with what a reader must make of it:

>>> import tempfile, pathlib
>>> from isopleth.io import open_fields
>>> written = write_aviso_trend_map(pathlib.Path(tempfile.mkdtemp()))
>>> list(open_fields(written.path).data_vars) == list(written.truth.data_vars)
True
"""

from __future__ import annotations

from collections.abc import Callable

from isopleth.testing.land import write_daymet, write_eobs, write_livneh, write_prism
from isopleth.testing.miniature import Stored, Written, make_field, pack, write_raw
from isopleth.testing.ocean import (
    write_aviso_trend_map,
    write_cesm_pop,
    write_cesm_pop_without_bounds,
    write_cmip6_zos,
    write_cmip6_zos_360_day,
    write_duacs,
    write_measures,
)
from isopleth.testing.reanalysis import (
    write_era5_monthly_new_cds,
    write_era5_new_cds,
    write_era5_old_cds,
    write_era5_old_cds_expver,
    write_era5_zip,
    write_weatherbench2,
    write_weatherbench2_v3,
)

LAYOUTS: dict[str, Callable[..., Written]] = {
    "era5_old_cds": write_era5_old_cds,
    "era5_old_cds_expver": write_era5_old_cds_expver,
    "era5_new_cds": write_era5_new_cds,
    "era5_monthly_new_cds": write_era5_monthly_new_cds,
    "era5_zip": write_era5_zip,
    "weatherbench2": write_weatherbench2,
    "weatherbench2_v3": write_weatherbench2_v3,
    "cmip6_zos_noleap": write_cmip6_zos,
    "cmip6_zos_360_day": write_cmip6_zos_360_day,
    "cesm_pop": write_cesm_pop,
    "cesm_pop_without_bounds": write_cesm_pop_without_bounds,
    "duacs": write_duacs,
    "measures": write_measures,
    "aviso_trend_map": write_aviso_trend_map,
    "prism": write_prism,
    "livneh": write_livneh,
    "daymet": write_daymet,
    "eobs": write_eobs,
}

__all__ = [
    "LAYOUTS",
    "Stored",
    "Written",
    "make_field",
    "pack",
    "write_aviso_trend_map",
    "write_cesm_pop",
    "write_cesm_pop_without_bounds",
    "write_cmip6_zos",
    "write_cmip6_zos_360_day",
    "write_daymet",
    "write_duacs",
    "write_eobs",
    "write_era5_monthly_new_cds",
    "write_era5_new_cds",
    "write_era5_old_cds",
    "write_era5_old_cds_expver",
    "write_era5_zip",
    "write_livneh",
    "write_measures",
    "write_prism",
    "write_raw",
    "write_weatherbench2",
    "write_weatherbench2_v3",
]
