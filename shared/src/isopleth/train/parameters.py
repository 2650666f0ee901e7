"""Parameters of many networks in one table, a row a network, and Adam on some of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

# Rows are filled up to a multiple of this. The fused Adam treats what does not fill a vector by other
# instructions, which round differently: so none of it is a parameter.
_ALIGNED = 64


class ParameterRows:
    """One kind of parameter, such as the weights of all layers, of many networks.

    Parameters
    ----------
    layers : sequence of Tensor, each of shape (network, in, out)
        First values; they are copied.
    l2 : float
        Penalty: l2 times the sum of squares is added to what is descended.

    Attributes
    ----------
    rows, kept : Tensor, shape (network, parameter)
        The values now, and those to come back to.
    """

    def __init__(self, layers: Sequence[Tensor], *, l2: float) -> None:
        self.shapes = [layer.shape[1:] for layer in layers]
        self.sizes = [shape.numel() for shape in self.shapes]
        self.l2 = l2
        self.rows = self._join([layer.detach() for layer in layers])
        self.kept = self.rows.clone()
        self._means, self._squares = torch.zeros_like(self.rows), torch.zeros_like(self.rows)

    def layers(self, some: Any) -> list[Tensor]:
        """Give the layers of some networks, each (network, in, out): views if `some` is a slice."""
        parts = self.rows[some][:, : sum(self.sizes)].split(self.sizes, dim=1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def descend(self, gradients: Sequence[Tensor], some: slice, *, step: int, learning_rate: float) -> None:
        """Take a step of Adam in some networks (Kingma and Ba 2015, with the penalty in the gradient)."""
        adam(
            [self.rows[some]],
            [self._join(gradients)],
            [self._means[some]],
            [self._squares[some]],
            [],
            [torch.tensor(float(step), device=self.rows.device)],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=2 * self.l2,
            eps=1e-8,
            maximize=False,
        )

    def keep(self, networks: Any) -> None:
        """Remember the values of some networks."""
        self.kept[networks] = self.rows[networks]

    def return_to_kept(self) -> None:
        """Go back to the values that were remembered."""
        self.rows.copy_(self.kept)

    @property
    def state(self) -> list[Tensor]:
        """All that a continuation needs."""
        return [self.rows, self._means, self._squares, self.kept]

    def _join(self, layers: Sequence[Tensor]) -> Tensor:
        rows = torch.cat([layer.flatten(1) for layer in layers], dim=1)
        return torch.nn.functional.pad(rows, (0, -rows.shape[1] % _ALIGNED))
