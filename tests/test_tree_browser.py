"""The category tree under the hand and by keyboard, and the editor's draft, in a real browser at both widths."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browsing import DESK, PHONE, assert_sound, come_in
from tests.conftest import MARKET, Servers
from tests.serving import running
from tests.shop import Shop

pytestmark = pytest.mark.browser


@pytest_asyncio.fixture
async def office(shop: Shop, store_dsn: str, servers: Servers, tmp_path: Path) -> AsyncIterator[str]:
    """Serve the test's store; yield its address."""
    with running(store_dsn, servers.cache_url, tmp_path / "files", MARKET) as address:
        yield address.replace("127.0.0.1", f"{MARKET.name}.localhost")


async def order_of(page: Page) -> list[str]:
    """Return the tree as it is drawn, a dot for each level."""
    found: list[str] = await page.locator("[data-branch]").evaluate_all(
        "rows => rows.map(r => '.'.repeat(r.dataset.depth) + r.dataset.branch)"
    )
    return found


async def test_categories_are_dragged_and_moved_by_keyboard(browser: Browser, shop: Shop, office: str) -> None:
    page, complaints = await come_in(browser, shop, office, await shop.make.person("admin"), DESK)
    await page.goto(f"{office}/office/categories")
    assert await order_of(page) == ["food", ".fruit", ".vegetables", "help", "tools"]
    await assert_sound(page)
    tabs = await page.locator(".office-tabs").evaluate("tabs => tabs.scrollWidth - tabs.clientWidth")
    assert tabs <= 0  # every part of the back office is in sight
    row = page.locator("[data-branch=tools]")
    box = await page.locator("[data-branch=help]").bounding_box()
    assert box is not None
    async with page.expect_navigation():
        await row.drag_to(page.locator("[data-branch=help]"), target_position={"x": 60, "y": 3})
    assert await order_of(page) == ["food", ".fruit", ".vegetables", "tools", "help"]
    async with page.expect_navigation():
        await page.locator("[data-branch=help]").drag_to(
            page.locator("[data-branch=food]"), target_position={"x": 60, "y": box["height"] / 2}
        )
    assert await order_of(page) == ["food", ".fruit", ".vegetables", ".help", "tools"]
    await expect(page.locator("#c-help")).to_be_focused()
    for key, expected in (
        ("Alt+ArrowUp", ["food", ".fruit", ".help", ".vegetables", "tools"]),
        ("Alt+ArrowRight", ["food", ".fruit", "..help", ".vegetables", "tools"]),
        ("Alt+ArrowLeft", ["food", ".fruit", ".help", ".vegetables", "tools"]),
    ):
        async with page.expect_navigation():
            await page.keyboard.press(key)
        assert await order_of(page) == expected
        await expect(page.locator("#c-help")).to_be_focused()
    await page.set_viewport_size({"width": PHONE, "height": 850})
    await assert_sound(page)
    assert complaints == []


async def test_a_draft_is_tried_on_the_front_page_and_put_in_force(browser: Browser, shop: Shop, office: str) -> None:
    page, complaints = await come_in(browser, shop, office, await shop.make.person("admin"), PHONE)
    await page.goto(f"{office}/office/settings")
    await assert_sound(page)
    await page.fill("[name='copy.hero_title']", "Come in, it is spring")
    await page.fill("[name='bg.light']", "#fff0f5")
    await page.get_by_role("button", name="Try it").click()
    await expect(page.locator(".borrowed")).to_contain_text("Nobody else sees it")
    await page.wait_for_function(  # its style comes after its words
        "getComputedStyle(document.documentElement).getPropertyValue('--bg') === 'light-dark(#fff0f5, #131416)'"
    )
    assert await shop.count("store_editions", "true") == 0
    await page.get_by_role("button", name="Put it in force").click()
    await expect(page.locator("main")).to_contain_text("Edition 1")
    await page.set_viewport_size({"width": DESK, "height": 850})
    await assert_sound(page)
    await page.get_by_role("button", name="Undo").click()
    await expect(page.locator("main")).to_contain_text("brought the preset back")
    assert await shop.count("store_editions", "true") == 2
    assert complaints == []
