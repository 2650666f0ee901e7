"""From parsed TOML or JSON to frozen dataclasses: every key known, nothing blank, all complaints at once."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Any, Literal, TypeVar, Union

from isopleth.errors import ConfigError

T = TypeVar("T")
_UNKNOWN = "unknown:"


@dataclass(frozen=True)
class Unknown:
    """What an author does not know, and why: written ``"unknown: reason"``."""

    reason: str

    def __str__(self) -> str:
        return f"{_UNKNOWN} {self.reason}"


def entry(about: str, default: Any = MISSING) -> Any:
    """Declare a dataclass field with the question that it answers; without a default it must be answered."""
    return dataclasses.field(default=default, metadata={"about": about})


def about(owner: type, name: str) -> str:
    """Return the question that a field answers."""
    fields = {item.name: item for item in dataclasses.fields(owner)}
    return str(fields[name].metadata.get("about", ""))


def find_problems(owner: type, content: object, path: str = "") -> list[str]:
    """List all that keeps a parsed table from being a declaration, in the order of the fields."""
    problems: list[str] = []
    _build(owner, content, path, problems)
    return problems


def build(owner: type[T], content: object, *, where: object = None, path: str = "") -> T:
    """Build a frozen dataclass, and those nested in it, from parsed TOML or JSON.

    A field without a default must be there and must not be blank; where its type allows `Unknown`, the text
    ``"unknown: reason"`` will do. Keys that no field has are refused.

    Parameters
    ----------
    owner : type
        The dataclass; its fields may be text, numbers, booleans, literals, tuples, mappings and dataclasses.
    content : object
        What ``tomllib`` or ``json`` returned.
    where : str or path, optional
        The file, for the error.
    path : str
        Dotted name of this table in the file.

    Raises
    ------
    ConfigError
        Naming the first problem by its dotted key, and how many follow.
    """
    problems: list[str] = []
    built = _build(owner, content, path, problems)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        hint = "`appdriven check FILE` lists them all" if len(problems) > 1 else None
        raise ConfigError(problems[0] + more, where=where, hint=hint)
    return typing.cast("T", built)


def to_plain(value: Any) -> Any:
    """Turn a declaration into what JSON holds; an unknown becomes its text again, None is left out."""
    if isinstance(value, Unknown):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
        return {name: to_plain(item) for name, item in items.items() if item is not None}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _build(owner: type, content: object, path: str, problems: list[str]) -> object:
    if not isinstance(content, Mapping):
        problems.append(f"{path or 'the file'} must be a table, got {content!r}")
        return None
    hints = typing.get_type_hints(owner)
    problems.extend(_unknown_keys(content, list(hints), path))
    values: dict[str, object] = {}
    before = len(problems)
    for item in dataclasses.fields(owner):
        key = f"{path}.{item.name}".lstrip(".")
        if item.name in content:
            values[item.name] = _convert(hints[item.name], content[item.name], key, problems, item.metadata)
        elif item.default is MISSING and item.default_factory is MISSING:
            problems.append(f"{key} must be filled in, got nothing{_ask(item.metadata)}")
    if len(problems) > before:
        return None
    try:
        return owner(**values)
    except ConfigError as error:
        problems.append(f"{path}: {error.what}".lstrip(": "))
        return None


def _unknown_keys(content: Mapping[str, object], known: list[str], path: str) -> list[str]:
    found = []
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            found.append(f"the key {f'{path}.{key}'.lstrip('.')!r} is not known; {advice}")
    return found


def _ask(metadata: Mapping[str, Any]) -> str:
    question = metadata.get("about")
    return f' ({question} If nobody knows, write "unknown: reason")' if question else ""


def _convert(
    kind: Any,
    value: object,
    key: str,
    problems: list[str],
    metadata: Mapping[str, Any] = types.MappingProxyType({}),
) -> object:
    if kind in (Any, object):
        return value
    choices = typing.get_args(kind) if typing.get_origin(kind) in (Union, types.UnionType) else (kind,)
    if value is None and type(None) in choices:
        return None
    # A list that no author fills in, such as a card's, may be empty.
    fillable = bool(metadata.get("about")) or not isinstance(value, list | tuple | Mapping)
    if _is_blank(value) and fillable:
        problems.append(f"{key} must not be blank, got {value!r}{_ask(metadata)}")
        return None
    if isinstance(value, str) and value.strip().lower().startswith(_UNKNOWN):
        return _unknown(value, choices, key, problems)
    tried: list[str] = []
    for choice in [choice for choice in choices if choice not in (Unknown, type(None))]:
        tried = []
        converted = _convert_one(choice, value, key, tried)
        if not tried:
            return converted
    problems.extend(tried)
    return None


def _unknown(value: str, choices: tuple[Any, ...], key: str, problems: list[str]) -> object:
    reason = value.strip()[len(_UNKNOWN) :].strip()
    if Unknown not in choices:
        problems.append(f"{key} must be known for anything to be evaluated, got {value!r}")
    elif not reason:
        problems.append(f'{key} must give its reason, "unknown: reason", got {value!r}')
    return Unknown(reason)


def _is_blank(value: object) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, list | tuple | Mapping) and not value)


def _convert_one(kind: Any, value: object, key: str, problems: list[str]) -> object:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return (
            value
            if isinstance(value, typing.cast("type", kind))
            else _build(typing.cast("type", kind), value, key, problems)
        )
    if origin is tuple:
        return _convert_tuple(inner, value, key, problems)
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return _convert_mapping(inner[1], value, key, problems)
    if origin is Literal:
        if value not in inner:
            problems.append(f"{key} must be one of {', '.join(map(str, inner))}, got {value!r}")
        return value
    return _convert_plain(kind, value, key, problems)


def _convert_tuple(inner: tuple[Any, ...], value: object, key: str, problems: list[str]) -> object:
    if not isinstance(value, list | tuple):
        problems.append(f"{key} must be a list, got {value!r}")
        return None
    if inner[-1] is not Ellipsis and len(inner) != len(value):
        problems.append(f"{key} must have {len(inner)} entries, got {len(value)}")
        return None
    kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(_convert(kind, item, f"{key}[{number}]", problems) for number, (kind, item) in pairs)


def _convert_mapping(kind: Any, value: object, key: str, problems: list[str]) -> object:
    if not isinstance(value, Mapping):
        problems.append(f"{key} must be a table, got {value!r}")
        return None
    return {str(name): _convert(kind, item, f"{key}.{name}", problems) for name, item in value.items()}


_NAMES = {str: "text", float: "a number", int: "a whole number", bool: "true or false"}


def _convert_plain(kind: Any, value: object, key: str, problems: list[str]) -> object:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
    elif isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    problems.append(f"{key} must be {_NAMES.get(kind, kind)}, got {value!r}")
    return None
