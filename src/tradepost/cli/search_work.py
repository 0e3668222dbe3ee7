"""What `tradepost search` does, in the demo's own database (which must be stopped) or in the one that is named."""

import os
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tradepost.cli.owner_database import owner_database
from tradepost.core.embeddings import open_embedder
from tradepost.core.minilm import ModelMissing
from tradepost.core.settings import load_settings
from tradepost.search.counting import rebuild
from tradepost.search.vectors import count_waiting, embed_batch, index_statements, queue_all

_console = Console()


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=_console
    )


async def rebuild_documents(store: str, dsn: str) -> None:
    """Make every document anew, with progress."""
    async with owner_database(store, dsn) as db:
        with _bar() as bar:
            task = bar.add_task(f"{store} documents", total=None)
            done = await rebuild(db, lambda done, whole: bar.update(task, completed=done, total=whole))
    _console.print(f"{done:,} documents.")


async def embed_documents(store: str, dsn: str, *, anew: bool) -> None:
    """Queue what lacks a vector and work the queue off, with progress. Raises `ModelMissing`."""
    embedder = open_embedder(load_settings(None, os.environ).embeddings)
    if embedder is None:
        raise ModelMissing
    async with owner_database(store, dsn) as db:
        await queue_all(db, embedder.model, anew=anew)
        whole, done = await count_waiting(db), 0
        with _bar() as bar:
            task = bar.add_task(f"{store} vectors", total=whole)
            while embedded := await embed_batch(db, embedder):
                done += embedded
                bar.update(task, completed=done)
    _console.print(f"{done:,} vectors by {embedder.model}.")


async def build_index(store: str, kind: Literal["hnsw", "ivfflat"], dsn: str) -> None:
    """Build a vector index concurrently and put it in place of the present one."""
    async with owner_database(store, dsn) as db, db.connection() as connection:
        documents = await connection.fetchval("SELECT count(*) FROM search_vectors")
        for statement in index_statements(kind, documents):
            await connection.execute(statement)
    _console.print(f"The vectors of {store} are found by {kind} now.")
