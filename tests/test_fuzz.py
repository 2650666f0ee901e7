"""Damaged input ends in one clear line, soon, and nowhere else: a fixed number of cases for each reader."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import fuzzing
from fuzz_targets import TARGETS, Target
from fuzzing import fuzz, run_cases
from workspace import ROOT, run

CASES = 150
MOST_LOST = 0.05
GUIDED = 1000
# A crash ends a guided run: libraries that are known to crash are left to damage by chance.
SAFE = [name for name, target in TARGETS.items() if not target.may_crash]


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_input_is_read_or_refused(name):
    found = fuzz(name, CASES)
    assert found["failures"] == []
    lost = found["crashed"] + found["hung"]
    assert found["read"] + found["refused"] + lost == CASES
    assert lost <= MOST_LOST * CASES
    # The damage is damage, and the reader reads.
    assert found["refused"] > 0


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("atheris"), reason="atheris installs on Linux and x86-64 only")
@pytest.mark.parametrize("name", SAFE)
def test_damage_that_learns_is_read_or_refused(name, tmp_path):
    script = Path(__file__).with_name("fuzz_guided.py")
    done = run(sys.executable, str(script), name, str(GUIDED), cwd=tmp_path, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert f"Done {GUIDED} runs" in done.stderr


def test_the_budgets_are_those_that_security_names():
    said = (ROOT / "SECURITY.md").read_text()
    assert f"`make test-slow` runs {CASES} cases of each" in said
    assert f"{GUIDED} runs of each in `make test-slow`" in said


def _raise(source: Path, out: Path) -> None:
    raise KeyError("lat")


def _climb(source: Path, out: Path) -> None:
    (source.parent / "../../../stray").write_text("out of the folder")


def _change_what_is_read(source: Path, out: Path) -> None:
    source.write_text("other")


def write_text(folder: Path) -> Path:
    (folder / "sound.txt").write_text("sound")
    return folder / "sound.txt"


def spare_the_sound(misdeed):
    return lambda source, out: misdeed(source, out) if "case" in source.parts else None


@pytest.mark.parametrize(
    ("misdeed", "said"),
    [(_raise, "KeyError: 'lat'"), (_climb, "wrote elsewhere"), (_change_what_is_read, "wrote elsewhere")],
)
def test_a_misdeed_is_noticed(misdeed, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run_cases(Target(write_text, spare_the_sound(misdeed)), range(1))
    reasons = [reason for number, reason in found["failures"] if number == 0]
    assert len(reasons) == 1
    assert said in reasons[0]


def test_what_may_be_written_is_written_where_it_may(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run_cases(Target(write_text, lambda source, out: (out / "result").write_text("fine")), range(3))
    assert found["read"] == 3
    assert [failure for failure in found["failures"] if failure[0] >= 0] == []


# A process of its own, as `fuzz` starts it, with one more target.
SCRIPT = """
import os, fuzzing
from fuzz_targets import Target
from test_fuzz import spare_the_sound, write_text

def end(source, out):
    {misdeed}

fuzzing.HUNG = 0.2
fuzzing.TARGETS["misdeed"] = Target(write_text, spare_the_sound(end))
fuzzing.main()
"""


@pytest.mark.parametrize(
    ("misdeed", "said"),
    [
        ("while True: pass", "took more than"),
        ("os.kill(os.getpid(), 11)", "ended by signal 11"),
        ("fuzzing._list_files = lambda *_: os.kill(os.getpid(), 11)", "ended by signal 11"),
    ],
    ids=["hangs", "ends", "ends-afterwards"],
)
def test_a_process_that_ends_early_is_counted_and_the_rest_goes_on(misdeed, said, tmp_path, monkeypatch):
    def start(name: str, cases: int, first: int):
        words = [sys.executable, "-c", SCRIPT.format(misdeed=misdeed), name, str(cases), str(first)]
        return run(*words, cwd=tmp_path, PYTHONPATH=str(Path(__file__).parent))

    monkeypatch.setitem(TARGETS, "misdeed", Target(write_text, read=print))
    monkeypatch.setattr(fuzzing, "_start", start)
    found = fuzz("misdeed", 2)
    assert [number for number, _ in found["failures"]] == [0, 1]
    assert found["read"] == 0
    assert all(said in reason for _, reason in found["failures"])
