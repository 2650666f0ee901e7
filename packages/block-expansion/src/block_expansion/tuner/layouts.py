"""Where architectures keep their blocks, and which linear maps end a block's residual branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn


class Layout(NamedTuple):
    """Names within a block: the ends of its two residual branches, and its layer scales where it has any."""

    name: str
    zero_modules: tuple[str, ...]
    scales: tuple[str, ...] = ()


_DINOV2_SCALES = ("layer_scale1.lambda1", "layer_scale2.lambda1")
# Twice where transformers named the parts anew within its versions 5.
LAYOUTS = (
    Layout("timm", ("attn.proj", "mlp.fc2"), ("ls1.gamma", "ls2.gamma", "gamma_1", "gamma_2")),
    Layout("timm with SwiGLU", ("attn.proj", "mlp.w3"), ("ls1.gamma", "ls2.gamma")),
    Layout("transformers ViT", ("attention.o_proj", "mlp.fc2")),
    Layout("transformers ViT", ("attention.output.dense", "output.dense")),
    Layout("CLIP", ("self_attn.out_proj", "mlp.fc2")),
    Layout("DINOv2", ("attention.o_proj", "mlp.fc2"), _DINOV2_SCALES),
    Layout("DINOv2", ("attention.output.dense", "mlp.fc2"), _DINOV2_SCALES),
    Layout("DINOv2 with SwiGLU", ("attention.o_proj", "mlp.down_proj"), _DINOV2_SCALES),
    Layout("DINOv2 with SwiGLU", ("attention.output.dense", "mlp.weights_out"), _DINOV2_SCALES),
)


@dataclass(frozen=True)
class Blocks:
    """The list of blocks that was found in a model.

    Attributes
    ----------
    path : str
        Its place in the model.
    modules : sequence of Module
        The blocks, without what adapters have wrapped around them.
    layout : Layout
    """

    path: str
    modules: Sequence[nn.Module]
    layout: Layout


def find_blocks(
    model: nn.Module, *, path: str | None = None, zero_modules: Sequence[str] | None = None
) -> Blocks:
    """Find the list of transformer blocks in a model.

    Parameters
    ----------
    model : Module
    path : str, optional
        Where the list is; else it must be the only one, or the only one under a ``vision...`` module.
    zero_modules : sequence of str, optional
        Ends of the residual branches of an architecture that `LAYOUTS` does not know.

    Raises
    ------
    ValueError
        If there is no such list, or more than one.
    """
    layouts = LAYOUTS if zero_modules is None else (_given_layout(zero_modules),)
    found = [
        Blocks(name, blocks, layout)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential) and path in (None, name)
        and (blocks := [unwrap(block) for block in module])
        and (layout := _match(blocks, layouts)) is not None
    ]  # fmt: skip
    if len(found) > 1:
        found = [
            each for each in found if any(part.startswith("vis") for part in each.path.split("."))
        ] or found
    if len(found) == 1:
        return found[0]
    if found:
        paths = ", ".join(each.path for each in found)
        raise ValueError(
            f"blocks must name one list of transformer blocks, got several in the model: {paths}"
        )
    known = ", ".join(dict.fromkeys(layout.name for layout in layouts))
    raise ValueError(
        f"the model must have a list of transformer blocks of a known architecture ({known}), "
        f"got {type(model).__name__} with none"
        f"{'' if path is None else f' at {path!r}'}; name the ends of its residual branches in zero_modules"
    )


def place_expansions(depth: int, count: int, position: str = "interleaved") -> list[int]:
    """Give the blocks, from 0, behind which copies go.

    Interleaved, a copy follows each of `count` groups of ``depth / count`` blocks. A single copy goes
    behind the last block but one: that is where the published code has it (a group of 11 in 12 blocks).

    Raises
    ------
    ValueError
        If there are more copies than blocks, or interleaved ones do not divide them.

    Examples
    --------
    >>> place_expansions(12, 3), place_expansions(12, 1), place_expansions(12, 2, "last")
    ([3, 7, 11], [10], [10, 11])
    """
    if count > depth:
        raise ValueError(f"num_expansions must be at most the {depth} blocks, got {count}")
    if position == "first":
        return list(range(count))
    if position == "last":
        return list(range(depth - count, depth))
    if depth % count:
        divisors = [str(p) for p in range(1, depth + 1) if depth % p == 0]
        raise ValueError(
            f"num_expansions must divide the {depth} blocks, got {count}; "
            f"take one of {', '.join(divisors)}, or name after_blocks"
        )
    if count == 1:
        return [max(depth - 2, 0)]
    size = depth // count
    return list(range(size - 1, depth, size))


def unwrap(block: nn.Module) -> nn.Module:
    """Give the block itself, without adapters around it."""
    while isinstance(inner := getattr(block, "base_layer", None), nn.Module):
        block = inner
    return block


def _given_layout(zero_modules: Sequence[str]) -> Layout:
    """Take the ends that a user names, and every layer scale that is known."""
    scales = dict.fromkeys(scale for layout in LAYOUTS for scale in layout.scales)
    return Layout("given", tuple(zero_modules), tuple(scales))


def _match(blocks: Sequence[nn.Module], layouts: Sequence[Layout]) -> Layout | None:
    """Give the layout whose ends are in every block; of several the one with the most scales in it."""
    fitting = [layout for layout in layouts if all(_has_ends(block, layout.zero_modules) for block in blocks)]
    names = {name for name, _ in blocks[0].named_parameters()}
    return max(fitting, key=lambda layout: len(names.intersection(layout.scales)), default=None)


def _has_ends(block: nn.Module, names: Sequence[str]) -> bool:
    modules = dict(block.named_modules())
    # An adapter of another method may have wrapped the linear map.
    return all(isinstance(unwrap(modules[name]) if name in modules else None, nn.Linear) for name in names)
