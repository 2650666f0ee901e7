"""The one table of names: what each provider calls a quantity, and what it is called here.

Canonical names are ERA5's and WeatherBench 2's long names, units are SI. Three exceptions that the fields
themselves make: ``sea_level_trend`` is in mm year-1, ``relative_humidity`` in %, salinity in 1e-3.
An amount of rain (m) and a rate of rain (kg m-2 s-1) are different quantities: one becomes the other only
through an interval, which files seldom state, so neither is turned into the other here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isopleth.errors import DataError
from isopleth.io.units import are_compatible


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A physical quantity under its canonical name.

    Parameters
    ----------
    name, units : str
        As they stand in a canonical Dataset.
    standard_names : tuple of str
        CF standard names that mean this quantity; the first is written out.
    spellings : mapping of str to str
        What providers call it, in lower case, with the units they use where a file states none.
    low, high : float
        Generous physical limits in ``units``, wide enough for anomalies. They tell an undeclared -9999 from a
        value and let `inspect_source` notice a wrong unit; a value beyond them is never refused.
    """

    name: str
    units: str
    standard_names: tuple[str, ...] = ()
    spellings: Mapping[str, str]
    low: float
    high: float


def _quantity(name: str, units: str, low: float, high: float, standard: str, spellings: str) -> Quantity:
    """Read one row; a spelling is ``name`` or ``name:usual_units``, ``_`` for a space in them."""
    known = {name: units}
    for spelling in spellings.split():
        word, _, usual = spelling.partition(":")
        known[word.lower()] = usual.replace("_", " ") or units
    return Quantity(
        name=name, units=units, standard_names=tuple(standard.split()), spellings=known, low=low, high=high
    )


