"""Samples as batches of tensors, in memory where they fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from isopleth.data.memory import read_budget

Batch = dict[str, Tensor]
_COLUMNS = ("features", "lat", "lon", "target_lat", "target_lon")


class SampleTable(Dataset[Batch]):
    """Samples handed out a batch at a time by one indexing operation each.

    Parameters
    ----------
    samples : Dataset
        With ``windows`` if the network sees fields.
    windows : bool
        Whether to hand out windows. They are loaded once if they fit into half of the free memory; else each
        batch reads its chunks from the store.
    """

    def __init__(self, samples: xr.Dataset, *, windows: bool) -> None:
        self.columns = {name: torch.from_numpy(samples[name].values).float() for name in _COLUMNS}
        self.columns["index"] = torch.arange(samples.sizes["sample"])
        self.windows: Tensor | xr.DataArray | None = None
        if windows:
            stored = samples["windows"]
            fits = stored.nbytes <= read_budget(None)
            self.windows = torch.from_numpy(np.asarray(stored.values)) if fits else stored

    def __len__(self) -> int:
        return len(self.columns["index"])

    def __getitem__(self, index: int) -> Batch:
        return {name: value[0] for name, value in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> Batch:
        chosen = torch.tensor(indices)
        batch = {name: column[chosen] for name, column in self.columns.items()}
        if isinstance(self.windows, Tensor):
            batch["windows"] = self.windows[chosen]
        elif self.windows is not None:
            batch["windows"] = torch.from_numpy(self.windows.isel(sample=indices).values)
        return batch


class EmbeddingTable(Dataset[Batch]):
    """Embeddings of streams that stand still, beside the samples' columns: a stage costs next to nothing."""

    def __init__(self, table: SampleTable, embeddings: Tensor) -> None:
        self.columns = {**table.columns, "embeddings": embeddings}

    def __len__(self) -> int:
        return len(self.columns["index"])

    def __getitem__(self, index: int) -> Batch:
        return {name: column[index] for name, column in self.columns.items()}

    def __getitems__(self, indices: list[int]) -> Batch:
        chosen = torch.tensor(indices)
        return {name: column[chosen] for name, column in self.columns.items()}


def make_loader(table: Dataset[Batch], batch_size: int, *, shuffle: bool) -> DataLoader[Any]:
    """Load whole batches; a last one of fewer samples is left out of training."""
    size = len(table)  # type: ignore[arg-type] # both tables have a length
    # A batch larger than the data would leave no step at all.
    return DataLoader(table, min(batch_size, size), shuffle=shuffle, drop_last=shuffle, collate_fn=_whole)


def _whole(batch: Any) -> Batch:
    """Leave a batch as the table gave it."""
    return batch
