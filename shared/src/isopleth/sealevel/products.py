"""What each sea level product contains: a field that lacks the global mean is not one that has it.

Boussinesq models conserve volume: their ``SSH`` or ``zos`` has no steric global mean, which CMIP gives apart
as ``zostoga``. Coupled models carry no ice sheets, so no mass is added to their oceans. An altimeter sees all
of it, and the slow change of the sea floor and of gravity since the last ice age as well, which is corrected
in the global mean but not usually in maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from isopleth.config import check_choice

COMPONENTS = {
    "dynamic": "ocean dynamics, with the local steric change that goes with it",
    "steric_mean": "global mean thermosteric change",
    "barystatic": "mass added by ice and from land",
    "gia": "effect of glacial isostatic adjustment",
    "seasonal": "seasonal cycle",
}


@dataclass(frozen=True, kw_only=True)
class Product:
    """A kind of sea level product.

    Parameters
    ----------
    name, title : str
        How it is called in settings and in reports.
    marks : tuple of str
        Texts, in lower case, of which any in a file's name or metadata tells the product.
    contains : frozenset of str
        Which of `COMPONENTS` are in it, as distributed.
    gives_steric_mean : bool
        Whether its archive has the global mean thermosteric change apart (``zostoga``).
    """

    name: str
    title: str
    marks: tuple[str, ...]
    contains: frozenset[str] = field(default_factory=frozenset)
    gives_steric_mean: bool = False


_MODEL = frozenset({"dynamic", "seasonal"})
_ALTIMETER = frozenset(COMPONENTS)

# The first whose marks are met: the narrower ones stand first.
_PRODUCTS = (
    Product(
        name="aviso_trend_map", title="AVISO map of sea level trends",
        marks=("msl_map", "sea_level_trends"), contains=_ALTIMETER - {"seasonal"},
    ),
    Product(
        name="measures", title="NASA/JPL MEaSUREs gridded altimetry",
        marks=("ssh_grids", "measures", "jpl2205"), contains=_ALTIMETER,
    ),
    Product(
        name="c3s_twosat", title="C3S altimetry, two satellites",
        marks=("twosat", "two-sat", "two sat"), contains=_ALTIMETER,
    ),
    Product(
        name="duacs_allsat", title="DUACS/CMEMS altimetry, all satellites",
        marks=("allsat", "duacs", "ssalto"), contains=_ALTIMETER,
    ),
    Product(
        name="pop_ssh", title="CESM large ensemble, POP SSH (volume conserved)",
        marks=("pop2", "parallel ocean program", ".pop.h.", "ccsm", "cesm"), contains=_MODEL,
    ),
    Product(
        name="cmip_zos", title="CMIP zos (departure from the global mean)",
        marks=("cmip", "zos_", "mpi-ge"), contains=_MODEL, gives_steric_mean=True,
    ),
)  # fmt: skip

PRODUCTS: dict[str, Product] = {product.name: product for product in _PRODUCTS}


def recognise_product(attrs: Mapping[str, Any], names: tuple[str, ...] = ()) -> Product | None:
    """Tell a product by its metadata and the names of its files; None where nothing tells.

    Parameters
    ----------
    attrs : mapping
        Global attributes.
    names : tuple of str
        Names of files, and of variables as stored.
    """
    text = " ".join([*names, *(str(value) for key, value in attrs.items() if key != "history")]).lower()
    return next((p for p in _PRODUCTS if any(mark in text for mark in p.marks)), None)


def find_product(name: str) -> Product:
    """Return a product by its name.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    check_choice("product", name, tuple(PRODUCTS))
    return PRODUCTS[name]


def describe_contents(
    contains: frozenset[str], *, added: frozenset[str] = frozenset(), removed: frozenset[str] = frozenset()
) -> dict[str, str]:
    """Say of each component whether it is in a prepared field: for the table in a report.

    Parameters
    ----------
    contains : frozenset of str
        Components of the product as distributed.
    added, removed : frozenset of str
        What preparation did. What was never there cannot be removed.

    Returns
    -------
    dict of str to str
        ``"yes"``, ``"no"``, ``"added"`` or ``"removed"``, by component.
    """
    return {name: _state(name, contains, added, removed) for name in COMPONENTS}


def _state(name: str, contains: frozenset[str], added: frozenset[str], removed: frozenset[str]) -> str:
    if name in removed and name in contains | added:
        return "removed"
    if name in added and name not in contains:
        return "added"
    return "yes" if name in contains else "no"