# name, units, low, high, standard names, spellings
#   ERA5 short (old and new CDS) · WeatherBench 2 · CMIP · CESM · CMEMS/DUACS · MEaSUREs · land observations
_ROWS: tuple[tuple[str, str, float, float, str, str], ...] = (
    # --- the atmosphere on levels
    ("geopotential", "m2 s-2", -2e5, 2e6, "geopotential", "z phi"),
    ("geopotential_height", "m", -5000, 2e5, "geopotential_height", "z gh zg z3 hgt"),
    ("temperature", "K", -300, 2000, "air_temperature", "t ta temp"),
    ("u_component_of_wind", "m s-1", -500, 500, "eastward_wind", "u ua uwnd"),
    ("v_component_of_wind", "m s-1", -500, 500, "northward_wind", "v va vwnd"),
    ("vertical_velocity", "Pa s-1", -500, 500, "lagrangian_tendency_of_air_pressure", "w wap omega"),
    ("specific_humidity", "kg kg-1", -1, 1, "specific_humidity", "q hus"),
    ("relative_humidity", "%", -200, 300, "relative_humidity", "r hur hu rh"),
    ("vorticity", "s-1", -1, 1, "atmosphere_relative_vorticity", "vo"),
    ("divergence", "s-1", -1, 1, "divergence_of_wind", "d"),
    ("potential_vorticity", "K m2 kg-1 s-1", -1, 1, "ertel_potential_vorticity", "pv"),
    ("air_potential_temperature", "K", -300, 5000, "air_potential_temperature", "theta"),
    # --- the atmosphere near the ground
    ("2m_temperature", "K", -300, 400, "air_temperature",
     "t2m 2t t2 tas trefht tmean:degC tavg:degC tg:degC"),
    ("maximum_2m_temperature", "K", -300, 400, "air_temperature",
     "mx2t t2max tasmax trefhtmx tmax:degC tx:degC"),
    ("minimum_2m_temperature", "K", -300, 400, "air_temperature",
     "mn2t t2min tasmin trefhtmn tmin:degC tn:degC"),
    ("2m_dewpoint_temperature", "K", -300, 400, "dew_point_temperature", "d2m 2d tdps tdmean:degC"),
    ("skin_temperature", "K", -300, 500, "surface_temperature", "skt ts"),
    ("10m_u_component_of_wind", "m s-1", -300, 300, "eastward_wind", "u10 10u uas"),
    ("10m_v_component_of_wind", "m s-1", -300, 300, "northward_wind", "v10 10v vas"),
    ("10m_wind_speed", "m s-1", -300, 300, "wind_speed", "si10 10si ws10 sfcwind wspd fg wind"),
    ("mean_sea_level_pressure", "Pa", -9000, 2e5,
     "air_pressure_at_mean_sea_level air_pressure_at_sea_level", "msl psl prmsl mslp slp pp:hPa"),
    ("surface_pressure", "Pa", -9000, 2e5, "surface_air_pressure", "sp ps"),
    ("total_cloud_cover", "1", -2, 2, "cloud_area_fraction", "tcc clt"),
    ("total_column_water_vapour", "kg m-2", -200, 500, "atmosphere_mass_content_of_water_vapor", "tcwv prw"),
    ("vapour_pressure", "Pa", -900, 5e4, "water_vapor_partial_pressure_in_air", "vp"),
    ("maximum_vapour_pressure_deficit", "Pa", -900, 5e4,
     "water_vapor_saturation_deficit_in_air", "vpdmax:hPa"),
    ("minimum_vapour_pressure_deficit", "Pa", -900, 5e4,
     "water_vapor_saturation_deficit_in_air", "vpdmin:hPa"),
    ("mean_surface_downward_short_wave_radiation_flux", "W m-2", -900, 2000,
     "surface_downwelling_shortwave_flux_in_air", "msdwswrf rsds srad qq fsds"),
    # --- water
    ("total_precipitation", "m", -0.9, 50,
     "lwe_thickness_of_precipitation_amount precipitation_amount thickness_of_rainfall_amount",
     "tp ppt:mm prec:mm prcp:mm rr:mm precip:mm pr"),
    ("total_precipitation_6hr", "m", -0.9, 50, "", "tp06"),
    ("total_precipitation_24hr", "m", -0.9, 50, "", ""),
    ("mean_total_precipitation_rate", "kg m-2 s-1", -0.01, 1, "precipitation_flux lwe_precipitation_rate",
     "pr mtpr avg_tprate prcp prec precip tprate prate prect:m_s-1"),
    ("snow_depth", "m", -0.9, 3000, "lwe_thickness_of_surface_snow_amount surface_snow_amount",
     "sd swe:kg_m-2 snw:kg_m-2"),
    ("day_length", "s", -900, 9e4, "", "dayl"),
    # --- the sea
    ("sea_surface_temperature", "K", -300, 400, "sea_surface_temperature",
     "sst tos:degC analysed_sst thetao_surface:degC"),
    ("sea_ice_cover", "1", -2, 2, "sea_ice_area_fraction", "siconc ci sic"),
    ("sea_surface_height", "m", -50, 50, "sea_surface_height_above_geoid sea_surface_height",
     "zos ssh:cm adt"),
    ("sea_level_anomaly", "m", -50, 50, "sea_surface_height_above_sea_level", "sla"),
    ("sea_level_anomaly_error", "m", -50, 50, "", "sla_err err_sla"),
    ("sea_level_trend", "mm year-1", -1000, 1000, "tendency_of_sea_surface_height_above_sea_level",
     "sea_level_trends sea_level_trend msl_trend"),
    ("surface_geostrophic_eastward_velocity", "m s-1", -50, 50,
     "surface_geostrophic_eastward_sea_water_velocity", "ugos"),
    ("surface_geostrophic_northward_velocity", "m s-1", -50, 50,
     "surface_geostrophic_northward_sea_water_velocity", "vgos"),
    ("surface_geostrophic_eastward_velocity_anomaly", "m s-1", -50, 50,
     "surface_geostrophic_eastward_sea_water_velocity_assuming_sea_level_for_geoid", "ugosa"),
    ("surface_geostrophic_northward_velocity_anomaly", "m s-1", -50, 50,
     "surface_geostrophic_northward_sea_water_velocity_assuming_sea_level_for_geoid", "vgosa"),
    ("sea_water_potential_temperature", "K", -300, 400, "sea_water_potential_temperature",
     "thetao:degC votemper:degC theta"),
    ("sea_water_salinity", "1e-3", -100, 500, "sea_water_salinity sea_water_practical_salinity",
     "so salt salinity vosaline"),
    # --- what does not change
    ("land_sea_mask", "1", -2, 2, "land_binary_mask land_area_fraction", "lsm"),
    ("land_area_fraction", "%", -200, 200, "land_area_fraction", "sftlf"),
    ("geopotential_at_surface", "m2 s-2", -2e5, 2e5, "", "zsfc"),
    ("surface_altitude", "m", -12000, 10000, "surface_altitude", "orog"),
)  # fmt: skip

