"""What somebody was told and how they want to be told: pages that work by reload; a script makes count and new ones live."""

from typing import Any, get_args
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from tradepost.accounts.types import Caller
from tradepost.core.database import SYSTEM
from tradepost.core.errors import DomainError
from tradepost.flows.notices import mark_notices_read, read_notices
from tradepost.flows.store import Store
from tradepost.flows.unsubscribe import read_token, unsubscribe
from tradepost.flows.ways_to_tell import choose_hook
from tradepost.notifications.preferences import CHANNELS, TOPICS, Times, read_preferences, set_frequencies, set_times
from tradepost.notifications.types import Frequency
from tradepost.notifications.ways import list_browsers, read_hook, read_push_key, remove_browser, remove_hook
from tradepost.web.forms import Form, first_problem, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

HERE = "/me/notices"
_TOPICS = {
    "orders": "Orders", "messages": "Messages", "offers": "Offers", "shows": "Shows of people you follow", "account": "Your account",
    "alerts": "What your alerts find",
}  # fmt: skip
_CHANNELS = {"email": "By letter", "push": "In this browser", "webhook": "To your program"}
_OFTEN = {"instant": "At once", "hourly": "Hourly", "daily": "Daily", "weekly": "Weekly", "off": "Never"}


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


@get(HERE, include_in_schema=False)
async def preferences_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show how the person hears of what."""
    return await _page(request, store, caller, {})


async def _page(
    request: HttpRequest, store: Store, caller: Caller, errors: dict[str, str], *, status: int = 200, secret: str = ""
) -> Response[str]:
    caller.check_signed_in()
    async with store.db.transaction(actor=SYSTEM) as tx:
        preferences = await read_preferences(tx, caller)
        browsers, hook = await list_browsers(tx, caller), await read_hook(tx, caller)
        key = await read_push_key(tx, store.keys)
    return await page(
        request, store, caller, "notice_settings", status=status, errors=errors, preferences=preferences, browsers=browsers, hook=hook,
        push_key=key.public, topics=_TOPICS, channels=_CHANNELS, often=_OFTEN, secret=secret,
    )  # fmt: skip


@post(HERE, include_in_schema=False)
async def choose(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Note how the person wants to hear of what, and when they want to be left alone."""
    form = await read_form(request)
    wanted: Any = {
        topic: {
            channel: often for channel in CHANNELS if (often := form.get(f"{topic}.{channel}")) in get_args(Frequency)
        }
        for topic in TOPICS
    }
    try:
        async with store.db.transaction(actor=caller.actor) as tx:
            await set_frequencies(tx, caller, wanted)
            await set_times(tx, caller, _times(form))
    except DomainError as error:
        return await _page(request, store, caller, problems_of(error), status=422)
    return go(request, HERE, say="Noted.")


def _times(form: Form) -> Times:
    """Return the hours of a form; browsers write times without seconds."""
    given = {name: form.get(name) for name in ("quiet_from", "quiet_to") if form.get(name)}
    whole = {name: f"{value}:00" if value.count(":") == 1 else value for name, value in given.items()}
    return Form(whole, {}).into(Times, digest_hour=form.whole("digest_hour", 8))


@post(HERE + "/hook", include_in_schema=False)
async def hook(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Have the person's program told; its secret is shown once, on the page that answers."""
    form = await read_form(request)
    try:
        secret = await choose_hook(store, caller, form.get("url"))
    except DomainError as error:
        return go(request, HERE, say=first_problem(error), tone="bad")
    return await _page(request, store, caller, {}, secret=secret)


@post(HERE + "/hook/remove", include_in_schema=False)
async def unhook(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Tell the person's program nothing any more."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await remove_hook(tx, caller)
    return go(request, HERE, say="Your program is told nothing any more.")


@post(HERE + "/browsers/{browser_id:uuid}/remove", include_in_schema=False)
async def drop(request: HttpRequest, store: GivenStore, caller: GivenCaller, browser_id: FromPath[UUID]) -> Redirect:
    """Push nothing to a browser any more."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await remove_browser(tx, caller, browser_id)
    return go(request, HERE, say="Nothing is pushed there any more.")


@get("/unsubscribe/{token:str}", include_in_schema=False)
async def stop_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, token: FromPath[str], done: FromQuery[str] = ""
) -> Response[str]:
    """Ask whether letters about something shall stop: a script answers yes at once, so that programs that only look stop nothing."""
    stop = read_token(store.keys, token)
    return await page(request, store, caller, "unsubscribe", about=stop.about, here=f"/unsubscribe/{token}", done=done)


@post("/unsubscribe/{token:str}", include_in_schema=False)
async def stop(request: HttpRequest, store: GivenStore, token: FromPath[str], caller: GivenCaller) -> Redirect:
    """Stop letters about something, or begin again. Whoever holds the letter may: its link is signed."""
    del caller
    is_again = (await read_form(request)).get("again") == "yes"
    await unsubscribe(store, token, again=is_again)
    return go(request, f"/unsubscribe/{token}?done={'again' if is_again else 'yes'}")


notice_pages = [told, preferences_page, choose, hook, unhook, drop, stop_page, stop]
