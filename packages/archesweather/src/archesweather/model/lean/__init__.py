"""The parts of a block for large token grids on a CPU: in chunks that stay in cache.

On a CPU a block is bound by memory: its widest layers are ten times as large as its tokens, and to fill a
fresh tensor of more than 32 MB takes five times as long as to fill one that was used before. Each operator of
this room runs a whole part of a block on some hundred tokens after another, and writes nothing but the part's
result and, if a backward pass will follow, its first wide layer; the rest is computed anew. What is computed
is what `archesweather.model.blocks` says. The operators are custom ones: `torch.compile` takes them as they
are.
"""

from archesweather.model.lean.columns import column_branch
from archesweather.model.lean.mlp import mlp_branch
from archesweather.model.lean.policy import is_lean
from archesweather.model.lean.windows import window_branch

__all__ = ["column_branch", "is_lean", "mlp_branch", "window_branch"]
