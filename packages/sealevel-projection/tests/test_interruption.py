"""A preparation that is killed and a training that is stopped: both go on, to what an unbroken one gives."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import xarray as xr
from safetensors.numpy import load_file

from isopleth.train.grouped import GroupedTraining
from sealevel_projection.cli import tool

COMMAND = "import sys; from sealevel_projection.cli import main; sys.exit(main())"


def test_a_killed_preparation_leaves_nothing_half_done_and_goes_on(world_folder, tmp_path):
    words = ["prepare", str(world_folder), "--settings.resolution_deg", "12", "--out"]
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *words, str(tmp_path / "p.zarr")])
    deadline = time.monotonic() + 60
    while not any(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "p.zarr").exists()
    assert tool.main([*words, str(tmp_path / "p.zarr"), "--resume", "true", "--quiet"]) == 0
    assert tool.main([*words, str(tmp_path / "whole.zarr"), "--quiet"]) == 0
    with xr.open_zarr(tmp_path / "p.zarr") as resumed, xr.open_zarr(tmp_path / "whole.zarr") as whole:
        xr.testing.assert_equal(resumed.compute(), whole.compute())


def test_a_stopped_training_goes_on_to_the_same_weights(prepared, quick, tmp_path, monkeypatch, capsys):
    advance = GroupedTraining.advance

    def advance_and_stop(self):
        advance(self)
        if self.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    words = ["train", str(prepared), "--quiet", *quick, "--out"]
    with monkeypatch.context() as patch:
        patch.setattr(GroupedTraining, "advance", advance_and_stop)
        assert tool.main([*words, str(tmp_path / "run")]) == 143
    assert not (tmp_path / "run" / "pretrained").exists()
    assert "saved" in capsys.readouterr().err
    assert tool.main([*words, str(tmp_path / "run"), "--resume", "true"]) == 0
    assert tool.main([*words, str(tmp_path / "whole")]) == 0
    resumed, whole = (
        load_file(tmp_path / name / "pretrained" / "model.safetensors") for name in ("run", "whole")
    )
    assert resumed.keys() == whole.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(resumed[name], values, err_msg=name)
