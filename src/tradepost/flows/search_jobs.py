"""What search does in the background with a model: vectors follow the words."""

import time
from datetime import timedelta

from tradepost.core.embeddings import open_embedder
from tradepost.core.jobs import scheduled
from tradepost.flows.store import Store
from tradepost.search.vectors import embed_batch

_WORKS_FOR_S = 50.0


@scheduled("search.embed_documents", cron="* * * * *", time_limit=timedelta(minutes=10))
async def embed_documents(store: Store) -> None:
    """Give new and changed listings their vectors, for most of a minute at most; the next run goes on."""
    embedder = open_embedder(store.installation.embeddings)
    if embedder is None:
        return
    until = time.monotonic() + _WORKS_FOR_S
    while time.monotonic() < until and await embed_batch(store.db, embedder):
        pass
