"""Outputs that are whole or not there: built in a hidden folder beside, then renamed into place.

Whatever is written for ``runs/a.zarr`` grows in ``runs/.a.zarr.partial-TOKEN/`` and is moved in one rename
when it is whole and on the disk. A file replaces a file by ``rename``; a folder changes places with a
folder by Linux's ``renameat2`` (``renamex_np`` on a Mac), which is as atomic. Where a filesystem has no
exchange, two renames do it, and a kill between them leaves the old output whole in the hidden folder, from
where the next write (or :func:`recover_output`) brings it back.

A writer holds a lock on its hidden folder, which the kernel drops however the process ends: the next writer
sweeps away what nobody holds, and never what a living one does. Two writers of one output are each whole, and
the last one wins.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from isopleth.errors import DataError

try:
    import fcntl
except ImportError:  # Windows: without locks leftovers are not swept.
    fcntl = None  # type: ignore[assignment]

RESUME_TOKEN = "resume"  # noqa: S105 - part of a folder's name
_PREVIOUS = ".previous"
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux and RENAME_SWAP of macOS


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str], *, replace_folder: bool = False) -> Iterator[Path]:
    """Hand out a path to write a file or a folder at; it takes its real place when it is whole.

    Parameters
    ----------
    path : path
        Where the output is to be. Missing parent folders are made; a link is replaced, not followed.
    replace_folder : bool
        Whether an existing folder that is not empty may be replaced.

    Yields
    ------
    Path
        A path of the same name in a hidden folder beside. Of a block that fails nothing remains.

    Raises
    ------
    DataError
        If the block wrote nothing, or if what stands at ``path`` must not be replaced by what was written.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with atomic_path(target) as partial:
    ...     _ = partial.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    target = local_path(path)
    with working_folder(target) as folder:
        yield folder / target.name
        publish(folder, target, replace_folder=replace_folder)


