"""Sample inputs that more than one tool needs: a simulated atmosphere and a simulated sea level."""

from isopleth.samples.atmosphere import atmosphere
from isopleth.samples.quasigeostrophic import Mountain, QuasiGeostrophicModel, QuasiGeostrophicParameters
from isopleth.samples.sea_level import SeaLevelSample, sea_level
from isopleth.samples.sea_level_files import write_sea_level_sample
from isopleth.samples.sphere import SphericalHarmonics

__all__ = [
    "Mountain",
    "QuasiGeostrophicModel",
    "QuasiGeostrophicParameters",
    "SeaLevelSample",
    "SphericalHarmonics",
    "atmosphere",
    "sea_level",
    "write_sea_level_sample",
]
