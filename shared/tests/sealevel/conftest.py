"""A small world of sea level, and its files in the real layouts."""

import pytest

from isopleth.samples import sea_level, write_sea_level_sample


@pytest.fixture(scope="session")
def world():
    """Four years with the altimeter and four after it: monthly, two members."""
    return sea_level(members=2, first_year=2019, last_year=2026, frequency="month", resolution_deg=6.0)


@pytest.fixture(scope="session")
def archive(world, tmp_path_factory):
    models = ("CESM1", "GFDL-ESM2M", "MPI-GE", "CESM2-GHG")
    return write_sea_level_sample(
        tmp_path_factory.mktemp("archive"), world, models=models, resolution_deg=3.0
    )
