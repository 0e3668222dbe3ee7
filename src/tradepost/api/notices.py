"""What the caller was told and how they want to be told, for programs: lists, marks, preferences, ways, and live lines."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import delete, get, post, put, websocket
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from litestar.types import ASGIApp
from msgspec import Meta

from tradepost.core.database import SYSTEM
from tradepost.core.pages import Page
from tradepost.flows.notices import mark_notice_read, mark_notices_read, read_notices, watch_notices
from tradepost.flows.unsubscribe import unsubscribe
from tradepost.flows.ways_to_tell import choose_hook
from tradepost.notifications.notices import Notice
from tradepost.notifications.preferences import Preferences, Times, read_preferences, set_frequencies, set_times
from tradepost.notifications.push import Subscription
from tradepost.notifications.types import Channel, Frequency, Topic
from tradepost.notifications.ways import (
    Browser,
    Hook,
    add_browser,
    list_browsers,
    read_hook,
    read_push_key,
    remove_browser,
    remove_hook,
)
from tradepost.web.context import Calling
from tradepost.web.live import EventStream, Socket, answer_call, takes_nothing
from tradepost.web.typing import GivenCaller, GivenStore, HttpSocket

Cursor = Annotated[str | None, QueryParameter(max_length=400, description="`after` of the page before.")]


class Seen(msgspec.Struct, frozen=True):
    """How many notices were new until now."""

    seen: int


class NewPreferences(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to hear of what, and when; what is left out stays."""

    frequencies: dict[Topic, dict[Channel, Frequency]] = {}
    times: Times | None = None


class NewBrowser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A browser that takes pushes, as it introduces itself."""

    subscription: Subscription
    label: Annotated[str, Meta(max_length=200)] = ""


class Ways(msgspec.Struct, frozen=True):
    """Where notices go beside the store and letters; `push_key` is what a browser subscribes with."""

    push_key: str
    browsers: list[Browser]
    hook: Hook | None


class NewHook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a person's program listens."""

    url: Annotated[str, Meta(min_length=8, max_length=2000)]


class HookSecret(msgspec.Struct, frozen=True):
    """What signs each call; shown this once."""

    secret: str


@get("/notices", tags=["People"])
async def notices(store: GivenStore, caller: GivenCaller, after: Cursor = None) -> Page[Notice]:
    """Return what the caller was told, the latest first: finds of alerts, orders, offers, messages, shows, decisions."""
    return await read_notices(store, caller, after=after)


@post("/notices/read", tags=["People"], status_code=HTTP_200_OK)
async def seen(store: GivenStore, caller: GivenCaller) -> Seen:
    """Note that the caller has seen all of it."""
    return Seen(await mark_notices_read(store, caller))


@post("/notices/{notice_id:uuid}/read", tags=["People"], status_code=HTTP_200_OK)
async def seen_one(store: GivenStore, caller: GivenCaller, notice_id: FromPath[UUID]) -> Seen:
    """Note that the caller has seen one of them."""
    await mark_notice_read(store, caller, notice_id)
    return Seen(1)


@get("/me/notices", tags=["People"])
async def preferences(store: GivenStore, caller: GivenCaller) -> Preferences:
    """Return how the caller hears of what, and when."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await read_preferences(tx, caller)


@put("/me/notices", tags=["People"])
async def prefer(store: GivenStore, caller: GivenCaller, data: JSONBody[NewPreferences]) -> Preferences:
    """Choose how to hear of what by each channel, quiet hours and the hour of digests."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await set_frequencies(tx, caller, data.frequencies)
        if data.times is not None:
            await set_times(tx, caller, data.times)
        return await read_preferences(tx, caller)


@get("/me/notices/ways", tags=["People"])
async def ways_of_mine(store: GivenStore, caller: GivenCaller) -> Ways:
    """Return the caller's browsers and program, and the key that a browser subscribes with."""
    caller.check_signed_in()
    async with store.db.transaction(actor=SYSTEM) as tx:
        key = await read_push_key(tx, store.keys)
        return Ways(key.public, await list_browsers(tx, caller), await read_hook(tx, caller))


@post("/me/notices/browsers", tags=["People"])
async def add(store: GivenStore, caller: GivenCaller, data: JSONBody[NewBrowser]) -> list[Browser]:
    """Have notices pushed to a browser; the ten latest are kept."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await add_browser(tx, store.keys, caller, data.subscription, data.label)
        return await list_browsers(tx, caller)


@delete("/me/notices/browsers/{browser_id:uuid}", tags=["People"])
async def drop(store: GivenStore, caller: GivenCaller, browser_id: FromPath[UUID]) -> None:
    """Push nothing to a browser any more."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await remove_browser(tx, caller, browser_id)


@put("/me/notices/hook", tags=["People"])
async def hook(store: GivenStore, caller: GivenCaller, data: JSONBody[NewHook]) -> HookSecret:
    """Have the caller's program told by signed requests to a public address; the secret is shown this once."""
    return HookSecret(await choose_hook(store, caller, data.url))


@delete("/me/notices/hook", tags=["People"])
async def unhook(store: GivenStore, caller: GivenCaller) -> None:
    """Tell the caller's program nothing any more."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await remove_hook(tx, caller)


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


@post("/api/unsubscribe/{token:str}", status_code=HTTP_200_OK, include_in_schema=False)
async def one_click(store: GivenStore, token: FromPath[str]) -> dict[str, str]:
    """Take a mail program's “no more of these” (RFC 8058). It carries no session: the link is believed for its signature."""
    return {"stopped": (await unsubscribe(store, token)).about}


notice_routes: list[Any] = [
    notices, seen, seen_one, preferences, prefer, ways_of_mine, add, drop, hook, unhook, events, live,
]  # fmt: skip
unsubscribe_routes: list[Any] = [one_click]
