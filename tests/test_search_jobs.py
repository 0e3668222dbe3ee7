"""What keeps search up to date by itself: popularity from what people do, prices and back-orders when their time has come."""

import math
from uuid import UUID

from sqlalchemy import text

from tests.factories import Factory
from tradepost.accounts.types import Caller
from tradepost.catalog.service import count_view, toggle_saved
from tradepost.core.database import SYSTEM, Database
from tradepost.flows.search_jobs import follow_clock_job, follow_interest_job
from tradepost.flows.search_listings import search
from tradepost.flows.store import Store
from tradepost.search.types import SearchRequest
from tradepost.worker import compose


async def popularity(store: Store, listing: UUID) -> float:
    """Return a listing's popularity as searches see it; the listing's own must be the same."""
    ((document, own),) = await store.db.read(
        text(
            "SELECT d.popularity, l.popularity FROM search_documents d JOIN listings l ON l.id = d.listing_id WHERE l.id = :id"
        ),
        id=listing,
    )
    assert document == own
    return float(document)


async def change(store: Store, statement: str, **params: object) -> None:
    """Change something behind the store's back."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text(statement), **params)


async def put_in_cart(store: Store, listing: UUID, buyer: Caller) -> None:
    """Put a listing into a cart."""
    await change(
        store,
        "WITH c AS (INSERT INTO carts (user_id, currency) VALUES (:buyer, 'USD') RETURNING id) INSERT INTO cart_lines (cart_id, line_no, "
        "variant_id, quantity, unit_price_minor, configuration_hash) SELECT c.id, 1, v.id, 1, 100, '' FROM c, variants v WHERE v.listing_id = :id",
        buyer=buyer.user_id, id=listing,
    )  # fmt: skip


async def test_jobs_are_known_to_the_worker() -> None:
    jobs = {job.name: job.cron for job in compose()}
    assert {"search.follow_interest", "search.follow_clock", "search.count_terms", "alerts.forget_removed"} <= {
        name for name, cron in jobs.items() if cron
    }


async def test_views_likes_and_carts_make_popular_once(store: Store, make: Factory) -> None:
    seller, buyer = await make.person("seller"), await make.person()
    seen, quiet = await make.listing(seller, "Seen apples"), await make.listing(seller, "Quiet apples")
    async with store.db.transaction(actor=buyer.actor) as tx:
        for _ in range(4):
            await count_view(tx, seen)
        await toggle_saved(tx, buyer, seen)
    await put_in_cart(store, seen, buyer)
    ((likes,),) = await store.db.read(text("SELECT likes FROM listing_stats WHERE listing_id = :id"), id=seen)
    for _ in range(2):  # what was counted is not counted again
        await follow_interest_job(store)
        assert math.isclose(await popularity(store, seen), math.log(1 + 4 + 10 * likes + 5), rel_tol=1e-4)
        assert await popularity(store, quiet) == 0
    found = await search(store, Caller(), SearchRequest(query="apples", sort="popular"))
    assert [card.title for card in found.items] == ["Seen apples", "Quiet apples"]


async def test_interest_is_halved_after_a_month(store: Store, make: Factory) -> None:
    listing = await make.listing(await make.person("seller"), "Apples")
    await change(store, "UPDATE listing_stats SET views = 100")
    await follow_interest_job(store)
    await change(store, "UPDATE listing_stats SET interest_at = interest_at - interval '30 days'")
    await follow_interest_job(store)
    assert math.isclose(await popularity(store, listing), math.log(51), rel_tol=1e-3)


async def test_order_counts_thirty_and_unseen_listings_keep_what_they_came_with(store: Store, make: Factory) -> None:
    seller, buyer = await make.person("seller"), await make.person()
    bought, imported = await make.listing(seller, "Apples"), await make.listing(seller, "Pears")
    await change(store, "UPDATE listings SET popularity = 3 WHERE id = :id", id=imported)
    order = UUID(int=5)
    await change(
        store,
        "INSERT INTO orders (id, number, buyer_id, process, state, currency, payment_method) VALUES (:order, 'A', :buyer, 'purchase', 'pending', 'USD', 'sandbox')",
        order=order, buyer=buyer.user_id,
    )  # fmt: skip
    await change(
        store,
        "INSERT INTO fulfilments (order_id, seller_id, buyer_id, process, state) VALUES (:order, :seller, :buyer, 'purchase', 'pending')",
        order=order, seller=seller.user_id, buyer=buyer.user_id,
    )  # fmt: skip
    await change(
        store,
        "INSERT INTO order_lines (order_id, line_no, buyer_id, seller_id, listing_id, variant_id, title, unit, quantity, unit_price_minor, "
        "gross_minor) SELECT :order, 1, :buyer, :seller, v.listing_id, v.id, 'Apples', 'piece', 1, 100, 100 FROM variants v WHERE v.listing_id = :id",
        order=order, buyer=buyer.user_id, seller=seller.user_id, id=bought,
    )  # fmt: skip
    await follow_interest_job(store)
    assert math.isclose(await popularity(store, bought), math.log(31), rel_tol=1e-4)
    assert await popularity(store, imported) == 3


async def shown(store: Store, **wanted: object) -> list[str]:
    """Return the titles that a search with these filters finds."""
    found = await search(store, Caller(), SearchRequest(sort="newest", **wanted))  # type: ignore[arg-type]
    return [card.title for card in found.items]


async def test_scheduled_price_shows_when_it_begins_and_goes_when_it_ends(
    store: Store, store_dsn: str, make: Factory
) -> None:
    listing = await make.listing(await make.person("seller"), "Apples", price=900)
    await make.listing(await make.person("seller"), "Pears", price=900)
    await change(store, "UPDATE prices SET valid_to = now() + interval '1 hour'")
    await change(
        store,
        "INSERT INTO prices (variant_id, currency, amount_minor, valid_from, valid_to) SELECT v.id, 'USD', 500, now() + interval '1 hour', "
        "now() + interval '2 hours' FROM variants v WHERE v.listing_id = :id",
        id=listing,
    )
    await follow_clock_job(store)
    assert await shown(store, max_minor=600) == []
    await pass_time(store_dsn, "61 minutes")
    assert await shown(store, max_minor=600) == []
    await follow_clock_job(store)
    assert await shown(store, max_minor=600) == ["Apples"]
    await pass_time(store_dsn, "60 minutes")
    await follow_clock_job(store)
    assert await shown(store, min_minor=0) == []  # no price is in force
    assert await shown(store) == ["Pears", "Apples"]


async def pass_time(store_dsn: str, interval: str) -> None:
    """Let time pass for prices and back-orders, with no trigger noticing: nothing is changed when the clock moves."""
    moved = (
        "SET LOCAL session_replication_role = replica",
        f"UPDATE prices SET valid_from = valid_from - interval '{interval}', valid_to = valid_to - interval '{interval}'",
        f"UPDATE variants SET backorder_until = backorder_until - interval '{interval}'",
    )
    owner = await Database.open(store_dsn.replace("tradepost_app", "postgres"), size=1)
    async with owner.transaction(actor=SYSTEM) as tx:
        for statement in moved:
            await tx.run(text(statement))
    await owner.close()


async def test_back_order_that_ends_sells_out(store: Store, store_dsn: str, make: Factory) -> None:
    await make.listing(await make.person("seller"), "Apples", stock=0)
    await change(store, "UPDATE variants SET backorder_until = now() + interval '1 hour'")
    assert await shown(store, in_stock=True) == ["Apples"]
    await pass_time(store_dsn, "61 minutes")
    await follow_clock_job(store)
    assert await shown(store, in_stock=True) == []
