"""What somebody was told: a page that works by reload; a script makes the count and new ones live."""

from litestar import Response, get
from litestar.params import FromQuery

from tradepost.flows.notices import mark_notices_read, read_notices
from tradepost.web.pages import page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest


@get("/notices", include_in_schema=False)
async def told(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, after: FromQuery[str | None] = None
) -> Response[str]:
    """Show what the person was told, and note it as seen; nothing is noted while staff look with their eyes."""
    found = await read_notices(store, caller, after=after)
    if not caller.behind and any(notice.read_at is None for notice in found.items):
        await mark_notices_read(store, caller)
    following = f"/notices?after={found.after}" if found.after else None
    return await page(request, store, caller, "notices", notices=found.items, next_path=following)


notice_pages = [told]
