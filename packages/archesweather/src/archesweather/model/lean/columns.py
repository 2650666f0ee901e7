"""The column attention of a block, with the gate and the residual around it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from archesweather.model.lean.groups import Groups, count_fitting, cut_rows


@torch.library.custom_op("archesweather::column_branch", mutates_args=(), device_types="cpu")
def column_branch(
    x: Tensor,
    a: Tensor,
    level: Tensor,
    qkv_weight: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    gate: Tensor,
    column_gate: Tensor,
    heads: int,
    keep: bool,
) -> tuple[Tensor, Tensor]:
    """Add what windows and columns gave: ``x + gate * a + column_gate * out(C(qkv(a + level)))``.

    Parameters
    ----------
    x, a : Tensor, shape (batch, token, width)
        Tokens, and what the window attention gave; levels lie next to each other.
    level : Tensor, shape (level, width)
        Embedding of the levels.
    qkv_weight, out_weight, out_bias : Tensor
        Of the linear layers.
    gate, column_gate : Tensor, shape (batch, width)
    heads : int
    keep : bool
        Whether a backward pass will follow.

    Returns
    -------
    out : Tensor, shape (batch, token, width)
    qkv : Tensor, shape (batch, token, 3 * width)
        Queries, keys and values, for the backward pass; empty where there will be none.
    """
    out = torch.empty_like(x)
    kept = _make_room(x, keep=keep)
    chunks = _cut(x, level, heads)
    for sample, own in enumerate(out):
        gated = column_gate[sample][:, None] * out_weight
        offset = column_gate[sample] * out_bias
        for rows in chunks:
            part = a[sample, rows]
            qkv = kept[sample, rows] if keep else x.new_empty(len(part), len(qkv_weight))
            torch.mm(_embed(part, level), qkv_weight.T, out=qkv)
            seen = _groups(part, level, heads).attend(qkv)
            torch.addcmul(x[sample, rows] + offset, part, gate[sample], out=own[rows])
            own[rows].addmm_(seen, gated.T)
    return out, kept


@torch.library.custom_op("archesweather::column_branch_backward", mutates_args=(), device_types="cpu")
def _column_branch_backward(
    grad: Tensor,
    a: Tensor,
    level: Tensor,
    qkv_weight: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    gate: Tensor,
    column_gate: Tensor,
    kept: Tensor,
    heads: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    d_a, d_level, d_qkv = torch.empty_like(a), torch.zeros_like(level), torch.zeros_like(qkv_weight)
    d_out, d_out_bias = torch.zeros_like(out_weight), torch.zeros_like(out_bias)
    d_gate, d_column = torch.zeros_like(gate), torch.zeros_like(column_gate)
    for sample, own in enumerate(d_a):
        gated = column_gate[sample][:, None] * out_weight
        # All gradients of the output's layer and gate follow from these two sums over tokens.
        product, total = torch.zeros_like(out_weight), torch.zeros_like(out_bias)
        for rows in _cut(a, level, heads):
            part, g = a[sample, rows], grad[sample, rows]
            seen, attended = _groups(part, level, heads).attend_again(kept[sample, rows])
            product.addmm_(g.T, seen)
            total += g.sum(0)
            d_gate[sample] += (g * part).sum(0)
            to_qkv, _ = attended.differentiate(g @ gated)
            d_qkv.addmm_(to_qkv.T, _embed(part, level))
            to_h = to_qkv @ qkv_weight
            d_level += to_h.view(-1, *level.shape).sum(0)
            torch.addcmul(to_h, g, gate[sample], out=own[rows])
        d_column[sample] = (product * out_weight).sum(1) + total * out_bias
        d_out.addcmul_(product, column_gate[sample][:, None])
        d_out_bias.addcmul_(total, column_gate[sample])
    return d_a, d_level, d_qkv, d_out, d_out_bias, d_gate, d_column


@column_branch.register_fake
def _(x: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), _make_room(x, keep=others[-1])


@_column_branch_backward.register_fake
def _(grad: Tensor, *inputs: Any) -> tuple[Tensor, ...]:  # noqa: ARG001
    return (*map(torch.empty_like, inputs[:-2]),)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[1:-2], output[1])
    ctx.heads = inputs[-2]


def _differentiate(ctx: Any, grad: Tensor, _: None) -> tuple[Tensor | None, ...]:
    return grad, *_column_branch_backward(grad, *ctx.saved_tensors, ctx.heads), None, None


column_branch.register_autograd(_differentiate, setup_context=_save)


def _embed(part: Tensor, level: Tensor) -> Tensor:
    return (part.view(-1, *level.shape) + level).flatten(0, 1)


def _groups(part: Tensor, level: Tensor, heads: int) -> Groups:
    return Groups(len(part) // len(level), len(level), heads)


def _cut(x: Tensor, level: Tensor, heads: int) -> list[slice]:
    levels, width = level.shape
    return cut_rows(x.shape[1], levels * count_fitting(width, levels, heads, x.element_size()))


def _make_room(x: Tensor, *, keep: bool) -> Tensor:
    return x.new_empty(*x.shape[:2], 3 * x.shape[2]) if keep else x.new_empty(0)
