"""Tables that cannot be true are red."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appdriven.coherence import Summary, check_evaluation, check_summaries, summarise
from isopleth.report import Cost, DataCard, Evaluation, Provenance, Score

# A public re-implementation's notebook printed these means of PSNR (dB, range 1), MSE and SSIM.
REPORTED = {
    "STint": (37.87, 6.2e-4, 0.948), "cubic": (15.18, 3.15e-5, 0.326), "flow": (13.01, 7.1e-5, 0.318),
    "persistence": (13.13, 6.6e-5, 0.320),
}  # fmt: skip


def failures(checks):
    return [check for check in checks if not check.passed]


def test_the_impossible_table_is_caught():
    rows = [
        Summary(method=name, values={"psnr": psnr, "mse": mse, "ssim": ssim}, data_range=1.0)
        for name, (psnr, mse, ssim) in REPORTED.items()
    ]
    found = failures(check_summaries(rows))
    assert {check.finding.split(":")[0] for check in found} == {"cubic", "flow", "persistence"}
    assert all(check.name == "PSNR is at least that of the mean MSE" for check in found)
    assert "at least 45.02 dB" in found[0].finding


def test_other_numbers_of_frames_are_caught():
    rows = [Summary(method="net", frames=450), Summary(method="cubic", frames=150)]
    assert "net 450, cubic 150" in failures(check_summaries(rows))[0].finding


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"mae": 1.1, "rmse": 1.0}, "mae is no more than rmse"),
        ({"absolute_bias": 1.1, "mae": 1.0}, "absolute_bias is no more than mae"),
        ({"bias": -1.1, "mae": 1.0}, "bias is no more than mae"),
        ({"mse": 2.0, "rmse": 1.0}, "RMSE² is MSE"),
        ({"ssim": 1.2}, "ssim lies in its range"),
        ({"psnr": 30.0, "mse": 1.0}, "The data range behind PSNR is declared"),
    ],
)
def test_each_contradiction_is_named(values, name):
    assert failures(check_summaries([Summary(method="m", values=values)]))[0].name == name


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30))
def test_true_numbers_are_never_red(errors):
    frames = np.array(errors) + np.linspace(1, 2, len(errors))
    mse = frames**2
    values = {
        "mse": mse.mean(), "rmse": np.sqrt(mse.mean()), "mae": abs(frames).mean(), "bias": frames.mean(),
        "psnr": np.mean(10 * np.log10(100.0 / np.maximum(mse, 1e-12))),
    }  # fmt: skip
    assert failures(check_summaries([Summary(method="m", values=values, data_range=10.0)])) == []


def test_masks_and_missing_predictions_are_seen():
    rows = [Summary(method="a", mask="x", finite=0.9), Summary(method="b", mask="y", finite=1.0)]
    assert len(failures(check_summaries(rows, max_missing=0.05))) == 2
    assert len(failures(check_summaries(rows, max_missing=0.2))) == 1


def record(*scores):
    return Evaluation(
        tool="any",
        version="1",
        task="t",
        cost=Cost.of(),
        scores=scores,
        provenance=Provenance.collect("any", "0" * 12, 0),
        data=DataCard(
            name="d", kind="real", source="s", train="a", test="b", fingerprint="sha256:" + 64 * "0"
        ),
    )


def make(metric, model, **options):
    return Score(metric=metric, variable="t", units="K", better="lower", n=10, model=model, **options)


def test_scores_of_any_record_are_held_against_each_other():
    fine = record(
        make("mae", 1.0, baselines={"persistence": 2.0}), make("rmse", 1.5, baselines={"persistence": 2.5})
    )
    assert failures(check_evaluation(fine)) == []
    broken = record(
        make("mae", 1.0, baselines={"persistence": 3.0}), make("rmse", 1.5, baselines={"persistence": 2.5})
    )
    assert "persistence (t)" in failures(check_evaluation(broken))[0].finding
    outside = record(make("rmse", 1.0, interval=(1.1, 1.2)))
    assert failures(check_evaluation(outside))[0].name == "A score lies in its own interval"


def test_lines_that_hold_are_summed_up_and_violations_are_not():
    rows = [Summary(method=str(i), values={"mae": 1.0, "rmse": 2.0 if i else 0.5}) for i in range(4)]
    lines = summarise(check_summaries(rows))
    assert [line.passed for line in lines if line.name.startswith("mae is no more")] == [False]
