"""Conversations, for programs: lists, messages, read marks, and live events."""

from functools import partial
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get, post, websocket
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT
from litestar.types import ASGIApp
from msgspec import Meta

from tradepost.core.errors import DomainError
from tradepost.core.live import Entry
from tradepost.core.pages import Page
from tradepost.flows.conversations import (
    About,
    Thread,
    begin,
    mark_read,
    note_typing,
    put_aside,
    read_inbox,
    read_thread,
    say,
    search_messages,
    take_back_message,
    watch_conversation,
    watch_inbox,
)
from tradepost.messaging.types import ConversationCard, Draft, FoundMessage, Message
from tradepost.web.context import Calling
from tradepost.web.live import EventStream, Socket, answer_call, last_event_id, refusal, takes_nothing, understood
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest, HttpSocket

Cursor = Annotated[str | None, QueryParameter(max_length=400, description="`after` of the page before.")]
Number = Annotated[int | None, QueryParameter(ge=0, le=2**31 - 1)]


class NewConversation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A first message, and what it is about: `about` names a listing, an order or people."""

    about: About
    body: Annotated[str, Meta(max_length=4000)] = ""
    nonce: Annotated[str, Meta(max_length=64)] | None = None


class Begun(msgspec.Struct, frozen=True):
    """The conversation a first message went to."""

    conversation_id: UUID
    message: Message


class ReadMark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The number of the last message that was read."""

    seq: Annotated[int, Meta(ge=0, le=2**31 - 1)]


