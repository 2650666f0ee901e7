"""Sample inputs that more than one tool needs: a simulated atmosphere, and the model behind it."""

from isopleth.samples.atmosphere import atmosphere
from isopleth.samples.quasigeostrophic import Mountain, QuasiGeostrophicModel, QuasiGeostrophicParameters
from isopleth.samples.sphere import SphericalHarmonics

__all__ = [
    "Mountain",
    "QuasiGeostrophicModel",
    "QuasiGeostrophicParameters",
    "SphericalHarmonics",
    "atmosphere",
]
