"""A working day of each of the other stores in a real browser, on its own preset: who sells, who buys, and who minds the store."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browsing import DESK, PHONE, assert_sound, assert_sound_at_both, come_in, picture
from tests.conftest import Servers
from tests.factories import Factory
from tests.serving import running
from tests.shop import Shop
from tradepost.accounts.types import Caller
from tradepost.core.clock import now
from tradepost.core.crypto import Keyring
from tradepost.core.database import Database
from tradepost.core.ids import short_id
from tradepost.core.settings import Settings
from tradepost.flows.install_store import install_store
from tradepost.flows.preset import PRESETS
from tradepost.flows.store import open_store

pytestmark = [pytest.mark.browser, pytest.mark.slow]


class Day:
    """A store that is served, and the people who came in; their browsers' complaints collect."""

    def __init__(self, browser: Browser, shop: Shop, address: str) -> None:
        self.browser = browser
        self.shop = shop
        self.address = address
        self._heard: list[list[str]] = []

    async def come_in(self, person: Caller, width: int) -> Page:
        """Let a person in, with a window of this width."""
        page, complaints = await come_in(self.browser, self.shop, self.address, person, width)
        self._heard.append(complaints)
        return page

    @property
    def complaints(self) -> list[str]:
        """What the consoles of all windows complained about."""
        return [complaint for heard in self._heard for complaint in heard]


Opening = Callable[[str, str], Awaitable[Day]]


@pytest_asyncio.fixture
async def day(browser: Browser, servers: Servers, migrated: str, tmp_path: Path) -> AsyncIterator[Opening]:
    """Open stores by preset and the role of their buyer; closed and dropped when the test ends."""
    async with AsyncExitStack() as stack:

        async def begin(preset: str, role: str) -> Day:
            folder, name = PRESETS / preset, await servers.clone(migrated)
            stack.push_async_callback(servers.drop, name)
            owner = await Database.open(servers.dsn(name, "postgres"), size=1)
            await install_store(owner, folder)
            await owner.close()
            dsn = servers.dsn(name, "tradepost_app")
            opened = open_store(
                preset, Settings(stores=(preset,), test_payments=True), dsn=dsn, cache_url=servers.cache_url,
                files_url=str(tmp_path / "files"), keys=Keyring.from_secret("test", b"0" * 32), preset_folder=folder,
            )  # fmt: skip
            store = await stack.enter_async_context(opened)
            make = Factory(store)
            address = stack.enter_context(running(dsn, servers.cache_url, tmp_path / "files", folder))
            shop = Shop(store, make, await make.person(role, "tendai"))
            return Day(browser, shop, address.replace("127.0.0.1", f"{preset}.localhost"))

        yield begin


async def order(page: Page, day: Day, shipping: str) -> str:
    """Order what is in the cart, to be fetched, and pay; return the order's number."""
    await page.goto(f"{day.address}/checkout")
    await page.locator(f"label:has(input[name=shipping][value={shipping}])").click()
    await expect(page.locator("#where")).not_to_contain_text("Where to?")
    await assert_sound(page)
    await picture(page, "checkout")
    return await pay(page)


async def pay(page: Page) -> str:
    await page.get_by_role("button", name=re.compile("Order and pay")).first.click()
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator("h1")).to_have_text(re.compile("Order "))
    await expect(page.locator("main")).to_contain_text("Paid")
    return (await page.locator("h1").inner_text()).removeprefix("Order ")


async def move(page: Page, day: Day, number: str, *labels: str) -> None:
    """Make the moves of these names on an order's page, one after the other."""
    for label in labels:
        await page.goto(f"{day.address}/orders/{number}")
        await page.get_by_role("button", name=label, exact=True).first.click()
        await expect(page.get_by_role("button", name=label, exact=True)).to_have_count(0)


async def mind_the_store(day: Day, admin: Page, *paths: str) -> None:
    """The operator walks these pages of the back office, and holds the window narrow and wide at each."""
    for path in paths:
        await admin.goto(day.address + path)
        await assert_sound_at_both(admin)


async def list_tomatoes(phone: Page, tese: Day) -> None:
    """A farmer puts the harvest on the table, from a phone."""
    await phone.goto(f"{tese.address}/me/listings/new?kind=product")
    await phone.fill("input[name=title]", "Tomatoes from Mutoko")
    await phone.fill("textarea[name=description]", "Picked on Friday, firm and red.")
    await phone.select_option("select[name=category]", "vegetables")
    await phone.select_option("[name='attribute.grown']", "Open field")
    await phone.get_by_label("Grown without chemicals").check()
    await phone.fill("[name='variant.0.price']", "12")
    await phone.fill("[name='variant.0.on_hand']", "40")
    await assert_sound(phone)
    await picture(phone, "list-something")
    await phone.locator("button[name=action][value=publish]").first.click()
    await expect(phone.locator("h1")).to_have_text("Tomatoes from Mutoko")


