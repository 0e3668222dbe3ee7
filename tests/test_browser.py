"""A shop day in a real browser, at phone and desktop width; nothing may complain in the console or stick out of the page."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Browser, Page, expect

from tests.browsing import assert_fits, open_page
from tests.conftest import MARKET, Servers
from tests.factories import Factory
from tests.serving import running

pytestmark = pytest.mark.browser
PASSWORD = "a-walnut-tree-in-may"


@pytest_asyncio.fixture
async def shop(store_dsn: str, make: Factory, servers: Servers, tmp_path: Path) -> AsyncIterator[str]:
    """Serve a store with a few listings; yield its address."""
    seller = await make.person("seller", "orchard", business_name="Hill Orchard")
    for n, title in enumerate(
        ("Red apples", "Green pears", "Yellow plums", "An exceptionally long name for one basket of mixed fruit")
    ):
        await make.listing(seller, title, price=250 + n * 100)
    with running(store_dsn, servers.cache_url, tmp_path / "files", MARKET) as address:
        yield address.replace("127.0.0.1", f"{MARKET.name}.localhost")  # as links say it; browsers know where that is


async def sign_up(page: Page, shop: str, name: str, role: str) -> None:
    """Make an account through the form."""
    await page.goto(f"{shop}/sign-up")
    await page.fill("input[name=username]", name)
    await page.fill("input[name=email]", f"{name}@example.com")
    await page.fill("input[name=password]", PASSWORD)
    await page.locator(f"input[name=role][value={role}]").check(force=True)
    await page.locator("main form").get_by_role("button").last.click()
    await expect(page.locator("#flash")).to_contain_text("Welcome")


@pytest.mark.parametrize("width", [360, 1440])
async def test_guest_buys_and_sees_the_order(browser: Browser, shop: str, width: int) -> None:
    page, complaints = await open_page(browser, width)
    await page.goto(shop)
    await assert_fits(page)
    await page.get_by_role("link", name="Green pears").first.click()
    await expect(page.locator("h1")).to_have_text("Green pears")
    await assert_fits(page)
    button = page.get_by_role("button", name="Add to cart")
    assert (
        await button.evaluate(
            "b => b.querySelector('svg').getBoundingClientRect().left - b.getBoundingClientRect().left"
        )
        >= 8
    )
    await button.click()
    await expect(page.locator("#cart-count")).to_contain_text("1")  # going on at once would call the request off
    await page.goto(f"{shop}/cart")
    await expect(page.locator("#line-1")).to_contain_text("Green pears")
    await assert_fits(page)
    await sign_up(page, shop, f"wanda{width}", "buyer")
    await page.goto(f"{shop}/checkout")
    await page.fill("[name='shipping_address.name']", "Wanda Walnut")
    await page.fill("[name='shipping_address.line1']", "1 Orchard Lane")
    await page.fill("[name='shipping_address.city']", "Springfield")
    await assert_fits(page)
    await page.get_by_role("button", name="Order and pay").first.click()
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator("main")).to_contain_text("Green pears")
    await expect(page.locator("main")).to_contain_text("Paid")
    await assert_fits(page)
    await page.goto(f"{shop}/orders")
    await expect(page.locator("main")).to_contain_text("MK")
    assert complaints == []


async def test_seller_offers_something_with_a_photo_and_it_is_found(
    browser: Browser, shop: str, tmp_path: Path
) -> None:
    data = io.BytesIO()
    Image.new("RGB", (1200, 900), "peru").save(data, "JPEG")
    page, complaints = await open_page(browser, 1280)
    await sign_up(page, shop, "petra", "seller")
    await page.goto(f"{shop}/me/listings/new")
    await page.fill("input[name=title]", "Hazelnuts in the shell")
    await page.fill("textarea[name=description]", "This year's, dry and sweet.")
    await page.select_option("select[name=category]", "fruit")
    await page.fill("[name='variant.0.price']", "4.50")
    await page.fill("[name='variant.0.on_hand']", "30")
    await page.set_input_files(
        "[name=pictures]", {"name": "nuts.jpg", "mimeType": "image/jpeg", "buffer": data.getvalue()}
    )
    await page.locator("button[name=action][value=publish]").first.click()
    await expect(page.locator("h1")).to_have_text("Hazelnuts in the shell")
    await assert_fits(page)
    await page.goto(f"{shop}/search?q=hazelnuts")
    await expect(page.locator("main")).to_contain_text("Hazelnuts in the shell")
    assert complaints == []


async def test_a_new_option_gets_its_column_and_a_ticked_field_its_tick(browser: Browser, shop: str) -> None:
    page, complaints = await open_page(browser, 360)
    await sign_up(page, shop, "otto", "seller")
    await page.goto(f"{shop}/me/listings/new")
    await page.fill("input[name=title]", "Knitted caps")
    await page.select_option("select[name=category]", "tools")
    await page.select_option("[name='attribute.power']", "hand")
    await page.get_by_label("Organic").check()
    await page.get_by_text("Sizes, colours or other options").click()
    await page.fill("[name='option_name.0']", "Size")
    await page.get_by_role("button", name="Another row").click()
    for n, (size, price) in enumerate((("S", "4.50"), ("L", "6.75"))):
        await page.fill(f"[name='variant.{n}.option.0']", size)
        await page.fill(f"[name='variant.{n}.price']", price)
    await assert_fits(page)
    await page.locator("button[name=action][value=publish]").click()
    await expect(page.locator("h1")).to_have_text("Knitted caps")
    await page.get_by_role("link", name="L", exact=True).click()
    await expect(page.locator("#buy")).to_contain_text("$6.75")
    await page.get_by_role("link", name="Edit this listing").click()
    await expect(page.get_by_label("Organic")).to_be_checked()
    await expect(page.locator("[name='variant.1.option.0']")).to_have_value("L")
    await expect(page.locator("[name='variant.1.option.1']")).to_be_hidden()
    assert complaints == []


async def test_ornaments_of_the_header_stay_at_it_on_a_phone(browser: Browser, shop: str) -> None:
    page, _ = await open_page(browser, 360)
    await page.goto(shop)
    position = await page.evaluate("getComputedStyle(document.querySelector('.site-header')).position")
    assert position == "relative"