class Aside(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a conversation is put aside."""

    archived: bool


@get("/conversations", tags=["Messages"])
async def conversations(
    store: GivenStore, caller: GivenCaller, archived: FromQuery[bool] = False, after: Cursor = None
) -> Page[ConversationCard]:
    """List the caller's conversations, the one written in last first."""
    return (await read_inbox(store, caller, archived=archived, after=after))[0]


@post("/conversations", tags=["Messages"])
async def begin_conversation(store: GivenStore, caller: GivenCaller, data: JSONBody[NewConversation]) -> Begun:
    """Write to a listing's seller, the other side of an order, or to people; one conversation for two and one thing."""
    sent = await begin(store, caller, data.about, Draft(body=data.body, nonce=data.nonce))
    return Begun(sent.conversation_id, sent)


@get("/messages/search", tags=["Messages"])
async def search(
    store: GivenStore, caller: GivenCaller, q: Annotated[str, QueryParameter(max_length=200)], after: Cursor = None
) -> Page[FoundMessage]:
    """Find messages of the caller's conversations that contain some words, the latest first."""
    return await search_messages(store, caller, q, after=after)


@get("/conversations/{conversation_id:uuid}", tags=["Messages"])
async def thread(
    store: GivenStore, caller: GivenCaller, conversation_id: FromPath[UUID], before: Number = None, after: Number = None
) -> Thread:
    """Return a conversation with its last 40 messages, those before, or up to 200 after a number; marks nothing as read."""
    return await read_thread(store, caller, conversation_id, before=before, after=after, mark=False)


@post("/conversations/{conversation_id:uuid}/messages", tags=["Messages"])
async def write(
    store: GivenStore, caller: GivenCaller, conversation_id: FromPath[UUID], data: JSONBody[Draft]
) -> Message:
    """Write a message. The same `nonce` again returns the message that was sent with it."""
    return await say(store, caller, conversation_id, data)


@post("/conversations/{conversation_id:uuid}/read", tags=["Messages"], status_code=HTTP_204_NO_CONTENT)
async def read(
    store: GivenStore, caller: GivenCaller, conversation_id: FromPath[UUID], data: JSONBody[ReadMark]
) -> None:
    """Note how far the caller has read."""
    await mark_read(store, caller, conversation_id, data.seq)


@post("/conversations/{conversation_id:uuid}/archive", tags=["Messages"], status_code=HTTP_204_NO_CONTENT)
async def aside(store: GivenStore, caller: GivenCaller, conversation_id: FromPath[UUID], data: JSONBody[Aside]) -> None:
    """Put a conversation aside, or take it back."""
    await put_aside(store, caller, conversation_id, archived=data.archived)


@post("/conversations/{conversation_id:uuid}/typing", tags=["Messages"], status_code=HTTP_204_NO_CONTENT)
async def typing(store: GivenStore, caller: GivenCaller, conversation_id: FromPath[UUID]) -> None:
    """Tell the others that the caller is writing; say it again every few seconds."""
    await note_typing(store, caller, conversation_id)


@post("/conversations/{conversation_id:uuid}/messages/{seq:int}/take-back", tags=["Messages"], status_code=HTTP_200_OK)
async def take_back(
    store: GivenStore, caller: GivenCaller, conversation_id: FromPath[UUID], seq: FromPath[int]
) -> Response[None]:
    """Empty one of the caller's own messages, for everybody."""
    await take_back_message(store, caller, conversation_id, seq)
    return Response(None)


@get("/conversations/{conversation_id:uuid}/events", include_in_schema=False)
async def events(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, conversation_id: FromPath[UUID], after: Number = None
) -> ASGIApp:
    """Stream a conversation's messages as server-sent events; `Last-Event-ID` is a message's number."""
    return EventStream(await watch_conversation(store, caller, conversation_id, last_event_id(request, after)))


class Typing(msgspec.Struct, frozen=True, tag_field="do", tag="typing", forbid_unknown_fields=True):
    """The caller is writing."""


class HasRead(msgspec.Struct, frozen=True, tag_field="do", tag="read", forbid_unknown_fields=True):
    """The caller has read up to a message."""

    seq: Annotated[int, Meta(ge=0, le=2**31 - 1)]


class Says(msgspec.Struct, frozen=True, tag_field="do", tag="say", forbid_unknown_fields=True):
    """The caller writes a message; what becomes of it carries its `nonce`."""

    body: Annotated[str, Meta(max_length=4000)]
    nonce: Annotated[str, Meta(max_length=64)] | None = None


_PATH = "/api/v1/conversations/{conversation_id}"


@websocket("/conversations/{conversation_id:uuid}/events")
async def live(socket: HttpSocket, conversation_id: FromPath[UUID], after: Number = None) -> None:
    """Tell a conversation's messages over a WebSocket, those after number `after` first, and take what the caller says.

    What comes in: {"do": "typing"}, {"do": "read", "seq": 7}, {"do": "say", "body": "Hello", "nonce": "mine"}.
    """
    await answer_call(socket, _opened(socket, conversation_id, last_event_id(socket, after)))


async def _opened(socket: HttpSocket, conversation_id: UUID, after: int | None) -> Socket:
    calling = Calling.by(socket)
    watching = await watch_conversation(calling.store, await calling.caller(), conversation_id, after)
    return Socket(watching, partial(_take, calling, conversation_id))


async def _take(calling: Calling, conversation_id: UUID, said: bytes) -> Entry | None:
    """Do what somebody says over a WebSocket, as the post would that says the same; return what they are told."""
    wanted: Typing | HasRead | Says = understood(said, Typing | HasRead | Says)
    store = calling.store
    if isinstance(wanted, Typing):
        await note_typing(store, await calling.sayer(f"{_PATH}/typing"), conversation_id)
        return None
    if isinstance(wanted, HasRead):
        await mark_read(store, await calling.sayer(f"{_PATH}/read"), conversation_id, wanted.seq)
        return None
    try:
        caller = await calling.sayer(f"{_PATH}/messages")
        sent = await say(store, caller, conversation_id, Draft(body=wanted.body, nonce=wanted.nonce))
    except DomainError as error:
        return refusal(error, nonce=wanted.nonce)
    return Entry("sent", {"seq": sent.seq, "nonce": wanted.nonce})


@get("/inbox/events", include_in_schema=False)
async def inbox_events(store: GivenStore, caller: GivenCaller) -> ASGIApp:
    """Stream how many conversations have something unread, as server-sent events."""
    return EventStream(await watch_inbox(store, caller))


@websocket("/inbox/events")
async def inbox_live(socket: HttpSocket) -> None:
    """Tell how many conversations have something unread, over a WebSocket that takes nothing."""
    await answer_call(socket, _inbox(socket))


async def _inbox(socket: HttpSocket) -> Socket:
    calling = Calling.by(socket)
    return Socket(await watch_inbox(calling.store, await calling.caller()), takes_nothing)


message_routes: list[Any] = [
    conversations, begin_conversation, search, thread, write, read, aside, typing, take_back, events, live, inbox_events, inbox_live
]  # fmt: skip
