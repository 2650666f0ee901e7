"""Products: told by what their files say, and what a table says of them."""

import pytest

from isopleth.errors import ConfigError
from isopleth.sealevel import COMPONENTS, PRODUCTS, recognise_product
from isopleth.sealevel.products import describe_contents, find_product


@pytest.mark.parametrize(
    ("attrs", "names", "product"),
    [
        ({"source": "CCSM POP2, the CCSM Ocean Component"}, (), "pop_ssh"),
        ({}, ("b.e21.BHISTcmip6.f09_g17.LE2-1001.001.pop.h.SSH.185001-185912.nc",), "pop_ssh"),
        ({"mip_era": "CMIP6", "source_id": "MPI-ESM1-2-HR"}, (), "cmip_zos"),
        ({}, ("zos_Omon_GFDL-ESM2M_rcp85_r1i1p1_200601-201012.nc",), "cmip_zos"),
        ({"title": "DT merged all satellites Global Ocean Gridded SSALTO/DUACS"}, (), "duacs_allsat"),
        ({}, ("dt_global_twosat_phy_l4_199301_vDT2021-M01.nc",), "c3s_twosat"),
        ({}, ("ssh_grids_v2205_1993010312.nc",), "measures"),
        ({}, ("MSL_Map_MERGED_Global_AVISO_NoGIA_Adjust.nc",), "aviso_trend_map"),
    ],
)
def test_products_are_recognised(attrs, names, product):
    assert recognise_product(attrs, names) is PRODUCTS[product]


def test_the_unknown_is_not_guessed():
    assert recognise_product({"title": "my own run"}, ("ocean.nc",)) is None
    assert recognise_product({"history": "made by a CMIP6 script"}) is None


def test_every_product_is_described_in_full():
    for product in PRODUCTS.values():
        assert product.contains <= set(COMPONENTS)
        assert set(describe_contents(product.contains)) == set(COMPONENTS)


def test_what_was_never_there_cannot_be_removed():
    zos = PRODUCTS["cmip_zos"].contains
    table = describe_contents(zos, removed=frozenset({"steric_mean", "barystatic", "seasonal"}))
    assert table == {
        "dynamic": "yes", "steric_mean": "no", "barystatic": "no", "gia": "no", "seasonal": "removed",
    }  # fmt: skip
    both = describe_contents(zos, added=frozenset({"steric_mean"}), removed=frozenset({"steric_mean"}))
    assert both["steric_mean"] == "removed"


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="product must be one of"):
        find_product("my_altimeter")
