"""One day of the bakery in a real browser, in five roles: customer, staff, kitchen, rider, admin; and axe-core on the pages of each."""

import re
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from sqlalchemy import bindparam, update

from tests.browsing import DESK, PHONE, assert_fits, assert_sound, assert_sound_at_both, come_in
from tests.conftest import MARKET, Servers
from tests.serving import running
from tests.shop import Shop
from tests.test_delivery import plan_week
from tests.test_kitchen import CAKE
from tradepost.accounts.types import Caller
from tradepost.catalog.tables import listings

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest_asyncio.fixture
async def bakery(shop: Shop, store_dsn: str, servers: Servers, tmp_path: Path) -> AsyncIterator[str]:
    """Serve a store with windows every day and a cake that people design; yield its address."""
    await plan_week(shop)
    await shop.goods(
        "Birthday cake", price=2000, stock=20, attributes={"allergens": "wheat, egg", "lead_time_hours": 24}
    )
    statement = update(listings).values(
        is_customizable=True, configuration_schema=bindparam("schema", type_=listings.c.configuration_schema.type)
    )
    await shop.run(statement, schema=CAKE)
    with running(store_dsn, servers.cache_url, tmp_path / "files", MARKET) as address:
        yield address.replace("127.0.0.1", f"{MARKET.name}.localhost")


async def design_and_order(customer: Page, bakery: str) -> str:
    """A customer designs a cake, takes a window, pays; return the PIN for the door."""
    await customer.goto(f"{bakery}/search?q=birthday")
    await customer.get_by_role("link", name="Birthday cake").first.click()
    await customer.locator("label", has=customer.get_by_label("Nut")).click()
    await customer.locator("label", has=customer.get_by_label(re.compile("8 inch"))).click()
    await customer.get_by_label(re.compile("Words on the cake")).fill("Ada is 7")
    await expect(customer.locator("[data-total]")).to_have_text("$34.00")
    await expect(customer.locator("[data-cake-words]")).to_have_text("Ada is 7")
    await assert_sound(customer)
    await customer.get_by_role("button", name="Add to cart").click()
    await expect(customer.locator("#flash")).to_contain_text("in your cart")
    await customer.goto(f"{bakery}/checkout")
    await customer.fill("[name='shipping_address.name']", "Ann Buyer")
    await customer.fill("[name='shipping_address.line1']", "1 Main Street")
    await customer.fill("[name='shipping_address.city']", "Springfield")
    await customer.locator("label:has(input[name=slot_id])").nth(1).click()
    await assert_fits(customer)
    await customer.get_by_role("button", name="Order and pay").first.click()
    await customer.get_by_role("button", name="Approve").click()
    await expect(customer.locator(".pin-card strong")).to_have_text(re.compile(r"^\d{4}$"))
    pin = await customer.locator(".pin-card strong").inner_text()
    await assert_sound(customer)
    return pin


async def confirm_and_print(staff: Page, bakery: str, number: str, day: date) -> None:
    """Staff see the order, print its ticket, and find the cake on the kitchen's list."""
    await staff.goto(f"{bakery}/office")
    await expect(staff.locator("#today")).to_contain_text("Paid today: 1 order")
    await assert_sound(staff)
    await staff.keyboard.press("g")
    await staff.keyboard.press("o")
    await expect(staff.locator("h1")).to_have_text("Open orders")
    await assert_sound(staff)
    await staff.get_by_role("link", name=number).click()
    await staff.get_by_role("link", name="Kitchen ticket").click()
    await expect(staff.locator(".ticket")).to_contain_text("Ada is 7")
    await expect(staff.locator(".ticket__allergens")).to_contain_text("hazelnuts")
    await assert_sound(staff)
    await staff.goto(f"{bakery}/office/kitchen?day={day}")
    await expect(staff.locator("main")).to_contain_text("Birthday cake")
    await expect(staff.locator(".ticket-card")).to_contain_text("Ada is 7")
    await assert_sound(staff)


