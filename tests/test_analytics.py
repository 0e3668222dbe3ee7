"""What visitors do: noted by the pages, written in batches and not lost, nobody's without consent; funnels and reports of it."""

import csv
import io
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest
from sqlalchemy import text

from tests.conftest import MARKET, Servers
from tests.factories import Factory
from tests.people import visitor
from tests.shop import Shop
from tests.test_after_sale import browser_of
from tests.visitor import Visitor, text_of
from tradepost.accounts.types import NotAllowed
from tradepost.analytics import noting
from tradepost.analytics.noting import forget_events_of, note, write_rest
from tradepost.analytics.types import Visit
from tradepost.app import create_app
from tradepost.core.clock import now
from tradepost.core.crypto import Keyring
from tradepost.core.database import SYSTEM
from tradepost.core.ids import short_id
from tradepost.core.settings import AnalyticsSettings, Settings
from tradepost.flows.insights import get_customers, get_insight_sheet, get_visits
from tradepost.flows.move_order import move_order
from tradepost.flows.privacy import keep_no_longer
from tradepost.flows.store import Store, open_store

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
EVENTS = "SELECT kind, user_id, session_hash, visitor, listing_id, data FROM analytics_events ORDER BY id"


def browser_at(store: Store, **headers: str) -> Visitor:
    """Return a browser without scripts, from an address of its own."""
    transport = httpx.ASGITransport(app=create_app({store.code: store}), client=(visitor().address, 40_000))
    client = httpx.AsyncClient(
        transport=transport, base_url="http://market.localhost", headers={"user-agent": FIREFOX, **headers}
    )
    return Visitor(client)


async def kinds(shop: Shop) -> list[str]:
    await write_rest(shop.store.db)
    return [row[0] for row in await shop.rows(EVENTS)]


async def look_at(browser: Visitor, shop: Shop, variant: UUID) -> UUID:
    listing_id = (await shop.row("SELECT listing_id FROM variants WHERE id = :id", id=variant))[0]
    assert (await browser.get(f"/l/x-{short_id(listing_id)}")).status_code == 200
    return UUID(str(listing_id))


async def test_pages_note_what_visitors_do_in_one_visit(shop: Shop) -> None:
    variant = await shop.goods("Claw hammer", stock=5)
    browser = browser_at(shop.store)
    listing_id = await look_at(browser, shop, variant)
    await browser.get("/search?q=hammer")
    await browser.get("/c/tools")
    assert (await browser.order(str(variant), gateway="sandbox", method="approve")).status_code == 303
    assert await kinds(shop) == [
        "listing_viewed", "searched", "category_viewed", "cart_added", "checkout_opened", "order_placed"
    ]  # fmt: skip
    rows = await shop.rows(EVENTS)
    assert len({row[3] for row in rows}) == 1
    assert rows[0][3] is not None
    assert rows[0][4] == listing_id
    assert "hammer" not in str([row[5] for row in rows])  # what people type is in the log of searches, by its own rules


async def test_another_day_or_browser_is_another_visit(shop: Shop) -> None:
    variant = await shop.goods()
    first = browser_at(shop.store)
    await look_at(first, shop, variant)
    first.client.headers["user-agent"] = FIREFOX.replace("140", "141")
    await look_at(first, shop, variant)
    await kinds(shop)
    assert len({row[3] for row in await shop.rows(EVENTS)}) == 2


async def with_settings(shop: Shop, collect: str) -> None:
    shop.store.installation = msgspec.structs.replace(
        shop.store.installation, analytics=AnalyticsSettings(collect=collect)  # type: ignore[arg-type]  # a test's own words
    )  # fmt: skip


@pytest.mark.parametrize(
    ("collect", "headers", "choice", "told"),
    [
        ("all", {}, "", True),
        ("all", {"sec-gpc": "1"}, "", False),
        ("all", {"dnt": "1"}, "", False),
        ("all", {}, "no", False),
        ("all", {"sec-gpc": "1"}, "yes", True),
        ("consent", {}, "", False),
        ("consent", {}, "yes", True),
        ("counts", {}, "yes", False),
    ],
)
async def test_who_it_was_is_noted_only_as_agreed(
    shop: Shop, collect: str, headers: dict[str, str], choice: str, told: bool
) -> None:
    await with_settings(shop, collect)
    browser = browser_at(shop.store, **headers)
    if choice:
        await browser.post("/measuring", {"choice": choice})
    await browser.get("/c/tools")
    await write_rest(shop.store.db)
    ((_, user_id, session, seen_as, _, _),) = await shop.rows(EVENTS)
    assert (user_id, session) == (None, None)
    assert (seen_as is not None) == told


