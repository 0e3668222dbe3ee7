"""How a store looks: the colours, corners and typefaces its theme gives it, what the staff gave it instead, and whether that can be read.

Contrast is that of WCAG 2.2: less than 3 to 1 is refused, less than 4.5 to 1 is named. Pure: it reads the themes' files and nothing else.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from tradepost.flows.typefaces import typeface_rules

Scheme = Literal["light", "dark"]
READABLE: Final = 4.5
LEAST: Final = 3.0
COLOURS: Final = (
    ("bg", "Page"), ("surface", "Cards and panels"), ("ink", "Text"), ("muted", "Quiet text"), ("brand", "Buttons"),
    ("on-brand", "Text on buttons"), ("brand-ink", "Links"), ("accent", "Accent"), ("on-accent", "Text on the accent"),
    ("price", "Prices"), ("header-bg", "Header"), ("header-ink", "Text in the header"),
)  # fmt: skip
CORNERS: Final = {
    "sharp": ("2px", "3px", "4px", "2px"),
    "soft": ("6px", "10px", "16px", "12px"),
    "round": ("10px", "18px", "28px", "24px"),
}
_FALLBACK = {"brand-ink": "brand", "price": "ink", "header-bg": "surface", "header-ink": "ink"}
_PAIRS = (
    ("ink", "bg"), ("ink", "surface"), ("muted", "bg"), ("muted", "surface"), ("on-brand", "brand"), ("brand-ink", "surface"),
    ("on-accent", "accent"), ("price", "surface"), ("header-ink", "header-bg"),
)  # fmt: skip
_HEX = re.compile(r"#[0-9a-f]{6}")
_TOKEN = re.compile(
    r"--([a-z-]+):\s*(light-dark\(\s*(#[0-9a-fA-F]{3,6})\s*,\s*(#[0-9a-fA-F]{3,6})\s*\)|#[0-9a-fA-F]{3,6}|var\(--([a-z-]+)\))\s*;"
)
_PLAIN = {  # those of the product, static/css/tradepost.css
    "bg": ("#f7f7f5", "#131416"),
    "surface": ("#ffffff", "#1c1e21"),
    "ink": ("#1a1c1e", "#f1f1ef"),
    "muted": ("#5b5f63", "#a8adb1"),
    "brand": ("#20514a", "#8fd0c4"),
    "on-brand": ("#ffffff", "#0d2320"),
    "accent": ("#e8b23a", "#e8b23a"),
    "on-accent": ("#261a00", "#261a00"),
    "brand-ink": ("#20514a", "#8fd0c4"),
    "price": ("#1a1c1e", "#f1f1ef"),
}

Pair = tuple[str, str]


class Faint(msgspec.Struct, frozen=True):
    """Two colours that are hard to tell apart, with their contrast."""

    text: str
    ground: str
    scheme: Scheme
    ratio: float

    @property
    def is_refused(self) -> bool:
        """Whether nobody could read it."""
        return self.ratio < LEAST

    @property
    def sentence(self) -> str:
        """Say it in words."""
        names = dict(COLOURS)
        return f"{names[self.text]} on {names[self.ground].lower()} ({self.scheme}): contrast {self.ratio:.1f} to 1."


def is_colour(text: str) -> bool:
    """Whether text is a colour as the editor writes them: #rrggbb in small letters."""
    return _HEX.fullmatch(text) is not None


@lru_cache(maxsize=32)
def theme_colours(folder: Path) -> dict[str, Pair]:
    """Return the colours of a preset's theme, light and dark, for every one that can be changed."""
    path = folder / "theme" / "theme.css"
    found: dict[str, Pair] = {}
    aliases: dict[str, str] = {}
    for name, value, light, dark, other in _TOKEN.findall(path.read_text("utf-8") if path.is_file() else ""):
        if name in found or name in aliases:
            continue
        if other:
            aliases[name] = other
        else:
            found[name] = (_long(light or value), _long(dark or value))
    return {name: _resolved(name, found, aliases) for name, _ in COLOURS}


def _resolved(name: str, found: dict[str, Pair], aliases: dict[str, str]) -> Pair:
    for _ in range(5):
        if name in found:
            return found[name]
        if name in _PLAIN or (name not in aliases and name not in _FALLBACK):
            break
        name = aliases.get(name) or _FALLBACK[name]
    return _PLAIN.get(name, _PLAIN["ink"])


def _long(colour: str) -> str:
    digits = colour.lower().lstrip("#")
    return "#" + ("".join(2 * d for d in digits) if len(digits) == 3 else digits)


def _light_of(colour: str) -> float:
    parts = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21 (WCAG 2.2, relative luminance)."""
    lights = sorted((_light_of(one), _light_of(other)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def faint_pairs(colours: dict[str, Pair]) -> tuple[Faint, ...]:
    """Return what is hard to read among the colours of a store, the worst first."""
    schemes: tuple[Scheme, Scheme] = ("light", "dark")
    found = [
        Faint(text, ground, scheme, contrast(colours[text][n], colours[ground][n]))
        for text, ground in _PAIRS
        for n, scheme in enumerate(schemes)
    ]
    return tuple(sorted((f for f in found if f.ratio < READABLE), key=lambda f: f.ratio))


def style_of(theme: dict[str, Any]) -> str:
    """Return the style sheet of what the staff changed of a theme; it goes after the theme's own."""
    lines = [
        f"--{name}: light-dark({theme[name][0]}, {theme[name][1]});"
        for name, _ in COLOURS
        if name in theme and all(is_colour(colour) for colour in theme[name])
    ]
    lines += [
        f"--{n}-soft: color-mix(in srgb, var(--{n}) 16%, var(--surface));" for n in ("brand", "accent") if n in theme
    ]
    if "accent" in theme:
        lines.append("--accent-ink: var(--ink);")
    if "brand" in theme and "brand-ink" not in theme:
        lines.append("--brand-ink: var(--brand);")
    corners = CORNERS.get(theme.get("corners", ""))
    if corners:
        lines += [f"--{name}: {size};" for name, size in zip(("r-s", "r-m", "r-l", "r-card"), corners, strict=True)]
        lines.append(f"--r-control: {corners[1]};")
        lines.append("--r-picture: var(--r-card);")
    rules, places = typeface_rules(theme)
    body = "\n    ".join(lines + places)
    return f"{rules}\n@layer theme {{\n  :root {{\n    {body}\n  }}\n}}\n".lstrip() if body else ""