async def buy_tomatoes(buyer: Page, phone: Page, tese: Day) -> None:
    """A buyer orders them, to be fetched at the gate, and the farmer hands them over."""
    await buyer.goto(f"{tese.address}/search?q=tomatoes")
    await buyer.get_by_role("link", name="Tomatoes from Mutoko").first.click()
    await assert_sound(buyer)
    await buyer.get_by_role("button", name="Add to cart").click()
    await expect(buyer.locator("#flash")).to_contain_text("in your cart")
    number = await order(buyer, tese, "farm_gate")
    await phone.goto(f"{tese.address}/me/sales")
    await expect(phone.locator(".board")).to_contain_text(number)
    await assert_sound(phone)
    await picture(phone, "sales-board")
    await move(phone, tese, number, "Start packing", "Hand over at the gate")


async def book_ploughing(buyer: Page, desk: Page, tese: Day, path: str) -> None:
    """A buyer asks for a day, the provider says yes, the buyer pays, the work is done."""
    await buyer.goto(tese.address + path)
    await buyer.get_by_role("button", name="Add to cart").click()
    await expect(buyer.locator("#flash")).to_contain_text("in your cart")
    await buyer.goto(f"{tese.address}/checkout")
    await buyer.fill("[name=requested_on]", (now() + timedelta(days=9)).date().isoformat())
    await buyer.fill("[name='shipping_address.name']", "Tendai Buyer")
    await buyer.fill("[name='shipping_address.line1']", "Plot 7, Mutoko road")
    await buyer.fill("[name='shipping_address.city']", "Murehwa")
    await assert_sound(buyer)
    await buyer.get_by_role("button", name="Ask for this day").first.click()
    await expect(buyer.locator("main")).to_contain_text("Nothing is charged before that")
    booking = (await buyer.locator("h1").inner_text()).removeprefix("Order ")
    await move(desk, tese, booking, "Accept")
    await buyer.reload()
    await buyer.get_by_role("button", name=re.compile("^Pay ")).first.click()
    await buyer.get_by_role("button", name="Approve").click()
    await expect(buyer.locator("main")).to_contain_text("Booked")
    await move(desk, tese, booking, "Start the work", "The work is done")
    await move(buyer, tese, booking, "Confirm the work")


async def test_a_day_at_tese(day: Opening) -> None:
    tese = await day("tese", "buyer")
    make = tese.shop.make
    provider = await make.person("provider", "kudzai")
    ploughing = await make.listing(
        provider, "Ploughing", kind="service", category="fields", price=6_000, stock=None, unit="hectare"
    )
    phone = await tese.come_in(await make.person("seller", "rudo"), PHONE)
    await list_tomatoes(phone, tese)
    buyer = await tese.come_in(tese.shop.buyer, PHONE)
    await buy_tomatoes(buyer, phone, tese)
    await book_ploughing(buyer, await tese.come_in(provider, DESK), tese, f"/l/ploughing-{short_id(ploughing)}")
    admin = await tese.come_in(await make.person("admin"), DESK)
    await admin.goto(f"{tese.address}/office/money")
    await expect(admin.locator("main")).to_contain_text("Kudzai")
    await assert_sound(admin)
    await admin.get_by_role("button", name="Pay everybody now").click()
    await expect(admin.locator("#flash")).to_contain_text("2 sellers are being paid")
    paid = await tese.shop.row("SELECT array_agg(amount_minor ORDER BY amount_minor) FROM payouts")
    assert paid[0] == [1_140, 4_917]  # five of a hundred stay with the market; in the price of work are 15 % of tax
    await mind_the_store(
        tese, admin, "/office", "/office/categories", "/office/places", "/office/figures", "/office/people"
    )
    assert tese.complaints == []


async def test_a_day_at_souk_loop(day: Opening) -> None:
    souk = await day("souk-loop", "buyer")
    make = souk.shop.make
    seller = await make.person("seller", "yassine")
    shoes = await make.listing(
        seller, "Court sneakers", category="sneakers", price=90_000, stock=1, feed="community", condition="good"
    )
    hers = await souk.come_in(souk.shop.buyer, PHONE)
    await hers.goto(f"{souk.address}/l/court-sneakers-{short_id(shoes)}")
    await assert_sound(hers)
    await hers.get_by_text("Make an offer").click()
    await hers.fill("#f-offer", "70")
    await hers.get_by_role("button", name="Send offer").click()
    await expect(hers.locator(".offer")).to_contain_text("Waiting for an answer")
    his = await souk.come_in(seller, DESK)
    await his.goto(f"{souk.address}/messages")
    await his.locator(".inbox__link").first.click()
    await assert_sound(his)
    await picture(his, "haggle")
    await his.fill("[name=amount]", "80")
    await his.get_by_role("button", name="Counter").click()
    await expect(hers.locator(".offer").last).to_contain_text("Waiting for you")
    await hers.get_by_role("button", name="Accept").click()
    await hers.get_by_role("link", name="Buy at this price").click()
    await hers.locator("label:has(input[name=shipping][value=meet])").click()
    await expect(hers.locator("#where")).not_to_contain_text("Where to?")
    await assert_sound(hers)
    number = await pay(hers)
    await move(hers, souk, number, "I have it")
    await assert_sound(hers)
    price, state = await souk.shop.row(
        "SELECT l.unit_price_minor, o.state FROM orders o JOIN order_lines l ON l.order_id = o.id"
    )
    assert (price, state) == (80_000, "completed")
    await his.goto(f"{souk.address}/me/money")
    await assert_sound(his)
    assert (await souk.shop.stock(await make.variant_of(shoes))) == (0, 0)

    admin = await souk.come_in(await make.person("admin"), DESK)
    await mind_the_store(
        souk,
        admin,
        "/office",
        "/office/settings",
        "/office/settings/terms",
        "/office/moderation",
        "/office/audit",
    )
    assert souk.complaints == []


