"""Throughput: operations counted by hand, a clock that is ours."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isopleth.errors import ConfigError
from isopleth.train import measure_throughput
from isopleth.train import throughput as room


def test_operations_of_a_linear_layer():
    net = nn.Linear(30, 20)
    result = measure_throughput(net, torch.zeros(10, 30), warmup=1, repeats=3)
    assert result.flops_per_sample == 2 * 30 * 20
    assert result.flops_per_second == pytest.approx(result.flops_per_sample * result.samples_per_second)
    assert result.samples_per_second == pytest.approx(10 / result.seconds_per_step)
    assert result.repeats == 3
    assert result.device.startswith("cpu")
    assert result.peak_memory_mb > 10


def test_backward_counts_and_leaves_no_gradient():
    net = nn.Linear(30, 20)
    before = net.weight.detach().clone()
    result = measure_throughput(net, torch.zeros(10, 30), backward=True, warmup=1, repeats=2)
    assert result.flops_per_sample == 2 * 2 * 30 * 20  # forward, and the gradient of the weights
    assert net.weight.grad is None
    assert torch.equal(net.weight, before)


def test_the_median_of_the_clock(monkeypatch):
    ticks = iter([0.0, 1.0, 10.0, 12.0, 20.0, 29.0])  # steps of 1, 2 and 9 seconds
    monkeypatch.setattr(room.time, "perf_counter", lambda: next(ticks))
    result = measure_throughput(nn.Linear(1, 1), torch.zeros(8, 1), warmup=1, repeats=3)
    assert result.seconds_per_step == 2.0
    assert result.samples_per_second == 4.0
    assert result.spread == 4.0


def test_every_step_is_counted():
    calls = []
    measure_throughput(
        nn.Linear(1, 1),
        {"x": torch.zeros(5, 1)},
        step=lambda module, batch: calls.append(batch),
        warmup=2,
        repeats=4,
    )
    assert len(calls) == 2 + 1 + 4  # to warm up, to count, to time


def test_peak_memory_sees_a_large_array():
    def step(module, batch):
        return torch.ones(15_000_000).sum()  # 60 MB

    small = measure_throughput(nn.Linear(1, 1), torch.zeros(2, 1), warmup=1, repeats=2)
    large = measure_throughput(nn.Linear(1, 1), torch.zeros(2, 1), step=step, warmup=1, repeats=2)
    assert large.peak_memory_mb - small.peak_memory_mb == pytest.approx(60, abs=20)


@pytest.mark.parametrize("batch", [{"x": torch.zeros(5, 1)}, [torch.zeros(5, 1)], torch.zeros(5, 1)])
def test_samples_of_a_batch(batch):
    class Net(nn.Linear):
        def forward(self, x):
            return super().forward(x)

    called = {"input": batch["x"]} if isinstance(batch, dict) else batch
    result = measure_throughput(nn.Linear(1, 1), called, warmup=1, repeats=1)
    assert result.samples_per_second * result.seconds_per_step == pytest.approx(5)


def test_what_cannot_be_measured():
    with pytest.raises(ConfigError, match="samples must be given"):
        measure_throughput(nn.Linear(1, 1), torch.zeros(()))
    with pytest.raises(ConfigError, match="repeats must be above 0"):
        measure_throughput(nn.Linear(1, 1), torch.zeros(1, 1), repeats=0)
