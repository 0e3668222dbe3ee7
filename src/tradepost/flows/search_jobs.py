"""What keeps search up to date in the background: vectors follow the words, popularity what people do, prices the clock."""

import time
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text

from tradepost.catalog.interest import CARTED, ORDERED, follow_interest, list_due, refresh_summaries, take_in_interest
from tradepost.core.database import SYSTEM
from tradepost.core.embeddings import open_embedder
from tradepost.core.jobs import job, scheduled
from tradepost.flows.store import Store
from tradepost.orders.events import OrderPlaced
from tradepost.search.counting import take_turn
from tradepost.search.log import note_order
from tradepost.search.vectors import embed_batch

_WORKS_FOR_S = 50.0
_BATCH: Final = 1000
_LATE: Final = timedelta(minutes=10)  # what a transaction was still writing when the last look was taken
_LINES = text("SELECT listing_id, buyer_id, session_hash FROM order_lines WHERE order_id = :order_id")


# Lines of carts are moved and merged, but keep when they were made.
_DONE = text("""
    SELECT d.listing_id, sum(d.points)::int AS points FROM (
        SELECT v.listing_id, CAST(:carted AS int) AS points FROM cart_lines c JOIN variants v ON v.id = c.variant_id
        WHERE c.created_at > :since AND c.created_at <= now()
        UNION ALL
        SELECT l.listing_id, CAST(:ordered AS int) FROM orders o JOIN order_lines l ON l.order_id = o.id
        WHERE o.placed_at > :since AND o.placed_at <= now()) d
    GROUP BY d.listing_id
""")


@scheduled("search.follow_interest", cron="7,37 * * * *", time_limit=timedelta(minutes=15))
async def follow_interest_job(store: Store) -> None:
    """Let popularity follow what people looked at, liked, put in their carts and ordered; old interest fades."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        since = await take_turn(tx, "interest_seen_at")
        rows = await tx.all(_DONE, since=since, carted=CARTED, ordered=ORDERED)
        points: dict[UUID, int] = {row["listing_id"]: row["points"] for row in rows}
        await take_in_interest(tx, points)
    moved = _BATCH
    while moved == _BATCH:
        async with store.db.transaction(actor=SYSTEM) as tx:
            moved = await follow_interest(tx, _BATCH)


@scheduled("search.follow_clock", cron="* * * * *")
async def follow_clock_job(store: Store) -> None:
    """Show prices that begin or end, and goods whose back-order ends, when their time has come."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        since = await take_turn(tx, "due_seen_at") - _LATE
        due = await list_due(tx, since)
        for start in range(0, len(due), _BATCH):
            await refresh_summaries(tx, due[start : start + _BATCH])


@scheduled("search.embed_documents", cron="* * * * *", time_limit=timedelta(minutes=10))
async def embed_documents(store: Store) -> None:
    """Give new and changed listings their vectors, for most of a minute at most; the next run goes on."""
    embedder = open_embedder(store.installation.embeddings)
    if embedder is None:
        return
    until = time.monotonic() + _WORKS_FOR_S
    while time.monotonic() < until and await embed_batch(store.db, embedder):
        pass


@job("search.attribute_order", args=OrderPlaced)
async def attribute_order(store: Store, placed: OrderPlaced) -> None:
    """Note which searches of the buyer's led to what was ordered."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        lines = await tx.all(_LINES, order_id=placed.order_id)
        if lines:
            await note_order(
                tx,
                [line["listing_id"] for line in lines],
                user_id=lines[0]["buyer_id"],
                session=lines[0]["session_hash"],
            )