async def test_nothing_is_counted_where_it_is_off_nor_of_robots(shop: Shop) -> None:
    robot = browser_at(shop.store)
    robot.client.headers["user-agent"] = "Mozilla/5.0 (compatible; ExampleBot/2.1)"
    await robot.get("/c/tools")
    await with_settings(shop, "off")
    await browser_at(shop.store).get("/c/tools")
    assert await kinds(shop) == []


async def test_a_store_that_needs_a_yes_asks_once(shop: Shop) -> None:
    browser = browser_at(shop.store)
    assert "ask-bar" not in (await browser.get("/")).text
    await with_settings(shop, "consent")
    assert "ask-bar" in (await browser.get("/")).text
    await browser.post("/measuring", {"choice": "no", "next": "/c/tools"})
    assert "ask-bar" not in (await browser.get("/")).text
    assert "nobody can tell" in text_of((await browser.get("/measuring")).text)


async def test_nothing_is_lost_when_a_store_closes(
    servers: Servers, store_dsn: str, tmp_path: Any, installation: Settings
) -> None:
    keys, where = Keyring.from_secret("test", b"0" * 32), str(tmp_path)
    for _ in range(2):
        async with open_store(
            "market", installation, dsn=store_dsn, cache_url=servers.cache_url, files_url=where, keys=keys, preset_folder=MARKET
        ) as store:  # fmt: skip
            for n in range(noting.AT_ONCE + 250):
                note(store.db, Visit(), "searched", results=n)
    async with open_store(
        "market", installation, dsn=store_dsn, cache_url=servers.cache_url, files_url=where, keys=keys, preset_folder=MARKET
    ) as store, store.db.transaction(actor=SYSTEM) as tx:  # fmt: skip
        assert await tx.value(text("SELECT count(*) FROM analytics_events")) == 2 * (noting.AT_ONCE + 250)


async def test_what_a_repeatable_request_notes_outlives_its_transaction(shop: Shop) -> None:
    variant = await shop.goods(stock=5)
    browser = await browser_of(shop, shop.buyer)
    browser.client.headers["user-agent"] = FIREFOX
    await browser.get("/")
    headers = {"idempotency-key": "once-and-no-more", "x-csrf-token": browser.token}
    answer = await browser.client.post("/api/v1/cart/lines", json={"variant_id": str(variant)}, headers=headers)
    assert answer.status_code in {200, 201}
    desk = noting._desks[shop.store.db]
    desk.full.set()
    assert desk.busy is not None
    await desk.busy
    assert [row[0] for row in await shop.rows(EVENTS)] == ["cart_added"]


async def test_a_flood_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noting, "MOST_WAITING", 10)
    for _ in range(50):
        note(store.db, Visit(), "searched")
    await write_rest(store.db)
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.value(text("SELECT count(*) FROM analytics_events")) == 10


async def test_an_erased_persons_events_count_on_without_them(shop: Shop) -> None:
    buyer = await shop.make.person()
    note(shop.store.db, Visit(b"v", b"s", buyer.user_id), "searched")
    note(shop.store.db, Visit(b"v", b"s", shop.buyer.user_id), "searched")
    await write_rest(shop.store.db)
    async with shop.store.db.transaction(actor=SYSTEM) as tx:
        assert buyer.user_id is not None
        assert await forget_events_of(tx, buyer.user_id) == 1
    rows = await shop.rows(EVENTS)
    assert [row[1:4] for row in rows] == [(None, None, None), (shop.buyer.user_id, b"s", b"v")]


async def test_a_person_sees_only_their_own_events(shop: Shop) -> None:
    other = await shop.make.person()
    for person in (shop.buyer, other):
        note(shop.store.db, Visit(None, None, person.user_id), "searched")
    await write_rest(shop.store.db)
    async with shop.store.db.transaction(actor=other.actor, read_only=True) as tx:
        assert await tx.values(text("SELECT user_id FROM analytics_events")) == [other.user_id]


async def test_old_months_go(shop: Shop, servers: Servers, store_dsn: str) -> None:
    owner = await asyncpg.connect(servers.dsn(store_dsn.rsplit("/", 1)[-1].partition("?")[0], "postgres"))
    await owner.execute(
        "SET ROLE tradepost_owner; CREATE TABLE analytics_events_p202001 PARTITION OF analytics_events "
        "FOR VALUES FROM ('2020-01-01+00') TO ('2020-02-01+00')"
    )
    await owner.close()
    await shop.run(
        text("INSERT INTO analytics_events (at, kind) VALUES ('2020-01-05', 'searched'), (now(), 'searched')")
    )
    await keep_no_longer(shop.store)
    assert await shop.count("analytics_events") == 1
    assert await shop.rows("SELECT to_regclass('analytics_events_p202001')") == [(None,)]