def local_path(path: str | os.PathLike[str]) -> Path:
    """Return an absolute local path, or say that only local paths can be written."""
    text = os.fspath(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise DataError(
            f"an output must be a local path, got {text!r}", hint="write it here, then copy it there"
        )
    target = Path(os.path.abspath(text))  # noqa: PTH100 - resolve() would follow a link at the target
    if not target.name:
        raise DataError(f"an output must have a name, got {text!r}")
    return target


@contextlib.contextmanager
def working_folder(target: Path, *, token: str | None = None, keep: bool = False) -> Iterator[Path]:
    """Hold the hidden folder in which ``target`` grows; sweep those that nobody holds.

    Parameters
    ----------
    target : Path
        The output to be.
    token : str, optional
        A fixed name for a folder that a later process can go on with; drawn at random otherwise.
    keep : bool
        Leave the folder behind if the block fails.

    Raises
    ------
    DataError
        If another process holds the folder of that token, or no folder can be made.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target, spare=token)
        folder, lock = _claim(target, token)
    except OSError as error:
        raise DataError(
            f"an output must lie in a folder that can be written, got {error.strerror}", where=target.parent
        ) from error
    try:
        yield folder
    except BaseException:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        if lock is not None:
            os.close(lock)


def publish(folder: Path, target: Path, *, replace_folder: bool | Callable[[Path], bool]) -> None:
    """Move ``folder / target.name`` to ``target``, once it is on the disk."""
    whole = folder / target.name
    if not os.path.lexists(whole):
        raise DataError("an output must be written before it is published, got nothing", where=target)
    check_replaceable(target, by_folder=whole.is_dir(), replace_folder=replace_folder)
    sync_tree(whole)
    if not whole.is_dir():
        whole.replace(target)
    else:
        _place_folder(whole, target)
    _sync(target.parent)


def _place_folder(whole: Path, target: Path) -> None:
    """Rename a folder to its place, or swap it with the one there, which another writer may just have put."""
    if not target.is_dir():
        try:
            whole.rename(target)
        except OSError:
            if not target.is_dir():
                raise
        else:
            return
    _swap_folders(whole, target)


def check_replaceable(
    target: Path, *, by_folder: bool, replace_folder: bool | Callable[[Path], bool]
) -> None:
    """Refuse to put a file in a folder's place or a folder in a file's, or to drop a stranger's folder.

    Whether the folder may be replaced is asked after it is found: another writer may have just put it there.
    """
    if target.is_symlink() and not by_folder:
        return
    if os.path.lexists(target) and target.is_dir() != by_folder:
        found, needed = ("a file", "a folder") if by_folder else ("a folder", "a file")
        raise DataError(f"the output must be {needed}, got {found} at its place", where=target)
    if by_folder and target.is_symlink():
        raise DataError("the output must be a folder, got a link at its place", where=target)
    if not (by_folder and target.is_dir() and any(target.iterdir())):
        return
    if not (replace_folder(target) if callable(replace_folder) else replace_folder):
        raise DataError(
            "the output must not replace a folder that holds other things",
            where=target,
            hint="choose another name, or remove the folder",
        )


def recover_output(path: str | os.PathLike[str]) -> bool:
    """Bring back an output that a kill left in its hidden folder between two renames.

    Only needed on filesystems that cannot exchange two folders; reading tools may call it on a missing path.

    Returns
    -------
    bool
        Whether there was something to bring back.
    """
    target = local_path(path)
    if os.path.lexists(target) or not target.parent.is_dir():
        return False
    for folder in _partial_folders(target):
        previous = folder / _PREVIOUS
        if previous.is_dir():
            previous.rename(target)
            return True
    return False


def sync_tree(path: Path) -> None:
    """Flush a file, or all of a folder, to the disk."""
    if path.is_dir():
        for root, _, files in os.walk(path):
            for name in files:
                _sync(Path(root, name))
            _sync(Path(root))
    else:
        _sync(path)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _partial_folders(target: Path) -> list[Path]:
    pattern = re.compile(rf"\.{re.escape(target.name)}\.partial-([0-9a-f]{{12}}|{RESUME_TOKEN})")
    return [path for path in target.parent.iterdir() if pattern.fullmatch(path.name)]


def _claim(target: Path, token: str | None) -> tuple[Path, int | None]:
    """Make and lock a hidden folder; try again when a sweeper took it in between."""
    while True:
        folder = target.parent / f".{target.name}.partial-{token or secrets.token_hex(6)}"
        folder.mkdir(exist_ok=token is not None)
        try:
            lock = _lock(folder)
        except OSError:  # a filesystem without locks, on which nothing is swept either
            return folder, None
        if lock is not None:
            return folder, lock
        if token is not None and folder.exists():
            raise DataError(
                "an output must have one resumable writer at a time, got a second",
                where=target,
                hint="wait for the other process, or end it",
            )


def _lock(folder: Path) -> int | None:
    """Return a handle that locks the folder, or None if another process has it or has removed it.

    Raises
    ------
    OSError
        Where there are no locks.
    """
    if fcntl is None:
        raise OSError(errno.ENOTSUP, "no locks on this system")
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if folder.stat().st_ino == os.fstat(handle).st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(handle)
        raise
    os.close(handle)
    return None


def _sweep(target: Path, *, spare: str | None) -> None:
    """Bring back what a kill left between two renames, and remove hidden folders that nobody holds."""
    recover_output(target)
    for folder in _partial_folders(target):
        if folder.name.endswith(f".partial-{spare}"):
            continue
        with contextlib.suppress(OSError):
            lock = _lock(folder)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _swap_folders(whole: Path, target: Path) -> None:
    """Put a folder in another's place; the old one stays in the hidden folder until that is removed."""
    if _exchange(whole, target):
        return
    target.rename(whole.parent / _PREVIOUS)
    whole.rename(target)


def _exchange(a: Path, b: Path) -> bool:
    """Let two paths change places in one step; False where the system or the filesystem cannot."""
    libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    if sys.platform.startswith("linux") and hasattr(libc, "renameat2"):
        here = -100  # AT_FDCWD
        failed = libc.renameat2(here, os.fsencode(a), here, os.fsencode(b), _EXCHANGE)  # type: ignore[union-attr]
    elif sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        failed = libc.renamex_np(os.fsencode(a), os.fsencode(b), _EXCHANGE)
    else:
        return False
    if failed and ctypes.get_errno() not in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV}:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(b))
    return not failed
