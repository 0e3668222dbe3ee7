"""The assistant's panel in a real browser: by keyboard, beside the page, with what was said there again on the next one."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.browsing import DESK, PHONE, assert_sound, come_in
from tests.conftest import MARKET, Servers
from tests.serving import running
from tests.shop import Shop

pytestmark = pytest.mark.browser


async def test_the_panel_by_keyboard(
    browser: Browser, shop: Shop, store_dsn: str, servers: Servers, tmp_path: Path
) -> None:
    await shop.goods("Claw hammer", price=1900, stock=5)
    with running(store_dsn, servers.cache_url, tmp_path / "files", MARKET) as served:
        address = served.replace("127.0.0.1", f"{MARKET.name}.localhost")
        page, complaints = await come_in(browser, shop, address, shop.buyer, DESK)
        await page.goto(f"{address}/search?q=hammer")
        await page.locator(".ask").focus()
        await page.keyboard.press("Enter")
        field = page.get_by_label("Your message")
        await expect(field).to_be_focused()
        await page.keyboard.type("do you have a claw hammer?")
        await page.keyboard.press("Enter")
        said = page.locator("#assistant-said")
        await expect(page.get_by_role("log")).to_have_attribute("aria-live", "polite")
        await expect(said.locator(".find__title")).to_have_text("Claw hammer", timeout=20_000)
        await expect(said.locator(".find__facts")).to_contain_text("$19.00")
        await assert_sound(page)
        await said.get_by_role("button", name="This helped").click()
        await expect(said.get_by_role("button", name="This helped")).to_have_attribute("aria-pressed", "true")
        await page.keyboard.press("Escape")
        await expect(page.locator(".ask")).to_be_focused()
        await page.set_viewport_size({"width": PHONE, "height": 850})
        await page.locator(".ask").click()
        await expect(page.locator(".askpanel .find__title")).to_have_text("Claw hammer")
        assert await page.locator("main").evaluate("main => main.inert")
        await page.goto(f"{address}/assistant")
        await expect(page.locator(".find__title")).to_have_text("Claw hammer")
        await assert_sound(page)
        assert complaints == []
        assert await shop.count("assistant_turns", "feedback = 1") == 1
