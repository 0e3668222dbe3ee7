"""A person's kept searches, each with how much is new since they last looked."""

from typing import Final

import msgspec

from tradepost.accounts.types import Caller
from tradepost.alerts.finds import count_unread
from tradepost.alerts.queries import list_alerts
from tradepost.alerts.types import Alert
from tradepost.flows.search_listings import search
from tradepost.flows.store import Store

MOST_COUNTED: Final = 99


class SavedSearch(msgspec.Struct, frozen=True):
    """A kept search and how many listings came since the person last looked; counted up to 99, `is_more` beyond.

    `found`: how many finds are not read. Where a search cannot ask what the alert asks (drops, sources), those are what is new.
    """

    alert: Alert
    new: int
    is_more: bool
    found: int = 0


async def saved_searches(store: Store, caller: Caller) -> tuple[SavedSearch, ...]:
    """Return the caller's searches, the latest first. Raises `SignInFirst`."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        alerts = await list_alerts(tx, caller)
        found = await count_unread(tx, caller) if alerts else {}
    return tuple([await _counted(store, caller, alert, found.get(alert.id, 0)) for alert in alerts])


async def _counted(store: Store, caller: Caller, alert: Alert, unread: int) -> SavedSearch:
    if not alert.is_searchable:
        return SavedSearch(alert, min(unread, MOST_COUNTED), unread > MOST_COUNTED, unread)
    request = msgspec.structs.replace(
        alert.request, published_after=alert.last_checked_at, sort="newest", facets=False, limit=MOST_COUNTED
    )
    found = (await search(store, caller, request, is_noted=False)).at_least
    return SavedSearch(alert, min(found, MOST_COUNTED), found > MOST_COUNTED, unread)
