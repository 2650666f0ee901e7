from __future__ import annotations

import json
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isopleth.benchmark import describe_machine, emit, measure_rate, ratio, side

LOADER = Path(__file__).parents[2] / "benchmarks" / "loader.py"


def test_the_machine_is_described_without_heavy_imports() -> None:
    script = (
        "import sys, json; from isopleth.benchmark import describe_machine;"
        "print(json.dumps(describe_machine()));"
        "assert not {'torch', 'numpy', 'xarray'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    machine = json.loads(result.stdout)
    assert set(machine) == set(describe_machine())
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert machine["memory_gb"] > 0.1
    assert {"numpy", "zarr"} <= set(machine["versions"])


def test_a_rate_is_samples_by_seconds() -> None:
    def step() -> int:
        time.sleep(0.01)
        return 5

    assert 100 < measure_rate(step, seconds=0.1) <= 500


def test_a_record_is_a_table_and_one_line_of_json(capsys) -> None:
    fast, slow = side("fast", 123.456), side("slow", 10)
    emit(
        {
            "benchmark": "x",
            "sides": [fast, slow],
            "ratios": [ratio("f/s", fast, slow, asked=5.0)],
            "note": "air",
        }
    )
    out, err = capsys.readouterr()
    record = json.loads(out.splitlines()[-1])
    assert list(record) == ["benchmark", "machine", "sides", "ratios", "note"]
    assert record["sides"][0] == {"name": "fast", "value": 123.5, "unit": "samples/s"}
    assert record["ratios"] == [{"name": "f/s", "ratio": 12.35, "asked": 5.0}]
    assert "asked 5" in err
    assert "air" in err


@pytest.mark.timeout(120)
def test_the_loader_benchmark_runs(capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["loader.py", "--quick", "--seconds", "0.01"])
    runpy.run_path(str(LOADER), run_name="__main__")
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    names = [entry["name"] for entry in record["sides"]]
    assert names[:2] == ["xr.open_zarr through dask", "xr.open_zarr, chunks=None"]
    assert names[-2:] == ["packed store, cold", "packed store, in memory"]
    assert [entry["asked"] for entry in record["ratios"]] == [5.0, 50.0]
    assert all(entry["value"] > 0 for entry in record["sides"])


def test_the_room_is_light_until_torch_is_asked_for() -> None:
    script = (
        "import sys, isopleth.data as d; assert not {'torch', 'distributed'} & set(sys.modules);"
        "assert all(hasattr(d, n) for n in d.__all__); assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
