"""Trainings in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("training_script.py")


class Trainings:
    """Starts `training_script.py` in fresh processes, forked from one that has torch loaded."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._count = 0

    def start(self, run_dir: Path, *options: object, **env: str) -> tuple[int, Path]:
        """Begin a training; give its pid and its log, a path without ending (".out", ".err")."""
        self._count += 1
        log = self._folder / f"log{self._count}"
        words = [str(run_dir), *map(str, options)]
        return self._ask({"words": words, "env": env, "log": str(log)}), log

    def wait(self, pid: int) -> int:
        """Give a training's exit code, negative if a signal killed it."""
        return self._ask({"wait": pid})

    def run(self, run_dir: Path, *options: object) -> tuple[int, str, str]:
        """Train to the end; give exit code, stdout and stderr."""
        pid, log = self.start(run_dir, *options)
        code = self.wait(pid)
        return code, log.with_suffix(".out").read_text(), log.with_suffix(".err").read_text()

    def _ask(self, order: dict) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


@pytest.fixture(scope="session")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainings]:
    """A server of trainings, for all tests of a worker."""
    # Warnings are errors in there as they are here: what a user's training must not print.
    command = [sys.executable, "-W", "error", str(SCRIPT)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    ) as server:
        yield Trainings(server, tmp_path_factory.mktemp("logs"))
        # A closed pipe does not end it while a forked worker of some loader has it open, too.
        server.terminate()
