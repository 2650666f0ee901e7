"""From fields to tokens and back."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from archesweather.config import ModelConfig
from archesweather.model.layout import Layout, level_padding


class PatchEmbedding(nn.Module):
    """Turn states into tokens: one for the surface and constants, one for each patch of levels.

    A column of tokens runs from the top down and ends with the surface. Levels that do not fill their last
    patch are filled with zeros above the top, rows and columns at the edge are repeated, and round the globe
    columns go on.

    Parameters
    ----------
    config : ModelConfig
    layout : Layout
    states : int
        How many states come in; each adds its channels.
    """

    def __init__(self, config: ModelConfig, layout: Layout, states: int) -> None:
        super().__init__()
        fields, (levels, rows, columns) = config.fields, config.network.patch
        self.fields, self.patch, self.layout = fields, config.network.patch, layout
        self.released = config.network.compat == "geoarches"
        area = (rows + layout.shared_row) * columns
        surface = states * len(fields.surface) + len(fields.constants)
        self.surface = nn.Linear(surface * area, config.network.dim) if layout.surface_tokens else None
        upper = states * len(fields.upper) * levels
        self.upper = nn.Linear(upper * area, config.network.dim) if layout.level_tokens else None

    def forward(
        self,
        states: Float[Tensor, "batch state channel lat lon"],
        constants: Float[Tensor, "constant lat lon"],
    ) -> Float[Tensor, "batch token width"]:
        """Cut into patches and embed them."""
        surface_count = len(self.fields.surface)
        surface, upper = states.split([surface_count, states.shape[2] - surface_count], dim=2)
        tokens = []
        if self.upper is not None:
            tokens.append(self.upper(self._cut_levels(upper)))
        if self.surface is not None:
            tokens.append(self.surface(self._cut_surface(surface, constants)))
        if self.released:
            tokens.reverse()
        return torch.cat(tokens, dim=3).flatten(1, 3)

    def _cut_surface(self, surface: Tensor, constants: Tensor) -> Tensor:
        """Give (batch, row, column, 1, value); the constants follow the first state."""
        maps = constants.to(surface.dtype).expand(len(surface), -1, -1, -1)
        channels = torch.cat([surface[:, 0], maps, surface[:, 1:].flatten(1, 2)], dim=1)
        return self._cut(channels).permute(0, 2, 4, 1, 3, 5).flatten(3).unsqueeze(3)

    def _cut_levels(self, upper: Tensor) -> Tensor:
        """Give (batch, row, column, level, value)."""
        count, size = len(self.fields.levels), self.patch[0]
        levels = upper.unflatten(2, (-1, count)).flatten(1, 2)
        above, below = level_padding(count, size, released=self.released)
        levels = F.pad(levels, (0, 0, 0, 0, above, below))
        variables = levels.shape[1]
        patches = self._cut(levels.flatten(1, 2)).unflatten(1, (variables, -1, size))
        return patches.permute(0, 4, 6, 2, 1, 3, 5, 7).flatten(4)

    def _cut(self, x: Tensor) -> Tensor:
        """Cut (batch, channel, lat, lon) into (batch, channel, row, lat, column, lon)."""
        _, rows, columns = self.patch
        if not self.layout.shared_row:
            spare = -x.shape[-2] % rows
            x = x[..., : -(x.shape[-2] % rows) or None, :] if self.released else _repeat_rows(x, spare)
        spare = -x.shape[-1] % columns
        if spare:
            x = F.pad(x, (0, spare, 0, 0), mode="circular" if self.layout.fine.periodic else "replicate")
        x = x.unfold(-2, rows + self.layout.shared_row, rows).unfold(-2, columns, columns)
        return x.permute(0, 1, 2, 4, 3, 5)


class PatchRecovery(nn.Module):
    """Turn tokens into a state: a 3 x 3 convolution on the token grid gives all cells of a patch.

    Levels of one patch share its token's channels out among them, in order; all levels share the weights.
    Round the globe the convolution goes on over the seam; beyond other edges the last tokens are repeated.
    Where neighbouring patches share a row, the last one of the grid has a convolution of its own.
    """

    def __init__(self, config: ModelConfig, layout: Layout) -> None:
        super().__init__()
        fields, (levels, rows, columns) = config.fields, config.network.patch
        self.fields, self.layout = fields, layout
        self.size, self.patch = (len(config.lat), len(config.lon)), config.network.patch
        self.released = config.network.compat == "geoarches"
        width = layout.outer.width
        self.surface = (
            FieldHead(width, len(fields.surface), (rows, columns), layout) if fields.surface else None
        )
        self.upper = (
            FieldHead(width // levels, len(fields.upper), (rows, columns), layout) if fields.upper else None
        )

    def forward(self, x: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch channel lat lon"]:
        """Give the channels in the order of the config."""
        levels, rows, columns = self.layout.fine.grid
        x = x.view(len(x), rows, columns, levels, -1)
        first = self.layout.surface_tokens if self.released else 0
        states = []
        if self.surface is not None:
            states.append(self.surface(x[:, :, :, 0 if self.released else -1]))
        if self.upper is not None:
            upper = x[:, :, :, first : first + self.layout.level_tokens]
            states.append(self._recover_levels(self.upper, upper))
        return self._crop(torch.cat(states, dim=1))

    def _recover_levels(self, head: FieldHead, x: Tensor) -> Tensor:
        count, size = len(self.fields.levels), self.patch[0]
        if self.released:
            # Slices take every other channel, and all first halves come before all second ones.
            x = x.unflatten(-1, (-1, size)).permute(0, 1, 2, 5, 3, 4).flatten(3, 4)
        else:
            x = x.unflatten(-1, (size, -1)).flatten(3, 4)
        above = 1 if self.released else -count % size
        x = x[:, :, :, above : above + count].permute(0, 3, 1, 2, 4)
        return head(x.flatten(0, 1)).unflatten(0, (-1, count)).transpose(1, 2).flatten(1, 2)

    def _crop(self, x: Tensor) -> Tensor:
        rows, columns = self.size
        if self.released:
            return torch.cat([x, x[..., -1:, :]], dim=-2)
        south = (x.shape[-2] - rows) // 2
        return x[..., south : south + rows, :columns]


class FieldHead(nn.Module):
    """A convolution to all cells of a patch, which starts out giving all of them the same value.

    The start is that of sub-pixel convolutions without checkerboard (Aitken et al. 2017).
    """

    def __init__(self, width: int, variables: int, patch: tuple[int, int], layout: Layout) -> None:
        super().__init__()
        self.patch, self.layout = patch, layout
        self.weight = nn.Parameter(_start_weight(variables, width, patch[0] * patch[1]))
        self.last_row = nn.Parameter(self.weight.detach()[:: patch[0]].clone()) if layout.shared_row else None

    def forward(self, x: Float[Tensor, "batch row column width"]) -> Float[Tensor, "batch variable lat lon"]:
        """Give fields of the token grid times the patch, and the last row where there is one more."""
        x = x.permute(0, 3, 1, 2)
        fields = self._spread(F.conv2d(self._pad(x), self.weight), *self.patch)
        if self.last_row is None:
            return fields
        last = F.conv2d(self._pad(x[:, :, -1:]), self.last_row)
        return torch.cat([fields, self._spread(last, 1, self.patch[1])], dim=2)

    def _pad(self, x: Tensor) -> Tensor:
        stage = self.layout.fine
        if stage.released:
            return F.pad(x, (1, 1, 1, 1))
        x = torch.cat([x[..., :1, :], x, x[..., -1:, :]], dim=-2)
        west, east = (x[..., -1:], x[..., :1]) if stage.periodic else (x[..., :1], x[..., -1:])
        return torch.cat([west, x, east], dim=-1)

    @staticmethod
    def _spread(x: Tensor, rows: int, columns: int) -> Tensor:
        x = x.unflatten(1, (-1, rows, columns)).permute(0, 1, 4, 2, 5, 3)
        return x.flatten(4, 5).flatten(2, 3)


def _repeat_rows(x: Tensor, spare: int) -> Tensor:
    south = spare // 2
    return F.pad(x, (0, 0, south, spare - south), mode="replicate") if spare else x


def _start_weight(variables: int, width: int, cells: int) -> Tensor:
    weight = torch.empty(variables, width, 3, 3)
    nn.init.kaiming_normal_(weight)
    return weight.repeat_interleave(cells, dim=0)
