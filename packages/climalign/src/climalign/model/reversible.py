"""Backpropagation that keeps no activations: each step's input is rebuilt from its output.

A step of a flow can be undone, so that nothing in it need be kept for the backward pass (Gomez et al. 2017,
for residual networks). Rebuilding costs one pass through each coupling's network, and that pass is also the
one which the gradient goes through: the network sees the half that the coupling leaves alone, which stands in
the output as it stood in the input. So the work is 4/3 of the plain one, and not 5/3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from climalign.model.coupling import Coupling, move
from climalign.model.flow import Images, MixingConvolution

Part = MixingConvolution | Coupling
Replayed = tuple[tuple[Tensor, ...], Images, Float[Tensor, " batch"]]


def run_reversibly(
    parts: Sequence[Part], inputs: Images, *, invert: bool
) -> tuple[Images, Float[Tensor, " batch"]]:
    """Run parts one after another, keeping only the last output for the gradient.

    Parameters
    ----------
    parts : sequence of MixingConvolution or Coupling
        In the order of the forward direction.
    inputs : Tensor, shape (batch, channel, lat, lon)
    invert : bool
        Run the inverses, from the last part to the first.

    Returns
    -------
    Tensor, Tensor
        Outputs and the logarithm of the determinant; both equal those of the plain way.
    """
    order = tuple(reversed(parts)) if invert else tuple(parts)
    weights = [weight for part in order for weight in part.parameters()]
    result: tuple[Tensor, Tensor] = _Chain.apply(order, invert, inputs, *weights)
    return result


class _Chain(torch.autograd.Function):
    """The chain as one operation with a gradient of its own."""

    @staticmethod
    def forward(
        ctx: Any,
        parts: tuple[Part, ...],
        invert: bool,
        inputs: Tensor,
        *weights: Tensor,  # noqa: ARG004 (autograd must know what the gradient is of)
    ) -> tuple[Tensor, Tensor]:
        values, total = inputs, inputs.new_zeros(len(inputs))
        for part in parts:
            values, logabsdet = part.inverse(values) if invert else part(values)
            total = total + logabsdet
        ctx.parts, ctx.invert = parts, invert
        ctx.save_for_backward(values)
        return values, total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        (outputs,) = ctx.saved_tensors
        gradient, of_total = gradients
        found: list[list[Tensor | None]] = []
        for part in reversed(ctx.parts):
            outputs, gradient, of_weights = _go_back(part, outputs, gradient, of_total, invert=ctx.invert)
            found.append(of_weights)
        flat = [each for of_weights in reversed(found) for each in of_weights]
        return (None, None, gradient, *flat)


def _go_back(
    part: Part, outputs: Tensor, gradient: Tensor, of_total: Tensor, *, invert: bool
) -> tuple[Tensor, Tensor, list[Tensor | None]]:
    """Rebuild a part's inputs, and pass the gradients through it, a piece of the batch at a time."""
    count = _count_pieces(part, outputs)
    pieces = zip(*(each.chunk(count) for each in (outputs, gradient, of_total)), strict=True)
    inputs, upstream = [], []
    total: list[Tensor | None] = []
    for piece in pieces:
        given, above, of_weights = _go_back_at_once(part, *piece, invert=invert)
        inputs.append(given)
        upstream.append(above)
        total = _add(total, of_weights) if total else of_weights
    return torch.cat(inputs), torch.cat(upstream), total


def _count_pieces(part: Part, outputs: Tensor) -> int:
    """Cut a batch so that a hidden layer is at most twice the kernels, whose gradients are held anyway."""
    if not isinstance(part, Coupling):
        return 1
    batch, _, rows, columns = outputs.shape
    hidden = part.network.enter.out_channels * rows * columns
    kernels = sum(weight.numel() for weight in part.parameters())
    return math.ceil(batch / max(2 * kernels // hidden, 1))


def _add(total: list[Tensor | None], more: list[Tensor | None]) -> list[Tensor | None]:
    return [a if a is None or b is None else a.add_(b) for a, b in zip(total, more, strict=True)]


def _go_back_at_once(
    part: Part, outputs: Tensor, gradient: Tensor, of_total: Tensor, *, invert: bool
) -> tuple[Tensor, Tensor, list[Tensor | None]]:
    replay = _replay_coupling if isinstance(part, Coupling) else _replay_mixing
    leaves, again, logabsdet = replay(part, outputs.detach(), invert=invert)
    weights = [weight for weight in part.parameters() if weight.requires_grad]
    found = torch.autograd.grad(
        (again, logabsdet), (*leaves, *weights), (gradient, of_total), allow_unused=True
    )
    inputs = torch.cat([leaf.detach() for leaf in leaves], 1)
    upstream = torch.cat([each for each in found[: len(leaves)] if each is not None], 1)
    of_weights = iter(found[len(leaves) :])
    return (
        inputs,
        upstream,
        [next(of_weights) if weight.requires_grad else None for weight in part.parameters()],
    )


def _replay_mixing(part: MixingConvolution, outputs: Tensor, *, invert: bool) -> Replayed:
    with torch.no_grad():
        inputs = (part(outputs) if invert else part.inverse(outputs))[0]
    inputs.requires_grad_()
    with torch.enable_grad():
        again, logabsdet = part.inverse(inputs) if invert else part(inputs)
    return (inputs,), again, logabsdet


def _replay_coupling(part: Coupling, outputs: Tensor, *, invert: bool) -> Replayed:
    fixed = outputs[:, : part.fixed].detach().requires_grad_()
    with torch.enable_grad():
        shift, scale = part.network(fixed)
    with torch.no_grad():
        moved, _ = move(outputs[:, part.fixed :], shift, scale, invert=not invert)
    moved.requires_grad_()
    with torch.enable_grad():
        again, logabsdet = move(moved, shift, scale, invert=invert)
        whole = torch.cat((fixed, again), 1)
    return (fixed, moved), whole, logabsdet


def run_plainly(
    parts: Sequence[Part], inputs: Images, *, invert: bool
) -> tuple[Images, Float[Tensor, " batch"]]:
    """Run parts one after another, as autograd does it."""
    values, total = inputs, inputs.new_zeros(len(inputs))
    for part in reversed(parts) if invert else parts:
        values, logabsdet = part.inverse(values) if invert else part(values)
        total = total + logabsdet
    return values, total
