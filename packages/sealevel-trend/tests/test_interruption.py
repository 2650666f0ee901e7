"""A training that is stopped goes on to the weights of an unbroken one."""

import os
import signal

import numpy as np
from safetensors.numpy import load_file

from isopleth.train.grouped import GroupedTraining
from sealevel_trend.cli import tool


def test_a_stopped_training_goes_on_to_the_same_weights(prepared_file, quick, tmp_path, monkeypatch, capsys):
    advance = GroupedTraining.advance

    def advance_and_stop(self):
        advance(self)
        if self.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    words = ["train", str(prepared_file), "--quiet", *quick, "--out"]
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
