"""Winds of different agencies, brought to one averaging period."""

from __future__ import annotations

import numpy as np
import pandas as pd

KNOT = 1852.0 / 3600.0

# An agency's wind is scale * (1-minute wind) + shift, in knots (Knapp and Kruk 2010, Mon. Wea. Rev. 138,
# 1447).
TO_ONE_MINUTE: dict[str, tuple[float, float]] = {
    "usa": (1.0, 0.0),
    "tokyo": (0.60, 23.3),
    "newdelhi": (1.0, 0.0),
    "reunion": (0.88, 0.0),
    "bom": (0.88, 0.0),
    "nadi": (0.88, 0.0),
    "wellington": (0.88, 0.0),
    "neumann": (0.88, 0.0),
    "cma": (0.871, 0.0),
    "hko": (0.90, 0.0),
}
# What IBTrACS writes in wmo_agency for the centres of the United States.
_UNITED_STATES = ("hurdat", "atcf", "cphc", "tcvitals", "jtwc", "nhc")
# Who is responsible where, for tables of WMO winds that do not say.
AGENCY_OF_BASIN = {
    "NA": "usa",
    "EP": "usa",
    "SA": "usa",
    "WP": "tokyo",
    "NI": "newdelhi",
    "SI": "reunion",
    "SP": "nadi",
}


def to_one_minute(wind: pd.Series, agency: pd.Series) -> pd.Series:
    r"""Convert winds to 1-minute means, :math:`(v - \text{shift}) / \text{scale}`.

    Parameters
    ----------
    wind : Series of float
        Knots; NaN stays NaN.
    agency : Series of str
        As IBTrACS names them, in any case. The wind of an agency without a published factor becomes NaN.

    Returns
    -------
    Series of float
        Knots, at least 0.

    Examples
    --------
    >>> to_one_minute(pd.Series([44.0, 83.3]), pd.Series(["bom", "tokyo"])).round(6).tolist()
    [50.0, 100.0]
    """
    names = agency.fillna("").astype(str).str.strip().str.lower()
    names = names.mask(names.str.startswith(_UNITED_STATES), "usa")
    # Without a single known agency pandas would make a column of text.
    scale, shift = (
        names.map({name: factors[which] for name, factors in TO_ONE_MINUTE.items()}).astype(np.float64)
        for which in (0, 1)
    )
    return ((wind - shift) / scale).clip(lower=0.0)


def choose_wind(table: pd.DataFrame) -> pd.Series:
    """Choose each fix's wind from the columns that IBTrACS has, as 1-minute means in knots.

    The United States' where there is one, else that of the responsible WMO centre, else of any agency whose
    factor is known.

    Parameters
    ----------
    table : DataFrame
        Columns ``usa_wind``, ``wmo_wind`` with ``wmo_agency``, ``tokyo_wind``, ... as far as present; any
        values.
    """
    found = pd.Series(np.nan, index=table.index)
    for name in ("usa", "wmo", *TO_ONE_MINUTE):
        column = f"{name}_wind"
        if column not in table:
            continue
        wind = pd.to_numeric(table[column], errors="coerce").astype(np.float64)
        agency = table.get("wmo_agency", pd.Series("", index=table.index)) if name == "wmo" else name
        if isinstance(agency, str):
            agency = pd.Series(agency, index=table.index)
        found = found.fillna(to_one_minute(wind.where(wind > 0), agency))
    return found
