"""Check that every theme's colours can be read: WCAG 2.2 AA contrast of the pairs that components use, light and dark.

    python tools/check_contrast.py

Reads the tokens of static/css/tradepost.css and each preset's theme.css, which overrides them. A token is `#rrggbb`,
`light-dark(#rrggbb, #rrggbb)` or `var(--another)`.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASE = ROOT / "src/tradepost/web/static/css/tradepost.css"
THEMES = sorted((ROOT / "src/tradepost/presets").glob("*/theme/theme.css"))
TOKEN = re.compile(r"--([a-z0-9-]+):\s*(light-dark\([^)]*\)|#[0-9a-fA-F]{6}|var\(--[a-z0-9-]+\));")
TEXT, PART = 4.5, 3.0

GROUNDS = ("bg", "surface")
TONES = ("good", "warn", "bad", "info")
PAIRS: list[tuple[str, str, float]] = [
    *((ink, ground, TEXT) for ground in GROUNDS for ink in ("ink", "muted", "brand-ink", "price", "sale", "bad", "good", "accent-ink")),
    ("ink", "sunken", TEXT),
    ("muted", "sunken", TEXT),
    ("on-brand", "brand", TEXT),
    ("on-accent", "accent", TEXT),
    ("brand-ink", "brand-soft", TEXT),
    ("ink", "brand-soft", TEXT),
    ("muted", "brand-soft", TEXT),
    ("accent-ink", "accent-soft", TEXT),
    ("ink", "accent-soft", TEXT),
    *((tone, f"{tone}-soft", TEXT) for tone in TONES),
    ("header-ink", "header-bg", TEXT),
    ("header-field-ink", "header-field", TEXT),
    ("header-field-muted", "header-field", TEXT),
    ("footer-ink", "footer-bg", TEXT),
    *((part, ground, PART) for ground in GROUNDS for part in ("line-strong", "focus", "star", "brand")),
    ("header-focus", "header-bg", PART),
]  # fmt: skip


def tokens(css: str) -> dict[str, str]:
    return dict(TOKEN.findall("".join(re.findall(r":root \{([^}]*)\}", css))))


def colour(known: dict[str, str], name: str, scheme: str) -> str:
    """The colour of a token in a scheme, as #rrggbb."""
    value = known[name]
    if value.startswith("var("):
        return colour(known, value[6:-1], scheme)
    found = re.findall(r"#[0-9a-fA-F]{6}", value)
    return found[-1 if scheme == "dark" else 0]


def luminance(hexadecimal: str) -> float:
    channels = [int(hexadecimal[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def faults(known: dict[str, str], scheme: str) -> list[str]:
    found = []
    for ink, ground, least in PAIRS:
        ratio = contrast(colour(known, ink, scheme), colour(known, ground, scheme))
        if ratio < least:
            found.append(f"{ink} on {ground}: {ratio:.2f}, needs {least}")
    return found


def main() -> int:
    base = tokens(BASE.read_text())
    wrong = 0
    for theme in [BASE, *THEMES]:
        known = base | tokens(theme.read_text())
        for scheme in ("light", "dark"):
            found = faults(known, scheme)
            wrong += len(found)
            name = "base" if theme is BASE else theme.parts[-3]
            print(f"{name}, {scheme}: {len(PAIRS) - len(found)} of {len(PAIRS)} pairs are fine", *found, sep="\n  ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
