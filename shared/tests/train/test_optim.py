"""Optimiser groups and schedules against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from isopleth.errors import ConfigError
from isopleth.train import adamw, warm_schedule
from isopleth.train.optim import gradient_norm, split_decay


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.LayerNorm([4, 5])
        self.batch = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 4, bias=False)
        self.tied = self.head
        self.pos_embed = nn.Parameter(torch.zeros(1, 4, 4))
        self.gain = nn.Parameter(torch.ones(()))
        self.frozen = nn.Linear(2, 2).requires_grad_(requires_grad=False)


def names(module: nn.Module, parameters: list) -> set[str]:
    known = {id(parameter): name for name, parameter in module.named_parameters()}
    return {known[id(parameter)] for parameter in parameters}


def test_only_matrices_and_kernels_decay():
    net = Net()
    decayed, spared = split_decay(net, no_decay=["pos_embed"])
    assert names(net, decayed) == {"conv.weight", "head.weight"}
    assert names(net, spared) == {
        "conv.bias", "norm.weight", "norm.bias", "batch.weight", "batch.bias", "pos_embed", "gain",
    }  # fmt: skip
    assert names(net, split_decay(net)[0]) == {"conv.weight", "head.weight", "pos_embed"}


def test_decay_moves_what_it_should():
    net = nn.Linear(2, 2)
    nn.init.ones_(net.bias)
    before = net.weight.detach().clone()
    optimizer = adamw(net, lr=0.1, weight_decay=0.5)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(net.weight, before * (1 - 0.1 * 0.5))
    torch.testing.assert_close(net.bias, torch.ones(2))
    assert all(group["fused"] for group in optimizer.param_groups)


def test_cosine_schedule_known_values():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = warm_schedule(optimizer, total_steps=12, warmup_steps=4, floor=0.1)
    rates = []
    for _ in range(14):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    expected = [0.5, 1.0, 1.5, 2.0]
    expected += [2 * (0.1 + 0.9 * (1 + math.cos(math.pi * s / 8)) / 2) for s in range(9)]
    assert rates == pytest.approx([*expected, 0.2], rel=1e-12)


@pytest.mark.parametrize(("decay", "middle", "end"), [("linear", 0.5, 0.0), ("constant", 1.0, 1.0)])
def test_other_shapes(decay, middle, end):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    factor = warm_schedule(optimizer, total_steps=10, decay=decay).lr_lambdas[0]
    assert [factor(0), factor(5), factor(10), factor(99)] == [1.0, middle, end, end]


@pytest.mark.parametrize(
    "bad",
    [{"total_steps": 0}, {"total_steps": 5, "warmup_steps": 5}, {"total_steps": 5, "warmup_steps": -1},
     {"total_steps": 5, "floor": 1.5}, {"total_steps": 5, "decay": "steps"}],
)  # fmt: skip
def test_bad_schedules(bad):
    with pytest.raises(ConfigError):
        warm_schedule(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0), **bad)


@pytest.mark.parametrize(
    "bad",
    [{"lr": 0.0}, {"lr": float("nan")}, {"lr": 1.0, "weight_decay": -1.0}, {"lr": 1.0, "betas": (2.0, 0.9)}],
)
def test_bad_optimisers(bad):
    with pytest.raises(ConfigError):
        adamw(nn.Linear(1, 1), **bad)
    with pytest.raises(ConfigError, match="trainable"):
        adamw(nn.Identity(), lr=1.0)


def test_gradient_norm():
    net = nn.Linear(2, 1)
    assert gradient_norm(net) == 0
    net.weight.grad, net.bias.grad = torch.tensor([[1.0, 2.0]]), torch.tensor([2.0])
    assert gradient_norm(net) == 3