LEXICON: dict[str, Quantity] = {row[0]: _quantity(*row) for row in _ROWS}

# What a quantity on levels is called when the file says that it stands at this height over the ground.
_NEAR_GROUND = {
    "temperature": "2m_temperature",
    "u_component_of_wind": "10m_u_component_of_wind",
    "v_component_of_wind": "10m_v_component_of_wind",
}
_NEAR_GROUND_LIMIT_M = 15.0


@dataclass(frozen=True)
class Reading:
    """How one variable of a file is understood: ``quantity`` is None where the lexicon does not know it."""

    name: str
    source_name: str
    units: str
    source_units: str | None
    quantity: Quantity | None
    assumed_units: bool = False


def read_name(source_name: str, attrs: Mapping[str, Any], *, height_m: float | None = None) -> Reading:
    """Say what a variable is, by its name, its standard name and its units.

    A spelling is believed unless the standard name is another quantity's. Where one spelling means two
    quantities (``z``, ``pr``), the units decide.

    Parameters
    ----------
    source_name : str
        The variable's name in its file.
    attrs : mapping
        Its attributes as stored.
    height_m : float, optional
        Height above ground, where the file states one.

    Raises
    ------
    DataError
        If the units measure something else than the quantity does, or are missing where they decide.
    """
    stated = attrs.get("units")
    stated = str(stated) if stated is not None and str(stated).strip() else None
    candidates = _candidates(source_name, str(attrs.get("standard_name", "")))
    if not candidates:
        return Reading(source_name, source_name, stated or "", stated, None)
    if stated is None and any(not are_compatible(c.units, candidates[0].units) for c in candidates):
        names = " or ".join(candidate.name for candidate in candidates)
        raise DataError(
            f"units of {source_name!r} must be stated, for it may be {names}",
            hint=f"give it a units attribute, such as {candidates[0].units!r}, or rename it",
        )
    fitting = [c for c in candidates if stated is None or are_compatible(stated, c.units)]
    if not fitting:
        wanted = " or ".join(repr(candidate.units) for candidate in candidates)
        raise DataError(
            f"units of {source_name!r} must be convertible to {wanted}, got {stated!r}",
            hint="correct the attribute in the file, or rename the variable if it is another quantity",
        )
    quantity = _near_ground(fitting[0], height_m)
    usual = quantity.spellings.get(source_name.lower(), quantity.units)
    return Reading(quantity.name, source_name, quantity.units, stated or usual, quantity, stated is None)


def suggest_names(source_name: str, attrs: Mapping[str, Any]) -> list[str]:
    """List what a variable may be by its name alone, whatever its units."""
    return [quantity.name for quantity in _candidates(source_name, str(attrs.get("standard_name", "")))]


def _candidates(source_name: str, standard_name: str) -> list[Quantity]:
    by_standard = [q for q in LEXICON.values() if standard_name in q.standard_names]
    if source_name in LEXICON:
        return [LEXICON[source_name]]
    by_name = [q for q in LEXICON.values() if source_name.lower() in q.spellings]
    if not by_standard:
        return by_name
    return [q for q in by_name if q in by_standard] or by_standard


def _near_ground(quantity: Quantity, height_m: float | None) -> Quantity:
    if height_m is None or height_m > _NEAR_GROUND_LIMIT_M:
        return quantity
    return LEXICON[_NEAR_GROUND.get(quantity.name, quantity.name)]
