"""People in real browsers at once: haggling to a sale, a purchase that a third sees, a line that is cut, a server that is killed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.conftest import MARKET, Servers
from tests.factories import Factory
from tests.people import join
from tests.serving import free_port, launched
from tests.shows import plan
from tradepost.accounts.service import follow
from tradepost.accounts.types import StartedSession
from tradepost.flows.conversations import About, begin, say
from tradepost.flows.notices import FollowersArgs, tell_followers
from tradepost.flows.shows import add_to_show, go_live, pin, schedule_show
from tradepost.flows.shows import say as comment
from tradepost.flows.store import Store
from tradepost.messaging.types import Draft
from tradepost.streams.types import Comment, PinForm
from tradepost.web.security import SESSION_COOKIE

pytestmark = pytest.mark.browser


class Served:
    """A store's server that can be killed and started again at the same address."""

    def __init__(self, dsn: str, cache_url: str, files: Path) -> None:
        self._what = (dsn, cache_url, files, MARKET, free_port())
        self.process = launched(*self._what)

    @property
    def address(self) -> str:
        """Where browsers find it."""
        return f"http://{MARKET.name}.localhost:{self._what[4]}"

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait(10)

    def start(self) -> None:
        """Start it again."""
        self.process = launched(*self._what)


@pytest_asyncio.fixture
async def served(store: Store, store_dsn: str, servers: Servers, tmp_path: Path) -> AsyncIterator[Served]:
    """Serve the test's store."""
    made = Served(store_dsn, servers.cache_url, tmp_path / "files")
    yield made
    made.kill()


async def window(
    browser: Browser, served: Served, who: StartedSession | None, path: str, width: int = 1200, *, sockets: bool = True
) -> Page:
    """Open a page in a browser of somebody's own; without `sockets` one that no WebSocket gets out of."""
    context: BrowserContext = await browser.new_context(viewport={"width": width, "height": 850})
    if who is not None:
        await context.add_cookies([{"name": SESSION_COOKIE, "value": who.token, "url": served.address}])
    page = await context.new_page()
    if not sockets:
        await page.add_init_script("delete window.WebSocket")
    page.set_default_timeout(20_000)
    await page.goto(served.address + path)
    return page


def path_of(listing_id: UUID, slug: str) -> str:
    from tradepost.core.ids import short_id

    return f"/l/{slug}-{short_id(listing_id)}"


async def test_two_people_haggle_to_a_sale(browser: Browser, served: Served, store: Store, make: Factory) -> None:
    seller, buyer = await join(store, "sami", role="seller"), await join(store, "bea", role="buyer")
    lamp = await make.listing(seller.caller, "Brass lamp", category="tools", price=10_000, stock=1, feed="community")
    hers = await window(browser, served, buyer, path_of(lamp, "brass-lamp"), 390)
    await hers.get_by_text("Make an offer").click()
    await hers.fill("#f-offer", "70")
    await hers.fill("#f-message", "Cash, today?")
    await hers.get_by_role("button", name="Send offer").click()
    await expect(hers.locator(".offer")).to_contain_text("Waiting for an answer")
    his = await window(browser, served, seller, "/messages")
    await his.locator(".inbox__link").first.click()
    await his.fill("[name=amount]", "85")
    await his.get_by_role("button", name="Counter").click()
    await expect(hers.locator(".offer").last).to_contain_text("Waiting for you")
    await hers.get_by_role("button", name="Accept").click()
    await expect(his.locator("#thread")).to_contain_text("The buyer accepted 85.00 USD")
    await hers.get_by_role("link", name="Buy at this price").click()
    await expect(hers.locator("#summary")).to_contain_text("$85.00")
    await hers.locator("label:has(input[name=shipping][value=pickup])").click()
    await hers.get_by_role("button", name="Order and pay").first.click()
    await hers.get_by_role("button", name="Approve").click()
    await expect(hers.locator("main")).to_contain_text("Paid")
    await his.reload()
    await expect(his.locator(".offer").last).to_contain_text("Ordered")


@pytest.mark.parametrize("sockets", [True, False])
async def test_a_chat_that_is_cut_and_restored_loses_nothing(
    browser: Browser, served: Served, store: Store, make: Factory, sockets: bool
) -> None:
    seller, buyer = await join(store, "sami", role="seller"), await join(store, "bea", role="buyer")
    lamp = await make.listing(seller.caller, "Brass lamp", category="tools")
    first = await begin(store, buyer.caller, About(listing_id=lamp), Draft(body="Still there?"))
    hers = await window(browser, served, buyer, f"/messages/{first.conversation_id}", 390, sockets=sockets)
    his = await window(browser, served, seller, f"/messages/{first.conversation_id}", sockets=sockets)
    await his.locator("#f-body").press_sequentially("It")
    await expect(hers.locator("[data-typing]")).to_be_visible()
    await his.fill("#f-body", "It is.")
    await his.keyboard.press("Enter")
    await expect(hers.locator("#thread")).to_contain_text("It is.")
    await expect(his.locator("#thread [data-state]").last).to_have_text("Seen")
    await hers.context.set_offline(True)
    for n in range(5):
        await say(store, seller.caller, first.conversation_id, Draft(body=f"While you were away {n}"))
    await hers.context.set_offline(False)
    await expect(hers.locator("#thread")).to_contain_text("While you were away 4")
    seqs = await hers.locator("#thread [data-seq]").evaluate_all("rows => rows.map(r => Number(r.dataset.seq))")
    assert seqs == [1, 2, 3, 4, 5, 6, 7]


