"""Pages of live shows, as a browser without scripts uses them."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest_asyncio

from tests.factories import Factory
from tests.people import join, join_as
from tests.shop import Shop
from tests.shows import Market, plan
from tests.visitor import Visitor
from tradepost.core.clock import now
from tradepost.core.database import Database
from tradepost.flows.show_sales import open_auction, open_giveaway
from tradepost.flows.shows import end_show, set_recording
from tradepost.streams.types import AuctionForm
from tradepost.web.security import SESSION_COOKIE


@pytest_asyncio.fixture
async def stand(shop: Shop, make: Factory, store_dsn: str) -> AsyncIterator[Market]:
    """Plan a show."""
    owner = await Database.open(store_dsn.replace("tradepost_app", "postgres"), size=1)
    yield await Market.open(shop, make, owner)
    await owner.close()


async def sign_in(browse: Visitor, stand: Market, *roles: str) -> None:
    started = await (join_as(stand.store, "tendai", *roles) if roles else join(stand.store, role="buyer"))
    browse.client.cookies.set(SESSION_COOKIE, started.token)
    browse.token = ""


async def path_of(browse: Visitor) -> str:
    found = re.search(r'href="(/live/[^"?]+-[0-9A-Za-z]{22})"', (await browse.get("/live")).text)
    assert found
    return found[1]


async def test_a_visitor_watches_and_is_asked_to_sign_in_to_buy(browse: Visitor, stand: Market) -> None:
    planned = await browse.get(await path_of(browse))
    assert "Begins" in planned.text
    assert "Buy now" not in planned.text
    await stand.live()
    page = await browse.get(await path_of(browse))
    assert 'data-video="https://video.example.com/live.m3u8"' in page.text
    assert "$80.00" in page.text
    policy = page.headers["content-security-policy"]
    assert "connect-src 'self' https://video.example.com;" in policy
    assert "media-src 'self' blob: https:" in policy
    assert "blob:" not in (await browse.get("/live")).headers["content-security-policy"]
    answer = await browse.post(f"/shows/{stand.id}/pins/1/hold", follow=False)
    assert answer.headers["location"].startswith("/sign-in?next=/live/")
    assert await stand.shop.count("offers") == 0


async def test_somebody_buys_and_stays_in_the_show(browse: Visitor, stand: Market) -> None:
    await stand.live()
    await sign_in(browse, stand)
    path = await path_of(browse)
    held = await browse.post(f"/shows/{stand.id}/pins/1/hold")
    assert (held.url.path, "Kept for you" in held.text) == (path, True)
    fields = {
        n: re.search(rf'name="{n}" value="([^"]*)"', held.text)[1]  # type: ignore[index]  # the form has them
        for n in ("offer_id", "position", "idempotency_key", "expected_total_minor")
    }
    fields |= {"gateway": "sandbox", "method": "approve", "shipping": "pickup", "action": "order"}
    bought = await browse.post(f"/shows/{stand.id}/buy", fields)
    assert (bought.status_code, bought.url.path) == (200, path)
    assert "Your order:" in bought.text
    assert "Sold: <b>Brass lamp</b>, 0 left" in bought.text
    assert await stand.shop.count("orders", "state = 'paid'") == 1


async def test_a_form_that_is_refused_keeps_what_is_held(browse: Visitor, stand: Market) -> None:
    await stand.live()
    await sign_in(browse, stand)
    held = await browse.post(f"/shows/{stand.id}/pins/1/hold")
    offer = re.search(r'name="offer_id" value="([^"]*)"', held.text)
    assert offer
    fields = {
        "offer_id": offer[1],
        "position": "1",
        "idempotency_key": "k",
        "shipping": "pickup",
        "gateway": "nonsense",
        "action": "order",
    }
    refused = await browse.post(f"/shows/{stand.id}/buy", fields)
    assert refused.status_code in {409, 422}
    assert "Kept for you" in refused.text
    await browse.post(f"/shows/{stand.id}/buy", fields | {"action": "release"})
    assert await stand.shop.rows("SELECT status FROM offers") == [("expired",)]


async def test_a_host_does_everything_by_forms(browse: Visitor, stand: Market, make: Factory) -> None:
    await sign_in(browse, stand, "seller")
    host = await stand.shop.row("SELECT id FROM users WHERE username = 'tendai'")
    caller = await make.person("seller")
    lamp = await make.listing(type(caller)(host[0]), "Old radio", category="tools", price=5_000)
    when = (now() + timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M")
    bad = await browse.post("/live/new", {"title": "", "category": "tools", "scheduled_at": "soon"})
    assert (bad.status_code, "A day and a time, please." in bad.text) == (422, True)
    form = {
        "title": "Radios",
        "category": "tools",
        "scheduled_at": when,
        "stream_url": "/theme/video/x.m3u8",
        "description": "",
    }
    made = await browse.post("/live/new", form)
    stream_id = (await stand.shop.row("SELECT id FROM streams WHERE title = 'Radios'"))[0]
    desk = f"/shows/{stream_id}/desk"
    changed = await browse.post(f"/shows/{stream_id}/edit", {**form, "title": "Old radios"})
    assert "Old radios" in changed.text
    assert made.status_code == 200
    await browse.post(f"{desk}/pins", {"listing_id": str(lamp), "price": "45.00"})
    live = await browse.post(f"{desk}/start")
    assert "You are live." in live.text
    assert "Old radio" in (await browse.post(f"{desk}/pin", {"position": "1"})).text
    said = await browse.post(f"/shows/{stream_id}/comments", {"body": "Welcome <b>all</b>", "nonce": "n"})
    assert "Welcome &lt;b&gt;all&lt;/b&gt;" in said.text
    auction = await browse.post(
        f"{desk}/auction", {"position": "1", "starts": "10", "increment": "1", "seconds": "30", "soft_close_s": "5"}
    )
    assert "The auction is open." in auction.text
    assert "An auction is running" in (await browse.post(f"{desk}/end")).text
    auction_id = (await stand.shop.row("SELECT id FROM auctions"))[0]
    assert "Call off" in auction.text
    await browse.post(f"{desk}/cancel-auction", {"auction_id": str(auction_id)})
    assert "Entries are open." in (await browse.post(f"{desk}/giveaway", {"prize": "A knob"})).text
    await browse.post(f"/shows/{stream_id}/comments/3/remove", {})
    assert "Comment removed" in (await browse.post(f"{desk}/unpin", {"position": "1"})).text
    over = await browse.post(f"{desk}/end")
    assert "The show is over." in over.text
    kept = await browse.post(f"{desk}/recording", {"recording_url": "/theme/video/x.m3u8"})
    assert "Recording" in kept.text
    assert (await browse.post(f"{desk}/nonsense", {})).status_code == 404


async def test_bids_and_entries_by_forms(browse: Visitor, stand: Market) -> None:
    await stand.live()
    sale = await open_auction(
        stand.store, stand.host, stand.id, AuctionForm(position=1, starts_minor=1_000, increment_minor=100)
    )
    gift = await open_giveaway(stand.store, stand.host, stand.id, "A bell")
    await sign_in(browse, stand)
    low = await browse.post(f"/auctions/{sale.id}/bids", {"max": "9.99", "nonce": "a"})
    assert "The least to bid is 10.00 USD." in low.text
    lead = await browse.post(f"/auctions/{sale.id}/bids", {"max": "25", "nonce": "b"})
    assert "You lead." in lead.text
    assert "$10.00" in lead.text
    assert "25.00" not in lead.text
    assert "You are in, as number 1." in (await browse.post(f"/giveaways/{gift.id}/entries", {})).text
    assert gift.commitment in (await browse.get(f"/giveaways/{gift.id}")).text


async def test_a_recording_keeps_its_pins_at_their_times(browse: Visitor, stand: Market) -> None:
    await stand.live()
    await stand.change("UPDATE streams SET started_at = started_at - interval '95 seconds'")
    await end_show(stand.store, stand.host, stand.id)
    await set_recording(stand.store, stand.host, stand.id, "https://video.example.com/friday.m3u8")
    page = await browse.get(await path_of(browse))
    assert 'data-from="95"' in page.text
    assert "1:35" in page.text


async def test_a_programme_of_shows_and_its_costs(browse: Visitor, stand: Market) -> None:
    await browse.get("/live")
    page = await browse.get("/live")
    assert "Friday lamps" in page.text
    assert int(page.headers["x-query-count"]) <= 4
    assert "Friday lamps" in (await browse.get("/live?category=tools")).text
    assert "Friday lamps" not in (await browse.get("/live?category=fruit")).text
    assert (await browse.get("/live?category=none")).status_code == 404
    assert (await browse.get("/live/nothing-here")).status_code == 404
    assert plan().title == "Friday lamps"


async def test_a_sellers_page_has_their_shows(browse: Visitor, stand: Market) -> None:
    await stand.live()
    page = await browse.get("/u/hana")
    assert "Friday lamps" in page.text
    assert "avatar-live" in page.text


async def test_who_follows_a_host_sees_on_every_page_that_they_are_live(browse: Visitor, stand: Market) -> None:
    await sign_in(browse, stand)
    await browse.post("/u/hana/follow")
    assert "people you follow:" not in (await browse.get("/")).text
    before = (await browse.get("/")).headers["x-query-count"]
    await stand.live()
    page = await browse.get("/")
    assert "people you follow: </span>1" in page.text
    assert page.headers["x-query-count"] == before
