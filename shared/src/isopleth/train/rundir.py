"""The folder of one training run and the names of what lies in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isopleth.config import to_yaml
from isopleth.errors import ConfigError


class RunDirectory:
    """Named paths inside the folder of one run; nothing is touched until something is written.

    Parameters
    ----------
    path : path-like or RunDirectory
        The folder. It need not exist.

    Examples
    --------
    >>> run = RunDirectory("runs/first")
    >>> run.metrics.as_posix(), run.last.as_posix()
    ('runs/first/metrics.csv', 'runs/first/checkpoints/last.ckpt')
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        return f"RunDirectory({os.fspath(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunDirectory) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def config(self) -> Path:
        """The configuration, replayable as ``--config``."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """What training and validation logged, a row at a time."""
        return self.path / "metrics.csv"

    @property
    def checkpoints(self) -> Path:
        """The folder of the two checkpoints."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The newest checkpoint, from which ``resume`` goes on."""
        return self.checkpoints / "last.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint of the best validation."""
        return self.checkpoints / "best.ckpt"

    @property
    def pretrained(self) -> Path:
        """The folder to share: config.json, model.safetensors, normaliser, model card."""
        return self.path / "pretrained"

    @property
    def evaluation(self) -> Path:
        """The evaluation record."""
        return self.path / "evaluation.json"

    @property
    def figures(self) -> Path:
        """The folder of figures."""
        return self.path / "figures"

    @property
    def report(self) -> Path:
        """The report as one HTML page."""
        return self.path / "report.html"

    def write_config(self, config: Mapping[str, Any] | object) -> Path:
        """Write the configuration (a dataclass or a mapping) to ``config.yaml``, whole or not at all."""
        from isopleth.io.write import write_text  # xarray stands behind it: not at import

        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.config, to_yaml(config))
        return self.config

    def prepare(self, *, resume: bool) -> bool:
        """Make the folders and tell whether there is a run to go on with.

        Parameters
        ----------
        resume : bool
            Whether an earlier run in this folder is to be continued. If there is none, a new one begins:
            a scheduler may then give the same command for the first start and for every later one.

        Raises
        ------
        ConfigError
            If an earlier run lies here and `resume` is false: it would be lost.
        """
        if self.last.exists() and not resume:
            raise ConfigError(
                f"the run directory must be new, or its run resumed, got {self.path}",
                hint="choose another directory, or continue with resume",
            )
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        return self.last.exists()