ADD = text("""
    INSERT INTO analytics_events (at, kind, visitor, listing_id)
    VALUES (CAST(:at AS timestamptz), CAST(:kind AS text), CAST(:who AS bytea), CAST(:listing AS uuid))
""")


async def acted(shop: Shop, who: bytes, *steps: str, listing: UUID | None = None) -> None:
    """Have a visit take steps, a minute each, ending now."""
    for n, kind in enumerate(steps):
        at = now() - timedelta(minutes=len(steps) - n)
        await shop.run(ADD, at=at, kind=kind, who=who, listing=listing if kind == "listing_viewed" else None)


async def test_the_funnel_counts_steps_in_their_order(shop: Shop) -> None:
    variant = await shop.goods("Claw hammer")
    listing = (await shop.row("SELECT listing_id FROM variants WHERE id = :id", id=variant))[0]
    await acted(
        shop, b"a", "listing_viewed", "listing_viewed", "cart_added", "checkout_opened", "order_placed", listing=listing
    )
    await acted(shop, b"b", "listing_viewed", "cart_added", "cart_added", listing=listing)
    await acted(
        shop, b"c", "cart_added", "listing_viewed", listing=listing
    )  # the cart came first: not because of the look
    await acted(shop, b"d", "listing_viewed", "checkout_opened", listing=listing)  # nothing was put in the cart
    await acted(shop, b"e", "searched")
    admin = await shop.make.person("admin")
    found = await get_visits(shop.store, admin)
    assert [(s.kind, s.visits) for s in found.funnel] == [
        ("listing_viewed", 4), ("cart_added", 2), ("checkout_opened", 1), ("order_placed", 1)
    ]  # fmt: skip
    assert found.share == 25.0
    assert sum(d.visits for d in found.days) == 5
    assert [(i.title, i.visits, i.orders) for i in found.listings] == [("Claw hammer", 4, 0)]
    assert found.leak is not None
    assert found.leak.kind == "cart_added"  # half went on there, and half at the checkout: the first is named
    assert all(s.visits == 0 for s in found.before)
    with pytest.raises(NotAllowed):
        await get_visits(shop.store, shop.buyer)


async def test_customers_are_counted_by_when_they_came_first_and_came_back(shop: Shop) -> None:
    staff, variant = await shop.make.person("staff"), await shop.goods(price=1000, stock=50)
    orders = [(await shop.buy(variant)).order_id for _ in range(3)]
    for order_id in orders:
        await move_order(shop.store, staff, order_id, "shipped")
        await move_order(shop.store, staff, order_id, "delivered")
    # The first two are of last month.
    month = now().replace(day=1) - timedelta(days=10)
    await shop.run(
        text("UPDATE orders SET placed_at = :at WHERE id = ANY (CAST(:ids AS uuid[]))"), at=month, ids=orders[:2]
    )
    admin = await shop.make.person("admin")
    found = await get_customers(shop.store, admin)
    cohort = found.cohorts[-2]
    assert (cohort.people, cohort.again[0], cohort.again[1]) == (1, 1, None)
    assert found.cohorts[-1].people == 0
    each = (await shop.row("SELECT total_minor FROM orders WHERE id = :id", id=orders[0]))[0]
    assert [(m.first_minor, m.again_minor, m.buyers) for m in found.months[-2:]] == [(each, each, 1), (0, each, 1)]
    assert found.again_percent == 67
    sheet = await get_insight_sheet(shop.store, admin, "cohorts")
    assert sheet.rows[-2][:3] == (cohort.month, 1, 1)


async def test_the_pages_of_visitors_and_customers(shop: Shop, make: Factory) -> None:
    variant = await shop.goods("Claw hammer", stock=5)
    await look_at(browser_at(shop.store), shop, variant)
    desk = await browser_of(shop, await make.person("admin"))
    shown = await desk.get("/office/visitors")
    assert "Where do visitors get lost?" in shown.text
    assert "Claw hammer" in shown.text
    assert int((await desk.get("/office/visitors")).headers["x-query-count"]) <= 8
    assert "Who comes back?" in (await desk.get("/office/customers")).text
    for odd in ("since=x", "since=9999-12-31", "until=0001-01-01", "since=0001-01-01&until=9999-12-31"):
        assert (await desk.get(f"/office/visitors?{odd}")).status_code == 200
    file = await desk.get("/office/insights/funnel.csv")
    assert list(csv.reader(io.StringIO(file.text.lstrip("\ufeff"))))[1] == ["Looked at something", "1"]
    assert (await desk.get("/office/insights/revenue.xlsx")).status_code == 200
    assert (await desk.get("/office/insights/everything.csv")).status_code == 404
    buyer = await browser_of(shop, shop.buyer)
    assert [(await buyer.get(path)).status_code for path in ("/office/visitors", "/office/customers", "/office/insights/visits.csv")] == [403] * 3  # fmt: skip
