"""What can be set, and what it must be. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isopleth.config import BaseDemoConfig, check_positive, positional
from isopleth.train.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The network's shape.

    Parameters
    ----------
    width : int
        Channels of its hidden layers.
    layers : int
        Hidden layers; each sees one cell further.
    """

    width: int = 16
    layers: int = 2

    def __post_init__(self) -> None:
        check_positive(width=self.width, layers=self.layers)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """All that a trained network is built from.

    Parameters
    ----------
    channels : tuple of str
        Fields, in order.
    network : NetworkConfig
    """

    channels: tuple[str, ...]
    network: NetworkConfig = NetworkConfig()


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How long and how fast.

    Parameters
    ----------
    max_steps, batch_size, learning_rate, weight_decay
        Of AdamW with a cosine that ends at 0.
    validate_every : int
        Steps between validations; the best one's weights are kept.
    """

    max_steps: int = 2000
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    validate_every: int = 200

    def __post_init__(self) -> None:
        for name in ("max_steps", "batch_size", "learning_rate", "validate_every"):
            check_positive(**{name: getattr(self, name)})


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """From fields in any layout to a packed store of frames.

    Parameters
    ----------
    source : str
        File, glob, folder, store or URL.
    out : Path
        The store to make.
    variables : tuple of str
        All by default.
    train : (str, str)
        Period that trains; the first seven tenths of the frames by default.
    resume : bool
        Go on where a killed preparation stopped.
    scheduler : str, optional
        Address of a dask.distributed scheduler.
    """

    source: str = positional()
    out: Path = Path("runs/sample-tool/frames")
    variables: tuple[str, ...] = ()
    train: tuple[str, str] | None = None
    resume: bool = False
    scheduler: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """From frames to a trained network.

    Parameters
    ----------
    data : Path
        What `prepare` wrote.
    out : Path
        The run directory; the network goes to its folder ``pretrained``.
    resume : bool
        Go on with the run in this directory.
    network, fit, runtime
        The parts.
    """

    data: Path = positional(Path("runs/sample-tool/frames"))
    out: Path = Path("runs/sample-tool/train")
    resume: bool = False
    network: NetworkConfig = NetworkConfig()
    fit: FitConfig = FitConfig()
    runtime: Runtime = Runtime()


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """From fields to the fields that follow.

    Parameters
    ----------
    source, out : str, Path
        Fields in any layout, of which the last frame is taken; the NetCDF file to write.
    model : str
        A pretrained folder or hub id.
    steps : int
        Frames to forecast, each from the one before.
    device : str
        Of the network: cpu, cuda, ...
    """

    source: str = positional()
    out: Path = positional()
    model: str = "runs/sample-tool/train/pretrained"
    steps: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_positive(steps=self.steps)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """From frames and a network to scores.

    Parameters
    ----------
    data : Path
        What `prepare` wrote; the frames kept for testing are used.
    model : str
        A pretrained folder or hub id.
    out : Path
        Folder of the record and the report.
    seed : int
        Of the bootstrap.
    device : str
        Of the network.
    """

    data: Path = positional(Path("runs/sample-tool/frames"))
    model: str = "runs/sample-tool/train/pretrained"
    out: Path = Path("runs/sample-tool/evaluate")
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class DemoConfig(BaseDemoConfig):
    """The whole job on simulated weather.

    Parameters
    ----------
    out : Path
        Folder of the run.
    full : bool
        Decide the claims: several seeds, up to 45 minutes.
    seed : int
        Chooses the weather and the first weights.
    """

    out: Path = Path("runs/demo/sample-tool")
