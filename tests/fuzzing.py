"""Damaged input for every reader.

    python tests/fuzzing.py TARGET CASES FIRST    prints what happened as JSON
    python tests/fuzzing.py all CASES             all targets, each in a process; writes tests/fuzzing.json

A target writes a sound file, and reads it as a user would. Each case damages a copy. It must be read or be
refused by an error of the house, within seconds, within the memory allowed, and without a trace elsewhere.
A case has a number, and is the same whenever it is run.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Of CPU: other work on the machine does not count.
SECONDS, MEMORY_MB = 5.0, 2000
# Words that have broken readers before.
_WORDS = (
    b"nan",
    b"-1",
    b"1e400",
    b"0",
    b"99999999999999999999",
    b"../../../etc/passwd",
    b"\x00",
    b"\xff\xfe",
    b"",
)


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
        Whether the library that reads is written in C and known to end the process on some damage.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path, Path], object]
    may_crash: bool = False


def damage(path: Path, rng: random.Random) -> None:
    """Change one file, or one of a folder's, in one to three places."""
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    chosen = rng.choice(files)
    content = chosen.read_bytes()
    for _ in range(rng.randint(1, 3)):
        content = rng.choice((_flip, _cut, _repeat, _swap, _replace_word, _truncate))(content, rng)
    chosen.write_bytes(content)


def _places(content: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(content) + 1)
    return start, min(len(content), start + rng.choice((1, 4, 16, 256)))


def _flip(content: bytes, rng: random.Random) -> bytes:
    start, stop = _places(content, rng)
    return content[:start] + rng.randbytes(stop - start) + content[stop:]


def _cut(content: bytes, rng: random.Random) -> bytes:
    start, stop = _places(content, rng)
    return content[:start] + content[stop:]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    start, stop = _places(content, rng)
    return content[:start] + content[start:stop] * rng.choice((2, 50)) + content[stop:]


def _swap(content: bytes, rng: random.Random) -> bytes:
    (a, b), (c, d) = sorted((_places(content, rng), _places(content, rng)))
    return content if b > c else content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def _truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _replace_word(content: bytes, rng: random.Random) -> bytes:
    """Put another word in the place of one between separators."""
    start, _ = _places(content, rng)
    separators = b' ,:;"=\n\t[]{}'
    stop = next((n for n in range(start, len(content)) if content[n] in separators), len(content))
    begin = next((n + 1 for n in range(start - 1, -1, -1) if content[n] in separators), 0)
    return content[:begin] + rng.choice(_WORDS) + content[stop:]


