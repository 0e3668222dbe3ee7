"""Talking with the assistant: a page that works by reload, the panel on top of it that streams, and what an agent asks its person for."""

import asyncio
from collections.abc import AsyncIterator
from contextvars import Context
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from litestar import Response, get, post
from litestar.datastructures import Cookie
from litestar.params import FromQuery
from litestar.response import Redirect, Stream

from tradepost.accounts.types import Caller, SignInFirst
from tradepost.assistant.preset import store_texts
from tradepost.assistant.talks import KeptTurn, NoSuchTalk, Talk
from tradepost.core.errors import DomainError
from tradepost.flows.assistant_agents import CONFIRM, confirm, read_confirmation
from tradepost.flows.assistant_explain import explain
from tradepost.flows.assistant_sessions import Said, ask, current_talk, forget, hand_over, rate
from tradepost.flows.assistant_tools import TOOLS
from tradepost.flows.sign_in import open_visit
from tradepost.flows.store import Store
from tradepost.messaging.types import NobodyToWriteTo, NoMessagesHere
from tradepost.web.errors import STATUS
from tradepost.web.forms import first_problem, read_form
from tradepost.web.pages import go, page
from tradepost.web.rendering import template
from tradepost.web.security import SESSION_COOKIE, cookie, csrf_token, form_secret
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest
from tradepost.web.visits import saw

HERE: Final = "/assistant"
_LONGEST_LINK: Final = 8_000
_log = structlog.get_logger("tradepost.web")
_speaking: set[asyncio.Task[Any]] = set()


def _shown(store: Store, talk: Talk | None, turns: list[KeptTurn]) -> dict[str, Any]:
    return {
        "talk": talk, "turns": turns, "starters": store_texts(store.preset_folder).starters,
        "talks_to_people": store.settings.features.messages,
    }  # fmt: skip


@get(HERE, include_in_schema=False)
async def assistant_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show the talk that the caller is in."""
    return await page(request, store, caller, "assistant", **_shown(store, *await current_talk(store, caller)))


@get(HERE + "/panel", include_in_schema=False)
async def panel(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Return the talk as a piece of a page."""
    return _piece(
        request, store, caller, "components/assistant_panel.html", _shown(store, *await current_talk(store, caller))
    )


def _piece(request: HttpRequest, store: Store, caller: Caller, name: str, context: dict[str, Any]) -> Response[str]:
    token, fresh = csrf_token(form_secret(store.keys), request, caller)
    body = template(name).render(
        open_store=store,
        store=store.settings,
        csrf_token=token,
        person=caller if caller.is_signed_in else None,
        **context,
    )
    return Response(
        body, media_type="text/html", headers={"cache-control": "no-store"}, cookies=[fresh] if fresh else []
    )


