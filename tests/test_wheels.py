"""Each wheel, built without the workspace's sources, installs alone and answers."""

import os
import subprocess
from pathlib import Path

import pytest

from workspace import PACKAGES, ROOT


@pytest.fixture(scope="module")
def wheels(uv, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [uv, "build", "--all-packages", "--no-sources", "--wheel", "--quiet", "--out-dir", folder],
        cwd=ROOT,
        check=True,
    )
    return folder


@pytest.mark.xdist_group("wheels")
@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_wheel_installs_alone(package, wheels, uv, tmp_path):
    (wheel,) = wheels.glob(f"{package.name.replace('-', '_')}-*.whl")
    done = subprocess.run(
        [
            uv,
            "run",
            "--isolated",
            "--no-project",
            "--with",
            wheel,
            "--find-links",
            wheels,
            "--",
            package.name,
            "--version",
        ],
        cwd=tmp_path,
        # `make` has bytecode compiled, for one environment that stays; these are thrown away.
        env={name: value for name, value in os.environ.items() if name != "UV_COMPILE_BYTECODE"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"{package.name} {package.project['version']}\n", done.stderr