async def give_to_rider(staff: Page, bakery: str, day: date, rider: Caller) -> None:
    """Staff drag the stop to a rider."""
    await staff.goto(f"{bakery}/office/delivery?day={day}")
    await assert_sound(staff)
    stop, lane = staff.locator("[data-stop]").first, staff.locator(f"[data-lane='{rider.user_id}']").first
    await stop.drag_to(lane)
    await expect(staff.locator("#flash")).to_contain_text("Done.")
    await expect(lane.locator("[data-stop]")).to_have_count(1)


async def ride(phone: Page, shop: Shop, bakery: str, day: date, pin: str) -> None:
    """The rider sets out, hands over where there is no network, and the phone sends it later."""
    await phone.goto(f"{bakery}/rides?day={day}")
    await expect(phone.locator(".ride__where")).to_contain_text("1 Main Street")
    await assert_sound(phone)
    await phone.get_by_role("button", name="On my way").click()
    await expect(phone.locator(".badge").first).to_have_text("On its way")
    await phone.context.set_offline(True)  # in the stairwell there is no network
    await phone.locator(".ride__hand summary").click() if not await phone.locator(".ride__pin").is_visible() else None
    await phone.fill(".ride__pin", pin)
    await phone.get_by_role("button", name="Handed over").click()
    await expect(phone.locator("[data-waiting]")).to_contain_text("1 not sent yet")
    assert (await shop.row("SELECT state FROM orders"))[0] == "shipped"
    await phone.context.set_offline(False)
    await expect(phone.locator(".badge").first).to_have_text("Delivered")


async def review(customer: Page) -> None:
    """The customer sees that it came, and says how it was."""
    await customer.reload()
    await expect(customer.locator("main")).to_contain_text("Handed over against the PIN")
    await customer.get_by_role("link", name="Birthday cake").first.click()
    await customer.get_by_text("Write a review").click()
    await customer.locator("label[for=f-rating-5]").click()
    await customer.fill("textarea[name=comment]", "It was gone in ten minutes.")
    await customer.get_by_role("button", name="Send review").click()
    await expect(customer.locator("#reviews")).to_contain_text("gone in ten minutes")


async def test_a_bakery_day(browser: Browser, shop: Shop, bakery: str) -> None:
    customer, complaints = await come_in(browser, shop, bakery, shop.buyer, PHONE)
    pin = await design_and_order(customer, bakery)
    number, day = await shop.row(
        "SELECT o.number, s.delivery_on FROM orders o JOIN slot_bookings b ON b.order_id = o.id JOIN delivery_slots s ON s.id = b.slot_id"
    )
    staff, more = await come_in(browser, shop, bakery, await shop.make.person("staff"), DESK)
    complaints += more
    await confirm_and_print(staff, bakery, number, day)
    rider = await shop.make.person("rider", "rita")
    await give_to_rider(staff, bakery, day, rider)
    phone, _ = await come_in(browser, shop, bakery, rider, PHONE)  # complains that it has no network, as it should
    await ride(phone, shop, bakery, day, pin)
    await review(customer)
    admin, more = await come_in(browser, shop, bakery, await shop.make.person("admin"), DESK)
    complaints += more
    await admin.goto(f"{bakery}/office/figures")
    total = (await shop.row("SELECT total_minor FROM orders"))[0]
    await expect(admin.locator(".stat__value").first).to_have_text(f"${total / 100:,.2f}")
    await assert_sound(admin)
    cake = (await shop.row("SELECT listing_id FROM order_lines"))[0]
    questions = f"/me/listings/{cake}/questions"
    for path in ("/office/promos", "/office/listings", "/office/listings/import", "/office/delivery/plan", "/office/engine", "/office/processes",
                 "/office/kitchen/ingredients", "/office/kitchen/goods", "/office/kitchen/recipes", "/office/orders?view=list", questions):  # fmt: skip
        await admin.goto(bakery + path)
        await assert_sound_at_both(admin)
    assert complaints == []
