"""Messages: the list, a conversation, beginning one. Everything works by reload; a script makes it live."""

from typing import Any
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from tradepost.accounts.types import Caller
from tradepost.core.errors import DomainError
from tradepost.core.ids import readable_code
from tradepost.flows.conversations import (
    About,
    Opening,
    Thread,
    begin,
    find_opening,
    put_aside,
    read_inbox,
    read_thread,
    say,
    search_messages,
    take_back_message,
)
from tradepost.flows.haggle import offers_shown
from tradepost.flows.store import Store
from tradepost.messaging.types import Draft
from tradepost.web.errors import STATUS
from tradepost.web.forms import Form, first_problem, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.rendering import template
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

_LONGEST_WORDS = 200
_PICTURE_PROBLEMS = {"UploadTooLarge", "NotAPicture", "PictureTooLarge"}


@get("/messages", include_in_schema=False)
async def inbox(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    box: FromQuery[str] = "",
    after: FromQuery[str | None] = None,
    q: FromQuery[str] = "",
) -> Response[str]:
    """Show the person's conversations, or the messages a search found."""
    caller.check_signed_in()
    archived, words = box == "archived", q.strip()[:_LONGEST_WORDS]
    found = await search_messages(store, caller, words) if words else None
    cards, briefs = await read_inbox(store, caller, archived=archived, after=after)
    following = f"/messages?{'box=archived&' if archived else ''}after={cards.after}" if cards.after else None
    return await page(
        request, store, caller, "messages", cards=cards.items, briefs=briefs, archived=archived, next_path=following,
        words=words, found=found.items if found else (),
    )  # fmt: skip


@get("/messages/new", include_in_schema=False)
async def compose(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    listing: FromQuery[UUID | None] = None,
    order: FromQuery[str] = "",
    to: FromQuery[str] = "",
) -> Response[Any]:
    """Ask for the first message about a listing or an order, or to a person; one that is there already is opened."""
    about = _about({"listing": str(listing or ""), "order": order, "to": to})
    opening = await find_opening(store, caller, about)
    if opening.known is not None:
        return go(request, f"/messages/{opening.known}")
    return await _compose_page(request, store, caller, about, opening, {}, {})


def _about(texts: dict[str, str]) -> About:
    listing = texts.get("listing", "")
    try:
        listing_id = UUID(listing) if listing else None
    except ValueError:
        listing_id = None
    to = tuple(name.strip() for name in texts.get("to", "")[:400].split(",") if name.strip())
    return About(listing_id=listing_id, order=texts.get("order", "")[:60] or None, people=to)


async def _compose_page(
    request: HttpRequest, store: Store, caller: Caller, about: About, opening: Opening, form: dict[str, str],
    errors: dict[str, str], status: int = 200,
) -> Response[str]:  # fmt: skip
    return await page(
        request, store, caller, "message_new", status=status, about=about, opening=opening, form=form, errors=errors,
        nonce=readable_code(16),
    )  # fmt: skip


@post("/messages", include_in_schema=False)
async def begin_now(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Send a first message."""
    form = await read_form(request)
    about = _about(form.texts)
    try:
        sent = await begin(store, caller, about, _draft(form), await _picture(form))
    except DomainError as error:
        opening = await find_opening(store, caller, about)
        return await _compose_page(
            request, store, caller, about, opening, form.texts, _problems(error), STATUS[error.kind]
        )
    return go(request, f"/messages/{sent.conversation_id}#last")


def _draft(form: Form) -> Draft:
    return form.into(Draft, body=form.get("body"), nonce=form.get("nonce") or None)


async def _picture(form: Form) -> bytes | None:
    sent = form.files.get("picture")
    return await sent[0].read() if sent else None


def _problems(error: DomainError) -> dict[str, str]:
    return {"picture": error.message} if error.code in _PICTURE_PROBLEMS else problems_of(error)


@get("/messages/{conversation_id:uuid}", include_in_schema=False)
async def conversation(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    conversation_id: FromPath[UUID],
    before: FromQuery[int | None] = None,
) -> Response[str]:
    """Show a conversation with its last messages, and note them as read."""
    return await _thread_page(request, store, caller, conversation_id, before, {}, {})


async def _thread_page(
    request: HttpRequest, store: Store, caller: Caller, conversation_id: UUID, before: int | None, form: dict[str, str],
    errors: dict[str, str], status: int = 200,
) -> Response[str]:  # fmt: skip
    thread = await read_thread(store, caller, conversation_id, before=before)
    cards, briefs = await read_inbox(store, caller)
    return await page(
        request, store, caller, "thread", status=status, thread=thread, talk=thread.conversation, is_last=before is None,
        offers=await _offers(store, caller, thread),
        cards=cards.items, briefs=briefs, form=form, errors=errors, nonce=form.get("nonce") or readable_code(16),
    )  # fmt: skip


async def _offers(store: Store, caller: Caller, thread: Thread) -> dict[UUID, Any]:
    """Return the offers that these messages show, as they are now."""
    return await offers_shown(store, caller, [m.offer_id for m in thread.messages if m.offer_id is not None])


@post("/messages/{conversation_id:uuid}", include_in_schema=False)
async def write(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, conversation_id: FromPath[UUID]
) -> Response[Any]:
    """Send a message. A script gets no page for it: it asks for the new messages."""
    form = await read_form(request)
    is_script = request.headers.get("x-live") == "1"
    try:
        await say(store, caller, conversation_id, _draft(form), await _picture(form))
    except DomainError as error:
        if error.kind == "not_found":
            raise
        if is_script:
            return Response(first_problem(error), status_code=STATUS[error.kind], media_type="text/plain")
        return await _thread_page(
            request, store, caller, conversation_id, None, form.texts, _problems(error), STATUS[error.kind]
        )
    return Response("", status_code=200) if is_script else go(request, f"/messages/{conversation_id}#last")


@get("/messages/{conversation_id:uuid}/after/{seq:int}", include_in_schema=False)
async def news(
    store: GivenStore,
    caller: GivenCaller,
    conversation_id: FromPath[UUID],
    seq: FromPath[int],
    seen: FromQuery[int] = 1,
) -> Response[str]:
    """Return the messages after a number as pieces of the page; `seen` 0 leaves them unread."""
    last = max(0, min(seq, 2**31 - 1))
    thread = await read_thread(store, caller, conversation_id, after=last, mark=seen != 0)
    body = template("components/bubbles.html").render(
        open_store=store, store=store.settings, thread=thread, talk=thread.conversation,
        offers=await _offers(store, caller, thread),
    )  # fmt: skip
    return Response(body, media_type="text/html", headers={"cache-control": "no-store"})


@post("/messages/{conversation_id:uuid}/archive", include_in_schema=False)
async def archive(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, conversation_id: FromPath[UUID]
) -> Redirect:
    """Put a conversation aside, or take it back."""
    form = await read_form(request)
    aside = form.get("archived", "1") != "0"
    await put_aside(store, caller, conversation_id, archived=aside)
    return go(
        request, "/messages" if aside else f"/messages/{conversation_id}", say="Put aside." if aside else "It is back."
    )


@post("/messages/{conversation_id:uuid}/take-back", include_in_schema=False)
async def take_back(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, conversation_id: FromPath[UUID]
) -> Redirect:
    """Empty one of the person's own messages."""
    form = await read_form(request)
    await take_back_message(store, caller, conversation_id, form.whole("seq", 0) or 0)
    return go(request, f"/messages/{conversation_id}", say="The message is gone.")


message_pages = [inbox, compose, begin_now, conversation, write, news, archive, take_back]
