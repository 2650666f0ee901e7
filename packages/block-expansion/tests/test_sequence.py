"""Scores of sequences follow their definitions; a network that grows is measured on every task."""

import numpy as np
import pytest

from block_expansion.config import FitConfig, MethodConfig, RetentionConfig
from block_expansion.sequence import SequenceScores, adapt_in_sequence
from isopleth.errors import ConfigError
from isopleth.train import Runtime

FIT = FitConfig(steps=3, batch_size=16, learning_rate=0.05, warmup_steps=1)
RUNTIME = Runtime(accelerator="cpu", threads=1)


def test_scores_of_a_known_matrix():
    scores = SequenceScores(np.array([[0.9, 0.3, 0.2], [0.7, 0.8, 0.3], [0.6, 0.7, 0.9]]))
    assert scores.average == pytest.approx((0.6 + 0.7 + 0.9) / 3)
    assert scores.forgetting == pytest.approx([0.3, 0.1, 0.0])
    assert scores.backward_transfer == pytest.approx(-0.2)
    assert np.isnan(SequenceScores(np.array([[0.5]])).backward_transfer)


@pytest.mark.parametrize("kind", ["expansion", "lora", "full", "linear"])
def test_a_sequence_is_measured_after_each_task(classifier, old, new, tmp_path, kind):
    method = MethodConfig(kind=kind, expansions=2, rank=2)
    scores = adapt_in_sequence(
        classifier,
        [old, new],
        method,
        FIT,
        run_dir=tmp_path,
        retention=RetentionConfig(neighbours=5),
        runtime=RUNTIME,
    )
    assert scores.matrix.shape == (2, 2)
    assert np.isfinite(scores.matrix).all()
    if kind == "linear":
        assert scores.forgetting.tolist() == [0.0, 0.0]
    if kind == "expansion":
        assert len(classifier.backbone.blocks) == 4 + 2 + 2


def test_a_vote_of_too_many_is_refused_before_the_training(classifier, old, new, tmp_path):
    many = RetentionConfig(neighbours=49)
    with pytest.raises(ConfigError, match="neighbours must be at most the 48 training images of old, got 49"):
        adapt_in_sequence(classifier, [old, new], MethodConfig(), FIT, run_dir=tmp_path, retention=many)
    assert not any(tmp_path.iterdir())


def test_no_task_is_refused(classifier, tmp_path):
    with pytest.raises(ConfigError, match="tasks must be at least one"):
        adapt_in_sequence(classifier, [], MethodConfig(), FIT, run_dir=tmp_path)
