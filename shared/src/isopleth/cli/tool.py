"""A tool's command line: its verbs, and what happens around every one of them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
import json
import logging
import math
import os
import signal
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from isopleth.cli.arguments import Flags, parse_config, split_flags
from isopleth.config import to_dict
from isopleth.errors import ConfigError, IsoplethError

Action = Callable[[Any], Any]


@dataclass(frozen=True)
class Verb:
    """One thing a tool does: a function of one config."""

    name: str
    action: Action
    config_class: type
    about: str


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """A verb without options."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """The command line of one tool.

    A verb is a function that takes one frozen dataclass and returns what goes to stdout: a mapping, an
    object with ``to_dict``, or None. Its docstring's first line is its help. Heavy imports stand inside
    the function, so that ``--help`` stays quick.

    Parameters
    ----------
    name : str
        The command, which is also the distribution's name.
    package : str
        The import name; its ``configs`` folder holds the shipped configs.
    summary : str
        One sentence for ``--help``.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> tool = Tool(name="isopleth", package="isopleth", summary="An example.")
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Config:
    ...     times: int = 2
    >>> @tool.verb
    ... def greet(config: Config) -> dict:
    ...     "Say hello."
    ...     return {"greeting": "hello " * config.times}
    >>> tool.main(["greet", "--times", "1"])
    greeting  hello
    0
    """

    name: str
    package: str
    summary: str
    verbs: dict[str, Verb] = field(default_factory=dict)

    def verb(self, action: Action) -> Action:
        """Register a function of one config as a verb; its name and docstring become its help."""
        verb = _describe(action)
        self.verbs[verb.name] = verb
        return action

    @property
    def all_verbs(self) -> dict[str, Verb]:
        """The tool's own verbs, and ``info``."""
        return {**self.verbs, "info": _describe(self._info())}

    @property
    def version(self) -> str:
        """The installed version of the distribution."""
        return importlib.metadata.version(self.name)

    def main(self, words: Sequence[str] | None = None) -> int:
        """Run one command line.

        Parameters
        ----------
        words : sequence of str, optional
            The arguments; by default those of the process.

        Returns
        -------
        int
            The exit code: 0 done, 1 failed, 2 usage or config, 130 or 143 interrupted.
        """
        flags, rest = split_flags(sys.argv[1:] if words is None else words)
        try:
            with _terminate_as_exception():
                return self._dispatch(flags, rest)
        except IsoplethError as error:
            return self._fail(error, str(error), flags, code=error.exit_code)
        except KeyboardInterrupt as error:
            return self._fail(error, "interrupted", flags, code=130)
        except BrokenPipeError:
            # The reader of our stdout has gone (`tool ... | head`): nobody is left to tell.
            sys.stderr.close()
            return 0
        except (OSError, MemoryError) as error:
            return self._fail(error, f"{type(error).__name__}: {error}", flags, code=1)
        except Exception as error:
            what = f"unexpected {type(error).__name__}: {error}; run again with --debug for the traceback"
            return self._fail(error, what, flags, code=1)

    def _dispatch(self, flags: Flags, words: list[str]) -> int:
        if not words or words[0] in ("-h", "--help"):
            print(self._help())
            return 0 if words else 2
        if words[0] == "--version":
            print(json.dumps({"tool": self.name, "version": self.version}) if flags.json else self._banner())
            return 0
        verb = self.all_verbs.get(words[0])
        if verb is None:
            raise ConfigError(f"the verb must be one of {', '.join(self.all_verbs)}, got {words[0]!r}")
        try:
            config = parse_config(
                words[1:],
                verb.config_class,
                prog=f"{self.name} {verb.name}",
                package=self.package,
                about=verb.about,
            )
        except SystemExit as done:
            return int(done.code or 0)
        with _logging_to_stderr(quiet=flags.quiet):
            # Libraries print as they like; stdout belongs to the result alone.
            with contextlib.redirect_stdout(sys.stderr):
                result = verb.action(config)
            if _leads():
                _present(result, as_json=flags.json)
        return 0

    def _info(self) -> Action:
        def info(_config: NoOptions) -> dict[str, Any]:
            """Show versions, shipped configs and the machine."""
            from isopleth.cli.info import describe_installation

            return describe_installation(self.name, self.package)

        return info

    def _help(self) -> str:
        width = max(map(len, self.all_verbs))
        verbs = [f"  {verb.name:<{width}}  {verb.about.splitlines()[0]}" for verb in self.all_verbs.values()]
        lines = [
            f"usage: {self.name} VERB [options]",
            "",
            self.summary,
            "",
            *verbs,
            "",
            f"{self.name} VERB --help lists the options of a verb, {self.name} --version the version.",
            "Exit codes: 0 done, 1 failed, 2 usage or config, 130 interrupted, 143 terminated.",
        ]
        return "\n".join(lines)

    def _banner(self) -> str:
        return f"{self.name} {self.version}"

    def _fail(self, error: BaseException, what: str, flags: Flags, *, code: int) -> int:
        if flags.debug:
            raise error
        print(f"{self.name}: error: {' '.join(what.split())}", file=sys.stderr)
        return code


def _describe(action: Action) -> Verb:
    """Read a verb's name, config and help off the function that performs it."""
    hints = typing.get_type_hints(action)
    config_class = hints[next(iter(inspect.signature(action).parameters))]
    name = action.__name__.rstrip("_").replace("_", "-")
    return Verb(name, action, config_class, inspect.getdoc(action) or name)


@contextlib.contextmanager
def _terminate_as_exception() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that no temporary file is left behind."""

    def leave(signum: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    try:
        previous = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not the main thread: the embedding program owns the signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def _logging_to_stderr(*, quiet: bool) -> Iterator[None]:
    """Show the house's log messages as plain lines on stderr while a verb runs."""
    logger = logging.getLogger("isopleth")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR if quiet else logging.INFO)
    # A library that logs through the root logger gives that one a handler, and every line would come twice.
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _leads() -> bool:
    """Tell whether this is the first of the processes that do one job: the result is printed once.

    Torch's launcher, and Lightning's, number the others by these variables.
    """
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK"))


def _present(result: Any, *, as_json: bool) -> None:
    """Write a verb's result to stdout: one JSON object, or text for people."""
    values = result.to_dict() if hasattr(result, "to_dict") else to_dict(result or {})
    if as_json:
        print(json.dumps(_finite(values), allow_nan=False, ensure_ascii=False))
    elif isinstance(result, Mapping):
        width = max(map(len, values), default=0)
        for key, value in values.items():
            print(f"{key:<{width}}  {_plain(value)}".rstrip())
    elif result is not None:
        print(result)


def _finite(value: Any) -> Any:
    """Replace what JSON has no number for (NaN, infinities) by null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list) else value


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)
