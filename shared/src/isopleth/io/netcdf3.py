"""How long a classic NetCDF file must be: past the end of a truncated one, libraries read zeros.

The layout is that of the "NetCDF Classic Format Specification" (CDF-1, CDF-2 and CDF-5).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import BinaryIO

from isopleth.errors import DataError

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
_STREAMING = {2**32 - 1, 2**64 - 1}
_PADDING = 4


def check_length(path: Path) -> None:
    """Raise unless a classic NetCDF file is as long as its header says.

    Raises
    ------
    DataError
        If it is shorter, or if its header breaks off.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        expected = _Header(file).expected_bytes()
    if size < expected:
        raise DataError(
            f"NetCDF 3 file must be at least {expected} bytes long by its header, got {size}",
            where=path,
            hint="it is truncated: fetch it again",
        )


class _Header:
    """A reader of the header, from the first byte on."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        version = self._read(4)[3]
        self.count_bytes = 8 if version == 5 else 4
        self.offset_bytes = 4 if version == 1 else 8

    def expected_bytes(self) -> int:
        """Return where the last value ends."""
        records = self._count()
        lengths = self._dims()
        self._attrs()
        fixed, starts, steps = [self.file.tell()], [], []
        for dims, width, begin in self._variables():
            shape = [lengths[dim] for dim in dims]
            if shape and shape[0] == 0:
                starts.append(begin)
                steps.append(math.prod(shape[1:]) * width)
            else:
                fixed.append(begin + math.prod(shape) * width)
        if starts and records not in _STREAMING:
            # Each record of several variables is padded; that of a single one is not.
            step = sum(map(_pad, steps)) if len(steps) > 1 else steps[0]
            last = max(b + s for b, s in zip(starts, steps, strict=True))
            fixed.append(last + (records - 1) * step if records else 0)
        return max(fixed)

    def _dims(self) -> list[int]:
        lengths = []
        for _ in range(self._list()):
            self._skip(self._count())
            lengths.append(self._count())
        return lengths

    def _attrs(self) -> None:
        for _ in range(self._list()):
            self._skip(self._count())
            width = self._type()
            self._skip(self._count() * width)

    def _variables(self) -> list[tuple[list[int], int, int]]:
        variables = []
        for _ in range(self._list()):
            self._skip(self._count())
            dims = [self._count() for _ in range(self._count())]
            self._attrs()
            width = self._type()
            self._count()  # vsize, which is wrong by design for large variables
            variables.append((dims, width, self._integer(self.offset_bytes)))
        return variables

    def _list(self) -> int:
        """Read a tag, which is 0 for an absent list, and the number of elements."""
        self._integer(4)
        return self._count()

    def _type(self) -> int:
        code = self._integer(4)
        if code not in _TYPE_BYTES:
            raise DataError(f"NetCDF 3 type must be one of 1 to 11, got {code}", where=self.file.name)
        return _TYPE_BYTES[code]

    def _count(self) -> int:
        return self._integer(self.count_bytes)

    def _integer(self, width: int) -> int:
        return int.from_bytes(self._read(width), "big")

    def _skip(self, count: int) -> None:
        self.file.seek(_pad(count), 1)

    def _read(self, count: int) -> bytes:
        data = self.file.read(count)
        if len(data) < count:
            raise DataError(
                "NetCDF 3 header must be whole, got its first part",
                where=self.file.name,
                hint="the file is truncated: fetch it again",
            )
        return data


def _pad(count: int) -> int:
    return -(-count // _PADDING) * _PADDING
