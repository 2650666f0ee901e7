"""Samples as a file: what a training run sees, for a look or for another program."""

from __future__ import annotations

import json
from typing import Any

from cyclone_fusion import __version__
from cyclone_fusion.config import PrepareConfig
from cyclone_fusion.data import build_samples
from cyclone_fusion.tracks import read_tracks
from isopleth.config import config_hash
from isopleth.io.write import Provenance, write_netcdf


def prepare_samples(config: PrepareConfig) -> dict[str, Any]:
    """Read tracks, cut samples, write them: the verb ``prepare``."""
    tracks = read_tracks(config.tracks)
    samples = build_samples(tracks, config.sample)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    origin = Provenance("cyclone-fusion", __version__, config_hash(config), (config.tracks,))
    write_netcdf(samples, config.out, provenance=origin)
    return {
        "samples": samples.sizes["sample"],
        "out": str(config.out),
        "fixes_left_out": json.loads(tracks.attrs["left_out"]),
        "samples_left_out": json.loads(samples.attrs["left_out"]),
    }
