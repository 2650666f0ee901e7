"""What the processes of a distributed run must agree on."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist


def rank_and_world() -> tuple[int, int]:
    """Give this process's number and how many there are; (0, 1) outside a distributed run."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def is_main_process() -> bool:
    """Tell whether this process speaks for the run: the one that writes files and prints results."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    if "RANK" in os.environ:
        return int(os.environ["RANK"]) == 0
    # Lightning starts further processes of the same command with these two; it stops them when `fit` ends.
    return int(os.environ.get("NODE_RANK", "0")) == 0 and int(os.environ.get("LOCAL_RANK", "0")) == 0


def greatest(value: int, device: torch.device) -> int:
    """Give the greatest of the whole numbers that the processes hold; all must call it."""
    if rank_and_world()[1] == 1:
        return value
    shared = torch.tensor([value], device=device)
    dist.all_reduce(shared, op=dist.ReduceOp.MAX)
    return int(shared.item())


def gather(value: Any) -> list[Any]:
    """Collect one object from every process, in the order of their ranks; all must call it."""
    _, world = rank_and_world()
    if world == 1:
        return [value]
    values: list[Any] = [None] * world
    dist.all_gather_object(values, value)
    return values
