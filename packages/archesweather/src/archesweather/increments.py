"""How much a channel changes over one lead: the scale in which the loss measures errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from archesweather.clock import step_hours, steps_in_lead
from isopleth.data import PackedStore, open_store
from isopleth.data.cluster import run_tasks
from isopleth.data.moments import Moments, step_moments
from isopleth.data.times import Period
from isopleth.errors import DataError
from isopleth.io.write import write_json

Floats = NDArray[np.float64]

_SCHEMA = "archesweather.increments/1"
_BLOCK_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Increments:
    r"""Mean and standard deviation of :math:`x(t + \Delta) - x(t)`, in units of each channel's own deviation.

    Parameters
    ----------
    channels : tuple of str
        Channel names.
    lead_hours : int
        The lead :math:`\Delta`.
    mean, std : ndarray of float64, shape (channel,)
        Of z-scores; `std` is above 0.
    store : str
        Fingerprint of the store they belong to.
    """

    channels: tuple[str, ...]
    lead_hours: int
    mean: Floats
    std: Floats
    store: str

    def __post_init__(self) -> None:
        still = [name for name, std in zip(self.channels, self.std, strict=True) if not std > 0]
        if still:
            raise DataError(f"increments must vary, got none of {', '.join(still)} over {self.lead_hours} h")

    def select(self, channels: tuple[str, ...]) -> Increments:
        """Return those of some of the channels, in the order asked."""
        rows = [self.channels.index(name) for name in channels]
        return Increments(tuple(channels), self.lead_hours, self.mean[rows], self.std[rows], self.store)

    def save(self, folder: Path) -> None:
        """Write them beside the store, one file a lead."""
        record = {
            "schema": _SCHEMA,
            "lead_hours": self.lead_hours,
            "channels": self.channels,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "store": self.store,
        }
        write_json(folder / _file(self.lead_hours), record)

    @classmethod
    def load(cls, folder: Path, lead_hours: int) -> Increments:
        """Read what `save` wrote.

        Raises
        ------
        DataError
            If there is none for this lead; says which there are.
        """
        path = folder / _file(lead_hours)
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            mean, std = (np.asarray(record[name], dtype=np.float64) for name in ("mean", "std"))
            return cls(tuple(record["channels"]), int(record["lead_hours"]), mean, std, record["store"])
        except FileNotFoundError as error:
            raise _no_lead(folder, lead_hours) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"increments must be a whole JSON file, got {error!r}", where=path) from error


def measure_increments(
    store: PackedStore, lead_hours: int, *, period: Period | None, scheduler: str | None = None
) -> Increments:
    """Measure the increments of a period in one pass over a store; no pair reaches over a gap.

    Parameters
    ----------
    store : PackedStore
    lead_hours : int
        A multiple of the store's step.
    period : (start, end), optional
        The training period.
    scheduler : str, optional
        Address of a dask.distributed scheduler whose workers see the store.

    Raises
    ------
    DataError
        If the period holds no pair of states so far apart, or a channel never changes.
    """
    first, second = _pairs(store, lead_hours, period)
    reach = max(1, _BLOCK_BYTES // store.step_bytes)
    tasks = (_measure_block(store.path, *block) for block in _blocks(first, second, reach))
    # In the order of time, whoever came first: the sum has then the same bits on a cluster.
    blocks = sorted(run_tasks(tasks, scheduler), key=lambda block: block[0])
    moments = Moments.total(np.concatenate([states for _, states in blocks]))
    return Increments(store.channels, lead_hours, moments.mean, moments.std, store.fingerprint)


def pool_levels(increments: Increments, std: Floats, variables: list[str]) -> Floats:
    r"""Give all levels of a variable one deviation, in physical units, and return it in each one's own.

    .. math:: \bar\sigma_v^2 = \overline{\sigma_l^2 + m_l^2} - \overline{m_l}^2, \qquad
              \sigma'_l = \bar\sigma_v / \sigma^{norm}_l

    Parameters
    ----------
    increments : Increments
    std : ndarray, shape (channel,)
        Standard deviations of the channels themselves, :math:`\sigma^{norm}`.
    variables : list of str
        The variable of each channel.
    """
    scale, mean = increments.std * std, increments.mean * std
    pooled = np.empty_like(scale)
    for variable in dict.fromkeys(variables):
        rows = np.array([name == variable for name in variables])
        square = np.mean(scale[rows] ** 2 + mean[rows] ** 2) - np.mean(mean[rows]) ** 2
        pooled[rows] = np.sqrt(square)
    return pooled / std


def _file(lead_hours: int) -> str:
    return f"increments-{lead_hours}h.json"


def _no_lead(folder: Path, lead_hours: int) -> DataError:
    leads = sorted(path.stem.removeprefix("increments-") for path in folder.glob("increments-*h.json"))
    return DataError(
        f"lead_hours must be one that was prepared ({', '.join(leads) or 'none was'}), got {lead_hours}",
        where=folder,
        hint=f"call prepare again with --lead_hours {lead_hours}: the states stay as they are",
    )


def _pairs(store: PackedStore, lead_hours: int, period: Period | None) -> tuple[Any, Any]:
    """Return the rows of each pair of states that are one lead apart."""
    steps = steps_in_lead(store.axis, lead_hours)
    found = store.axis.positions(f"{step_hours(store.axis)}h")
    rows = np.flatnonzero(store.axis.select(period) & found.regular)
    _, first, second = np.intersect1d(found.where[rows] + steps, found.where[rows], return_indices=True)
    if first.size == 0:
        raise DataError(
            f"the training period must hold states {lead_hours} h apart, got none in {period}",
            where=store.path,
            hint=f"the store reaches from {store.axis[0]} to {store.axis[-1]}",
        )
    return rows[first], rows[second]


def _blocks(first: Any, second: Any, reach: int) -> Iterator[tuple[Any, Any]]:
    """Cut pairs into blocks whose rows, read once, span little more than `reach`."""
    for start in range(0, len(first), reach):
        yield first[start : start + reach], second[start : start + reach]


def _measure_block(path: Path, first: Any, second: Any) -> Any:
    return delayed(_block_moments, pure=False)(path, first, second)


def _block_moments(path: Path, first: Any, second: Any) -> tuple[int, Floats]:
    """Return the first row, and the summed moments of the block's increments, shape (1, 3, channel)."""
    store = open_store(path)
    needed = np.union1d(first, second)
    states = store.read(needed)
    if store.has_mask:
        states = np.where(store.read_valid(needed), states, np.float32(np.nan))
    change = states[np.searchsorted(needed, second)] - states[np.searchsorted(needed, first)]
    weights = store.grid.weights if store.normaliser.area_weighted else None
    moments = Moments.total(step_moments(change, weights))
    return int(first[0]), np.stack([moments.weight, moments.mean, moments.spread])[None]
