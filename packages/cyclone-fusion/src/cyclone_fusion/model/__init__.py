"""The network: a track stream, two image streams, and their fusion."""

from cyclone_fusion.model.fusion import Fusion
from cyclone_fusion.model.network import FusedNetwork
from cyclone_fusion.model.streams import ImageStream, Stream, TrackStream

__all__ = ["FusedNetwork", "Fusion", "ImageStream", "Stream", "TrackStream"]
