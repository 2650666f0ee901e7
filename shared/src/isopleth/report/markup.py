"""HTML that is escaped unless it says otherwise: elements as functions, no template language."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

# Characters that HTML forbids, and those that reorder the text around them.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_VOID = frozenset({"img", "link", "meta"})


class Markup(str):
    """Text that is HTML already. Everything else is escaped on its way into an element."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]


def escape(text: object) -> Markup:
    """Escape a text for element content and quoted attributes; Markup passes as it is."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(text)), quote=True))


def join(*children: Child) -> Markup:
    """Concatenate children: texts are escaped, None is left out, iterables are flattened."""
    return Markup("".join(_flatten(children)))


def _flatten(children: Iterable[Child]) -> Iterable[str]:
    for child in children:
        if child is None:
            continue
        if isinstance(child, str | int | float):
            yield escape(child)
        else:
            yield from _flatten(child)


def tag(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """Build an element.

    Parameters
    ----------
    name : str
        Element name, written by the programmer, never by data.
    *children : str, Markup, number, None or iterables of them
        Content.
    **attributes
        ``class_`` stands for ``class``, ``aria_label`` for ``aria-label``; True writes the bare name,
        False and None leave it out.

    Examples
    --------
    >>> tag("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    opening = f"{name}{''.join(_attribute(key, value) for key, value in attributes.items())}"
    return Markup(f"<{opening}>" if name in _VOID else f"<{opening}>{join(*children)}</{name}>")


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(value)}"'


def document(title: str, *body: Child) -> Markup:
    """Wrap a body into one self-contained page.

    The content security policy forbids the page any request and any script: what is not in the file
    cannot be loaded, and a text that slipped through as markup could do nothing.
    """
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),  # else a browser asks the server for favicon.ico
        tag("title", title),
        Markup(f"<style>{_stylesheet()}</style>"),
    )
    page = tag("html", head, tag("body", *body), lang="en")
    return Markup(f"<!doctype html>\n{page}\n")


@cache
def _stylesheet() -> str:
    return files("isopleth.report").joinpath("page.css").read_text("utf-8")
