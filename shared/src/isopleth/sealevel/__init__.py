"""What the two sea level tools share: ensembles and altimetry read, brought to one grid, and described."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isopleth.lazy import lazy_names

_HOMES = {
    "CITIES": "cities",
    "COMPONENTS": "products",
    "City": "cities",
    "EnsembleSource": "settings",
    "PRODUCTS": "products",
    "PreparationSettings": "settings",
    "Product": "products",
    "add_ocean_mean": "global_mean",
    "components_table": "preparation",
    "correct_gia": "altimetry",
    "find_cities": "cities",
    "find_ensembles": "sources",
    "locate_cities": "cities",
    "mean_of_years": "means",
    "ocean_mean": "global_mean",
    "open_altimetry": "altimetry",
    "open_ensemble": "ensemble",
    "open_trend_map": "altimetry",
    "prepare_files": "sources",
    "prepare_sea_level": "preparation",
    "recognise_product": "products",
    "remove_ocean_mean": "global_mean",
    "remove_seasonal_cycle": "means",
    "sample_cities": "cities",
    "use_scheduler": "preparation",
    "write_prepared": "preparation",
}

if TYPE_CHECKING:
    from isopleth.sealevel.altimetry import correct_gia, open_altimetry, open_trend_map
    from isopleth.sealevel.cities import CITIES, City, find_cities, locate_cities, sample_cities
    from isopleth.sealevel.ensemble import open_ensemble
    from isopleth.sealevel.global_mean import add_ocean_mean, ocean_mean, remove_ocean_mean
    from isopleth.sealevel.means import mean_of_years, remove_seasonal_cycle
    from isopleth.sealevel.preparation import (
        components_table,
        prepare_sea_level,
        use_scheduler,
        write_prepared,
    )
    from isopleth.sealevel.products import COMPONENTS, PRODUCTS, Product, recognise_product
    from isopleth.sealevel.settings import EnsembleSource, PreparationSettings
    from isopleth.sealevel.sources import find_ensembles, prepare_files

__all__ = [
    "CITIES",
    "COMPONENTS",
    "PRODUCTS",
    "City",
    "EnsembleSource",
    "PreparationSettings",
    "Product",
    "add_ocean_mean",
    "components_table",
    "correct_gia",
    "find_cities",
    "find_ensembles",
    "locate_cities",
    "mean_of_years",
    "ocean_mean",
    "open_altimetry",
    "open_ensemble",
    "open_trend_map",
    "prepare_files",
    "prepare_sea_level",
    "recognise_product",
    "remove_ocean_mean",
    "remove_seasonal_cycle",
    "sample_cities",
    "use_scheduler",
    "write_prepared",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
