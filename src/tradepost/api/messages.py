"""Conversations, for programs: lists, messages, read marks, and live events."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT
from litestar.types import ASGIApp
from msgspec import Meta

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
from tradepost.web.live import EventStream, last_event_id
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

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


@get("/inbox/events", include_in_schema=False)
async def inbox_events(store: GivenStore, caller: GivenCaller) -> ASGIApp:
    """Stream how many conversations have something unread, as server-sent events."""
    return EventStream(await watch_inbox(store, caller))


message_routes: list[Any] = [
    conversations, begin_conversation, search, thread, write, read, aside, typing, take_back, events, inbox_events
]  # fmt: skip