async def live_show(store: Store, make: Factory, host: StartedSession) -> tuple[UUID, str]:
    """Have a show on with a lamp pinned; return it and its address."""
    lamp = await make.listing(host.caller, "Brass lamp", category="tools", price=10_000, stock=2)
    stream = await schedule_show(store, host.caller, plan(stream_url="/theme/none.mp4"))
    await add_to_show(store, host.caller, stream.id, PinForm(listing_id=lamp, price_minor=8_000))
    await go_live(store, host.caller, stream.id)
    await pin(store, host.caller, stream.id, 1)
    return stream.id, stream.path


async def test_a_third_viewer_sees_a_purchase_in_a_live_show(
    browser: Browser, served: Served, store: Store, make: Factory
) -> None:
    host, buyer = await join(store, "hana", role="seller"), await join(store, "bea", role="buyer")
    _, path = await live_show(store, make, host)
    hers = await window(browser, served, buyer, path, 390)
    third = await window(browser, served, None, path)
    hosts = await window(browser, served, host, path)
    await expect(third.locator("[data-viewers]")).to_have_text("3")
    await hers.fill("#f-say", "Is it heavy?")
    await hers.keyboard.press("Enter")
    await expect(third.locator("#log")).to_contain_text("Is it heavy?")
    await expect(hosts.locator("#log")).to_contain_text("Is it heavy?")
    await hers.get_by_role("button", name="Buy now").click()
    await expect(hers.locator("#buy")).to_contain_text("Kept for you")
    await expect(third.locator("[data-left]")).to_have_text("1 left")
    await hers.locator("#buy label:has(input[name=shipping][value=pickup])").click()
    await expect(hers.locator("#buy")).to_contain_text("Buy for $80.00")
    await hers.get_by_role("button", name="Buy for").click()
    await expect(hers.locator("#buy")).to_contain_text("Your order:")
    assert hers.url == served.address + path
    await expect(third.locator("#log")).to_contain_text("Brass lamp, 1 left")
    wide = await hers.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0


async def test_an_auction_in_two_browsers(browser: Browser, served: Served, store: Store, make: Factory) -> None:
    host, ann, ben = [
        await join(store, name, role=role) for name, role in (("hana", "seller"), ("ann", "buyer"), ("ben", "buyer"))
    ]
    _, path = await live_show(store, make, host)
    anns, bens = await window(browser, served, ann, path, 390), await window(browser, served, ben, path)
    hosts = await window(browser, served, host, path)
    await hosts.get_by_text("Auction something").click()
    await hosts.fill("#f-starts", "10")
    await hosts.fill("#f-increment", "1")
    await hosts.fill("#f-seconds", "10")
    await hosts.fill("#f-soft_close_s", "3")
    await hosts.get_by_role("button", name="Open the auction").click()
    await anns.locator("button[form=bid-least]").click()
    await expect(bens.locator("[data-leader]")).to_have_text("ann leads", ignore_case=True)
    await bens.get_by_text("Set a maximum").click()
    await bens.fill("#f-max", "30")
    await bens.locator("button[form=bid-most]").last.click()
    await expect(anns.locator("#auction [data-price]")).to_have_text("$11.00")
    await expect(bens.locator("#log")).to_contain_text("won at $11.00", timeout=30_000)
    await bens.get_by_role("link", name="Pay your win").click()
    await expect(bens.locator("#buy")).to_contain_text("$11.00")


async def test_a_server_that_is_killed_mid_show_loses_nothing(
    browser: Browser, served: Served, store: Store, make: Factory
) -> None:
    host, buyer = await join(store, "hana", role="seller"), await join(store, "bea", role="buyer")
    stream_id, path = await live_show(store, make, host)
    viewers = [await window(browser, served, buyer, path), await window(browser, served, None, path, sockets=False)]
    await comment(store, buyer.caller, stream_id, Comment(body="Before"))
    for viewer in viewers:
        await expect(viewer.locator("#log")).to_contain_text("Before")
    await asyncio.to_thread(served.kill)
    for n in range(10):
        await comment(store, buyer.caller, stream_id, Comment(body=f"While it was down {n}"))
    await asyncio.to_thread(served.start)
    await comment(store, buyer.caller, stream_id, Comment(body="After"))
    for viewer in viewers:
        await expect(viewer.locator("#log")).to_contain_text("After", timeout=30_000)
        seqs = await viewer.locator("#log [data-seq]").evaluate_all("rows => rows.map(r => Number(r.dataset.seq))")
        assert seqs == list(range(1, 15))


async def test_whoever_follows_a_host_is_told_at_once_wherever_they_are(
    browser: Browser, served: Served, store: Store, make: Factory
) -> None:
    host, fan = await join(store, "hana", role="seller"), await join(store, "fay")
    async with store.db.transaction(actor=fan.caller.actor) as tx:
        await follow(tx, fan.caller, host.caller.check_signed_in())
    hers = await window(browser, served, fan, "/", 390)
    await expect(hers.locator("[data-notices-count]")).to_have_text("")
    stream_id, path = await live_show(store, make, host)
    await tell_followers(store, FollowersArgs(stream_id, "show_started"))
    await expect(hers.locator("#flash .toast")).to_contain_text("hana is live: Friday lamps")
    await expect(hers.locator("[data-notices-count]")).to_have_text("1")
    await hers.locator("#flash .toast a").click()
    await expect(hers).to_have_url(served.address + path)
