"""The README's commands for public data, on small generated data in the layouts that it describes."""

import json
import re
import shlex
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401
import shapely
import xarray as xr

from conservation_decisions.cli import tool

# rioxarray multiplies affine transforms in the way that affine is to give up.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
SIDE = 6
README = (Path(__file__).parents[1] / "README.md").read_text()
COMMANDS = re.findall(
    r"^conservation-decisions (allocate (?:course|sim|tasmania)\S* .*)$", README, re.MULTILINE
)


def make_squares(rng, features):
    rows, cols = (axis.ravel() for axis in np.mgrid[:SIDE, :SIDE])
    table = {"cost": rng.uniform(190, 220, rows.size)}
    table |= {f"feature_{k}": rng.random(rows.size) * (rng.random(rows.size) < 0.6) for k in range(features)}
    boxes = shapely.box(1000 * cols, 1000 * rows, 1000 * cols + 1000, 1000 * rows + 1000)
    return gpd.GeoDataFrame(table, geometry=boxes, crs="EPSG:32755")


def write_course(folder, rng):
    """Write a course folder: commas, but tabs in bound.dat, whose diagonal is the exposed length."""
    units = np.arange(1, 41)
    status = np.where(units <= 4, 2, np.where(units > 37, 3, 0))
    pu = pd.DataFrame({"id": units, "cost": rng.uniform(1e4, 1e6, 40).round(2), "status": status})
    spec = pd.DataFrame({"id": [10, 11, 14], "prop": 0.3, "spf": 1, "name": ["a", "b", "c"]})
    cells = [(s, u, rng.integers(1, 90)) for u in units for s in spec["id"] if rng.random() < 0.5]
    puvspr = pd.DataFrame(cells, columns=["species", "pu", "amount"])
    pairs = [(a, a + 1, 2000.0) for a in units[:-1]] + [(1, 1, 5000.0), (7, 7, -1e-11)]
    bound = pd.DataFrame(pairs, columns=["id1", "id2", "boundary"])
    folder.mkdir()
    for name, table in {"pu": pu, "spec": spec, "puvspr": puvspr, "bound": bound}.items():
        table.to_csv(folder / f"{name}.dat", index=False, sep="\t" if name == "bound" else ",")
    (folder / "input.dat").write_text("BLM 0\nPROP 0.5\nINPUTDIR .\nPUNAME pu.dat\nSPECNAME spec.dat\n"
                                      "PUVSPRNAME puvspr.dat\nBOUNDNAME bound.dat\n")  # fmt: skip


def write_sim(folder, rng):
    """Write a cost without data in four cells, and five features in all of them."""
    folder.mkdir()
    cost = rng.uniform(190, 220, (SIDE, SIDE))
    cost.ravel()[rng.choice(SIDE**2, 4, replace=False)] = np.nan
    axes = {"y": 0.55 - 0.1 * np.arange(SIDE), "x": 0.05 + 0.1 * np.arange(SIDE)}
    layers = {"cost": cost} | {f"feature_{k}": rng.random((SIDE, SIDE)) for k in range(1, 6)}
    for name, values in layers.items():
        array = xr.DataArray(values[None], dims=("band", "y", "x"), coords=axes)
        array.rio.write_nodata(np.nan).rio.write_crs("EPSG:3857").rio.to_raster(folder / f"{name}.tif")


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("public"), np.random.default_rng(0)
    write_course(folder / "course", rng)
    write_sim(folder / "sim", rng)
    make_squares(rng, 5).iloc[:30].to_file(folder / "sim.gpkg", driver="GPKG")
    tasmania = make_squares(rng, 8)
    tasmania["locked_in"] = np.arange(SIDE**2) % 9 == 0
    tasmania["locked_out"] = np.arange(SIDE**2) % 31 == 1  # none that is locked in
    tasmania.to_file(folder / "tasmania.gpkg", driver="GPKG")
    tasmania.loc[tasmania["locked_in"], "cost"] = 0.0
    tasmania.to_file(folder / "tasmania-free.gpkg", driver="GPKG")
    return folder


def allocate(words, capsys):
    assert tool.main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_readme_has_a_command_for_each_data_set():
    names = [shlex.split(command)[1] for command in COMMANDS]
    assert names == ["course", "sim", "sim.gpkg", "tasmania.gpkg", "tasmania-free.gpkg"]
    assert len(re.findall(r"^\| `(?:course|sim|tasmania)", README, re.MULTILINE)) == len(names)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: shlex.split(command)[1])
def test_a_documented_command_runs_on_its_layout(public, command, tmp_path, capsys):
    words = shlex.split(command)
    words[1], words[3] = str(public / words[1]), str(tmp_path)
    exact = allocate(words, capsys)
    assert exact["status"] == "optimal"
    assert exact["optimality_gap"] <= 1e-6
    assert exact["targets_met"].split(" of ")[0] == exact["targets_met"].split(" of ")[1]
    # As with what is published: an answer within 10 %, whose bound and cost the exact one lies between.
    loose = allocate([*words[:-1], "0.1"], capsys)
    assert loose["bound"] <= exact["objective"] * (1 + 1e-9)
    assert exact["objective"] <= loose["objective"] * (1 + 1e-9)


def test_targets_everywhere_count_what_lies_where_no_unit_is(public, tmp_path, capsys):
    words = ["allocate", str(public / "sim"), "--problem.target", "0.1", "--solver.gap", "0"]
    units = allocate([*words, "--out", str(tmp_path / "u")], capsys)
    everywhere = allocate(
        [*words, "--out", str(tmp_path / "e"), "--problem.denominator", "everywhere"], capsys
    )
    assert everywhere["objective"] >= units["objective"]
