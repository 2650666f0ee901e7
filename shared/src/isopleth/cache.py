"""Where results that can be made again are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Name the folder for cached results; it is not created.

    ``$ISOPLETH_CACHE`` where it is set, else ``$XDG_CACHE_HOME/isopleth``, else ``~/.cache/isopleth``. As the
    XDG base directory specification asks, an empty or relative ``XDG_CACHE_HOME`` counts as unset. Everything
    in the folder may be deleted at any time.

    Returns
    -------
    Path
        Absolute path.
    """
    own = os.environ.get("ISOPLETH_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "isopleth"
