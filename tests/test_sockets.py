"""Conversations and shows by WebSocket: the same words, doors and limits as by request and by server-sent events."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.calls import call
from tests.factories import Factory
from tests.people import join, join_as
from tests.shows import plan
from tests.visitor import Visitor
from tradepost.accounts.api_tokens import issue_token
from tradepost.accounts.types import NewToken, StartedSession
from tradepost.core.database import SYSTEM
from tradepost.core.live import bells_of
from tradepost.flows.conversations import About, begin, read_thread, say
from tradepost.flows.shows import go_live, read_log, schedule_show
from tradepost.flows.shows import say as comment
from tradepost.flows.sign_in import sign_out
from tradepost.flows.store import Store
from tradepost.flows.viewers import viewers_of
from tradepost.messaging.types import Draft
from tradepost.streams.types import Comment
from tradepost.web import live


class Pair:
    """Two who talk, each with a session."""

    def __init__(self, store: Store, seller: StartedSession, buyer: StartedSession, conversation_id: UUID) -> None:
        self.store, self.seller, self.buyer, self.id = store, seller, buyer, conversation_id
        self.path = f"/api/v1/conversations/{conversation_id}/events"

    async def bodies(self) -> list[str]:
        """Return what was said."""
        return [m.body for m in (await read_thread(self.store, self.buyer.caller, self.id, mark=False)).messages]


@pytest_asyncio.fixture
async def pair(store: Store, make: Factory) -> Pair:
    """Have a buyer ask a seller about a lamp."""
    seller, buyer = await join(store, "sami", role="seller"), await join(store, "bea", role="buyer")
    lamp = await make.listing(seller.caller, "Brass lamp", category="tools")
    sent = await begin(store, buyer.caller, About(listing_id=lamp), Draft(body="Still there?"))
    return Pair(store, seller, buyer, sent.conversation_id)


@pytest_asyncio.fixture
async def stage(store: Store, make: Factory) -> AsyncIterator[tuple[UUID, StartedSession]]:
    """Have a show on."""
    host = await join(store, "hana", role="seller")
    stream = await schedule_show(store, host.caller, plan())
    await go_live(store, host.caller, stream.id)
    yield stream.id, host
    await viewers_of(store).nobody_left()


async def test_what_is_said_arrives_and_comes_back_numbered(pair: Pair) -> None:
    async with (
        call(pair.store, pair.path, token=pair.buyer.token, query="after=0") as hers,
        call(pair.store, pair.path, token=pair.seller.token) as his,
    ):
        assert [m["id"] for m in await hers.told("message")] == [1]
        hers.say(do="say", body="I could come today.", nonce="a")
        (sent,) = await hers.told("sent")
        assert sent["data"] == {"seq": 2, "nonce": "a"}
        (heard,) = await his.told("message")
        assert (heard["id"], heard["data"]["body"]) == (2, "I could come today.")
        hers.say(do="say", body="I could come today.", nonce="a")
        assert (await hers.told("sent"))[0]["data"]["seq"] == 2
    assert await pair.bodies() == ["Still there?", "I could come today."]


async def test_typing_and_reading_are_told_to_the_other(pair: Pair) -> None:
    async with (
        call(pair.store, pair.path, token=pair.buyer.token) as hers,
        call(pair.store, pair.path, token=pair.seller.token, query="after=0") as his,
    ):
        await his.told("message")
        hers.say(do="typing")
        assert (await his.told("note"))[0]["data"] == {"typing": str(pair.buyer.caller.user_id)}
        his.say(do="read", seq=1)
        assert {"read": str(pair.seller.caller.user_id), "seq": 1} in [n["data"] for n in await hers.told("note", 2)]


async def test_who_calls_again_misses_nothing_and_hears_nothing_twice(pair: Pair) -> None:
    async with call(pair.store, pair.path, token=pair.buyer.token, query="after=0") as first:
        assert [m["id"] for m in await first.told("message")] == [1]
    for n in range(110):
        await say(pair.store, pair.seller.caller if n % 2 else pair.buyer.caller, pair.id, Draft(body=f"{n}"))
    async with call(pair.store, pair.path, token=pair.buyer.token, query="after=1") as again:
        assert [m["id"] for m in await again.told("message", 110)] == list(range(2, 112))
    async with call(pair.store, pair.path, token=pair.buyer.token, last_event_id="109") as named:
        assert [m["id"] for m in await named.told("message", 2)] == [110, 111]


async def test_strangers_and_visitors_get_no_line(pair: Pair) -> None:
    eve = await join(pair.store, "eve")
    async with call(pair.store, pair.path, token=eve.token) as refused:
        assert (await refused.told("error"))[0]["data"]["code"] == "NoSuchConversation"
        assert await refused.ended() == 4404
    async with call(pair.store, pair.path) as refused:
        assert (await refused.told("error"))[0]["data"]["code"] == "SignInFirst"
        assert await refused.ended() == 4403
    assert bells_of(pair.store.db)._channels == {}


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"sec_fetch_site": "same-site"}])
async def test_a_page_of_another_site_cannot_call_with_ones_cookies(pair: Pair, headers: dict[str, str]) -> None:
    async with call(pair.store, pair.path, token=pair.buyer.token, **headers) as refused:
        assert (await refused.told("error"))[0]["data"]["code"] == "StaleForm"
        assert await refused.ended() == 4403


async def test_a_program_calls_with_its_token_within_its_scopes(pair: Pair) -> None:
    buyer = pair.buyer.caller
    async with pair.store.db.transaction(actor=buyer.actor) as tx:
        reads = await issue_token(tx, buyer, NewToken(name="reads", scopes=()))
        talks = await issue_token(tx, buyer, NewToken(name="talks", scopes=("profile",)))
    async with call(
        pair.store, pair.path, bearer=reads.secret, query="after=0", origin="https://elsewhere.example"
    ) as line:
        await line.told("message")
        line.say(do="say", body="May I?", nonce="n")
        assert (await line.told("error"))[0]["data"]["code"] == "NotAllowed"
    async with call(pair.store, pair.path, bearer=talks.secret) as line:
        line.say(do="say", body="I may.")
        await line.told("sent")
    async with call(pair.store, pair.path, bearer="made-up") as refused:
        assert (await refused.told("error"))[0]["data"]["code"] == "TokenInvalid"
    assert await pair.bodies() == ["Still there?", "I may."]


@pytest.mark.parametrize(
    "said",
    [
        "",
        "no json",
        "[]",
        '{"do":"dance"}',
        '{"do":"say"}',
        '{"do":"read","seq":-1}',
        '{"do":"typing","x":1}',
        '{"do":"say","body":"\\ud800"}',
    ],
)
async def test_what_is_not_understood_is_told_and_changes_nothing(pair: Pair, said: str) -> None:
    async with call(pair.store, pair.path, token=pair.buyer.token) as line:
        line.say_text(said)
        assert (await line.told("error"))[0]["data"]["code"] == "FieldErrors"
        line.say(do="say", body="Still here.")
        await line.told("sent")
    assert await pair.bodies() == ["Still there?", "Still here."]


async def test_what_is_too_long_ends_the_line(pair: Pair) -> None:
    async with call(pair.store, pair.path, token=pair.buyer.token) as line:
        line.say(do="say", body="x" * 30_000)
        assert await line.ended() == 1009
    assert await pair.bodies() == ["Still there?"]


async def test_who_signs_out_says_nothing_more_over_an_open_line(pair: Pair) -> None:
    async with call(pair.store, pair.path, token=pair.buyer.token) as line:
        line.say(do="say", body="Before")
        await line.told("sent")
        await sign_out(pair.store, pair.buyer.caller)
        line.say(do="say", body="After", nonce="late")
        (refused,) = await line.told("error")
        assert (refused["data"]["code"], refused["data"]["nonce"]) == ("SignInFirst", "late")
    assert [m.body for m in (await read_thread(pair.store, pair.seller.caller, pair.id)).messages] == [
        "Still there?",
        "Before",
    ]


async def test_what_is_said_counts_with_what_is_posted(
    pair: Pair, browse: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradepost.flows.conversations.MOST_SENT_NEW", 3)
    async with call(pair.store, pair.path, token=pair.buyer.token) as line:
        for n in range(2):
            line.say(do="say", body=f"{n}")
            await line.told("sent")
        line.say(do="say", body="one too many")
        assert (await line.told("error"))[0]["data"]["code"] == "TooOften"
    assert await pair.bodies() == ["Still there?", "0", "1"]


async def test_endpoints_share_their_counters_with_posts(pair: Pair) -> None:
    """A socket's sayings are counted under the very name of the post that says the same."""
    from litestar.routes import HTTPRoute

    from tradepost.api.messages import _PATH
    from tradepost.app import _handlers

    known = {route.path_format for route in _handlers().routes if isinstance(route, HTTPRoute)}
    assert {f"{_PATH}/{action}" for action in ("typing", "read", "messages")} < known
    assert "/api/v1/streams/{stream_id}/comments" in known


