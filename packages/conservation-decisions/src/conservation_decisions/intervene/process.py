"""Decision processes kept as datasets: what is in one, by its variables and dimensions."""

from __future__ import annotations

import numpy as np
import xarray as xr

from conservation_decisions.intervene.mdp import MDP
from conservation_decisions.intervene.pomdp import POMDP
from conservation_decisions.intervene.restless import Arms
from isopleth.errors import DataError

_DIMS = ("action", "state", "next_state")


def read_process(ds: xr.Dataset, *, discount: float) -> MDP | POMDP | Arms:
    """Read a decision process.

    Parameters
    ----------
    ds : Dataset
        ``transition`` ([arm,] action, state, next_state) and ``reward`` ([arm,] action, state). With
        ``observation_chance`` (action, next_state, observation) and ``start`` (state) it is partially
        observed, with a dimension ``arm`` a restless bandit. Names stand in the coordinates.
    discount : float
        Where ``attrs["discount"]`` does not say.

    Raises
    ------
    DataError
        If a variable or dimension is missing.
    """
    dims = ("arm", *_DIMS) if "arm" in ds.dims else _DIMS
    for name, wanted in (("transition", dims), ("reward", dims[:-1])):
        if name not in ds or set(ds[name].dims) != set(wanted):
            raise DataError(f"a decision process must have {name} {wanted}, got {dict(ds.sizes)}")
    transition, reward = (
        ds["transition"].transpose(*dims).values.astype(np.float64),
        ds["reward"].transpose(*dims[:-1]).values.astype(np.float64),
    )
    discount = float(ds.attrs.get("discount", discount))
    if "arm" in ds.dims:
        return Arms(transition, reward, discount)
    mdp = MDP.build(transition, reward, discount, states=_names(ds, "state"), actions=_names(ds, "action"))
    if "observation" not in ds.dims:
        return mdp
    if not {"observation_chance", "start"} <= set(ds.data_vars):
        raise DataError(
            "a partially observed process must have observation_chance and start, got one missing"
        )
    seen = ds["observation_chance"].transpose("action", "next_state", "observation").values.astype(np.float64)
    names = _names(ds, "observation") or tuple(f"observation {k}" for k in range(seen.shape[-1]))
    return POMDP(mdp, seen, ds["start"].values.astype(np.float64), names)


def write_process(process: MDP | POMDP) -> xr.Dataset:
    """Put a decision process into the dataset that `read_process` reads."""
    mdp = process.mdp if isinstance(process, POMDP) else process
    variables = {"transition": (_DIMS, mdp.transition), "reward": (_DIMS[:-1], mdp.reward)}
    coords = {"action": list(mdp.actions), "state": list(mdp.states), "next_state": list(mdp.states)}
    if isinstance(process, POMDP):
        dims = ("action", "next_state", "observation")
        variables |= {"observation_chance": (dims, process.observation), "start": (("state",), process.start)}
        coords["observation"] = list(process.observations)
    return xr.Dataset(variables, coords=coords, attrs={"discount": mdp.discount})


def _names(ds: xr.Dataset, dim: str) -> tuple[str, ...] | None:
    return tuple(str(name) for name in ds[dim].values) if dim in ds.coords else None
