"""What is written is read back: whole, or not at all."""

import json

import numpy as np
import pytest
import xarray as xr


@pytest.fixture(scope="session")
def read():
    def read(path):
        """Return the one value of which an output is made; fail if it is not whole."""
        if path.suffix == ".json":
            values = np.array(json.loads(path.read_text())["values"])
            assert values.size == 3000
        elif path.suffix == ".nc":
            with xr.open_dataset(path, engine="h5netcdf") as ds:
                values = ds["x"].values
            assert values.shape == (24, 16, 32)
        else:
            values = xr.open_zarr(path, chunks=None)["x"].values
            assert values.shape == (24, 16, 32)
        assert np.unique(values).size == 1, "a mix of two writes"
        return values.flat[0]

    return read
