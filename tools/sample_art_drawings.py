"""Goods that no emoji shows, drawn as SVG for `compose_sample_art.py` and rendered by Chromium.

A drawing's name stands where an emoji may: `draw:kettle`, or with its colours changed `draw:kettle?a=#1d4ed8&lid=#222`.
A drawing is `tools/sample_art/drawings/<name>.svg`. What may change is a CSS custom property with a default in it:
`fill="var(--a, #c33)"`. The filters that give flat shapes body are in `_filters.svg`; `filter="url(#soft)"` uses them.
"""

from __future__ import annotations

import atexit
import functools
import io
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from PIL import Image

FOLDER = Path(__file__).resolve().parent / "sample_art" / "drawings"
PREFIX = "draw:"
SIZE = 900
"""Pixels of the longer side: more than any picture shows, so that pieces are never enlarged."""


class DrawingError(Exception):
    """No such drawing, or a property that the drawing does not have."""


def is_drawing(name: str) -> bool:
    """Whether the name is a drawing rather than an emoji."""
    return name.startswith(PREFIX)


@functools.lru_cache(maxsize=1)
def _page() -> Any:
    """One Chromium page for the whole run. Stores that use no drawing need no browser, so it is imported late."""
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), chromium_sandbox=False)

    def close() -> None:
        browser.close()
        playwright.stop()

    atexit.register(close)
    return browser.new_page(viewport={"width": SIZE, "height": SIZE})


def draw(name: str) -> Image.Image:
    """The drawing on a transparent ground.

    Raises:
        DrawingError: when there is no such drawing or it has no such property.
    """
    plain, _, query = name.removeprefix(PREFIX).partition("?")
    path = FOLDER / f"{plain}.svg"
    if not path.is_file():
        raise DrawingError(f"there is no drawing {plain!r} in {FOLDER}")
    svg = path.read_text(encoding="utf-8")
    values = dict(parse_qsl(query, strict_parsing=True)) if query else {}
    known = set(re.findall(r"var\(--([a-z0-9-]+)", svg))
    if unknown := set(values) - known:
        raise DrawingError(f"{plain}: {sorted(unknown)} are not among its properties {sorted(known)}")
    style = "".join(f"--{key}:{value};" for key, value in values.items())
    filters = (FOLDER / "_filters.svg").read_text(encoding="utf-8")
    page = _page()
    page.set_content(
        f"<style>html,body{{margin:0;background:transparent}}body>svg.goods{{width:{SIZE}px;height:{SIZE}px;{style}}}</style>"
        + filters
        + svg.replace("<svg", '<svg class="goods"', 1)
    )
    return Image.open(io.BytesIO(page.screenshot(omit_background=True))).convert("RGBA")
