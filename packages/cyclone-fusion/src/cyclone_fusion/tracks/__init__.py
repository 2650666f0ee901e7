"""Best tracks: IBTrACS as csv or NetCDF, HURDAT2, plain tables, and what huracanpy reads."""

from cyclone_fusion.tracks.read import read_tracks
from cyclone_fusion.tracks.table import read_best_track_table
from cyclone_fusion.tracks.winds import KNOT, TO_ONE_MINUTE, to_one_minute

__all__ = ["KNOT", "TO_ONE_MINUTE", "read_best_track_table", "read_tracks", "to_one_minute"]
