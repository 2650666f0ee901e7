"""A browser for tests: chromium over its debugging pipe, without a port and without a further package."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
]
PHONE, DESKTOP = 375, 1280


class Browser:
    """One page of chromium, commanded by file descriptors 3 and 4."""

    session: str | None = None

    def __init__(self, profile: str) -> None:
        read_end, self.commands = os.pipe()
        self.answers, write_end = os.pipe()
        redirect = f'exec "$@" 3<&{read_end} 4>&{write_end}'
        self.process = subprocess.Popen(
            ["bash", "-c", redirect, "bash", str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(read_end, write_end),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_end)
        os.close(write_end)
        self.buffer = b""
        self.numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        self.session = None
        self.call("Browser.close")
        self.process.wait(timeout=30)
        os.close(self.commands)
        os.close(self.answers)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self.receive()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def receive(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            piece = os.read(self.answers, 1 << 16)
            assert piece, "the browser has closed its pipe"
            self.buffer += piece
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def open(self, path: Path, *, width: int, scheme: str = "light") -> list[dict[str, Any]]:
        """Open a page at a width and return all events until it has loaded."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())
        return list(self.events)

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"]["value"]


@contextlib.contextmanager
def start_browser() -> Iterator[Browser]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        yield browser
        browser.close()


def check_page(browser: Browser, path: Path, *, width: int, scheme: str = "light") -> None:
    """Open a page: no error, no request but for itself, every image drawn, nothing wider than the screen."""
    events = browser.open(path, width=width, scheme=scheme)
    troubles = {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}
    found = [event for event in events if event["method"] in troubles]
    assert not found, found
    sent = [event["params"]["request"] for event in events if event["method"] == "Network.requestWillBeSent"]
    asked = [request["url"] for request in sent if not request["url"].startswith("data:")]
    assert asked == [path.as_uri()], asked
    assert browser.evaluate("Promise.all([...document.images].map(i => i.decode())).then(() => true)")
    assert browser.evaluate("[...document.images].every(i => i.naturalWidth > 100)")
    # The page itself never scrolls sideways.
    wide = browser.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, f"{wide} pixels at a width of {width}"
