"""A declaration to fill in: every question stands above its blank."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Union

from appdriven.application import Application
from appdriven.schema import Unknown, about
from isopleth.errors import ConfigError


def render_template(
    answers: Mapping[str, str] | None = None, *, ask: Callable[[str, str], str] | None = None
) -> str:
    """Write ``application.toml`` with every question as a comment.

    Parameters
    ----------
    answers : mapping of str to str, optional
        Values by dotted key, such as ``task.decision``, as TOML or bare text.
    ask : callable, optional
        Given a key and its question, returns an answer, or nothing for a blank that ``check`` will name.

    Raises
    ------
    ConfigError
        If an answer is for a key that does not exist.
    """
    given = dict(answers or {})
    known = [key for _, keys in _sections(Application, "") for key, _ in keys]
    for key in given:
        if key not in known:
            raise ConfigError(f"an answer must be for a key of the declaration, got {key!r}")
    lines = ['# Blank is an error; where nobody knows, write "unknown: reason".', ""]
    for section, keys in _sections(Application, ""):
        if section:
            lines += [f"[{section}]"]
        for key, (owner, item) in keys:
            question = about(owner, item.name)
            answer = given.get(key) or (ask(key, question) if ask and _is_required(item) else "")
            lines += [f"# {question}", _write(item, answer)]
        lines.append("")
    return "\n".join(lines)


Entry = tuple[type, "dataclasses.Field[Any]"]


def _sections(owner: type, path: str) -> Iterator[tuple[str, list[tuple[str, Entry]]]]:
    """Yield each table of the declaration with its own keys, before the tables inside it."""
    hints = typing.get_type_hints(owner)
    inner, own = [], []
    for item in dataclasses.fields(owner):
        key = f"{path}.{item.name}".lstrip(".")
        nested = [
            kind
            for kind in _kinds(hints[item.name])
            if dataclasses.is_dataclass(kind) and kind is not Unknown
        ]
        if nested:
            inner.append((typing.cast("type", nested[0]), key))
        else:
            own.append((key, (owner, item)))
    yield path, own
    for kind, key in inner:
        yield from _sections(kind, key)


def _kinds(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)


def _is_required(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING


def _write(item: dataclasses.Field[Any], answer: str) -> str:
    if answer:
        return f"{item.name} = {_as_toml(answer)}"
    if not _is_required(item):
        default = item.default
        shown = (
            '""' if default is None else json.dumps(list(default) if isinstance(default, tuple) else default)
        )
        return f"# {item.name} = {shown}"
    return f'{item.name} = ""'


def _as_toml(answer: str) -> str:
    """Take what is TOML as it stands, all else as text."""
    import tomllib

    try:
        tomllib.loads(f"x = {answer}")
    except tomllib.TOMLDecodeError:
        return json.dumps(answer, ensure_ascii=False)
    return answer
