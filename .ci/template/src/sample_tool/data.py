"""From fields to a packed store, and from the store to windows that do not leak."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from isopleth.data import PackedStore, Windows, pack, split_windows
from isopleth.data.times import Period, TimeAxis
from isopleth.errors import DataError
from isopleth.io import open_fields
from sample_tool.config import PrepareConfig

# Of the frames, where no period is given; of what is left, the share that validates.
_TRAIN, _VALIDATE = 0.7, 1 / 3
# Two frames make a window; each part has at least one.
_FEWEST = 10


def prepare_store(config: PrepareConfig) -> dict[str, Any]:
    """Pack fields as frames: the verb ``prepare``."""
    fields = open_fields(config.source, variables=config.variables or None, chunks={})
    store = pack(
        fields,
        config.out,
        train_period=config.train or first_part(fields),
        resume=config.resume,
        scheduler=config.scheduler,
    )
    return {"store": str(config.out), "channels": list(store.channels), "frames": len(store.axis)}


def first_part(fields: xr.Dataset) -> Period:
    """Return the period of the first seven tenths of the frames.

    Raises
    ------
    DataError
        If there are too few frames to train, to validate and to test.
    """
    axis = TimeAxis.of(fields["time"].values)
    if len(axis) < _FEWEST:
        raise DataError(f"there must be at least {_FEWEST} frames, got {len(axis)}")
    return axis[0], axis[int(_TRAIN * len(axis)) - 1]


def make_windows(store: PackedStore) -> dict[str, Windows]:
    """Return pairs of neighbouring frames: ``train``, ``validate`` and ``test``, no frame in two of them.

    The statistics' period trains. Of the frames after it the first third validates and the rest tests.

    Raises
    ------
    DataError
        If fewer than four frames come after the training period.
    """
    period = store.normaliser.period or (None, None)
    last = int(np.flatnonzero(store.axis.select(period))[-1])
    rest = len(store.axis) - last - 1
    if rest < 4:
        raise DataError(
            f"at least 4 frames must come after the training period, got {rest}",
            where=store.path,
            hint="prepare with an earlier end of --train",
        )
    cut = last + max(2, int(_VALIDATE * rest))
    periods: dict[str, Period] = {
        "train": period,
        "validate": (store.axis[last + 1], store.axis[cut]),
        "test": (store.axis[cut + 1], store.axis[len(store.axis) - 1]),
    }
    return split_windows(store, periods, inputs=(0,), targets=(1,))
