"""The window attention of a block: from its tokens to what the attention adds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from archesweather.model.lean.groups import Groups, count_fitting

_EPS = 1e-5


@torch.library.custom_op("archesweather::window_branch", mutates_args=(), device_types="cpu")
def window_branch(
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    bias: Tensor,
    index: Tensor,
    place: Tensor,
    heads: int,
    keep: bool,
) -> tuple[Tensor, Tensor]:
    """Normalise, attend within windows and project: ``out(A(qkv(LN(x))))``.

    Parameters
    ----------
    x : Tensor, shape (batch, token, width)
    norm_weight, norm_bias : Tensor, shape (batch, width)
        Scale and shift of the norm, conditions included.
    qkv_weight, qkv_bias, out_weight, out_bias : Tensor
        Of the linear layers.
    bias : Tensor, shape (column or 1, kind, head, token, token)
        What is added to the logits.
    index, place : Tensor
        See `Partition`.
    heads : int
    keep : bool
        Whether a backward pass will follow.

    Returns
    -------
    out : Tensor, shape (batch, token, width)
    qkv : Tensor, shape (batch, place, 3 * width)
        Queries, keys and values in the order of windows, for the backward pass; empty where there will be
        none.
    """
    out, kept = torch.empty_like(x), _make_room(x, index, keep=keep)
    for sample, tokens in enumerate(x):
        scale, shift = norm_weight[sample], norm_bias[sample]
        for chunk in _cut(x, bias, index, place, heads):
            n = F.layer_norm(tokens.index_select(0, chunk.rows), scale.shape, scale, shift, _EPS)
            qkv = kept[sample, chunk.places] if keep else n.new_empty(len(n), len(qkv_weight))
            torch.addmm(qkv_bias, n, qkv_weight.T, out=qkv)
            seen = chunk.groups.attend(qkv, chunk.bias)
            chunk.scatter(torch.addmm(out_bias, seen, out_weight.T), out[sample])
    return out, kept


@torch.library.custom_op("archesweather::window_branch_backward", mutates_args=(), device_types="cpu")
def _window_branch_backward(
    grad: Tensor,
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    out_weight: Tensor,
    bias: Tensor,
    index: Tensor,
    place: Tensor,
    kept: Tensor,
    heads: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    d_x = torch.empty_like(x)
    d_scale, d_shift = torch.zeros_like(norm_weight), torch.zeros_like(norm_bias)
    d_qkv, d_qkv_bias = torch.zeros_like(qkv_weight), torch.zeros_like(qkv_bias)
    d_out, d_out_bias = torch.zeros_like(out_weight), torch.zeros_like(out_weight[0])
    d_bias = torch.zeros_like(bias)
    for sample, tokens in enumerate(x):
        scale, shift = norm_weight[sample], norm_bias[sample]
        for chunk in _cut(x, bias, index, place, heads):
            rows = tokens.index_select(0, chunk.rows)
            n, mean, rstd = torch.native_layer_norm(rows, scale.shape, scale, shift, _EPS)
            seen, attended = chunk.groups.attend_again(kept[sample, chunk.places], chunk.bias)
            g = chunk.gather(grad[sample])
            d_out.addmm_(g.T, seen)
            d_out_bias += g.sum(0)
            g, logits = attended.differentiate(g @ out_weight)
            chunk.accumulate(d_bias, logits)
            d_qkv.addmm_(g.T, n)
            d_qkv_bias += g.sum(0)
            g, to_scale, to_shift = torch.ops.aten.native_layer_norm_backward(
                g @ qkv_weight, rows, scale.shape, mean, rstd, scale, shift, [True, True, True]
            )
            d_scale[sample] += to_scale
            d_shift[sample] += to_shift
            chunk.scatter(g, d_x[sample])
    return d_x, d_scale, d_shift, d_qkv, d_qkv_bias, d_out, d_out_bias, d_bias


@window_branch.register_fake
def _(x: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), _make_room(x, others[7], keep=others[-1])


@_window_branch_backward.register_fake
def _(grad: Tensor, *inputs: Any) -> tuple[Tensor, ...]:  # noqa: ARG001
    *differentiated, out_weight, bias = inputs[:7]
    return (*map(torch.empty_like, (*differentiated, out_weight, out_weight[0], bias)),)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    tensors = list(inputs[:-2])
    del tensors[6]  # the output's bias has no part in any gradient
    ctx.save_for_backward(*tensors, output[1])
    ctx.heads = inputs[-2]


def _differentiate(ctx: Any, grad: Tensor, _: None) -> tuple[Tensor | None, ...]:
    grads = _window_branch_backward(grad, *ctx.saved_tensors, ctx.heads)
    return *grads, None, None, None, None


window_branch.register_autograd(_differentiate, setup_context=_save)


class _Chunk(NamedTuple):
    """Some kinds of windows of some columns: their places' tokens, and which places have one."""

    groups: Groups
    places: slice
    rows: Tensor
    kept: Tensor | None
    bias: Tensor
    column: slice
    kind: slice

    def gather(self, grad: Tensor) -> Tensor:
        """Take the gradient of each place; a place without a token has none."""
        rows = grad.index_select(0, self.rows)
        if self.kept is not None:
            rows[~self.kept] = 0
        return rows

    def scatter(self, values: Tensor, out: Tensor) -> None:
        """Write what each place gave to its token."""
        if self.kept is None:
            out.index_copy_(0, self.rows, values)
        else:
            out[self.rows[self.kept]] = values[self.kept]

    def accumulate(self, d_bias: Tensor, logits: Tensor) -> None:
        """Add the gradient of the logits to that of their bias, over all columns that share it."""
        own = d_bias[self.column, self.kind]
        own += logits.view(-1, *own.shape[1:]).sum(0)


def _cut(x: Tensor, bias: Tensor, index: Tensor, place: Tensor, heads: int) -> Iterator[_Chunk]:
    """Cut the windows of one sample: several columns at once, or some kinds of one."""
    kinds, tokens = bias.shape[1], bias.shape[-1]
    fitting = count_fitting(x.shape[-1], tokens, heads, x.element_size())
    # Columns that have their own bias go one by one.
    together = max(1, fitting // kinds) if len(bias) == 1 else 1
    some = min(fitting, kinds)
    kept = None
    if index.numel() != place.numel():
        kept = torch.zeros(index.numel(), dtype=torch.bool)
        kept[place] = True
        kept = kept.view(index.shape)
    for first in range(0, len(index), together):
        column = slice(first, first + together)
        for start in range(0, kinds, some):
            kind, span = slice(start, start + some), slice(start * tokens, (start + some) * tokens)
            rows = index[column, span].flatten()
            own = slice(first, first + 1) if len(bias) > 1 else slice(0, 1)
            groups = Groups(len(rows) // tokens, tokens, heads)
            begin = (first * kinds + start) * tokens
            places = slice(begin, begin + len(rows))
            real = None if kept is None else kept[column, span].flatten()
            yield _Chunk(groups, places, rows, real, bias[own, kind].flatten(0, 2), own, kind)


def _make_room(x: Tensor, index: Tensor, *, keep: bool) -> Tensor:
    return x.new_empty(len(x), index.numel(), 3 * x.shape[2]) if keep else x.new_empty(0)
