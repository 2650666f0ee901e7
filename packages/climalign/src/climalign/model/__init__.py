"""The networks: flows and their parts, critics, and the supervised baseline."""

from climalign.model.glow import Glow
from climalign.model.pair import ClimAlign, Noise

__all__ = ["ClimAlign", "Glow", "Noise"]
