"""Pages in a real browser, at phone and desktop width: nothing sticks out, every picture arrives."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.conftest import MARKET, Servers
from tests.factories import Factory
from tests.serving import running

pytestmark = pytest.mark.browser


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    """Start the Chromium that the runner of the tests found."""
    async with async_playwright() as playwright:
        path = os.environ.get("TRADEPOST_CHROMIUM", "/usr/bin/chromium")
        started = await playwright.chromium.launch(executable_path=path, chromium_sandbox=False)
        yield started
        await started.close()


@pytest_asyncio.fixture
async def shop(store_dsn: str, make: Factory, servers: Servers, tmp_path: Path) -> AsyncIterator[str]:
    """Serve a store with a few listings; yield its address."""
    seller = await make.person("seller", "orchard", business_name="Hill Orchard")
    for n, title in enumerate(
        ("Red apples", "Green pears", "Yellow plums", "An exceptionally long name for one basket of mixed fruit")
    ):
        await make.listing(seller, title, price=250 + n * 100)
    with running(store_dsn, servers.cache_url, tmp_path / "files", MARKET) as address:
        yield address


async def open_page(browser: Browser, width: int, height: int = 850) -> tuple[Page, list[str]]:
    """Open a window; return its page and the list in which complaints of the console collect."""
    context = await browser.new_context(viewport={"width": width, "height": height})
    page = await context.new_page()
    page.set_default_timeout(60_000)
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page, complaints


async def assert_fits(page: Page) -> None:
    """Nothing sticks out to the right, and every picture in view has arrived."""
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{page.url} is {wide}px too wide"
    broken = await page.evaluate("[...document.images].filter(i => i.complete && i.naturalWidth === 0).map(i => i.src)")
    assert broken == []


@pytest.mark.parametrize("width", [360, 1440])
async def test_pages_fit_phone_and_desktop(browser: Browser, shop: str, width: int) -> None:
    page, _ = await open_page(browser, width)
    await page.goto(shop)
    await expect(page.locator("main")).to_contain_text("Green pears", timeout=60_000)
    await assert_fits(page)
