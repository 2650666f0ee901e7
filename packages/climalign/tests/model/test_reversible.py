"""Backpropagation through rebuilt activations: equal gradients, less memory."""

from dataclasses import replace

import pytest
import torch

from climalign.model import Glow


def gradients(flow, images, direction):
    x = images.clone().requires_grad_()
    flow.zero_grad()
    if direction == "both":
        z, logabsdet = flow(x)
        y, back = flow.inverse(0.8 * z + 0.1)
        loss = (y**2).sum() + 0.3 * logabsdet.sum() + 0.1 * back.square().sum() + (z**3).sum()
    else:
        y, logabsdet = flow(x) if direction == "forward" else flow.inverse(x)
        loss = (y**2).sum() + logabsdet.square().sum()
    loss.backward()
    return [weight.grad.clone() for weight in flow.parameters() if weight.grad is not None] + [x.grad]


@pytest.mark.parametrize("direction", ["forward", "inverse", "both"])
def test_gradients_equal_the_plain_ones(make_flow, images, direction):
    plain = make_flow(levels=2, steps=3).train()
    lean = Glow(replace(plain.config, reversible=True)).double().train()
    plain(images)
    lean.load_state_dict(plain.state_dict())
    expected, found = (gradients(flow, images, direction) for flow in (plain, lean))
    assert len(expected) == len(found)
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-8, atol=1e-8)


def test_float32_gradients_agree_at_the_papers_depth():
    plain = Glow(replace(_config(), reversible=False)).train()
    images = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain(images)
    lean = Glow(_config()).train()
    lean.load_state_dict(plain.state_dict())
    for a, b in zip(*(gradients(flow, images, "forward") for flow in (plain, lean)), strict=True):
        assert (a - b).norm() <= 1e-3 * a.norm() + 1e-4


def test_frozen_weights_get_no_gradient(make_flow, images):
    flow = make_flow(reversible=True).train()
    flow(images)
    frozen = flow.levels[0].parts[1].network.enter.weight
    frozen.requires_grad_(requires_grad=False)
    gradients(flow, images, "forward")
    assert frozen.grad is None
    assert flow.levels[0].parts[3].network.enter.weight.grad is not None


def test_less_is_kept_for_the_backward_pass(make_flow, images):
    def kept(flow):
        held = {}

        def pack(tensor):
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        own = {weight.untyped_storage().data_ptr() for weight in flow.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            result = flow(images)
        del result
        return sum(size for place, size in held.items() if place not in own)

    plain, lean = (make_flow(steps=6, filters=16, reversible=way).train() for way in (False, True))
    for flow in (plain, lean):
        flow(images)
    assert kept(lean) < 0.4 * kept(plain)


def _config():
    from climalign.config import FlowConfig

    return FlowConfig(levels=2, steps=8, filters=8, reversible=True)