@post(HERE, include_in_schema=False)
async def say(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Take a message and answer it: as a stream to the panel, by the page again without scripts."""
    form = await read_form(request)
    message = form.get("say") or form.get("message")
    is_live = request.headers.get("x-live") == "1"
    cookies: tuple[Cookie, ...] = ()
    if caller.user_id is None and caller.session is None:
        visit = await open_visit(store, caller, request.headers.get("user-agent", ""))
        caller = visit.caller
        cookies = (cookie(SESSION_COOKIE, visit.token, secure=request.url.scheme == "https"),)
    if is_live:
        lines = _lines(request, store, caller, message)
        return Stream(lines, media_type="text/event-stream", headers={"cache-control": "no-store", "x-accel-buffering": "no"}, cookies=list(cookies))  # fmt: skip
    try:
        note_said(request, store, caller, await ask(store, caller, message))
    except DomainError as error:
        return go(request, HERE, say=first_problem(error), tone="bad", cookies=cookies)
    return go(request, f"{HERE}#last", cookies=cookies)


async def _lines(request: HttpRequest, store: Store, caller: Caller, message: str) -> AsyncIterator[bytes]:
    """Yield the answer sentence by sentence, then the whole turn as it stands on the page, as server-sent events."""
    said: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def on_sentence(sentence: str) -> None:
        said.put_nowait(_event("sentence", {"text": sentence}))

    async def answer() -> None:
        try:
            found = await ask(store, caller, message, on_sentence=on_sentence)
            note_said(request, store, caller, found)
            talk, turns = await current_talk(store, caller)
            drawn = template("components/assistant_turns.html").render(
                open_store=store,
                store=store.settings,
                csrf_token="",
                **_shown(store, talk, [t for t in turns if t.seq == found.seq]),
            )
            said.put_nowait(_event("turn", {"html": drawn, "path": _leads_to(found)}))
        except DomainError as error:
            said.put_nowait(_event("problem", {"text": first_problem(error), "status": STATUS[error.kind]}))
        except Exception as error:  # noqa: BLE001  # nobody waits for the task: no answer would ever come
            _log.error("unforeseen_error", exc_info=error)
            said.put_nowait(
                _event("problem", {"text": "Something broke on our side. Please try again.", "status": 500})
            )
        finally:
            said.put_nowait(None)

    # Whoever goes away meanwhile finds the answer when they come back: it is not stopped halfway.
    task = asyncio.create_task(answer(), context=Context())  # outlives the request and what it counts
    _speaking.add(task)
    task.add_done_callback(_speaking.discard)
    while (line := await said.get()) is not None:
        yield line


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


def _leads_to(said: Said) -> str:
    """Return what else on the page has changed: the cart, where the answer changed it."""
    return (
        "cart"
        if any(s.result is not None and "cart" in s.tool and s.tool != "read_cart" for s in said.reply.sources)
        else ""
    )


def note_said(request: HttpRequest, store: Store, caller: Caller, said: Said) -> None:
    """Note for the reports that the assistant was asked, and what it put in the cart."""
    tools = [source.tool for source in said.reply.sources]
    saw(request, store, caller, "assistant_asked", answered=said.reply.is_understood, tools=tools)
    for source in said.reply.sources:
        if source.tool == "add_to_cart" and source.result is not None:
            saw(request, store, caller, "cart_added", through="assistant")


@post(HERE + "/rate", include_in_schema=False)
async def rate_answer(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Note that an answer helped, or did not."""
    form = await read_form(request)
    await rate(
        store, caller, _talk_id(form.get("talk")), form.whole("seq", 0) or 0, 1 if form.get("helped") == "1" else -1
    )
    if request.headers.get("x-live") == "1":
        return Response("", status_code=200)
    return go(request, f"{HERE}#last", say="Thank you, that helps us.")


@post(HERE + "/forget", include_in_schema=False)
async def forget_talk(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Delete the talk, every word of it."""
    form = await read_form(request)
    await forget(store, caller, _talk_id(form.get("talk")))
    return go(request, HERE, say="The talk is deleted.")


@post(HERE + "/person", include_in_schema=False)
async def ask_for_person(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Have a person take over, with the transcript; where that needs an account, sign in first and come back."""
    form = await read_form(request)
    try:
        conversation_id = await hand_over(store, caller, _talk_id(form.get("talk")))
    except SignInFirst:
        return go(request, f"/sign-in?next={HERE}", say="Please sign in, so that we can answer you.", tone="info")
    except (NoMessagesHere, NobodyToWriteTo):
        mail = store.settings.store.support_email
        return go(request, HERE, say=f"Please write to {mail}: somebody will answer you there.", tone="info")
    saw(request, store, caller, "assistant_handed_over")
    return go(
        request, f"/messages/{conversation_id}", say="Here is what you told the assistant. A person will answer you."
    )


def _talk_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NoSuchTalk from None


@get(CONFIRM, include_in_schema=False)
async def confirm_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, c: FromQuery[str] = ""
) -> Response[Any]:
    """Show what an agent would like to have done, and ask."""
    pending = read_confirmation(store, caller, c)
    details = await explain(store, caller, pending)
    return await page(
        request, store, caller, "assistant_confirm",
        what=TOOLS[pending.tool].description, details=details, written=c[:_LONGEST_LINK],
    )  # fmt: skip


@post(CONFIRM, include_in_schema=False)
async def confirm_now(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Do it, as the person who pressed the button."""
    form = await read_form(request)
    written = form.get("c")
    read_confirmation(store, caller, written)
    try:
        done = await confirm(store, caller, written)
    except DomainError as error:
        return go(request, "/orders", say=first_problem(error), tone="bad")
    number = done.arguments.get("number")
    return go(request, f"/orders/{number}" if number else "/orders", say="Done.")


assistant_routes: list[Any] = [
    assistant_page, panel, say, rate_answer, forget_talk, ask_for_person, confirm_page, confirm_now
]  # fmt: skip
