"""The contract of ``evaluation.json``, checked with errors that name the place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from isopleth.errors import DataError

SCHEMA_ID = "isopleth.evaluation/1"
_LARGEST = 1e300  # beyond this a number is an accident, and an integer may not fit a float at all
_SHOWN = 80  # characters of an offending value that an error repeats


@cache
def load_schema() -> dict[str, Any]:
    """Load the JSON schema of ``evaluation.json`` as it ships with the package."""
    return json.loads(files("isopleth.report").joinpath("evaluation.schema.json").read_text("utf-8"))


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

    return Draft202012Validator(load_schema())


def validate(record: object, *, where: object = None) -> None:
    """Check that a parsed JSON value is an evaluation record.

    Beyond the schema, every number is finite, every interval runs from low to high, and every
    text can be written as UTF-8.

    Parameters
    ----------
    record : object
        What ``json.loads`` returned, or ``Evaluation.to_dict()``.
    where : str or path, optional
        The file it came from, for the error.

    Raises
    ------
    DataError
        Naming the JSON path of the first offence, such as ``$.scores[3].model``, and how many follow.
    """
    problems = list(dict.fromkeys(_walk_problems(record, "$"))) or list(
        dict.fromkeys(_schema_problems(record))
    )
    if not problems:
        return
    rest = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise DataError(
        problems[0] + rest,
        where=where,
        hint=f"the record's schema is {SCHEMA_ID}, see isopleth.report.load_schema()",
    )


def _schema_problems(record: object) -> Iterator[str]:
    for error in _validator().iter_errors(record):
        yield f"{error.json_path} must {_rule(error)}, got {_shorten(error.instance)}"


def _rule(error: Any) -> str:
    """Turn a schema keyword into the end of the sentence "... must ..."."""
    value = error.validator_value
    match error.validator:
        case "type":
            return f"be of type {value if isinstance(value, str) else ' or '.join(value)}"
        case "const" | "enum":
            return (
                f"be {value!r}" if error.validator == "const" else f"be one of {', '.join(map(repr, value))}"
            )
        case "required":
            return f"have {', '.join(repr(name) for name in value if name not in error.instance)}"
        case "additionalProperties":
            return f"have no key but {', '.join(error.schema.get('properties', {}))}"
        case "minimum":
            return f"be at least {value}"
        case "oneOf":
            return "be null or [low, high]"
        case "pattern" if value != r"\S":
            return f"match {value}"
        case "pattern" | "minLength":
            return "not be empty"
        case keyword:
            return f"satisfy {keyword} {value!r}"


def _walk_problems(value: object, path: str) -> Iterator[str]:
    """Find what JSON Schema cannot say: lost numbers, reversed intervals, broken text."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walk_problems(key, f"{path} key")
            place = f"{path}.{key}" if str(key).isidentifier() else f"{path}[{key!r}]"
            yield from _walk_problems(item, place)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _walk_problems(item, f"{path}[{number}]")
        yield from _interval_problems(value, path)
    elif isinstance(value, str):
        yield from _text_problems(value, path)
    elif isinstance(value, int | float) and not -_LARGEST < value < _LARGEST:
        yield f"{path} must be a finite number, got {_shorten(value)}"
    elif not isinstance(value, int | float | None):
        yield f"{path} must be JSON (object, array, string, number, boolean or null), got {_shorten(value)}"


def _interval_problems(value: list[Any], path: str) -> Iterator[str]:
    ordered_pair = len(value) == 2 and all(isinstance(end, int | float) for end in value)
    if path.endswith(".interval") and ordered_pair and value[0] > value[1]:
        yield f"{path} must run from low to high, got {_shorten(value)}"


def _text_problems(value: str, path: str) -> Iterator[str]:
    if any("\ud800" <= character <= "\udfff" for character in value):
        yield f"{path} must be text that UTF-8 can hold, got {ascii(value)[:_SHOWN]}"


def _shorten(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print an integer of thousands of digits
        return "an integer of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