async def test_a_day_at_the_shop_assistants_counter(day: Opening) -> None:
    counter = await day("shop-assistant", "customer")
    make = counter.shop.make
    staff, admin = await make.person("staff"), await make.person("admin")
    camera = await make.listing(
        admin, "Pocket camera", category="cameras", price=20_000, stock=1, attributes={"product_type": "Camera"}
    )
    variant = await make.variant_of(camera)
    desk = await counter.come_in(staff, DESK)
    await desk.goto(f"{counter.address}/office/listings?words=pocket")
    await desk.locator(f"label:has(input[name='row.{variant}'])").click()
    await desk.fill("#f-amount", "4")
    await desk.get_by_role("button", name="Stock by pieces").click()
    await expect(desk.locator("#flash")).to_contain_text("1 changed")
    assert await counter.shop.stock(variant) == (5, 0)
    await assert_sound(desk)
    await desk.goto(f"{counter.address}/office")
    buyer = await counter.come_in(counter.shop.buyer, PHONE)
    await buyer.goto(f"{counter.address}/search?q=camera")
    await buyer.get_by_role("link", name="Pocket camera").first.click()
    await assert_sound(buyer)
    await buyer.get_by_role("button", name="Add to cart").click()
    await expect(buyer.locator("#flash")).to_contain_text("in your cart")
    number = await order(buyer, counter, "counter")
    await expect(desk.locator("#today")).to_contain_text("Paid today: 1 order")  # by itself: the desk is told
    await expect(desk.locator("[data-desk=total]")).to_have_text("1")
    await picture(desk, "office-today")
    assert await counter.shop.stock(variant) == (4, 0)
    await move(desk, counter, number, "Pack and ship", "Mark as delivered")
    await move(buyer, counter, number, "Ask for a return")
    await assert_sound(buyer)
    await desk.goto(f"{counter.address}/orders/{number}")
    await desk.locator("summary", has_text="Goods are back: refund").click()
    await desk.locator(".confirm__body textarea").first.fill("All there.")
    await desk.locator(".confirm__body button", has_text="Goods are back: refund").click()
    await expect(desk.locator("main")).to_contain_text("Returned")
    assert await counter.shop.stock(variant) == (5, 0)
    assert (await counter.shop.row("SELECT refunded_minor = amount_minor FROM payments"))[0]
    boss = await counter.come_in(admin, DESK)
    await mind_the_store(
        counter, boss, "/office", "/office/orders", "/office/listings", "/office/listings/import", "/office/engine"
    )
    assert counter.complaints == []


async def test_a_day_at_the_marketplace_watch(day: Opening) -> None:
    watch = await day("marketplace-watch", "user")
    make = watch.shop.make
    buyer = await watch.come_in(watch.shop.buyer, DESK)
    await buyer.goto(f"{watch.address}/search?q=gravel+bicycle")
    await buyer.get_by_role("button", name="Save this search").click()
    await buyer.goto(f"{watch.address}/me/searches")
    await expect(buyer.locator("#searches")).to_contain_text("Nothing new")
    seller = await make.person("user", "pia")
    phone = await watch.come_in(seller, PHONE)
    await phone.goto(f"{watch.address}/me/listings/new")
    await phone.fill("input[name=title]", "Gravel bicycle, size M")
    await phone.select_option("select[name=category]", "mountain-and-gravel")
    await phone.fill("[name='variant.0.price']", "640")
    await phone.fill("[name='variant.0.on_hand']", "1")
    await assert_sound(phone)
    await phone.locator("button[name=action][value=publish]").first.click()
    await expect(phone.locator("h1")).to_have_text("Gravel bicycle, size M")
    await buyer.goto(f"{watch.address}/me/searches")
    await expect(buyer.locator("#searches")).to_contain_text("1 new")
    await assert_sound(buyer)
    await picture(buyer, "kept-searches")
    await buyer.locator("#searches .line__title").click()
    await buyer.get_by_role("link", name="Gravel bicycle, size M").first.click()
    await assert_sound(buyer)
    await buyer.get_by_role("button", name="Add to cart").click()
    await expect(buyer.locator("#flash")).to_contain_text("in your cart")
    number = await order(buyer, watch, "hand-over")
    await move(buyer, watch, number, "I have it")
    await assert_sound(buyer)
    admin = await watch.come_in(await make.person("admin"), DESK)
    await mind_the_store(
        watch, admin, "/office", "/office/search", "/office/data", "/office/processes", "/office/categories"
    )
    assert watch.complaints == []