def run_cases(target: Target, cases: range) -> dict[str, Any]:
    """Damage, read and watch; return counts of what happened, and each failure with its number."""
    from isopleth.errors import IsoplethError

    counts: Counter[str] = Counter()
    failures, slowest = [], 0.0
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "sound").mkdir()
        sound = target.write(place / "sound")
        (place / "out").mkdir()
        target.read(sound, place / "out")  # loads what the reader needs; must succeed
        for number in cases:
            # A name of its own: libraries remember files by name.
            shutil.rmtree(place / "case", ignore_errors=True)
            source = place / "case" / str(number) / sound.name
            source.parent.mkdir(parents=True)
            shutil.rmtree(place / "out", ignore_errors=True)
            (place / "out").mkdir()
            (shutil.copytree if sound.is_dir() else shutil.copy)(sound, source)
            damage(source, random.Random(number))
            print(f"case {number}", file=sys.stderr, flush=True)
            began = time.process_time()
            try:
                target.read(source, place / "out")
                counts["read"] += 1
            except IsoplethError as error:
                counts["refused"] += 1
                if not str(error).strip():
                    failures.append([number, "an error without a word"])
            except MemoryError:
                counts["refused"] += 1
            except Exception as error:
                failures.append([number, f"{type(error).__name__}: {error}"[:300]])
                print(f"failure {number} {type(error).__name__}", file=sys.stderr, flush=True)
            seconds = time.process_time() - began
            slowest = max(slowest, seconds)
            if seconds > SECONDS:
                failures.append([number, f"took {seconds:.1f} s"])
            elsewhere = {path.name for path in place.iterdir()} - {"sound", "case", "out"}
            if elsewhere or any(Path.cwd().iterdir()):
                failures.append([number, f"wrote elsewhere: {elsewhere}"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if peak > MEMORY_MB:
        failures.append([-1, f"needed {peak:.0f} MB"])
    return {**counts, "failures": failures, "slowest_s": round(slowest, 2), "peak_mb": round(peak)}


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

    def read(source: Path, _out: Path) -> object:
        from isopleth.report import read_evaluation, write_report

        read_evaluation(source)
        return write_report(source.parent)

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


def _marxan() -> Target:
    def write(folder: Path) -> Path:
        from conservation_decisions.config import SampleConfig
        from conservation_decisions.sample import make_landscape
        from conservation_decisions.sources.marxan import write_marxan

        landscape = make_landscape(SampleConfig(side=5)).landscape
        return write_marxan(landscape, folder / "marxan", target=0.2)

    def read(source: Path, _out: Path) -> object:
        from conservation_decisions.sources import open_landscape

        return open_landscape(source)

    return Target(write, read)


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


def _config(tool: str, verb: str, *words: str) -> Target:
    """A config file of a verb, as `--print_config` gives it."""

    def call(*arguments: str) -> tuple[int, str, str]:
        from importlib import import_module

        main = import_module(f"{tool.replace('-', '_')}.cli").tool.main
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([verb, *words, *arguments, "--print_config"])
        return code, out.getvalue(), err.getvalue()

    def write(folder: Path) -> Path:
        (folder / "config.yaml").write_text(call()[1])
        return folder / "config.yaml"

    def read(source: Path, _out: Path) -> object:
        from isopleth.errors import ConfigError

        code, _, err = call("--config", str(source))
        if code == 2 and err.count("\n") == 1:
            raise ConfigError(err)
        if code != 0:
            raise RuntimeError(f"exit code {code}: {err}")
        return code

    return Target(write, read)


_IBTRACS = """\
SID,SEASON,NUMBER,BASIN,SUBBASIN,NAME,ISO_TIME,NATURE,LAT,LON,WMO_WIND,USA_WIND
 ,Year, , , , , , ,degrees_north,degrees_east,kts,kts
2005236N23285,2005,64,NA,MM,KATRINA,2005-08-23 18:00:00,TS,23.1,-75.1,30,30
2005236N23285,2005,64,NA,MM,KATRINA,2005-08-24 00:00:00,TS,23.4,-75.7,30,
2005236N23285,2005,64,NA,MM,KATRINA,2005-08-24 06:00:00,TS,23.8,-76.2,30,30
"""
_HURDAT2 = "\n".join(
    [
        "AL092021,                IDA,      2,",
        "20210826, 1200,  , TD, 16.5N,  78.9W,  30, 1006," + "    0," * 12 + "   60",
        "20210826, 1800,  , TS, 17.4N,  79.5W,  35, 1006,   60," + "    0," * 11 + "   60",
        "",
    ]
)

TARGETS: dict[str, Target] = {
    "netcdf3": _fields("write_era5_old_cds"),
    "netcdf4": _fields("write_era5_new_cds", may_crash=True),
    "zip": _fields("write_era5_zip", may_crash=True),
    "zarr2": _fields("write_weatherbench2"),
    "zarr3": _fields("write_weatherbench2_v3"),
    "curvilinear": _fields("write_cmip6_zos", may_crash=True),
    "record": _record(),
    "store": _store(),
    "pretrained": _pretrained(),
    "checkpoint": _checkpoint(),
    "ibtracs": _tracks(_IBTRACS, "ibtracs.csv"),
    "hurdat2": _tracks(_HURDAT2, "hurdat2.txt"),
    "marxan": _marxan(),
    "application": _application(),
    "config-appdriven": _config("appdriven", "demo"),
    "config-archesweather": _config("archesweather", "train"),
    "config-block-expansion": _config("block-expansion", "train", "target"),
    "config-climalign": _config("climalign", "train"),
    "config-conservation-decisions": _config("conservation-decisions", "allocate", "source"),
    "config-cyclone-fusion": _config("cyclone-fusion", "train"),
    "config-geostint": _config("geostint", "train"),
    "config-sealevel-projection": _config("sealevel-projection", "train"),
    "config-sealevel-trend": _config("sealevel-trend", "train", "prepared"),
}


def fuzz(name: str, cases: int) -> dict[str, Any]:
    """Run a target's cases in processes of their own; one that crashes is counted, and the rest goes on.

    Returns
    -------
    dict
        ``read``, ``refused``, ``crashed``, ``failures``, ``slowest_s``, ``peak_mb``.
    """
    total: dict[str, Any] = {
        "read": 0,
        "refused": 0,
        "crashed": 0,
        "failures": [],
        "slowest_s": 0,
        "peak_mb": 0,
    }
    first = 0
    while first < cases:
        with tempfile.TemporaryDirectory() as empty:
            command = [sys.executable, __file__, name, str(cases - first), str(first)]
            done = subprocess.run(
                command, cwd=empty, capture_output=True, text=True, check=False, timeout=600
            )
        numbers = re.findall(r"^case (\d+)$", done.stderr, flags=re.MULTILINE)
        if done.returncode == 0:
            found = json.loads(done.stdout)
            for key in ("read", "refused"):
                total[key] += found.get(key, 0)
            total["failures"] += found["failures"]
            total |= {key: max(total[key], found[key]) for key in ("slowest_s", "peak_mb")}
            break
        if done.returncode > 0 or not numbers or not TARGETS[name].may_crash:
            total["failures"].append([int(numbers[-1]) if numbers else -1, done.stderr[-300:]])
            break
        total["crashed"] += 1
        lost = re.findall(r"^failure (\d+) (.*)$", done.stderr, flags=re.MULTILINE)
        total["failures"] += [[int(number), text] for number, text in lost]
        total["refused"] += len(numbers) - 1 - len(lost)  # or read: the process could not say
        first = int(numbers[-1]) + 1
    return total


def main() -> None:
    """Run one target in an empty folder, or all of them."""
    if sys.argv[1] == "all":
        counts = {name: fuzz(name, int(sys.argv[2])) for name in TARGETS}
        Path(__file__).with_suffix(".json").write_text(json.dumps(counts, indent=1) + "\n")
        return
    target, cases, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("ignore")
    # What a damaged header announces must not be taken at its word; threads and libraries map much, too.
    resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30, 16 * 2**30))
    result = run_cases(TARGETS[target], range(first, first + cases))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
