"""A dask cluster that exists already: how to reach it."""

from __future__ import annotations

from typing import Any

from isopleth.errors import ConfigError, require

_PATIENCE = "10s"


def connect(address: str, *, set_as_default: bool = False) -> Any:
    """Connect to a dask.distributed scheduler.

    Parameters
    ----------
    address : str
        Such as ``tcp://10.0.0.1:8786``.
    set_as_default : bool
        Whether dask collections are computed there from now on.

    Returns
    -------
    distributed.Client
        A context manager.

    Raises
    ------
    ConfigError
        If no scheduler answers there.
    MissingDependencyError
        If distributed is not installed.
    """
    distributed = require("distributed", install="isopleth[cluster]", purpose="use a dask cluster")
    try:
        return distributed.Client(address, timeout=_PATIENCE, set_as_default=set_as_default)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"scheduler must be the address of a running dask scheduler, got {address!r}",
            hint=f"start one by 'dask scheduler' and its workers by 'dask worker ADDRESS' ({error})",
        ) from error
