"""The verbs on files, from a user's side."""

import csv
import json

import geopandas as gpd
import numpy as np
import pytest
import rioxarray
import xarray as xr

from conservation_decisions.cli import tool
from conservation_decisions.config import StudyConfig
from conservation_decisions.demo import run_demo
from conservation_decisions.intervene import manage_survey_stop
from conservation_decisions.intervene.process import write_process
from conservation_decisions.landscape import Landscape
from conservation_decisions.sources import open_landscape
from isopleth.cli import load_config
from isopleth.io import write_netcdf
from isopleth.report import read_evaluation

# rioxarray multiplies affine transforms in the way that affine is to give up.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


def run(capsys, *words):
    code = tool.main([*map(str, words), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def fail(capsys, *words):
    code = tool.main([*map(str, words)])
    assert code in (1, 2)
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    return error


@pytest.fixture
def store(landscape, tmp_path):
    return landscape.save(tmp_path / "land.zarr")


def test_allocate_writes_every_format(store, landscape, tmp_path, capsys):
    told = run(
        capsys, "allocate", store, "--out", tmp_path / "out", "--problem.target", 0.3, "--portfolio", 1,
        "--importance", "--annealing", "--output.formats", "[csv, geotiff, gpkg, geojson, zarr]",
    )  # fmt: skip
    assert told["status"] == "optimal"
    assert told["optimality_gap"] <= 0.01
    assert told["annealing"]["objective"] >= told["bound"]
    rows = list(csv.DictReader((tmp_path / "out" / "allocation.csv").read_text().splitlines()))
    chosen = np.array([float(row["selected"]) for row in rows]) > 0
    assert chosen.sum() == told["units"]
    assert landscape.cost[chosen].sum() == pytest.approx(told["cost"])
    with rioxarray.open_rasterio(tmp_path / "out" / "allocation.tif") as grid:
        np.testing.assert_array_equal(grid.values[0].ravel() > 0, chosen)
        assert grid.rio.crs.to_epsg() == 32637
    frame = gpd.read_file(tmp_path / "out" / "allocation.gpkg")
    np.testing.assert_allclose(frame.area, 4e6)
    assert gpd.read_file(tmp_path / "out" / "allocation.geojson").total_bounds[0] == pytest.approx(
        39, abs=0.1
    )
    assert xr.open_zarr(tmp_path / "out" / "allocation.zarr")["selected"].sum() == told["units"]


def test_nothing_in_a_coarse_output_names_a_unit(store, tmp_path, capsys):
    run(
        capsys, "allocate", store, "--out", tmp_path / "out", "--problem.target", 0.3,
        "--output.coarsen_m", 4000, "--output.formats", "[csv, geotiff, gpkg, zarr]",
    )  # fmt: skip
    assert "unit" not in (tmp_path / "out" / "allocation.csv").read_text().splitlines()[0]
    assert len(gpd.read_file(tmp_path / "out" / "allocation.gpkg")) == 9
    run(capsys, "plan", store, "--out", tmp_path / "plan", "--output.coarsen_m", 4000)
    assert not (tmp_path / "plan" / "routes.csv").exists()


def test_an_infeasible_problem_is_explained(tmp_path, capsys):
    land = Landscape.build([1, 1], [[1, 1]], features=["bird"], target=[2], locked_out=[0, 1])
    told = run(capsys, "allocate", land.save(tmp_path / "a.nc"), "--out", tmp_path / "out")
    assert told["status"] == "infeasible"
    assert told["smallest_conflict"] == ["the target of 'bird'", "unit 1 locked out"]
    checked = run(capsys, "check", tmp_path / "a.nc")
    assert checked["severe"]
    assert checked["smallest_conflict"] == told["smallest_conflict"]


def test_check_reports_what_allocate_refuses(tmp_path, capsys):
    path = Landscape.build([1, 1], [[1, 1], [0, 0]], features=["bird", "ghost"]).save(tmp_path / "a.nc")
    told = run(capsys, "check", path, "--problem.target", 0.3)
    assert any("ghost" in one for one in told["findings"])
    assert "ghost" in fail(capsys, "allocate", path, "--problem.target", 0.3)


def test_a_time_limit_is_told_and_nothing_is_written(store, tmp_path, capsys):
    told = run(
        capsys, "allocate", store, "--out", tmp_path / "out", "--problem.target", 0.3,
        "--solver.seconds", 1e-9,
    )  # fmt: skip
    assert told["status"] == "time limit"
    assert told["objective"] is None
    assert not (tmp_path / "out").exists()


def test_bad_numbers_are_one_line_that_names_the_file(landscape, tmp_path, capsys):
    ds = landscape.dataset
    for name, change, said in (
        ("nan", ds.assign(cost=ds["cost"].where(ds["unit"] > 0)), "cost must be finite"),
        ("negative", ds.assign(amount=-ds["amount"]), "amount must be at least 0"),
        ("other", ds.drop_vars("amount"), "must have the variable 'amount'"),
    ):
        write_netcdf(change, tmp_path / f"{name}.nc", dtype=None)
        error = fail(capsys, "allocate", tmp_path / f"{name}.nc", "--problem.target", 0.3)
        assert said in error
        assert f"{name}.nc" in error


def test_strange_landscapes_are_one_clear_line_each(tmp_path, capsys):
    apart = Landscape.build(
        [1] * 4, [[1] * 4], edges=([0, 2], [1, 3], [1, 1]), x=[0, 1, 2, 3], y=[0] * 4, threat=[0.5] * 4
    )
    path = apart.save(tmp_path / "apart.nc")
    told = run(capsys, "check", path, "--problem.target", 0.5)
    assert told["findings"] == [
        "the boundary leaves 2 parts that do not touch, 0 of them single units",
    ]
    run(capsys, "plan", path, "--out", tmp_path / "out", "--steps", 2)
    scale = Landscape.build([1e12, 1e-6], [[1, 1]], features=["bird"]).save(tmp_path / "scale.nc")
    told = run(capsys, "check", scale, "--problem.target", 0.5)
    assert told["findings"] == ["costs range from 1e-06 to 1e+12, more than 1e+09 to 1"]
    assert told["severe"]
    assert run(capsys, "allocate", scale, "--out", tmp_path / "o", "--problem.target", 0.5)["cost"] == 1e-6
    bare = Landscape.build([1, 1], [[1, 1]], edges=([0], [1], [1]), threat=[0.1, 0.2])
    path = bare.save(tmp_path / "bare.nc")
    assert "'x' and 'y'" in fail(capsys, "plan", path, "--out", tmp_path / "p")
    run(capsys, "plan", path, "--out", tmp_path / "p", "--speed_kmh", 0, "--steps", 2)


def test_patrols_sites_and_regret(store, tmp_path, capsys):
    told = run(capsys, "plan", store, "--out", tmp_path / "r", "--steps", 6)
    assert told["detections"] >= told["greedy_detections"] - 1e-9
    rows = list(csv.DictReader((tmp_path / "r" / "routes.csv").read_text().splitlines()))
    # 2 km at 4 km/h: each move is one step of half an hour.
    assert [float(row["minutes"]) for row in rows] == [30.0 * k for k in range(7)] * 2
    slow = run(capsys, "plan", store, "--out", tmp_path / "s", "--steps", 6, "--patrols", 1, "--speed_kmh", 2)
    times = [
        float(row["minutes"])
        for row in csv.DictReader((tmp_path / "s" / "routes.csv").read_text().splitlines())
    ]
    assert times[0] == 0
    assert times[-1] == slow["minutes"] == 180
    assert slow["detections"] < told["detections"]
    sites = run(capsys, "plan", store, "--out", tmp_path / "m", "--kind", "monitoring", "--sites", 4)
    assert sites["sites"] == 4
    regret = run(
        capsys, "plan", store, "--out", tmp_path / "g", "--kind", "regret", "--steps", 4, "--patrols", 1
    )
    assert regret["largest_regret"] >= regret["bound"] - 1e-6


def test_a_hidden_process_becomes_rules(tmp_path, capsys):
    write_netcdf(write_process(manage_survey_stop()), tmp_path / "tiger.nc", dtype=None)
    told = run(capsys, "intervene", tmp_path / "tiger.nc", "--out", tmp_path / "out")
    assert "manage for 10 years, then survey for 2 years" in told["rules"][1]
    assert told["lower"] <= told["upper"]
    assert (tmp_path / "out" / "policy.dot").read_text().startswith("digraph")


def test_a_seen_process_and_many_arms(store, tmp_path, capsys):
    write_netcdf(write_process(manage_survey_stop().mdp), tmp_path / "seen.nc", dtype=None)
    told = run(capsys, "intervene", tmp_path / "seen.nc", "--out", tmp_path / "a")
    assert set(told["policy"]) == {"extant", "extinct"}
    rng = np.random.default_rng(0)
    arms = xr.Dataset(
        {
            "transition": (
                ("arm", "action", "state", "next_state"),
                rng.dirichlet(np.ones(3), size=(4, 2, 3)),
            ),
            "reward": (("arm", "action", "state"), rng.random((4, 2, 3))),
        }
    )
    write_netcdf(arms, tmp_path / "arms.nc", dtype=None)
    assert run(capsys, "intervene", tmp_path / "arms.nc", "--out", tmp_path / "b")["arms"] == 4
    of_land = run(capsys, "intervene", store, "--out", tmp_path / "c")
    assert of_land["reward_per_year"]["whittle"] >= of_land["reward_per_year"]["nothing"]


def test_marxan_out_and_in(store, landscape, tmp_path, capsys):
    run(capsys, "export-marxan", store, "--out", tmp_path / "mx", "--target", 0.2)
    told = run(capsys, "import-marxan", tmp_path / "mx", "--out", tmp_path / "back.zarr")
    assert told["units"] == landscape.units
    np.testing.assert_allclose(open_landscape(tmp_path / "back.zarr").mean_amounts, landscape.mean_amounts)
    (tmp_path / "mx" / "spec.dat").unlink()
    assert "spec.dat" in fail(capsys, "allocate", tmp_path / "mx")


def test_every_verb_names_a_missing_landscape(tmp_path, capsys):
    for verb in ("check", "allocate", "plan", "intervene", "evaluate", "import-marxan", "export-marxan"):
        assert "none.nc" in fail(capsys, verb, tmp_path / "none.nc")
    assert list(tmp_path.iterdir()) == []


def test_the_shipped_configs_are_studies():
    small, full = (
        load_config(n, StudyConfig, package="conservation_decisions") for n in ("demo", "demo-full")
    )
    # The full study looks at other landscapes than those on which anything was tried.
    assert full.first_seed >= small.first_seed + small.landscapes
    assert full.landscapes > small.landscapes


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_goes_through_all_verbs(tmp_path):
    from conservation_decisions.config import DemoConfig

    run_demo(DemoConfig(out=tmp_path))
    record = read_evaluation(tmp_path)
    assert record.data.kind == "simulated"
    assert {score.variable for score in record.scores} == {
        "allocation", "patrols", "online_patrols", "interventions"
    }  # fmt: skip
    losses = record.scores[0]
    assert {"mean map", "random", "cheapest first", "richest first", "status quo"} <= set(losses.baselines)
    assert len(record.claims) == 7
    assert (tmp_path / "report.html").is_file()
    assert open_landscape(tmp_path / "landscape.zarr").members == 12
