"""Where networks run that Lightning does not place."""

from __future__ import annotations

import torch

from isopleth.errors import ConfigError


def find_device(name: str = "auto") -> torch.device:
    """Return a device by its name; "auto" is a GPU if there is one.

    Raises
    ------
    ConfigError
        If torch knows no such device, or this machine has none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device must be auto, cpu or one of torch's, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device must be one that this machine has, got {name!r}", hint="use auto or cpu")
    return device
