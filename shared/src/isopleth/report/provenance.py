"""How a result can be found again: command, configuration, seed, versions, fingerprint of the data."""

from __future__ import annotations

import hashlib
import platform
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

import numpy as np

from isopleth.errors import DataError

# What numbers may depend on. Those that are not installed are left out.
_PACKAGES = ("isopleth", "numpy", "scipy", "xarray", "zarr", "dask", "torch", "lightning")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What must be repeated to get the same numbers.

    Parameters
    ----------
    command : str
        A command line that a shell takes as it stands.
    config_hash : str
        `isopleth.config.config_hash` of the configuration.
    seed : int
        The seed, or the first of several.
    versions : mapping of str to str
        Versions of Python and of the packages that the numbers depend on.
    """

    command: str
    config_hash: str
    seed: int
    versions: Mapping[str, str]

    @classmethod
    def collect(
        cls, command: str | Sequence[str], config_hash: str, seed: int, *, packages: Iterable[str] = ()
    ) -> Self:
        """Gather the versions of this environment; needs no version control.

        Parameters
        ----------
        command : str or sequence of str
            The command line; a sequence of arguments is quoted for a shell.
        config_hash : str
        seed : int
        packages : iterable of str
            Distributions to name beside the core's own, the tool first.
        """
        line = command if isinstance(command, str) else shlex.join(command)
        versions = {"python": platform.python_version(), **_versions([*packages, *_PACKAGES])}
        return cls(command=line, config_hash=config_hash, seed=int(seed), versions=versions)


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def fingerprint(*parts: str | Path | bytes | np.ndarray) -> str:
    """Hash what a result was computed from.

    Parameters
    ----------
    *parts : str, bytes, Path or numpy.ndarray
        Texts and bytes are hashed themselves, a Path's file by its content, an array by its
        type, shape and values. Order counts.

    Returns
    -------
    str
        ``sha256:`` and 64 hexadecimal digits.
    """
    total = hashlib.sha256()
    for part in parts:
        # Each part is hashed alone first, so that ("ab", "c") and ("a", "bc") differ.
        total.update(_digest(part))
    return f"sha256:{total.hexdigest()}"


def _digest(part: str | Path | bytes | np.ndarray) -> bytes:
    if isinstance(part, Path):
        with part.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    if isinstance(part, np.ndarray):
        if part.dtype.hasobject:
            raise DataError("an array to fingerprint must hold numbers, got dtype object")
        head = f"{part.dtype.str}{part.shape}".encode()
        return hashlib.sha256(head + np.ascontiguousarray(part).tobytes()).digest()
    return hashlib.sha256(part.encode() if isinstance(part, str) else part).digest()
