"""What the caller was told, for programs: a list, a mark, and live lines."""

from typing import Annotated, Any

import msgspec
from litestar import get, post, websocket
from litestar.params import QueryParameter
from litestar.status_codes import HTTP_200_OK
from litestar.types import ASGIApp

from tradepost.core.pages import Page
from tradepost.flows.notices import mark_notices_read, read_notices, watch_notices
from tradepost.notifications.notices import Notice
from tradepost.web.context import Calling
from tradepost.web.live import EventStream, Socket, answer_call, takes_nothing
from tradepost.web.typing import GivenCaller, GivenStore, HttpSocket

Cursor = Annotated[str | None, QueryParameter(max_length=400, description="`after` of the page before.")]


class Seen(msgspec.Struct, frozen=True):
    """How many notices were new until now."""

    seen: int


@get("/notices", tags=["People"])
async def notices(store: GivenStore, caller: GivenCaller, after: Cursor = None) -> Page[Notice]:
    """Return what the caller was told, the latest first: shows of people they follow, and what is shown in their disputes."""
    return await read_notices(store, caller, after=after)


@post("/notices/read", tags=["People"], status_code=HTTP_200_OK)
async def seen(store: GivenStore, caller: GivenCaller) -> Seen:
    """Note that the caller has seen all of it."""
    return Seen(await mark_notices_read(store, caller))


@get("/notices/events", include_in_schema=False)
async def events(store: GivenStore, caller: GivenCaller) -> ASGIApp:
    """Stream how much is new and what comes, as server-sent events."""
    return EventStream(await watch_notices(store, caller))


@websocket("/notices/events")
async def live(socket: HttpSocket) -> None:
    """Tell how much is new and what comes, over a WebSocket that takes nothing."""
    await answer_call(socket, _opened(socket))


async def _opened(socket: HttpSocket) -> Socket:
    calling = Calling.by(socket)
    return Socket(await watch_notices(calling.store, await calling.caller()), takes_nothing)


notice_routes: list[Any] = [notices, seen, events, live]
