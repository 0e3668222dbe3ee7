"""The typefaces that come with the product: one of them for headings, one for text, in any store.

They are those of the presets' themes, with the same licences beside them. Pure: it reads the themes' files and nothing else.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from tradepost.flows.preset import PRESETS

PLACES: Final = (("head", "Headings"), ("body", "Text"))
_FACE = re.compile(r'@font-face \{ font-family: "([^"]+)";[^}]*\}')
_FILE = re.compile(r'url\("/theme/fonts/([a-z0-9-]+\.woff2)"\)')
_TOKEN = re.compile(r'--font-(head|body): ("([^"]+)"[^;]*);')


class Typeface(msgspec.Struct, frozen=True):
    """A typeface: the families to fall back on after it, and the rules by which a browser fetches it."""

    family: str
    stack: str
    rules: str


def typeface_path(preset: str, file: str) -> str:
    """Return the address of a typeface's file, in every store."""
    return f"/theme/faces/{preset}/{file}"


@cache
def typefaces() -> dict[str, Typeface]:
    """Return the typefaces by family, in the order of the alphabet."""
    found: dict[str, Typeface] = {}
    for path in sorted(PRESETS.glob("*/theme/theme.css")):
        css, preset = path.read_text("utf-8"), path.parents[1].name
        for _, stack, family in _TOKEN.findall(css):
            rules = [
                _FILE.sub(lambda file: f'url("{typeface_path(preset, file[1])}")', rule[0])  # noqa: B023  # called at once
                for rule in _FACE.finditer(css)
                if rule[1] == family
            ]
            if rules:
                found.setdefault(family, Typeface(family, stack, "\n".join(rules)))
    return dict(sorted(found.items()))


@cache
def theme_typefaces(folder: Path) -> dict[str, str]:
    """Return the families of a theme's headings and text."""
    path = folder / "theme" / "theme.css"
    css = path.read_text("utf-8") if path.is_file() else ""
    return {place: family for place, _, family in reversed(_TOKEN.findall(css))}


def typeface_rules(theme: dict[str, Any]) -> tuple[str, list[str]]:
    """Return what fetches the typefaces that the staff chose, and the tokens that put them in their places."""
    chosen = {place: typefaces()[theme[place]] for place, _ in PLACES if theme.get(place) in typefaces()}
    rules = "\n".join(dict.fromkeys(face.rules for face in chosen.values()))
    return rules, [f"--font-{place}: {face.stack};" for place, face in chosen.items()]