async def test_a_line_ends_after_a_while_and_whoever_may_no_longer_look_is_out(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LONGEST_S", 0.0)
    async with call(pair.store, pair.path, token=pair.buyer.token, query="after=0") as line:
        await line.told("message")
        assert await line.ended() == 1012
    assert bells_of(pair.store.db)._channels == {}


async def test_a_host_that_is_no_store_has_nothing_to_listen_to(pair: Pair) -> None:
    from tradepost.web.hosting import Hosting

    assert Hosting  # two stores, so that the host name decides
    other = type("Other", (), {"code": "other", "gateways": {}})()
    from tests.calls import Call
    from tradepost.app import create_app

    app = create_app({"market": pair.store, "other": other})
    for host, code in (("nothing.localhost", 4404), ("no host", 1008)):
        made = Call()
        scope = {"type": "websocket", "path": pair.path, "raw_path": pair.path.encode(), "root_path": "", "query_string": b"",
                 "headers": [(b"host", host.encode())], "client": ("2001:db8::1", 1), "scheme": "ws", "state": {}}  # fmt: skip
        await asyncio.wait_for(app(scope, made.receive, made.send), 5)
        assert made.closed == code


async def test_a_show_is_watched_and_commented_on(store: Store, stage: tuple[UUID, StartedSession]) -> None:
    stream_id, host = stage
    fan = await join(store, "fay")
    path = f"/api/v1/streams/{stream_id}/events"
    async with call(store, path, token=fan.token, query="after=0") as hers, call(store, path) as anybodys:
        assert [e["data"]["kind"] for e in await hers.told("show")] == ["started"]
        hers.say(do="say", body="How heavy is it?", nonce="q")
        assert (await hers.told("sent"))[0]["data"] == {"seq": 2, "nonce": "q"}
        assert (await anybodys.told("show"))[0]["data"]["body"] == "How heavy is it?"
        anybodys.say(do="say", body="And who am I?", nonce="w")
        assert (await anybodys.told("error"))[0]["data"]["code"] == "SignInFirst"
        assert [n["data"]["viewers"] for n in await anybodys.told("note")] == [2]
        await comment(store, host.caller, stream_id, Comment(body="Two kilos."))
        assert (await anybodys.told("show"))[0]["id"] == 3
    async with call(store, path, query="after=1") as back:
        assert [e["id"] for e in await back.told("show", 2)] == [2, 3]
    assert [row.body for row in await read_log(store, stream_id, 0)] == ["", "How heavy is it?", "Two kilos."]


async def test_there_is_no_line_to_a_show_that_is_none(store: Store, stage: Any) -> None:
    async with call(store, f"/api/v1/streams/{UUID(int=5)}/events") as refused:
        assert (await refused.told("error"))[0]["data"]["code"] == "NoSuchStream"
        assert await refused.ended() == 4404


async def test_with_borrowed_eyes_one_only_listens(pair: Pair) -> None:
    from tradepost.flows.see_as import LookForm, begin_look
    from tradepost.web.context import LOOK_COOKIE

    staff = await join_as(pair.store, "sue", "admin")
    look = await begin_look(
        pair.store, staff.caller, pair.buyer.caller.check_signed_in(), LookForm(reason="They asked for help.")
    )
    cookies = f"session={staff.token}; {LOOK_COOKIE}={look}"
    async with call(pair.store, pair.path, query="after=0", cookie=cookies) as line:
        await line.told("message")
        line.say(do="say", body="In their name")
        assert (await line.told("error"))[0]["data"]["code"] == "OnlyLooking"
    assert await pair.bodies() == ["Still there?"]
    async with pair.store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.value(text("SELECT count(*) FROM messages")) == 1
