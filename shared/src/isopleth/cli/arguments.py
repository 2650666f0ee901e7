"""From the words of a command line to a checked config: jsonargparse, wrapped in one place."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from isopleth.config import find_config, positional_names
from isopleth.errors import ConfigError

_BOOLEANS = ("true", "false", "yes", "no")
_VALUELESS = ("-h", "--help", "--print_config")


class Flags(argparse.Namespace):
    """The switches that every verb of every tool has."""

    json: bool
    debug: bool
    quiet: bool


def split_flags(words: Sequence[str]) -> tuple[Flags, list[str]]:
    """Take ``--json``, ``--debug`` and ``--quiet`` out of the words, wherever they stand."""
    names = ("--json", "--debug", "--quiet")
    flags = Flags(**{name[2:]: name in words for name in names})
    return flags, [word for word in words if word not in names]


def spell_switches(words: Sequence[str], config_class: type) -> list[str]:
    """Let a boolean option stand alone: ``--full`` for ``--full true``."""
    switches = set(_switches(config_class))
    return [
        f"{word}=true" if word in switches and after.lower() not in _BOOLEANS else word
        for word, after in zip(words, [*words[1:], ""], strict=False)
    ]


def _switches(config_class: type, prefix: str = "--") -> Iterator[str]:
    """Yield the dotted names of a config's boolean options."""
    for name, kind in typing.get_type_hints(config_class).items():
        if kind is bool:
            yield prefix + name
        elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
            yield from _switches(kind, f"{prefix}{name}.")


def name_positionals(words: Sequence[str], config_class: type) -> list[str]:
    """Give the arguments that stand without a name the names that the config class has for them.

    Every option takes exactly one value, so a word that is neither an option nor an option's value is
    positional, wherever it stands.
    """
    names = iter(positional_names(config_class))
    named: list[str] = []
    takes_value = False
    for word in words:
        if takes_value or word.startswith("-"):
            named.append(word)
            takes_value = not takes_value and "=" not in word and not word.startswith(_VALUELESS)
            continue
        name = next(names, None)
        if name is None:
            raise ConfigError(f"unexpected argument {word!r}", hint="options are written --name value")
        named.append(f"--{name}={word}")
    return named


def name_configs(words: Sequence[str], package: str) -> list[str]:
    """Replace what follows ``--config`` by a path: a file, or a config that the package ships.

    Configs come first, in their order: what is said on the command line itself wins, wherever it stands.
    """
    configs: list[str] = []
    others: list[str] = []
    follows = False
    for word in words:
        if follows or word.startswith("--config="):
            configs.append(f"--config={find_config(package, word.removeprefix('--config='))}")
            follows = False
        elif word == "--config":
            follows = True
        else:
            others.append(word)
    return [*configs, *others, *(["--config"] if follows else [])]


def parse_config(words: Sequence[str], config_class: type, *, prog: str, package: str, about: str) -> Any:
    """Build the config that the words describe.

    Parameters
    ----------
    words : sequence of str
        What stands after the verb, without the common switches.
    config_class : type
        A frozen dataclass; it checks its own values.
    prog, package, about : str
        The command, the package whose ``configs`` folder is searched, and the verb's description.

    Raises
    ------
    ConfigError
        With the offending name and the nearest known one, or what the value must be.
    SystemExit
        After ``--help`` and ``--print_config``, with code 0.
    """
    parser = build_parser(config_class, prog=prog, about=about)
    words = name_positionals(spell_switches(words, config_class), config_class)
    words = name_configs(words, package)
    try:
        values = vars(parser.instantiate(parser.parse_args(words)))
        return config_class(**{field.name: values[field.name] for field in dataclasses.fields(config_class)})
    except ConfigError:
        raise
    except (argparse.ArgumentError, TypeError, ValueError, KeyError) as error:
        raise _explain(error, known=_dotted_names(parser), prog=prog) from error


def load_config(name: str, config_class: type, *, package: str) -> Any:
    """Read a config by path, or by name among those that a package ships, as ``--config`` does.

    Raises
    ------
    ConfigError
        If there is none, or it does not fit the class.
    """
    return parse_config([f"--config={name}"], config_class, prog=package, package=package, about="")


def build_parser(config_class: type, *, prog: str, about: str) -> Any:
    """Build the jsonargparse parser of one verb: its options are the fields of its config."""
    from jsonargparse import ArgumentParser

    where = " ".join(name.upper() for name in positional_names(config_class))
    parser = ArgumentParser(
        prog=prog,
        usage=f"{prog} {where + ' ' if where else ''}[options]",
        description=about,
        epilog="Every verb also takes --json (one JSON object on stdout), --quiet (errors only) and "
        "--debug (tracebacks).",
        exit_on_error=False,
        allow_abbrev=False,
        default_env=False,
    )
    parser.add_argument("--config", action="config", help="a YAML file, or the name of a shipped config")
    parser.add_class_arguments(config_class, as_group=False)
    return parser


def _dotted_names(parser: Any) -> list[str]:
    return [action.dest for action in parser._actions if action.dest not in ("help", "print_config")]


_UNKNOWN_KEY = (
    r"unrecognized arguments: (?:--)?([\w.-]+)",
    r"[Kk]ey ['\"]?([\w.]+)['\"]? is not expected",
    r"Option '([\w.-]+)' is not accepted",
    r"does not accept option '([\w.-]+)'",
    r"does not accept nested key ['\"]?([\w.]+)",
)


def _explain(error: Exception, *, known: list[str], prog: str) -> ConfigError:
    """Turn the parser's complaint into one sentence that names the key, the rule and the way out."""
    text = " ".join(str(error).split()) or type(error).__name__
    hint = f"see {prog} --help"
    unknown = next((found[1] for rule in _UNKNOWN_KEY if (found := re.search(rule, text))), None)
    if unknown:
        text = f"unknown option or key {unknown!r}"
        leaves = {name.rpartition(".")[2]: name for name in known}
        near = difflib.get_close_matches(unknown, [*known, *leaves], n=1)
        hint = f"did you mean {leaves.get(near[0], near[0])!r}?" if near else hint
    text = re.sub(r'Parser key "([\w.]+)":', r"\1:", text)
    return ConfigError(re.sub(r"<class '([\w.]+)'>|typing\.(?=\w)", r"\1", text), hint=hint)
