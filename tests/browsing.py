"""People in a real browser: a window of their own, signed in, and what every page must hold there."""

import io
import os
from pathlib import Path
from urllib.parse import urlsplit

from axe_playwright_python.async_playwright import Axe
from PIL import Image
from playwright.async_api import Browser, Page
from sqlalchemy import text

from tests.shop import Shop
from tradepost.accounts.types import Caller
from tradepost.core.ids import secret_token, token_hash
from tradepost.web.security import SESSION_COOKIE

PHONE, DESK = 360, 1440
PICTURES = Path(__file__).parents[1] / "docs" / "images"


async def open_page(browser: Browser, width: int, height: int = 850) -> tuple[Page, list[str]]:
    """Open a window; return its page and the list in which complaints of the console collect."""
    context = await browser.new_context(viewport={"width": width, "height": height})
    page = await context.new_page()
    page.set_default_timeout(20_000)
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page, complaints


async def come_in(browser: Browser, shop: Shop, address: str, person: Caller, width: int) -> tuple[Page, list[str]]:
    """Open a browser in which a person is signed in."""
    token = secret_token()
    await shop.run(
        text("INSERT INTO sessions (id_hash, user_id, expires_at) VALUES (:hash, :user_id, now() + interval '1 day')"),
        hash=token_hash(token), user_id=person.user_id,
    )  # fmt: skip
    page, complaints = await open_page(browser, width)
    await page.context.add_cookies([{"name": SESSION_COOKIE, "value": token, "url": address}])
    return page, complaints


async def picture(page: Page, name: str) -> None:
    """Keep what is in the window for the docs (docs/images), where TRADEPOST_WRITE_PICTURES asks for it."""
    if os.environ.get("TRADEPOST_WRITE_PICTURES") == "1":
        seen = Image.open(io.BytesIO(await page.screenshot()))
        seen.save(PICTURES / f"{name}.webp", quality=80, method=6)


async def assert_fits(page: Page) -> None:
    """Nothing sticks out to the right, and every picture in view has arrived."""
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    sticking_out = await page.evaluate(
        "[...document.querySelectorAll('main *, header *, footer *')].filter(e => e.getBoundingClientRect().right > innerWidth + 0.5)"
        ".map(e => e.tagName + '.' + e.className + ' ' + Math.round(e.getBoundingClientRect().right) + ' ' + (e.name ?? e.id))"
    )
    assert wide <= 0, f"{page.url} is {wide}px too wide: {sticking_out}"
    broken = await page.evaluate("[...document.images].filter(i => i.complete && i.naturalWidth === 0).map(i => i.src)")
    assert broken == []


async def assert_sound(page: Page) -> None:
    """Nothing sticks out, and axe-core finds nothing serious; it looks at each page of a store once, however often one comes by."""
    await assert_fits(page)
    place = _place(page.url)
    if place in _found_sound:
        return
    found = await Axe().run(page, options={"resultTypes": ["violations"], "preload": False})
    grave = [v for v in found.response["violations"] if v["impact"] in {"serious", "critical"}]
    assert [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in grave] == [], page.url
    _found_sound.add(place)


async def assert_sound_at_both(page: Page) -> None:
    """The page is sound as wide as it is, and nothing sticks out at the other width."""
    await assert_sound(page)
    size = page.viewport_size
    assert size is not None
    await page.set_viewport_size({"width": PHONE if size["width"] > PHONE else DESK, "height": size["height"]})
    await assert_fits(page)
    await page.set_viewport_size(size)


_found_sound: set[str] = set()


def _place(url: str) -> str:
    """Return the store and the kind of page at an address: its path without what names one thing among many."""
    parts = urlsplit(url)
    path = "/".join("*" if any(c.isdigit() for c in part) else part for part in parts.path.split("/"))
    return f"{parts.netloc}{path.split('/l/')[0] + '/l/*' if '/l/' in path else path}"
