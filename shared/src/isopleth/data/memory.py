"""How much memory there is to load fields into."""

from __future__ import annotations

import os
from pathlib import Path

from dask.utils import parse_bytes

from isopleth.errors import ConfigError

_AUTO_SHARE = 0.5
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available_memory() -> int:
    """Return the bytes this process may still take, container limits included."""
    return min([_free_memory(), *(_cgroup_room(Path(limit), Path(used)) for limit, used in _CGROUPS)])


def read_budget(budget: int | float | str | None) -> int:
    """Turn a memory budget into bytes.

    Parameters
    ----------
    budget : int, float, str or None
        Bytes, or text such as ``"4 GB"``; None is half of what is available now; 0 keeps fields on disk.

    Raises
    ------
    ConfigError
        If it cannot be read or is negative.
    """
    if budget is None:
        return int(_AUTO_SHARE * available_memory())
    try:
        size = int(parse_bytes(budget))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"memory_budget must be a size such as '4 GB', got {budget!r}") from error
    if size < 0:
        raise ConfigError(f"memory_budget must be at least 0, got {budget!r}")
    return size


def _free_memory() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    # Where the system does not say what is free, half of what is built in is a fair guess.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _cgroup_room(limit: Path, used: Path) -> int:
    try:
        room = int(limit.read_text()) - int(used.read_text())
    except (OSError, ValueError):  # no such controller, or "max"
        return 1 << 62
    return max(room, 0)
