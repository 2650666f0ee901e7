"""Checkpoints: plain tensors and numbers, written whole, read without running anything in them."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from isopleth.errors import DataError, TrainingError
from isopleth.io.atomic import atomic_path

# What torch's weights-only reader takes without being told of more.
_PLAIN = (torch.Tensor, torch.dtype, torch.device, torch.Size, str, bytes, int, float, bool, type(None))
_CONTAINERS = (dict, OrderedDict, list, tuple)


def load_checkpoint(path: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint of tensors, numbers, strings and containers; nothing in the file is run.

    Parameters
    ----------
    path : path-like
        A file written by `fit`, by `save_checkpoint`, or by any ``torch.save`` of plain contents.
    device : str or torch.device
        Where the tensors go.

    Returns
    -------
    dict
        Of a run: "state_dict" (the weights; the averaged ones under EMA), "epoch", "global_step" and what
        is needed to go on.

    Raises
    ------
    DataError
        If there is no such file, it is damaged, or it holds anything but plain contents: a pickled object
        of any other kind is refused before it is built.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("a checkpoint must be an existing file, got none", where=path)
    try:
        content = torch.load(path, map_location=device, weights_only=True)  # noqa: TID251 - this is its one place
    except Exception as error:  # the reader has no exception of its own: a stranger's bytes raise anything
        raise DataError(
            f"a checkpoint must hold tensors and plain values only, got {_first_line(error)}",
            where=path,
            hint="nothing in it was run; share weights as safetensors (save_pretrained)",
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"a checkpoint must be a dict, got {type(content).__name__}", where=path)
    return content


def save_checkpoint(content: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a checkpoint that `load_checkpoint` can read; an older one stays until the new one is whole.

    Raises
    ------
    TrainingError
        If it holds an object that the weights-only reader refuses; says where.
    """
    _check_plain(content, "checkpoint")
    with atomic_path(path) as partial:
        torch.save(dict(content), partial)


class PlainCheckpointIO(CheckpointIO):
    """Lightning's reader and writer of checkpoints, replaced by the two functions of this module."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write atomically; there are no storage options."""
        if storage_options is not None:
            raise TrainingError("storage options must be none for a local checkpoint, got some", where=path)
        save_checkpoint(checkpoint, path)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any | None = None,  # noqa: ARG002 - Lightning moves the tensors itself
        weights_only: bool | None = None,  # noqa: ARG002 - always
    ) -> dict[str, Any]:
        """Read without unpickling."""
        return load_checkpoint(path)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete the file, if there is one."""
        Path(path).unlink(missing_ok=True)


def _check_plain(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for key, part in value.items():
            _check_plain(key, f"a key of {where}")
            _check_plain(part, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            _check_plain(part, f"{where}[{index}]")
    if type(value) not in _CONTAINERS and not (isinstance(value, _PLAIN) and _is_torch_or_builtin(value)):
        raise TrainingError(
            f"a checkpoint must hold tensors and plain values, got {type(value).__qualname__} in {where}",
            hint="keep it as numbers, strings, lists, dicts or tensors",
        )


def _is_torch_or_builtin(value: object) -> bool:
    """Tell a float from a numpy.float64, which is one by inheritance but pickles as a call."""
    return type(value).__module__.partition(".")[0] in {"torch", "builtins"}


def _first_line(error: Exception) -> str:
    """Keep the finding out of torch's long advice, part of which is to read the file unsafely."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    return f"{type(error).__name__}: {(telling or lines or ['no message'])[0][:200]}"
