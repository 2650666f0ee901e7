"""The MLP of a block, with the norm, gate and residual around it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from archesweather.model.lean.groups import cut_rows

_EPS = 1e-5
_CHUNK_BYTES = 1 << 22


@torch.library.custom_op("archesweather::mlp_branch", mutates_args=(), device_types="cpu")
def mlp_branch(
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    hidden_weight: Tensor,
    hidden_bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    gate: Tensor,
    keep: bool,
) -> tuple[Tensor, Tensor]:
    """Add what the MLP gives: ``x + gate * out(f(hidden(LN(x))))``.

    Parameters
    ----------
    x : Tensor, shape (batch, token, width)
    norm_weight, norm_bias : Tensor, shape (batch, width)
        Scale and shift of the norm, conditions included.
    hidden_weight, hidden_bias, out_weight, out_bias : Tensor
        Of the linear layers. Where the hidden layer is twice as wide as what goes out, f is GELU of its first
        half times its second one, else GELU.
    gate : Tensor, shape (batch, width)
    keep : bool
        Whether a backward pass will follow.

    Returns
    -------
    out : Tensor, shape (batch, token, width)
    hidden : Tensor, shape (batch, token, hidden)
        The hidden layer, for the backward pass; empty where there will be none.
    """
    out = torch.empty_like(x)
    kept = _make_room(x, hidden_weight, keep=keep)
    for sample, own in enumerate(out):
        scale, shift = norm_weight[sample], norm_bias[sample]
        gated, offset = gate[sample][:, None] * out_weight, gate[sample] * out_bias
        for rows in _cut(x, hidden_weight):
            part = x[sample, rows]
            n = F.layer_norm(part, scale.shape, scale, shift, _EPS)
            hidden = kept[sample, rows] if keep else n.new_empty(len(n), len(hidden_weight))
            torch.addmm(hidden_bias, n, hidden_weight.T, out=hidden)
            torch.add(part, offset, out=own[rows])
            own[rows].addmm_(_activate(hidden, out_weight), gated.T)
    return out, kept


@torch.library.custom_op("archesweather::mlp_branch_backward", mutates_args=(), device_types="cpu")
def _mlp_branch_backward(
    grad: Tensor,
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    hidden_weight: Tensor,
    hidden_bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    gate: Tensor,
    kept: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    d_x = torch.empty_like(x)
    d_scale, d_shift, d_gate = map(torch.zeros_like, (norm_weight, norm_bias, gate))
    d_hidden, d_hidden_bias = torch.zeros_like(hidden_weight), torch.zeros_like(hidden_bias)
    d_out, d_out_bias = torch.zeros_like(out_weight), torch.zeros_like(out_bias)
    for sample, own in enumerate(d_x):
        scale, shift = norm_weight[sample], norm_bias[sample]
        gated = gate[sample][:, None] * out_weight
        # All gradients of the output's layer and gate follow from these two sums over tokens.
        product, total = torch.zeros_like(out_weight), torch.zeros_like(out_bias)
        for rows in _cut(x, hidden_weight):
            part, g = x[sample, rows], grad[sample, rows]
            n, mean, rstd = torch.native_layer_norm(part, scale.shape, scale, shift, _EPS)
            active, to_hidden = _activate_again(kept[sample, rows], g @ gated)
            product.addmm_(g.T, active)
            total += g.sum(0)
            d_hidden.addmm_(to_hidden.T, n)
            d_hidden_bias += to_hidden.sum(0)
            to_x, to_scale, to_shift = torch.ops.aten.native_layer_norm_backward(
                to_hidden @ hidden_weight, part, scale.shape, mean, rstd, scale, shift, [True, True, True]
            )
            d_scale[sample] += to_scale
            d_shift[sample] += to_shift
            torch.add(g, to_x, out=own[rows])
        d_gate[sample] = (product * out_weight).sum(1) + total * out_bias
        d_out.addcmul_(product, gate[sample][:, None])
        d_out_bias.addcmul_(total, gate[sample])
    return d_x, d_scale, d_shift, d_hidden, d_hidden_bias, d_out, d_out_bias, d_gate


@mlp_branch.register_fake
def _(x: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), _make_room(x, others[2], keep=others[-1])


@_mlp_branch_backward.register_fake
def _(grad: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG001
    return (*map(torch.empty_like, inputs[:-1]),)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:-1], output[1])


def _differentiate(ctx: Any, grad: Tensor, _: None) -> tuple[Tensor | None, ...]:
    return *_mlp_branch_backward(grad, *ctx.saved_tensors), None


mlp_branch.register_autograd(_differentiate, setup_context=_save)


def _activate(hidden: Tensor, out_weight: Tensor) -> Tensor:
    if hidden.shape[1] == out_weight.shape[1]:
        return F.gelu(hidden)
    gate, value = hidden.chunk(2, dim=1)
    return F.gelu(gate).mul_(value)


def _activate_again(hidden: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Give the activation again, and the gradient of the hidden layer."""
    if hidden.shape[1] == grad.shape[1]:
        return F.gelu(hidden), torch.ops.aten.gelu_backward(grad, hidden)
    gate, value = hidden.chunk(2, dim=1)
    active = F.gelu(gate)
    to_hidden = torch.empty_like(hidden)
    to_gate, to_value = to_hidden.chunk(2, dim=1)
    torch.mul(grad, active, out=to_value)
    to_gate.copy_(torch.ops.aten.gelu_backward(grad.mul_(value), gate))
    return active.mul_(value), to_hidden


def _cut(x: Tensor, hidden_weight: Tensor) -> list[slice]:
    return cut_rows(x.shape[1], max(1, _CHUNK_BYTES // (len(hidden_weight) * x.element_size())))


def _make_room(x: Tensor, hidden_weight: Tensor, *, keep: bool) -> Tensor:
    return x.new_empty(*x.shape[:2], len(hidden_weight)) if keep else x.new_empty(0)
