"""What flows are compared with: interpolation, quantile mapping, BCSD, and a supervised network."""

from climalign.baselines.interpolation import Baseline, Interpolation, Normals, interpolate
from climalign.baselines.quantiles import Bcsd, QuantileMapping

__all__ = ["Baseline", "Bcsd", "Interpolation", "Normals", "QuantileMapping", "interpolate"]
