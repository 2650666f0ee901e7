"""Forecasts, scores and the demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cyclone_fusion.config.data import SAMPLE
from isopleth.config import BaseDemoConfig, positional
from isopleth.errors import ConfigError

_ENDINGS = (".csv", ".nc", ".geojson")


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """From the newest tracks, and fields where the network sees them, to forecasts.

    Parameters
    ----------
    tracks : str
        A track file.
    model : str
        A run of `train`, one of its pretrained folders, or a hub id. A run with several members is a deep
        ensemble.
    fields : str, optional
        A reanalysis, analysis or forecast file that holds the times of the fixes.
    missing : str
        A window with NaN in it is an `error` that names the storm, or is kept (`mask`): the network then
        sees the channel's mean there.
    out : Path
        Forecasts as CSV, NetCDF or GeoJSON, by the ending.
    map : Path, optional
        Also draw a map: a folder, which gets figures/forecasts.svg.
    latest : bool
        Only from each storm's last fix.
    """

    tracks: str = positional()
    model: str = "runs/cyclone-fusion/train"
    fields: str | None = None
    missing: Literal["error", "mask"] = "error"
    out: Path = Path("runs/cyclone-fusion/forecasts.csv")
    map: Path | None = None
    latest: bool = False

    def __post_init__(self) -> None:
        if self.out.suffix not in _ENDINGS:
            raise ConfigError(f"out must end in {', '.join(_ENDINGS)}, got {str(self.out)!r}")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """From a trained network to scores and a report.

    Parameters
    ----------
    data : str
        A store that `prepare` wrote; for a network of the track alone also a track file, or `sample`. It is
        split as for the training: the baselines are fitted on its training storms.
    model : str
        A run of `train`, one of its pretrained folders, or a hub id.
    out : Path
        The run directory for evaluation.json, figures and report.html.
    operational : tuple of str
        Files of the National Hurricane Center's error database (individual track and intensity errors, TI)
        to compare with, on the forecasts that all have made.
    simulated : bool
        The fields were simulated; the report then says so in its first line. Found out by itself from a
        store of `prepare --fields sample`.
    """

    data: str = positional(SAMPLE)
    model: str = "runs/cyclone-fusion/train"
    out: Path = Path("runs/cyclone-fusion/evaluate")
    operational: tuple[str, ...] = ()
    simulated: bool = False


@dataclass(frozen=True, kw_only=True)
class DemoConfig(BaseDemoConfig):
    """The main job on real storms in a simulated atmosphere, and on their tracks alone."""

    out: Path = Path("runs/demo/cyclone-fusion")
