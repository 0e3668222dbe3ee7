"""Which search a visit of a listing came from: a cookie with the last search, for ten minutes."""

from uuid import UUID

from tradepost.accounts.types import Caller
from tradepost.flows.store import Store
from tradepost.search.log import note_click
from tradepost.web.typing import HttpRequest

SEARCH_COOKIE = "search"


async def note_visit(request: HttpRequest, store: Store, caller: Caller, listing_id: UUID) -> None:
    """Note that a listing's page was opened, for the search that the browser made last, if it made one."""
    try:
        search_id = UUID(request.cookies.get(SEARCH_COOKIE, ""))
    except ValueError:
        return
    await note_click(store.db, search_id, listing_id, user_id=caller.user_id, session=caller.session)
