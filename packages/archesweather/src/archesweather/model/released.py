"""The released code's weights under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from archesweather.model.windows import Shape, earth_position_index
from isopleth.errors import DataError

# Ours first. One of theirs, or several that are stacked along the first axis.
_OUTSIDE = {
    "embedding.surface.weight": "embedder.surface_proj.weight",
    "embedding.surface.bias": "embedder.surface_proj.bias",
    "embedding.upper.weight": "embedder.level_proj.weight",
    "embedding.upper.bias": "embedder.level_proj.bias",
    "recovery.surface.weight": "embedder.surface_deconv.weight",
    "recovery.upper.weight": "embedder.level_deconv.weight",
    "mixing.layer.weight": "backbone.interaction_layer.fc1.weight",
    "mixing.layer.bias": "backbone.interaction_layer.fc1.bias",
    "merge.norm.weight": "backbone.downsample.norm.weight",
    "merge.norm.bias": "backbone.downsample.norm.bias",
    "merge.layer.weight": "backbone.downsample.linear.weight",
    "split.spread.weight": "backbone.upsample.linear1.weight",
    "split.norm.weight": "backbone.upsample.norm.weight",
    "split.norm.bias": "backbone.upsample.norm.bias",
    "split.layer.weight": "backbone.upsample.linear2.weight",
}
_BLOCK: dict[str, tuple[str, ...]] = {
    "norm_attention.weight": ("norm1.weight",),
    "norm_attention.bias": ("norm1.bias",),
    "attention.bias.table": ("attn.earth_position_bias_table",),
    "attention.qkv.weight": ("attn.qkv.weight",),
    "attention.qkv.bias": ("attn.qkv.bias",),
    "attention.out.weight": ("attn.proj.weight",),
    "attention.out.bias": ("attn.proj.bias",),
    "columns.level": ("axis_pos.param_0",),
    "columns.qkv.weight": (
        "axis_attn.axial_attentions.0.fn.to_q.weight",
        "axis_attn.axial_attentions.0.fn.to_kv.weight",
    ),
    "columns.out.weight": ("axis_attn.axial_attentions.0.fn.to_out.weight",),
    "columns.out.bias": ("axis_attn.axial_attentions.0.fn.to_out.bias",),
    "norm_mlp.weight": ("norm2.weight",),
    "norm_mlp.bias": ("norm2.bias",),
    "mlp.out.weight": ("mlp.fc2.weight",),
    "mlp.out.bias": ("mlp.fc2.bias",),
}
_GATED = {
    "mlp.hidden.weight": ("mlp.fc1_g.weight", "mlp.fc1_x.weight"),
    "mlp.hidden.bias": ("mlp.fc1_g.bias", "mlp.fc1_x.bias"),
}
_PLAIN = {"mlp.hidden.weight": ("mlp.fc1.weight",), "mlp.hidden.bias": ("mlp.fc1.bias",)}
# What the released checkpoints hold besides the network: scores that are updated while it trains.
_SCORES = re.compile(r"(train|val|test)_metrics\.")
_INDEX = re.compile(r"backbone\.layer\d\.blocks\.\d+\.attn\.earth_position_index")
_LAYER = re.compile(r"backbone\.layer(\d)\.blocks\.(\d+)\.")


def released_depths(weights: Mapping[str, Tensor]) -> tuple[int, int, int, int]:
    """Count the blocks of the four stages."""
    found = {(int(m[1]), int(m[2])) for name in weights if (m := _LAYER.match(name))}
    one, two, three, four = (sum(stage == number for stage, _ in found) for number in (1, 2, 3, 4))
    return one, two, three, four


def translate_weights(
    weights: Mapping[str, Tensor], window: Shape, conditions: tuple[str, ...] = ("month", "hour")
) -> dict[str, Tensor]:
    """Give the weights of a released model the names and shapes of `Backbone`'s.

    Parameters
    ----------
    weights : mapping of str to Tensor
        A state dict of the released code.
    window : (int, int, int)
        Tokens of a window, against which the stored numbering of pairs is checked.
    conditions : tuple of str
        Names of the embedded scalars.

    Returns
    -------
    dict
        Every tensor of a `Backbone` but its constants, in new memory or as views.

    Raises
    ------
    DataError
        If a weight is missing or left over (scores apart); names them.
    """
    rest = {name: tensor for name, tensor in weights.items() if not _SCORES.match(name)}
    sources = _list_sources(weights, conditions)
    missing = sorted({name for names in sources.values() for name in names} - rest.keys())
    if missing:
        raise DataError(f"a released checkpoint must hold every weight, got no {_show(missing)}")
    translated = {}
    for name, theirs in sources.items():
        tensor = torch.cat([rest.pop(their) for their in theirs]) if len(theirs) > 1 else rest.pop(theirs[0])
        translated[name] = _reshape(name, tensor)
    _check_indices(rest, window)
    if rest:
        raise DataError(f"a released checkpoint must hold nothing unknown, got {_show(sorted(rest))}")
    return translated


def _list_sources(weights: Mapping[str, Tensor], conditions: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    sources: dict[str, tuple[str, ...]] = {ours: (theirs,) for ours, theirs in _OUTSIDE.items()}
    for name in conditions:
        for part in ("0.weight", "0.bias", "2.weight", "2.bias"):
            sources[f"condition.embeddings.{name}.layers.{part}"] = (f"{name}_embedder.mlp.{part}",)
    gated = any(".mlp.fc1_g." in name for name in weights)
    block = _BLOCK | (_GATED if gated else _PLAIN)
    for stage, depth in enumerate(released_depths(weights)):
        for part in ("weight", "bias"):
            ours = f"stages.{stage}.modulation.layer.{part}"
            sources[ours] = (f"backbone.layer{stage + 1}.adaLN_modulation.1.{part}",)
        for number in range(depth):
            their = f"backbone.layer{stage + 1}.blocks.{number}."
            sources |= {
                f"stages.{stage}.blocks.{number}.{ours}": tuple(their + name for name in names)
                for ours, names in block.items()
            }
    return sources


def _reshape(name: str, tensor: Tensor) -> Tensor:
    """Make a patch convolution a linear layer, and drop the batch axis of their level embedding."""
    if name.startswith("embedding.") and name.endswith("weight"):
        return tensor.flatten(1)
    return tensor.squeeze(0) if name.endswith("columns.level") else tensor


def _check_indices(rest: dict[str, Tensor], window: Shape) -> None:
    """Use up the stored numberings of pairs, which must be the one that we compute."""
    expected = torch.tensor(earth_position_index(window))
    for name in [name for name in rest if _INDEX.fullmatch(name)]:
        if not torch.equal(rest.pop(name).cpu(), expected):
            raise DataError(f"{name} must be that of windows {window}, got another")


def _show(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
