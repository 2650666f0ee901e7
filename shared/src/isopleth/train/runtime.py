"""Where and how a model trains: device, precision, processes, seed. Importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from isopleth.config import check_choice
from isopleth.errors import ConfigError, require
from isopleth.train.randomness import check_seed, seed_everything

ACCELERATORS = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "fsdp")


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """The machine side of a training run; nothing here changes what is computed, except by rounding.

    Parameters
    ----------
    accelerator : {"auto", "cpu", "cuda", "mps"}
        "auto" takes a GPU where there is one.
    devices : int or "auto"
        Processes on each node, a device each; "auto" takes all GPUs (one process on a CPU).
    num_nodes : int
        Machines. Each runs the same command (under SLURM or torchrun).
    strategy : {"auto", "ddp", "ddp_find_unused_parameters_true", "fsdp"}
        How processes share the work; "auto" is one device, or DDP over several.
    precision : {"auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true"}
        "auto" is bf16-mixed on a GPU that computes in bfloat16, else 32-true: a CPU without AVX-512 or AMX
        is several times slower in bfloat16 than in float32.
    compile : bool
        Compile the module's networks in place; names in checkpoints stay as they are.
    seed : int
        Seeds Python, numpy and torch, and with the epoch's number the order of the samples.
    deterministic : bool
        Refuse GPU kernels whose results vary from run to run (slower). On a CPU runs are equal anyway.
    threads : int, optional
        Threads of torch on a CPU; by default torch's own choice.
    workers : int
        Processes that load batches; 0 is right for data in memory.
    ema : float, optional
        Decay of an exponential moving average of the weights, such as 0.999: validation, the returned
        module and the best checkpoint then hold the average.

    Raises
    ------
    ConfigError
        If a value cannot be used, alone or with another.
    """

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int | Literal["auto"] = 1
    num_nodes: int = 1
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true", "fsdp"] = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true"] = "auto"
    compile: bool = False
    seed: int = 0
    deterministic: bool = False
    threads: int | None = None
    workers: int = 0
    ema: float | None = None

    def __post_init__(self) -> None:
        check_choice("accelerator", self.accelerator, ACCELERATORS)
        check_choice("strategy", self.strategy, STRATEGIES)
        check_choice("precision", self.precision, PRECISIONS)
        if self.devices != "auto":
            _check_count("devices", self.devices, least=1)
        _check_count("num_nodes", self.num_nodes, least=1)
        _check_count("workers", self.workers, least=0)
        if self.threads is not None:
            _check_count("threads", self.threads, least=1)
        check_seed(self.seed)
        if self.ema is not None and not 0 < self.ema < 1:
            raise ConfigError(f"ema must be between 0 and 1, both excluded, got {self.ema!r}")
        if self.ema is not None and self.strategy == "fsdp":
            raise ConfigError("ema must be off under the strategy fsdp, whose weights are sharded")

    @property
    def device(self) -> str:
        """The kind of device that will be used: "cpu", "cuda" or "mps"."""
        torch = _torch()
        if self.accelerator == "auto":
            if torch.cuda.is_available():
                return "cuda"
            return "mps" if torch.backends.mps.is_available() else "cpu"
        if self.accelerator == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                "accelerator must be one that this machine has, got 'cuda'", hint="use auto or cpu"
            )
        if self.accelerator == "mps" and not torch.backends.mps.is_available():
            raise ConfigError(
                "accelerator must be one that this machine has, got 'mps'", hint="use auto or cpu"
            )
        return self.accelerator

    @property
    def resolved_precision(self) -> str:
        """The precision that "auto" stands for on this machine."""
        if self.precision != "auto":
            return self.precision
        # Emulated bfloat16 (before Ampere) is slower than float32.
        fast = self.device == "cuda" and _torch().cuda.is_bf16_supported(including_emulation=False)
        return "bf16-mixed" if fast else "32-true"

    def apply(self) -> None:
        """Set threads, seeds, determinism and the precision of matrix products for this process."""
        torch = _torch()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        seed_everything(self.seed, deterministic=self.deterministic)
        if self.device == "cuda" and self.resolved_precision.endswith("-mixed"):
            # What autocast leaves in float32 may use TF32: it has more digits than the rest.
            torch.set_float32_matmul_precision("high")

    def trainer_options(self) -> dict[str, Any]:
        """Give the keyword arguments that tell `lightning.pytorch.Trainer` the same."""
        device = self.device
        return {
            "accelerator": device,
            "devices": 1 if self.devices == "auto" and device == "cpu" else self.devices,
            "num_nodes": self.num_nodes,
            "strategy": self.strategy,
            "precision": self.resolved_precision,
            "deterministic": self.deterministic or None,
        }


def _check_count(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _torch() -> Any:
    return require("torch", install="isopleth[train]", purpose="train a model")
