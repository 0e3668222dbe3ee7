"""What search does in the background with a model: vectors follow the words."""

import time
from datetime import timedelta

from sqlalchemy import text

from tradepost.core.database import SYSTEM
from tradepost.core.embeddings import open_embedder
from tradepost.core.jobs import job, scheduled
from tradepost.flows.store import Store
from tradepost.orders.events import OrderPlaced
from tradepost.search.log import note_order
from tradepost.search.vectors import embed_batch

_WORKS_FOR_S = 50.0
_LINES = text("SELECT listing_id, buyer_id, session_hash FROM order_lines WHERE order_id = :order_id")


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
