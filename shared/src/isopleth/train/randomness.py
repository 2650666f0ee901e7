"""The random state of a process: seed it, write it down as plain data, put it back. No torch at import."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from isopleth.errors import ConfigError, require

LARGEST_SEED = 2**32 - 1  # the legacy generator of numpy takes 32 bits


def check_seed(seed: object) -> None:
    """Raise `ConfigError` unless the seed is a whole number that numpy and torch both take."""
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= LARGEST_SEED:
        raise ConfigError(f"seed must be a whole number from 0 to {LARGEST_SEED}, got {seed!r}")


def seed_everything(seed: int, *, deterministic: bool = False) -> None:
    """Seed Python, numpy and torch (all devices).

    Parameters
    ----------
    seed : int
        From 0 to 2**32 - 1.
    deterministic : bool
        Also make torch refuse algorithms whose results vary from run to run.

    Raises
    ------
    ConfigError
        If the seed is out of range.
    """
    check_seed(seed)
    torch = _torch()
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global generator is the one that libraries draw from
    torch.manual_seed(seed)
    if deterministic:
        # cuBLAS is deterministic only with a fixed workspace, which it reads from the environment.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True)
        torch.backends.cudnn.benchmark = False


def derive_seed(*parts: int) -> int:
    """Mix whole numbers into one seed, so that neighbouring inputs give unrelated streams.

    Examples
    --------
    >>> derive_seed(0, 1) == derive_seed(0, 1), derive_seed(0, 1) == derive_seed(1, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(list(parts)).generate_state(1)[0])


def capture_random_state() -> dict[str, Any]:
    """Write down the state of the global generators as numbers, lists and tensors: nothing to unpickle."""
    torch = _torch()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    version, internal, gauss_next = random.getstate()
    return {
        "python": [version, list(internal), gauss_next],
        "numpy": [name, np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        # Of this process's device only: asking the others would start a context on each of them.
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Put back what `capture_random_state` wrote down."""
    torch = _torch()
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


@contextlib.contextmanager
def isolated_random_state(*parts: int) -> Iterator[None]:
    """Draw from generators seeded by `parts` inside the block; outside, nothing has been drawn."""
    before = capture_random_state()
    seed_everything(derive_seed(*parts))
    try:
        yield
    finally:
        restore_random_state(before)


def _torch() -> Any:
    return require("torch", install="isopleth[train]", purpose="train a model")
