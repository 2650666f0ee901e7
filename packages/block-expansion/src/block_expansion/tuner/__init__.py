"""Block expansion as a tuner of peft: importing this registers it.

peft keeps its methods in dictionaries by name; a closed enumeration guards only ``register_peft_method``.
Once this is imported, ``get_peft_model`` and ``PeftModel.from_pretrained`` know ``"BLOCK_EXPANSION"``.
"""

from block_expansion.tuner.config import PEFT_TYPE, BlockExpansionConfig
from block_expansion.tuner.layer import ExpandedBlock, copy_block
from block_expansion.tuner.layouts import LAYOUTS, Blocks, Layout, find_blocks, place_expansions
from block_expansion.tuner.model import BlockExpansionModel, register

register()

__all__ = [
    "LAYOUTS",
    "PEFT_TYPE",
    "BlockExpansionConfig",
    "BlockExpansionModel",
    "Blocks",
    "ExpandedBlock",
    "Layout",
    "copy_block",
    "find_blocks",
    "place_expansions",
    "register",
]
