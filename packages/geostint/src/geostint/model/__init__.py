"""The network: a U-Net with squeeze-and-excitation, and the interpolator around it."""

from geostint.model.interpolator import Geostint
from geostint.model.unet import UNet

__all__ = ["Geostint", "UNet"]
