"""Bad input is one clear line on stderr, and never a traceback."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


def fail(run, *words, code=1):
    got, out, err = run(*words)
    assert got == code, err
    assert out == ""
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert "unexpected" not in err
    return err


def evaluate(files, **options):
    given = {
        "data": files / "data.csv",
        "predictions": files / "predictions.csv",
        "out": files / "card",
        **options,
    }
    return [
        "evaluate",
        files / "application.toml",
        *(word for name, value in given.items() for word in (f"--{name}", value)),
    ]


def rewrite(files, name, change):
    frame = pd.read_csv(files / name)
    change(frame).to_csv(files / name, index=False)


def test_predictions_shorter_than_the_truth(run, files):
    rewrite(files, "predictions.csv", lambda frame: frame.iloc[:550])
    assert "must cover all 600 tested samples, got 550 rows and none for 50 samples" in fail(
        run, *evaluate(files)
    )
    rewrite(files, "predictions.csv", lambda frame: frame[["prediction"]])
    assert "must have one row for each of 600 samples" in fail(run, *evaluate(files))


def test_predictions_for_other_samples(run, files):
    rewrite(
        files,
        "predictions.csv",
        lambda frame: frame.assign(time=pd.to_datetime(frame["time"]) + pd.Timedelta("1h")),
    )
    assert "every prediction must be for a sample of the data, got 600 that are not" in fail(
        run, *evaluate(files)
    )
    rewrite(files, "predictions.csv", lambda frame: pd.concat([frame, frame.iloc[:1]]))
    assert "got two alike in the predictions" in fail(run, *evaluate(files))


def test_another_calendar(run, files, frame):
    import cftime
    import xarray as xr

    days = [cftime.Datetime360Day(2001, 1, 1) + pd.Timedelta(days=int(day)) for day in range(600)]
    said = xr.Dataset({"prediction": ("time", np.zeros(600))}, {"time": days})
    said.to_netcdf(files / "p.nc")
    err = fail(run, *evaluate(files, predictions=files / "p.nc"))
    assert "must be in the calendar of the data, standard, got 360_day" in err


def test_missing_predictions_beyond_what_is_allowed(run, files):
    rewrite(
        files,
        "predictions.csv",
        lambda frame: frame.assign(prediction=frame["prediction"].where(frame.index > 5)),
    )
    assert "must predict all but 0.00% of the tested samples, got 1.00% missing" in fail(
        run, *evaluate(files)
    )


def test_nan_in_a_subgroup_of_one(run, files, declaration, declare):
    rewrite(
        files,
        "data.csv",
        lambda frame: frame.assign(
            half=np.where(frame.index == 3, "alone", "others"), level=frame["level"].where(frame.index != 3)
        ),
    )
    declaration["subgroups"]["minimum"] = 2
    declare(declaration)
    assert run(*evaluate(files))[0] == 0
    assert "alone" not in (files / "card" / "card.md").read_text()
    rewrite(files, "data.csv", lambda frame: frame.assign(half=frame.index))
    assert "some subgroup of 'half' must have 2 independent samples, got at most 1" in fail(
        run, *evaluate(files)
    )


@pytest.mark.parametrize(
    ("section", "key", "value", "message", "code"),
    [
        (
            "metrics",
            "primary",
            {"name": "rsme", "threshold": 1, "set_by": "x"},
            "the metric must be one of rmse",
            2,
        ),
        ("splits", "embarg", "5D", "did you mean 'embargo'?", 2),
        ("subgroups", "columns", ["hlaf"], "must be columns of the data, got 'hlaf'", 1),
        ("baselines", "domain", ["persistance"], "a baseline must be one of persistence", 2),
        ("splits", "embargo", "9 parsecs", "embargo must be a duration", 2),
        ("uncertainty", "over", "group", "data.columns must name group", 2),
    ],
)
def test_a_declaration_that_does_not_fit(
    run, files, declaration, declare, section, key, value, message, code
):
    declaration[section][key] = value
    declare(declaration)
    assert message in fail(run, *evaluate(files), code=code)


def test_columns_that_are_not_there(run, files):
    rewrite(files, "data.csv", lambda frame: frame.drop(columns="level"))
    assert "the data must have the columns level, got time" in fail(run, *evaluate(files))


@pytest.mark.parametrize(
    "content", [b"", b"<!doctype html>", b"time,level\n1,2,3,4\n5\n", b"\x89HDF\r\n\x1a\n" + bytes(64)]
)
@pytest.mark.parametrize("suffix", ["csv", "nc", "parquet", "txt"])
def test_data_that_are_none(run, files, content, suffix):
    path = files / f"bad.{suffix}"
    path.write_bytes(content)
    assert f"bad.{suffix}" in fail(run, *evaluate(files, data=path))


def test_a_parquet_file_that_misdescribes_itself(run, files):
    path = files / "data.parquet"
    table = pa.Table.from_pandas(pd.read_csv(files / "data.csv"))
    said = table.schema.metadata[b"pandas"].replace(b'"kind"', b'"kine"')
    pq.write_table(table.replace_schema_metadata({b"pandas": said}), path)
    assert "the table cannot be read" in fail(run, *evaluate(files, data=path))


def test_numbers_that_are_none(run, files):
    rewrite(
        files,
        "data.csv",
        lambda frame: frame.assign(level=frame["level"].astype(object).where(frame.index != 7, "many")),
    )
    assert "a column must hold numbers" in fail(run, *evaluate(files))
    rewrite(files, "data.csv", lambda frame: frame.assign(level=np.arange(600.0), time="soon"))
    assert "times must be dates or numbers" in fail(run, *evaluate(files))


def test_nothing_to_predict_with(run, files):
    assert "must be given, got neither" in fail(
        run, "evaluate", files / "application.toml", "--data", files / "data.csv", code=2
    )
    assert "data must be given" in fail(run, "evaluate", files / "application.toml", code=2)
    both = [*evaluate(files), "--learner", "a:b"]
    assert "must not be given together" in fail(run, *both, code=2)
    words = ["evaluate", files / "application.toml", "--data", files / "data.csv", "--learner"]
    assert "cannot be imported" in fail(run, *words, "no.such:thing", code=2)
    assert "module:function" in fail(run, *words, "nothing", code=2)


def test_values_outside_the_declared_range_are_red_and_exit_with_1(run, files, declaration, declare):
    declaration["task"]["range"] = [-1.0, 1.0]
    declare(declaration)
    err = fail(run, *evaluate(files))
    assert "must not contradict each other" in err
    assert "outside [-1, 1]" in err
    assert "incoherent" in (files / "card" / "card.html").read_text()


def test_windows_that_overlap_are_red(run, files, declaration, declare):
    declaration["task"]["lead"] = "3D"
    declaration["splits"]["embargo"] = 0.0
    declare(declaration)
    assert "test windows overlap windows in training" in fail(run, *evaluate(files))
