"""What letters say and how they look: templates in text and in HTML, in a store's name and colours.

Promises that the two say the same, that whatever people wrote is escaped in HTML and is on one line where it could pass for our
own words, and that the colours are the light ones of the store's theme.
"""

import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from tradepost.core.text import one_line
from tradepost.notifications.types import Letter

TEMPLATES: Final = Path(__file__).parent / "templates"
_TOKEN = re.compile(r"--([a-z-]+):\s*(?:light-dark\(\s*)?(#[0-9a-fA-F]{6}|#[0-9a-fA-F]{3})\b")


class Look(msgspec.Struct, frozen=True):
    """The colours of a store's letters."""

    bg: str = "#f4f4f2"
    surface: str = "#ffffff"
    ink: str = "#1c1c1a"
    muted: str = "#5c5c57"
    line: str = "#dddcd6"
    brand: str = "#1f4d2e"
    on_brand: str = "#ffffff"


@lru_cache(maxsize=64)
def look_of(theme: Path) -> Look:
    """Return the light colours of a theme, ours where it sets none."""
    try:
        css = theme.read_text("utf-8")
    except OSError:
        return Look()
    found = {name.replace("-", "_"): value for name, value in reversed(_TOKEN.findall(css))}
    return Look(**{name: found[name] for name in Look.__struct_fields__ if name in found})


@cache
def _environment() -> Environment:
    """Return the environment of both forms: HTML escapes, text has nothing to escape."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(["html"]),
        trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, auto_reload=False,
    )  # fmt: skip
    made.filters["one_line"] = one_line
    return made


def compose(kind: str, *, to: str, sender: str, store_name: str, store_url: str, look: Look, **context: Any) -> Letter:
    """Write the letter `kind` from its templates: `<kind>.txt`, whose first line is the subject, and `<kind>.html`."""
    known = {"store_name": store_name, "store_url": store_url, "look": look, "to": to, **context}
    subject, _, text = _environment().get_template(f"{kind}.txt").render(known).partition("\n")
    html = _environment().get_template(f"{kind}.html").render(known, subject=subject)
    return Letter(
        to=to, subject=one_line(subject), text=text.strip() + "\n", html=html, sender=sender, sender_name=one_line(store_name)
    )  # fmt: skip
