"""The assistant, for programs: ask, read what was said, rate, hand over, delete; and its tools by themselves."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT
from msgspec import Meta

from tradepost.accounts.types import PROFILE_SCOPE, Caller
from tradepost.api.repeatable import OWN_KEY
from tradepost.assistant.talks import Talk
from tradepost.assistant.types import Button, Card, Pending, Reply, ToolResult
from tradepost.flows.assistant_agents import call_for_agent
from tradepost.flows.assistant_sessions import ask, forget, hand_over, own_talks, rate, read_turns
from tradepost.flows.assistant_tools import TOOLS
from tradepost.flows.sign_in import open_visit
from tradepost.flows.store import Store
from tradepost.web.assistant import note_said
from tradepost.web.security import SESSION_COOKIE, cookie
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest
from tradepost.web.visits import saw

SCOPE = "buy"


class NewMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something said to the assistant; in the latest talk of the caller unless another one is named."""

    message: Annotated[str, Meta(min_length=1, max_length=20_000)]
    talk_id: UUID | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: its sentences, what is shown beside them, the results of tools that they rest on, and a change that waits for a yes."""

    texts: tuple[str, ...]
    cards: tuple[Card, ...]
    buttons: tuple[Button, ...]
    sources: tuple[ToolResult, ...]
    pending: Pending | None
    intents: tuple[str, ...]
    is_understood: bool
    hands_over: bool
    made_by: Literal["engine", "model"]


class AnsweredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, with the talk and the number of the turn it belongs to."""

    talk_id: UUID
    seq: int
    answer: Answer


class PastTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn as it was said; `feedback` 1: it helped, -1: it did not."""

    seq: int
    at: datetime
    asked: str
    answer: Answer
    feedback: int | None


def _answer(reply: Reply, made_by: Literal["engine", "model"]) -> Answer:
    return Answer(
        texts=reply.texts, cards=reply.cards, buttons=reply.buttons, sources=reply.sources, pending=reply.pending,
        intents=reply.intents, is_understood=reply.is_understood, hands_over=reply.hands_over, made_by=made_by,
    )  # fmt: skip


class Rating(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether an answer helped (1) or did not (-1)."""

    helped: Literal[-1, 1]


class HandedOver(msgspec.Struct, frozen=True):
    """The conversation in which a person goes on."""

    conversation_id: UUID


class ToolFacts(msgspec.Struct, frozen=True):
    """A tool: what it is for, its arguments as JSON Schema, and whether it changes something."""

    name: str
    description: str
    arguments: dict[str, Any]
    is_change: bool
    scope: str


@post(
    "/assistant/messages", tags=["Assistant"], status_code=HTTP_200_OK, opt={OWN_KEY: True}
)  # no transaction around a model
async def say_something(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, data: JSONBody[NewMessage]
) -> Response[AnsweredMessage]:
    """Answer a message. A visitor without a session gets one, as a cookie; a change waits for a yes in the next message."""
    caller.check_token(SCOPE)
    caller, cookies = await _with_session(request, store, caller)
    found = await ask(store, caller, data.message, talk_id=data.talk_id, channel="api")
    note_said(request, store, caller, found)
    said = AnsweredMessage(talk_id=found.talk_id, seq=found.seq, answer=_answer(found.reply, found.made_by))
    return Response(said, cookies=cookies)


async def _with_session(request: HttpRequest, store: Store, caller: Caller) -> tuple[Caller, list[Any]]:
    if caller.user_id is not None or caller.session is not None:
        return caller, []
    visit = await open_visit(store, caller, request.headers.get("user-agent", ""))
    return visit.caller, [cookie(SESSION_COOKIE, visit.token, secure=request.url.scheme == "https")]


@get("/assistant/talks", tags=["Assistant"])
async def talks(store: GivenStore, caller: GivenCaller) -> list[Talk]:
    """List the caller's talks, the latest first."""
    return await own_talks(store, caller)


@get("/assistant/talks/{talk_id:uuid}", tags=["Assistant"])
async def transcript(store: GivenStore, caller: GivenCaller, talk_id: FromPath[UUID]) -> list[PastTurn]:
    """Return the last hundred turns of a talk, each with the results of tools that the answer rests on."""
    return [
        PastTurn(seq=t.seq, at=t.at, asked=t.asked, answer=_answer(t.reply, t.made_by), feedback=t.feedback)
        for t in await read_turns(store, caller, talk_id)
    ]


@post("/assistant/talks/{talk_id:uuid}/turns/{seq:int}/rating", tags=["Assistant"], status_code=HTTP_204_NO_CONTENT)
async def rate_turn(
    store: GivenStore, caller: GivenCaller, talk_id: FromPath[UUID], seq: FromPath[int], data: JSONBody[Rating]
) -> None:
    """Say whether an answer helped."""
    caller.check_token(SCOPE)
    await rate(store, caller, talk_id, seq, data.helped)


@post("/assistant/talks/{talk_id:uuid}/hand-over", tags=["Assistant"], status_code=HTTP_200_OK)
async def to_a_person(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, talk_id: FromPath[UUID]
) -> HandedOver:
    """Have a person take over, with the transcript."""
    caller.check_token(PROFILE_SCOPE)
    found = HandedOver(await hand_over(store, caller, talk_id))
    saw(request, store, caller, "assistant_handed_over", through="api")
    return found


@delete("/assistant/talks/{talk_id:uuid}", tags=["Assistant"])
async def delete_talk(store: GivenStore, caller: GivenCaller, talk_id: FromPath[UUID]) -> None:
    """Delete a talk, every word of it."""
    caller.check_token(SCOPE)
    await forget(store, caller, talk_id)


@get("/assistant/tools", tags=["Assistant"], sync_to_thread=False)
def list_tools() -> list[ToolFacts]:
    """List the assistant's tools."""
    return [ToolFacts(t.name, t.description, t.schema, t.is_change, t.scope) for t in TOOLS.values()]


@post("/assistant/tools/{name:str}", tags=["Assistant"], status_code=HTTP_200_OK)
async def use_tool(
    store: GivenStore, caller: GivenCaller, name: FromPath[str], data: JSONBody[dict[str, Any]]
) -> dict[str, Any]:
    """Use a tool; what touches an order returns a link for the person to confirm, and changes nothing."""
    tool = TOOLS.get(name)
    if tool is not None and tool.scope:
        caller.check_token(tool.scope)
    return await call_for_agent(store, caller, name, data)


assistant_api_routes: list[Any] = [
    say_something, talks, transcript, rate_turn, to_a_person, delete_talk, list_tools, use_tool
]  # fmt: skip
