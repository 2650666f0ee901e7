"""Damaged input for every reader and config.

    python tests/fuzzing.py TARGET CASES FIRST    prints what happened as JSON
    python tests/fuzzing.py all CASES             all targets, each in a process; writes tests/fuzzing.json

Each case damages a copy of a sound file or folder. It must be read or be refused by an error of the house,
within seconds, within the memory allowed, and without a trace elsewhere: what is read stays as it is, and
nothing is written but in the folder that is given for it. A case has a number, and is the same whenever it
is run.
"""

from __future__ import annotations

import json
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from fuzz_targets import TARGETS, Target

# Of CPU: other work on the machine does not count. A case that takes `HUNG` ends its process.
SECONDS, HUNG, MEMORY_MB = 5.0, 30.0, 2000
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


def damage(path: Path, rng: random.Random) -> None:
    """Change one file, or one of a folder's, in one to three places."""
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    chosen = rng.choice(files)
    content = chosen.read_bytes()
    # Where lengths and offsets are written down, any change of length hides every other damage.
    kinds = rng.choice(((_flip,), (_flip, _cut, _repeat, _swap, _replace_word, _truncate)))
    for _ in range(rng.randint(1, 3)):
        content = rng.choice(kinds)(content, rng)
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
    counts: Counter[str] = Counter()
    failures, slowest = [], 0.0
    with tempfile.TemporaryDirectory() as name:
        # A damaged path that climbs ends within what is watched.
        place = Path(name, "as", "deep", "as", "paths", "climb")
        (place / "sound").mkdir(parents=True)
        sound = target.write(place / "sound")
        (place / "out").mkdir()
        target.read(sound, place / "out")  # loads what the reader needs; must succeed
        for number in cases:
            source = _prepare_case(place, sound, number)
            before = _list_files(Path(name), place / "out")
            print(f"case {number}", file=sys.stderr, flush=True)
            signal.setitimer(signal.ITIMER_PROF, HUNG)
            began = time.process_time()
            outcome, reason = _read_case(target, source, place / "out")
            seconds = time.process_time() - began
            signal.setitimer(signal.ITIMER_PROF, 0)
            counts[outcome] += 1
            print(f"{outcome} {number}", file=sys.stderr, flush=True)  # the process may not live to tell
            slowest = max(slowest, seconds)
            found = [reason] if reason else []
            if seconds > SECONDS:
                found.append(f"took {seconds:.1f} s")
            changed = before ^ _list_files(Path(name), place / "out")
            if changed or any(Path.cwd().iterdir()):
                found.append(f"wrote elsewhere: {sorted(changed)[:3]}")
            failures += [[number, each] for each in found]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if peak > MEMORY_MB:
        failures.append([-1, f"needed {peak:.0f} MB"])
    return {**counts, "failures": failures, "slowest_s": round(slowest, 2), "peak_mb": round(peak)}


def _prepare_case(place: Path, sound: Path, number: int) -> Path:
    """Damage a copy, under a name of its own: libraries remember files by name."""
    for folder in ("case", "out"):
        shutil.rmtree(place / folder, ignore_errors=True)
    source = place / "case" / str(number) / sound.name
    source.parent.mkdir(parents=True)
    (place / "out").mkdir()
    (shutil.copytree if sound.is_dir() else shutil.copy)(sound, source)
    damage(source, random.Random(number))
    return source


def _list_files(root: Path, out: Path) -> set[tuple[str, int, int]]:
    """List the files that a reader has no business to touch: names, sizes, times of change."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_relative_to(out)]
    return {(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def _read_case(target: Target, source: Path, out: Path) -> tuple[str, str]:
    """Read a damaged file; tell how it ended, and what is wrong with that."""
    from isopleth.errors import IsoplethError

    try:
        target.read(source, out)
    except IsoplethError as error:
        return "refused", "" if str(error).strip() else "an error without a word"
    except MemoryError:
        return "refused", ""
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}"[:300]
    return "read", ""


def fuzz(name: str, cases: int) -> dict[str, Any]:
    """Run a target's cases in processes of their own; one that ends early is counted, and the rest goes on.

    Returns
    -------
    dict
        ``read``, ``refused``, ``failures``, ``slowest_s``, ``peak_mb``; and ``crashed`` and ``hung``, what a
        library in C did that is known to. Elsewhere these are failures.
    """
    total: dict[str, Any] = dict.fromkeys(("read", "refused", "crashed", "hung", "slowest_s", "peak_mb"), 0)
    total["failures"] = []
    first = 0
    while first < cases:
        done = _start(name, cases - first, first)
        if done.returncode == 0:
            found = json.loads(done.stdout)
            for key in ("read", "refused"):
                total[key] += found.get(key, 0)
            total["failures"] += found["failures"]
            return total | {key: max(total[key], found[key]) for key in ("slowest_s", "peak_mb")}
        said = re.findall(r"^(case|read|refused|failed) (\d+)$", done.stderr, flags=re.MULTILINE)
        numbers = [int(number) for word, number in said if word == "case"]
        total["failures"] += [
            [int(number), "an error of another kind"] for word, number in said if word == "failed"
        ]
        if not numbers or done.returncode > 0:
            total["failures"].append([numbers[-1] if numbers else -1, done.stderr[-300:]])
            break
        # What it was read into may break the process when it is let go.
        before = [word for word, number in said if int(number) != numbers[-1]]
        for outcome in ("read", "refused"):
            total[outcome] += before.count(outcome)
        first = numbers[-1] + 1
        hung = done.returncode == -signal.SIGPROF
        if TARGETS[name].may_crash:
            total["hung" if hung else "crashed"] += 1
        else:
            reason = f"took more than {HUNG:.0f} s" if hung else f"ended by signal {-done.returncode}"
            total["failures"].append([numbers[-1], reason])
    return total


def _start(name: str, cases: int, first: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(Path(__file__).absolute()), name, str(cases), str(first)]
    with tempfile.TemporaryDirectory() as empty:
        return subprocess.run(command, cwd=empty, capture_output=True, text=True, check=False)


def main() -> None:
    """Run one target in an empty folder, or all of them."""
    if sys.argv[1] == "all":
        counts = {}
        for name in TARGETS:
            counts[name] = fuzz(name, int(sys.argv[2]))
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
