"""Agents that shop for a person: by the protocol's own client over HTTP, with scopes, and never past the person."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import msgspec
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCMessage

from tests.people import visitor
from tests.shop import Shop
from tradepost.accounts.api_tokens import issue_token
from tradepost.accounts.types import Caller, NewToken, NotByToken
from tradepost.api.agents import LARGEST_CALL
from tradepost.app import create_app
from tradepost.assistant.types import Pending
from tradepost.cli.agents import pump
from tradepost.core import clock
from tradepost.flows.assistant_agents import LinkNotGood, LinkUsed, confirm, describe, read_confirmation
from tradepost.flows.assistant_explain import explain
from tradepost.flows.assistant_tools import TOOLS
from tradepost.flows.orders import get_order
from tradepost.orders.returns import NotReturnable


async def token_of(shop: Shop, *scopes: str, person: Caller | None = None) -> str:
    whose = person or shop.buyer
    async with shop.store.db.transaction(actor=whose.actor) as tx:
        made = await issue_token(tx, whose, NewToken(name="agent", scopes=scopes))
    return made.secret


@asynccontextmanager
async def agent(shop: Shop, token: str = "") -> AsyncIterator[ClientSession]:
    """Talk to the store as an agent does, through the protocol's own client."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    transport = httpx.ASGITransport(app=create_app({shop.store.code: shop.store}), client=(visitor().address, 40_000))
    async with (
        httpx.AsyncClient(transport=transport, headers=headers) as client,
        streamable_http_client("http://market.localhost/api/mcp", http_client=client) as (answers, questions, _),
        ClientSession(answers, questions) as session,
    ):
        await session.initialize()
        yield session


async def use(session: ClientSession, tool: str, **arguments: Any) -> dict[str, Any]:
    found = await session.call_tool(tool, arguments)
    assert not found.isError, found.content
    assert found.structuredContent is not None
    return found.structuredContent


async def refused(session: ClientSession, tool: str, **arguments: Any) -> str:
    found = await session.call_tool(tool, arguments)
    assert found.isError
    return str(found.content[0].text)  # type: ignore[union-attr]  # errors are texts


async def test_an_agent_finds_puts_in_the_cart_and_leaves_buying_to_the_person(shop: Shop) -> None:
    await shop.goods("Claw hammer", price=1900, stock=5)
    async with agent(shop, await token_of(shop, "buy")) as session:
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert tools.keys() == TOOLS.keys()
        assert tools["search_listings"].annotations is not None
        assert tools["search_listings"].annotations.readOnlyHint
        found = await use(session, "search_listings", query="claw hammer")
        assert found["items"][0]["path"].startswith(f"{shop.store.base_url}/l/")
        cart = await use(session, "add_to_cart", listing_id=found["items"][0]["listing_id"], quantity=2)
        assert cart["line_count"] == 1
        assert (await use(session, "start_checkout"))["link"] == f"{shop.store.base_url}/checkout"
    assert await shop.count("orders") == 0


async def test_what_touches_an_order_waits_for_its_person(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods(stock=5))
    async with agent(shop, await token_of(shop, "buy")) as session:
        asked = await use(session, "cancel_order", number=placed.number)
    assert asked["done"] is False
    assert placed.number in asked["will"]
    assert (await get_order(shop.store, shop.buyer, placed.number)).state != "cancelled"
    written = urlsplit(asked["confirmation_link"]).query.partition("=")[2]
    with pytest.raises(LinkNotGood):
        await confirm(shop.store, await shop.make.person(), written)  # somebody else's browser
    with pytest.raises(LinkNotGood):
        await confirm(shop.store, shop.buyer, written[:-1] + ("0" if written[-1] != "0" else "1"))
    with pytest.raises(NotByToken):
        await confirm(shop.store, msgspec.structs.replace(shop.buyer, scopes=frozenset({"buy"})), written)
    await confirm(shop.store, shop.buyer, written)
    assert (await get_order(shop.store, shop.buyer, placed.number)).state == "cancelled"
    with pytest.raises(LinkUsed):
        await confirm(shop.store, shop.buyer, written)


async def test_a_link_stays_good_where_it_could_not_be_done(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods(stock=5))
    async with agent(shop, await token_of(shop, "buy")) as session:
        asked = await use(session, "return_items", number=placed.number, line_nos=[1])
    written = urlsplit(asked["confirmation_link"]).query.partition("=")[2]
    for _ in range(2):
        with pytest.raises(NotReturnable):  # it has not arrived
            await confirm(shop.store, shop.buyer, written)


async def test_the_person_reads_what_will_be_done_by_name(shop: Shop) -> None:
    variant = await shop.goods("Claw hammer", price=1900, stock=5)
    placed = await shop.buy(variant)
    swap = {"line_no": 1, "variant_id": str(variant)}
    pending = Pending(
        tool="exchange_items", arguments={"number": placed.number, "items": [swap], "settle_by": "card"}, summary=""
    )
    order, line, settled = await explain(shop.store, shop.buyer, pending)
    assert order.text.startswith(f"{placed.number}, paid, placed on")
    assert (line.label, line.text.count("Claw hammer"), line.text.count("19.00")) == ("Line 1", 1, 2)
    assert (settled.label, settled.text) == ("Settle by", "card")
    (_, unknown) = await explain(
        shop.store,
        shop.buyer,
        Pending(tool="return_items", arguments={"number": placed.number, "line_nos": [7]}, summary=""),
    )
    assert unknown.text == "not in this order"


