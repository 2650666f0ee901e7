"""Attention in a chunk of small groups of tokens, and its derivative."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# What a chunk of queries, keys, values and logits may take: a few times the second-level cache of a core,
# since smaller matrix products are slower.
_CHUNK_BYTES = 1 << 22
# The library's softmax goes row by row; shorter rows than this are quicker all at once.
_SHORT_ROW = 16


class Groups(NamedTuple):
    """The shape of a chunk: so many groups of so many tokens, attended to by so many heads."""

    number: int
    tokens: int
    heads: int

    def split_heads(self, x: Tensor, parts: int) -> Tensor:
        """Bring (row, part * width) to (part, group * head, token, size)."""
        x = x.view(self.number, self.tokens, parts, self.heads, -1).permute(2, 0, 3, 1, 4)
        return x.reshape(parts, self.number * self.heads, self.tokens, x.shape[-1])

    def join_heads(self, x: Tensor) -> Tensor:
        """Bring (part, group * head, token, size) to (row, part * width)."""
        parts = x.view(len(x), self.number, self.heads, self.tokens, -1).permute(1, 3, 0, 2, 4)
        return parts.reshape(self.number * self.tokens, -1)

    def weigh(self, q: Tensor, k: Tensor, bias: Tensor | None) -> Tensor:
        """Give the softmax of scaled, biased logits, (group * head, token, token)."""
        scale = q.shape[-1] ** -0.5
        if bias is None:
            logits = torch.bmm(q, k.transpose(1, 2)).mul_(scale)
        elif len(q) == len(bias):
            logits = torch.baddbmm(bias, q, k.transpose(1, 2), alpha=scale)
        else:
            logits = torch.bmm(q, k.transpose(1, 2)).mul_(scale)
            logits.view(-1, *bias.shape).add_(bias)
        if self.tokens > _SHORT_ROW:
            return logits.softmax(-1)
        logits.sub_(logits.amax(-1, keepdim=True)).exp_()
        return logits.div_(logits.sum(-1, keepdim=True))

    def attend(self, qkv: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attend: (row, 3 * width) to (row, width)."""
        q, k, v = self.split_heads(qkv, 3)
        return self.join_heads(torch.bmm(self.weigh(q, k, bias), v)[None])

    def attend_again(self, qkv: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Attended]:
        """Attend, and keep what the derivative needs."""
        q, k, v = self.split_heads(qkv, 3)
        weights = self.weigh(q, k, bias)
        return self.join_heads(torch.bmm(weights, v)[None]), Attended(self, q, k, v, weights)


class Attended(NamedTuple):
    """What attention in a chunk was computed from."""

    groups: Groups
    q: Tensor
    k: Tensor
    v: Tensor
    weights: Tensor

    def differentiate(self, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Give the gradients of queries, keys and values, (row, 3 * width), and of the logits."""
        (grad,) = self.groups.split_heads(grad, 1)
        logits = torch.bmm(grad, self.v.transpose(1, 2))
        logits.sub_((logits * self.weights).sum(-1, keepdim=True)).mul_(self.weights)
        grads = torch.empty(3, *self.q.shape, dtype=self.q.dtype)
        scale = self.q.shape[-1] ** -0.5
        torch.bmm(logits, self.k, out=grads[0]).mul_(scale)
        torch.bmm(logits.transpose(1, 2), self.q, out=grads[1]).mul_(scale)
        torch.bmm(self.weights.transpose(1, 2), grad, out=grads[2])
        return self.groups.join_heads(grads), logits


def count_fitting(width: int, tokens: int, heads: int, bytes_each: int) -> int:
    """Count the groups of tokens that fit into a chunk, at least one."""
    return max(1, _CHUNK_BYTES // (tokens * (3 * width + heads * tokens) * bytes_each))


def cut_rows(rows: int, together: int) -> list[slice]:
    """Cut rows into slices of at most so many."""
    return [slice(start, min(start + together, rows)) for start in range(0, rows, together)]
