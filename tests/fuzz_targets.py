"""What is fuzzed: every reader of files that strangers make, and the configs of every verb.

A target is a sound file or folder, and how a user reads it. `fuzzing` damages it.
"""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzz_files import (
    HURDAT2,
    IBTRACS,
    write_marxan,
    write_patches,
    write_pictures,
    write_polygons,
    write_rasters,
    write_samples,
    write_shard,
    write_twins,
)
from workspace import PACKAGES, load_tool, name_required


@dataclass(frozen=True)
class Target:
    """A reader under test.

    Parameters
    ----------
    write : callable
        Writes a sound file or folder into an empty folder; returns its path.
    read : callable
        Reads a path as a user would; given a folder where it may write, too.
    may_crash : bool
        Whether the library that reads is written in C and known to end the process on some damage, or never
        to return.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path, Path], object]
    may_crash: bool = False


def _fields(writer: str, *, may_crash: bool = False) -> Target:
    def write(folder: Path) -> Path:
        from isopleth import testing

        return getattr(testing, writer)(folder).path

    def read(source: Path, _out: Path) -> object:
        from isopleth.io import open_fields

        fields = open_fields(source)
        return fields.isel(time=slice(0, 2)).load() if "time" in fields.dims else fields.load()

    return Target(write, read, may_crash)


def _record() -> Target:
    def write(folder: Path) -> Path:
        from isopleth.report import find_evidence

        return Path(shutil.copy(str(find_evidence("sealevel_trend")), folder / "evaluation.json"))

    def read(source: Path, out: Path) -> object:
        from isopleth.report import read_evaluation, write_index, write_report

        shutil.copy(source, out)
        write_index(out)  # shows a broken record as broken
        read_evaluation(source)
        return write_report(out)

    return Target(write, read)


def _store() -> Target:
    def write(folder: Path) -> Path:
        from isopleth.data import pack
        from isopleth.samples import atmosphere

        fields = atmosphere(4, spin_up_days=1, cache=False).isel(lat=slice(0, 4), lon=slice(0, 4))
        return pack(fields, folder / "store", train_period=(None, None)).path

    def read(source: Path, _out: Path) -> object:
        from isopleth.data import open_store

        store = open_store(source)
        store.verify()
        return store.read(slice(0, len(store.axis)))

    return Target(write, read)


def _pretrained() -> Target:
    def write(folder: Path) -> Path:
        from geostint.config import ModelConfig
        from geostint.model import Geostint
        from isopleth.data import Normaliser

        names = ("a", "b")
        network = Geostint(ModelConfig(channels=names, frames=2), Normaliser(names, [0.0, 1.0], [1.0, 2.0]))
        network.save_pretrained(folder / "model")
        return folder / "model"

    def read(source: Path, _out: Path) -> object:
        from geostint.model import Geostint

        return Geostint.from_pretrained(source)

    return Target(write, read)


def _checkpoint() -> Target:
    def write(folder: Path) -> Path:
        import torch

        from isopleth.train import save_checkpoint

        content = {"state_dict": {"weight": torch.arange(12.0)}, "epoch": 3, "names": ["a", "b"]}
        save_checkpoint(content, folder / "last.ckpt")
        return folder / "last.ckpt"

    def read(source: Path, _out: Path) -> object:
        from isopleth.train import load_checkpoint

        return load_checkpoint(source)

    return Target(write, read)


def _tracks(text: str, name: str) -> Target:
    def write(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    def read(source: Path, _out: Path) -> object:
        from cyclone_fusion.tracks import read_tracks

        return read_tracks(source)

    return Target(write, read)


def _open_landscape(source: Path, _out: Path) -> object:
    from conservation_decisions.sources import open_landscape

    return open_landscape(source)


def _read_patches(source: Path, _out: Path) -> object:
    from block_expansion.folders import open_domain

    domain = open_domain(source / "patches.csv", size=8, channels=3)
    return [part.read(range(len(part))) for part in (domain.train, domain.val, domain.test)]


def _read_pictures(source: str | Path) -> object:
    from diffmix.sources import open_source

    pictures = open_source(source)
    return [pictures.read(number) for number in range(len(pictures.ids))]


def _read_twins(source: Path, _out: Path) -> object:
    from diffmix.manifest import list_damaged, read_manifest, read_settings

    entries = [entry for entry in read_manifest(source).values() if entry.path]
    return read_settings(source), list_damaged(source, entries)


def _samples(ending: str) -> Target:
    def read(source: Path, _out: Path) -> object:
        import numpy as np

        from appdriven.application import Columns
        from appdriven.predictions import read_predictions
        from appdriven.table import read_table

        names = {name: name for name in ("time", "lat", "lon")}
        columns = Columns(target="level", group="storm", features=("noise",), **names)
        table = read_table(source / f"data{ending}", columns)
        for part in ("target", "time", "place", "group", "weight", "features"):
            getattr(table, part)
        table.fingerprint()
        return read_predictions(source / f"predictions{ending}", table, np.ones(len(table), bool))

    return Target(lambda folder: write_samples(folder, ending), read, may_crash=ending == ".parquet")


def _application() -> Target:
    def write(folder: Path) -> Path:
        from importlib import resources

        text = resources.files("appdriven").joinpath("application.toml").read_text()
        (folder / "application.toml").write_text(text)
        return folder / "application.toml"

    def read(source: Path, _out: Path) -> object:
        from appdriven.application import check_application

        return check_application(source)

    return Target(write, read)


def _configs(name: str) -> Target:
    """The config files of all verbs of a tool, as ``--print_config`` gives them."""

    def call(*words: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = load_tool(name).main([*words, "--print_config"])
        return code, out.getvalue(), err.getvalue()

    def write(folder: Path) -> Path:
        (folder / "configs").mkdir()
        for verb, described in load_tool(name).all_verbs.items():
            text = call(verb, *name_required(described))[1]
            (folder / "configs" / f"{verb}.yaml").write_text(text)
        return folder / "configs"

    def read(source: Path, _out: Path) -> object:
        return [_judge(*call(path.stem, "--config", str(path))) for path in sorted(source.iterdir())]

    return Target(write, read)


def _judge(code: int, out: str, err: str) -> str:
    """Tell a refusal in one line from what must not be."""
    from isopleth.errors import ConfigError

    if code == 2 and err.count("\n") == 1:
        raise ConfigError(err)
    if code != 0:
        raise RuntimeError(f"exit code {code}: {err}")
    return out


TARGETS: dict[str, Target] = {
    "netcdf3": _fields("write_era5_old_cds"),
    "netcdf4": _fields("write_era5_new_cds", may_crash=True),
    "zip": _fields("write_era5_zip", may_crash=True),
    "zarr2": _fields("write_weatherbench2", may_crash=True),
    "zarr3": _fields("write_weatherbench2_v3"),
    "curvilinear": _fields("write_cmip6_zos", may_crash=True),
    "record": _record(),
    "store": _store(),
    "pretrained": _pretrained(),
    "checkpoint": _checkpoint(),
    "ibtracs": _tracks(IBTRACS, "ibtracs.csv"),
    "hurdat2": _tracks(HURDAT2, "hurdat2.txt"),
    "marxan": Target(write_marxan, _open_landscape),
    "polygons": Target(write_polygons, _open_landscape, may_crash=True),
    "rasters": Target(write_rasters, _open_landscape, may_crash=True),
    "patches": Target(write_patches, _read_patches, may_crash=True),
    "pictures": Target(write_pictures, lambda source, _out: _read_pictures(source)),
    "shard": Target(write_shard, lambda source, _out: _read_pictures(f"webdataset:{source}")),
    "twins": Target(write_twins, _read_twins),
    "samples-csv": _samples(".csv"),
    "samples-parquet": _samples(".parquet"),
    "application": _application(),
    **{f"configs-{package.name}": _configs(package.name) for package in PACKAGES},
}
