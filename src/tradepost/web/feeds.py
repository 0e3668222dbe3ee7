"""The feeds as pages: one listing after the other, with the reason why it is there, and who sells near by."""

from typing import Any

from litestar import Response, get
from litestar.params import FromPath, FromQuery

from tradepost.flows import feeds
from tradepost.web.pages import page
from tradepost.web.position import position_of
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest


@get("/feed/{code:str}", include_in_schema=False)
async def feed_page(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    code: FromPath[str],
    after: FromQuery[str | None] = None,
) -> Response[str]:
    """Show a page of a feed."""
    near = position_of(request)
    found = await feeds.read_feed(store, caller, code, near=near, after=after)
    return await page(
        request, store, caller, "feed", code=code, items=found.items, has_place=near is not None,
        next_path=f"/feed/{code}?after={found.after}" if found.after else None, is_first=after is None,
        chosen=next(f for f in store.settings.feeds if f.code == code),
    )  # fmt: skip


@get("/near", include_in_schema=False)
async def near_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show who sells near by."""
    near = position_of(request)
    people = await feeds.people_near(store, caller, near)
    return await page(request, store, caller, "near", people=people or [], has_place=people is not None)


feed_pages: list[Any] = [feed_page, near_page]
