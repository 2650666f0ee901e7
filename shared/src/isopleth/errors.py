"""Errors that a user can act on: what is wrong, where it was found, and the way out."""

from __future__ import annotations

import importlib
from types import ModuleType


class IsoplethError(Exception):
    """A failure with a known cause; the command line prints it as one line.

    Parameters
    ----------
    what : str
        The finding, in the form "<what> must be <rule>, got <value>".
    where : str or path, optional
        The file, variable or argument in which it was found.
    hint : str, optional
        What the reader can do about it: a command, an option, a package to install.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: object = None, hint: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        place = f" (in {self.where})" if self.where else ""
        advice = f"; {self.hint}" if self.hint else ""
        return " ".join(f"{self.what}{place}{advice}".split())


class ConfigError(IsoplethError, ValueError):
    """A setting that cannot be used. Exit code 2."""

    exit_code = 2


class DataError(IsoplethError):
    """Input that cannot be understood, or that is not what it says."""


class TrainingError(IsoplethError):
    """A training run that cannot go on; its last good checkpoint is kept."""


class MissingDependencyError(IsoplethError, ImportError):
    """An optional package that the called function needs."""


def require(module: str, *, install: str, purpose: str) -> ModuleType:
    """Import an optional dependency, or say how to install it.

    Parameters
    ----------
    module : str
        Import name, such as ``"torch"``.
    install : str
        What pip must be told, such as ``"isopleth[train]"``.
    purpose : str
        What needs it, as the end of the sentence "... is needed to ...".

    Raises
    ------
    MissingDependencyError
        If the module cannot be found.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingDependencyError(
            f"the package {module!r} is needed to {purpose}", hint=f"pip install '{install}'"
        ) from error
