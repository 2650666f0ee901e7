"""Ctrl-C and SIGTERM during training: the first asks for a checkpoint, the second does not wait for it."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from isopleth.errors import IsoplethError

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(IsoplethError):  # noqa: N818 - being told to stop is not an error
    """A training run that was told to stop; it can be resumed.

    Parameters
    ----------
    signum : int
        The signal: SIGINT (Ctrl-C) or SIGTERM.
    checkpoint : path, optional
        Where the run's state was saved before it stopped; None if there was no time for that.

    Attributes
    ----------
    exit_code : int
        128 and the signal's number, as shells have it: 130 or 143.
    """

    def __init__(self, signum: int, *, checkpoint: Path | None = None) -> None:
        self.signum = signal.Signals(signum)
        self.checkpoint = checkpoint
        self.exit_code = 128 + signum
        saved = "its state is saved" if checkpoint else "its present state is not saved"
        super().__init__(
            f"training stopped by {self.signum.name}, {saved}",
            where=checkpoint,
            hint="continue with resume",
        )


class SignalWatch:
    """Remembers a signal instead of dying of it.

    Attributes
    ----------
    signum : int
        The signal that came, 0 so long as none did.
    """

    def __init__(self) -> None:
        self.signum = 0

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Watch inside the block; afterwards the earlier handlers are back. Only a main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {signum: signal.getsignal(signum) for signum in SIGNALS}
        self.install()
        try:
            yield
        finally:
            for signum, handler in before.items():
                # None: set from C, where Python cannot put it back.
                signal.signal(signum, signal.SIG_DFL if handler is None else handler)

    def install(self) -> None:
        """Take the signals (again: Lightning puts a handler of its own over SIGTERM)."""
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                signal.signal(signum, self._notice)

    def _notice(self, signum: int, _frame: FrameType | None) -> None:
        if self.signum:
            raise Interrupted(signum)
        self.signum = signum
        logger.warning("%s: saving a checkpoint first; once more stops at once", signal.Signals(signum).name)
