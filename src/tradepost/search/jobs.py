"""What search does by the clock."""

from datetime import timedelta
from typing import Protocol

from tradepost.core.database import Database
from tradepost.core.jobs import scheduled
from tradepost.search.counting import count_terms, refresh_stale
from tradepost.search.service import forget_facts


class HasDatabase(Protocol):
    """What these jobs need of a store."""

    @property
    def db(self) -> Database:
        """The store's database."""
        ...


@scheduled("search.count_terms", cron="17 * * * *", time_limit=timedelta(minutes=15))
async def count_terms_job(store: HasDatabase) -> None:
    """Count words, tags and marks anew, and put documents into the tier that they belong to now."""
    await count_terms(store.db)
    await refresh_stale(store.db)
    forget_facts(store.db)
