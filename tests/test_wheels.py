"""Every distribution, built without the workspace's sources: whole, fit for an index, installed alone."""

import importlib.metadata
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from workspace import CORE, PACKAGES, ROOT, Package, run

# `make` has bytecode compiled, for one environment that stays; these are thrown away.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "UV_COMPILE_BYTECODE"}
# What a demo needs beside the tool itself, as its README says.
EXTRAS = {"appdriven": "[sample]", "cyclone-fusion": "[sample]"}

each_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)


@pytest.fixture(scope="module")
def dist(uv, tmp_path_factory) -> Path:
    """A folder with a wheel and a source distribution of every package."""
    folder = tmp_path_factory.mktemp("dist")
    words = ["build", "--all-packages", "--no-sources", "--quiet", "--out-dir", folder]
    subprocess.run([uv, *words], cwd=ROOT, check=True)
    return folder


def find_wheel(dist: Path, package: Package) -> Path:
    (wheel,) = dist.glob(f"{package.name.replace('-', '_')}-{package.project['version']}-py3-none-any.whl")
    return wheel


def test_an_index_would_take_all_of_them(dist):
    files = sorted(str(path) for ending in ("whl", "tar.gz") for path in dist.glob(f"*.{ending}"))
    assert len(files) == 2 * len(PACKAGES)
    done = run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=dist)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == len(files)


@each_package
def test_a_wheel_holds_every_file_of_the_package(package, dist):
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "src"]
    tracked = subprocess.run(listed, cwd=package.folder, capture_output=True, text=True, check=True).stdout
    ours = {name.removeprefix("src/") for name in tracked.split() if (package.folder / name).is_file()}
    with zipfile.ZipFile(find_wheel(dist, package)) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name and not name.endswith("/")}
    assert packed == ours


@each_package
def test_wheel_installs_alone(package, dist, uv, tmp_path):
    words = ["run", "--isolated", "--no-project", "--with", find_wheel(dist, package), "--find-links", dist]
    done = subprocess.run(
        [uv, *words, "--", package.name, "--version"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"{package.name} {package.project['version']}\n", done.stderr


@pytest.mark.slow
@each_package
def test_pip_installs_it_alone_and_its_demo_runs(package, dist, uv):
    # Not pytest's folder, which stays: such an environment takes gigabytes.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = make_environment(folder / "environment", package, uv)
        wheels = {str(find_wheel(dist, CORE)), f"{find_wheel(dist, package)}{EXTRAS.get(package.name, '')}"}
        call(python, "-m", "pip", "install", "--quiet", "--no-compile", *wheels, cwd=folder)
        call(python, "-m", "pip", "check", cwd=folder)
        command = python.parent / package.name
        version = f"{package.name} {package.project['version']}\n"
        assert call(command, "--version", cwd=folder) == version
        assert f"{package.name} " in call(command, "--help", cwd=folder)
        if package is not CORE:
            call(command, "demo", "--out", "run", cwd=folder)
            assert (folder / "run" / "report.html").is_file()


def make_environment(folder: Path, package: Package, uv: str) -> Path:
    """Make an environment with nothing but pip, and torch where it is asked for.

    Torch comes with four gigabytes. uv links them from its cache; pip finds torch there, and checks that its
    version will do.
    """
    call(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    if "torch" in {Requirement(text).name for text in package.project["dependencies"]}:
        torch = f"torch=={importlib.metadata.version('torch')}"
        call(uv, "pip", "install", "--quiet", "--python", python, torch, cwd=folder)
    return python


def call(*words: object, cwd: Path) -> str:
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
