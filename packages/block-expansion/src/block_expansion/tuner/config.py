"""What a block expansion is made from; the JSON beside a saved adapter holds exactly this."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from peft import PeftConfig

PEFT_TYPE = "BLOCK_EXPANSION"

_CHOICES = {
    "position": ("interleaved", "last", "first"),
    "init": ("copy", "random"),
    "train": ("all", "zero_linears"),
}


@dataclass
class BlockExpansionConfig(PeftConfig):
    """Settings of block expansion (Bafghi et al. 2024, arXiv 2404.17245; Wu et al. 2024, arXiv 2401.02415).

    Copies of some blocks of a pre-norm transformer are inserted behind their originals. The last linear maps
    of a copy's two residual branches are zero at first, so that the copy is the identity, and the deeper
    network computes at first exactly what the original does. Only the copies, and `modules_to_save`, learn.

    Parameters
    ----------
    num_expansions : int
        How many blocks are copied (p).
    after_blocks : list of int, optional
        Which ones, from 0; else they follow from `num_expansions` and `position`. Filled in when the adapter
        is made, so that a loaded one never derives them anew.
    position : {"interleaved", "last", "first"}
        After every N/p blocks, as published (p must divide N; a single copy goes behind the last block but
        one); behind each of the last p blocks; behind each of the first p.
    zero_modules : list of str, optional
        The linear maps that end a block's residual branches, by their names in the block. Known for the
        architectures in `LAYOUTS`.
    blocks : str, optional
        Path of the list of blocks in the model. Found where there is one such list.
    init : {"copy", "random"}
        Take over the block's other weights, or draw new ones: a control that tells what copying is worth.
    train : {"all", "zero_linears"}
        Train the copies, or only what is zero in them.
    layer_scale : float or None
        What layer scales are reset to in the copies; None keeps the block's. DINOv2's start from 1e-5, which
        would scale the gradient of the zeroed maps by as much.
    depth : int, optional
        Blocks of the original network; filled in, and held against the model that an adapter is loaded into.
    target_modules : str, optional
        Filled in: a pattern of the paths of the blocks that are wrapped.
    exclude_modules : list of str or str, optional
        Modules that are left alone.
    modules_to_save : list of str, optional
        Modules that are trained and saved besides, such as a new head.
    """

    num_expansions: int = field(default=1, metadata={"help": "How many blocks are copied."})
    after_blocks: list[int] | None = field(
        default=None, metadata={"help": "Which blocks are copied, from 0; else from num_expansions."}
    )
    position: Literal["interleaved", "last", "first"] = field(
        default="interleaved", metadata={"help": "Where copies go: after every N/p blocks, last, or first."}
    )
    zero_modules: list[str] | None = field(
        default=None, metadata={"help": "Linear maps of a block that end its residual branches."}
    )
    blocks: str | None = field(default=None, metadata={"help": "Path of the list of blocks in the model."})
    init: Literal["copy", "random"] = field(
        default="copy", metadata={"help": "Take over the weights that are not zeroed, or draw new ones."}
    )
    train: Literal["all", "zero_linears"] = field(
        default="all", metadata={"help": "Train whole copies, or only the linear maps that start from zero."}
    )
    layer_scale: float | None = field(
        default=1.0, metadata={"help": "What layer scales are reset to in the copies; None keeps them."}
    )
    depth: int | None = field(default=None, metadata={"help": "Blocks of the original network."})
    target_modules: str | None = field(
        default=None, metadata={"help": "Pattern of the blocks that are wrapped; filled in."}
    )
    exclude_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Modules that are left alone."}
    )
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Modules that are trained and saved besides the copies."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PEFT_TYPE
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.num_expansions < 1:
            raise ValueError(f"num_expansions must be at least 1, got {self.num_expansions!r}")
        if self.layer_scale is not None and not self.layer_scale > 0:
            raise ValueError(f"layer_scale must be above 0 or None, got {self.layer_scale!r}")
        if self.after_blocks is not None:
            self.after_blocks = _check_places(self.after_blocks)
            self.num_expansions = len(self.after_blocks)


def _check_places(places: list[int]) -> list[int]:
    if not places or any(place < 0 for place in places) or len(set(places)) < len(places):
        raise ValueError(f"after_blocks must be different block numbers from 0, got {places}")
    return sorted(places)