async def test_a_link_is_good_for_an_hour(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = await shop.buy(await shop.goods(stock=5))
    async with agent(shop, await token_of(shop, "buy")) as session:
        asked = await use(session, "cancel_order", number=placed.number)
    written = urlsplit(asked["confirmation_link"]).query.partition("=")[2]
    assert read_confirmation(shop.store, shop.buyer, written).tool == "cancel_order"
    later = clock.now() + timedelta(minutes=61)
    monkeypatch.setattr("tradepost.flows.assistant_agents.now", lambda: later)
    with pytest.raises(LinkNotGood):
        read_confirmation(shop.store, shop.buyer, written)
    with pytest.raises(LinkNotGood):
        read_confirmation(shop.store, shop.buyer, "é" * 20_000)


async def test_a_token_does_only_what_it_was_made_for(shop: Shop) -> None:
    variant = await shop.goods(stock=5)
    listing = str((await shop.row("SELECT listing_id FROM variants WHERE id = :id", id=variant))[0])
    async with agent(shop, await token_of(shop, "profile")) as session:
        assert "may not do that" in await refused(session, "add_to_cart", listing_id=listing)
        assert "may not do that" in await refused(session, "list_orders")
    async with agent(shop) as session:  # without a token: a visitor who looks around
        assert (await use(session, "search_listings", query="hammer"))["items"]
        assert await refused(session, "add_to_cart", listing_id=listing)
        assert await refused(session, "list_orders")
        assert "no tool" in await refused(session, "drop_tables")
        assert "cannot be called" in await refused(session, "get_listing", listing_id="' OR 1=1")
    assert await shop.count("cart_lines") == 0


async def test_another_persons_order_is_as_if_there_were_none(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods(stock=5))
    async with agent(shop, await token_of(shop, "buy", person=await shop.make.person())) as session:
        assert await refused(session, "order_status", number=placed.number) == await refused(
            session, "order_status", number="NONE-1"
        )


async def test_a_bad_token_and_a_flood_are_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = httpx.ASGITransport(app=create_app({shop.store.code: shop.store}), client=(visitor().address, 40_000))
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"accept": "application/json, text/event-stream"}
    monkeypatch.setattr("tradepost.api.agents.MOST_CALLS", 2)
    async with httpx.AsyncClient(transport=transport, base_url="http://market.localhost", headers=accept) as client:
        bad = await client.post("/api/mcp", json=message, headers={"authorization": "Bearer made-up"})
        assert (bad.status_code, bad.json()["code"]) == (403, "TokenInvalid")
        assert (await client.get("/api/mcp")).status_code == 405
        seen = [(await client.post("/api/mcp", json=message)).status_code for _ in range(4)]
        assert seen == [200, 200, 200, 429]


async def test_a_call_that_is_too_large_is_refused_unread(shop: Shop) -> None:
    transport = httpx.ASGITransport(app=create_app({shop.store.code: shop.store}), client=(visitor().address, 40_000))
    accept = {"accept": "application/json, text/event-stream", "content-type": "application/json"}

    async def flood() -> AsyncIterator[bytes]:  # of no length that is said before
        for _ in range(20):
            yield b" " * 65_536

    async with httpx.AsyncClient(transport=transport, base_url="http://market.localhost", headers=accept) as client:
        async with asyncio.timeout(10):
            answers = [
                await client.post("/api/mcp", content=content) for content in (b" " * (LARGEST_CALL + 1), flood())
            ]
    assert [answer.status_code for answer in answers] == [413, 413]


def test_the_confirmation_hides_no_argument_behind_another() -> None:
    said = describe("cancel_order", {"reason": "x" * 5_000, "number": "SA-10234"})
    assert said.index("SA-10234") < said.index("xxx")
    assert len(said) < 600


async def test_the_bridge_passes_on_every_answer_before_it_ends() -> None:
    sent = [
        SessionMessage(JSONRPCMessage.model_validate({"jsonrpc": "2.0", "id": n, "method": "ping"})) for n in range(3)
    ]
    from_agent, asked = anyio.create_memory_object_stream[Any](10)
    questions, at_server = anyio.create_memory_object_stream[Any](10)
    from_server, answers = anyio.create_memory_object_stream[Any](10)
    told, heard = anyio.create_memory_object_stream[Any](10)

    async def serve() -> None:
        async for question in at_server:
            made = {"jsonrpc": "2.0", "id": question.message.root.id, "result": {}}
            await from_server.send(SessionMessage(JSONRPCMessage.model_validate(made)))

    server = asyncio.create_task(serve())
    for message in sent:
        await from_agent.send(message)
    await from_agent.aclose()
    await pump(asked, questions, answers, told)
    assert [heard.receive_nowait().message.root.id for _ in range(3)] == [0, 1, 2]
    server.cancel()
    for stream in (asked, questions, at_server, from_server, answers, told, heard):
        stream.close()
