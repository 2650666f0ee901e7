"""Files of JSON objects that grow by lines: one that a kill cut short is as if it had not been written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isopleth.errors import DataError


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read the whole lines of a file.

    Raises
    ------
    DataError
        If one is not a JSON object.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            where = f"{path}:{number}"
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"a journal must have a JSON object a line, got {error}", where=where
                ) from error
            if not isinstance(record, dict):
                raise DataError("a journal must have a JSON object a line, got another", where=where)
            yield record


def drop_torn_line(path: Path) -> None:
    """Cut off a last line without an end."""
    whole = path.read_bytes().rpartition(b"\n")[0]
    path.write_bytes(whole + b"\n" if whole else b"")
