"""Running benchmark scripts: each record kept, a failure named, none hidden."""

import json

import pytest

from isopleth.cli.bench import run_benchmarks
from isopleth.errors import DataError, IsoplethError

RECORD = {"benchmark": "x", "machine": {}, "sides": [], "ratios": [{"name": "r", "ratio": 2.0}], "note": "n"}


@pytest.fixture
def scripts(tmp_path):
    folder = tmp_path / "part" / "benchmarks"
    folder.mkdir(parents=True)
    (folder / "good.py").write_text(f"print('chatter')\nprint({json.dumps(json.dumps(RECORD))})\n")
    return folder


def test_a_record_is_kept_beside_its_script(scripts, tmp_path):
    assert run_benchmarks(tmp_path) == {"x": {"r": 2.0}}
    assert json.loads((scripts / "good.json").read_text()) == RECORD


@pytest.mark.parametrize("body", ["raise SystemExit(3)", "print('no record')", "", "print('{}')"])
def test_a_failure_is_named_and_hides_no_other(scripts, tmp_path, body):
    (scripts / "bad.py").write_text(body)
    with pytest.raises(IsoplethError, match="failures in bad"):
        run_benchmarks(tmp_path)
    assert (scripts / "good.json").is_file()
    assert not (scripts / "bad.json").exists()


def test_a_script_that_hangs_is_stopped(scripts, tmp_path):
    (scripts / "hang.py").write_text("import time; time.sleep(60)")
    with pytest.raises(IsoplethError, match="failures in hang"):
        run_benchmarks(tmp_path, only="hang", seconds=0.5)


def test_a_folder_without_benchmarks_is_refused(tmp_path):
    (tmp_path / ".venv" / "benchmarks").mkdir(parents=True)
    (tmp_path / ".venv" / "benchmarks" / "theirs.py").write_text("")
    with pytest.raises(DataError, match="got none"):
        run_benchmarks(tmp_path)
