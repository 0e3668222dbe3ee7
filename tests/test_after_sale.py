"""After the sale, on pages: the seller's board, refunds, returns; and who has no business there."""

import re
from decimal import Decimal

import httpx
import pytest_asyncio
from sqlalchemy import text

from tests.shop import Shop
from tests.visitor import Visitor, text_of
from tradepost.accounts.types import Caller
from tradepost.app import create_app
from tradepost.core.ids import secret_token, token_hash
from tradepost.flows.checkout import Placed
from tradepost.flows.move_order import move_order
from tradepost.flows.orders import get_order
from tradepost.flows.refund_order import RefundForm, refund_order
from tradepost.flows.statements import get_statement
from tradepost.web.security import SESSION_COOKIE


async def browser_of(shop: Shop, person: Caller) -> Visitor:
    """Return a browser in which a person is signed in."""
    token = secret_token()
    await shop.run(
        text("INSERT INTO sessions (id_hash, user_id, expires_at) VALUES (:hash, :user_id, now() + interval '1 day')"),
        hash=token_hash(token), user_id=person.user_id,
    )  # fmt: skip
    app = create_app({shop.store.code: shop.store}, show_costs=True)
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://market.localhost", cookies={SESSION_COOKIE: token}
    )
    return Visitor(client)


@pytest_asyncio.fixture
async def sold(shop: Shop) -> tuple[Placed, Caller]:
    """Sell two hammers and bring them."""
    variant = await shop.goods(price=1000, stock=5)
    placed = await shop.buy(variant, 2, shipping="standard")
    return placed, shop.sellers[variant]


async def test_a_seller_moves_an_order_on_the_board(shop: Shop, sold: tuple[Placed, Caller]) -> None:
    placed, seller = sold
    seen = await browser_of(shop, seller)
    board = await seen.get("/me/sales")
    assert board.status_code == 200
    assert placed.number in board.text
    assert "Hammer" in text_of(board.text)
    fields = {"to_state": "shipped", "seller_id": str(seller.user_id), "next": "/me/sales"}
    moved = await seen.post(f"/orders/{placed.number}/move", fields)
    assert moved.url.path == "/me/sales"
    assert (await get_order(shop.store, seller, placed.number)).parts[0].state == "shipped"


async def test_the_board_is_for_sellers_and_empty_says_so(shop: Shop) -> None:
    assert (await (await browser_of(shop, shop.buyer)).get("/me/sales")).status_code == 403
    fresh = await browser_of(shop, await shop.make.person("seller"))
    assert "Nothing sold yet" in (await fresh.get("/me/sales")).text


async def test_a_seller_gives_one_of_two_back(shop: Shop, sold: tuple[Placed, Caller]) -> None:
    placed, seller = sold
    seen = await browser_of(shop, seller)
    assert "Give money back" in (await seen.get(f"/orders/{placed.number}")).text
    form = {"line.1": "1", "line.1.quantity": "1", "reason": "One is chipped."}
    answer = await seen.post(f"/orders/{placed.number}/refunds", form)
    assert "The money is on its way back" in answer.text
    order = await get_order(shop.store, shop.buyer, placed.number)
    assert (order.refunded_minor, order.lines[0].returned_quantity) == (1000, Decimal(1))


async def test_a_refund_that_cannot_be_is_explained_and_moves_nothing(shop: Shop, sold: tuple[Placed, Caller]) -> None:
    placed, seller = sold
    seen = await browser_of(shop, seller)
    for form, said in (
        ({"amount": "999"}, "25.00 USD"),
        ({"amount": "minus one"}, "amount"),
        ({"line.1": "1", "line.1.quantity": "3"}, "20.00 USD"),
        ({"line.1": "1", "line.1.quantity": "some"}, "number"),
        ({}, "choose what to give back"),
    ):
        answer = await seen.post(f"/orders/{placed.number}/refunds", form)
        assert answer.status_code == 422, form
        assert said in text_of(answer.text)
    assert await shop.count("refunds") == 0


async def test_strangers_and_buyers_give_no_money_back(shop: Shop, sold: tuple[Placed, Caller]) -> None:
    placed, _ = sold
    buyer = await browser_of(shop, shop.buyer)
    assert "Give money back" not in (await buyer.get(f"/orders/{placed.number}")).text
    for visitor in (buyer, await browser_of(shop, await shop.make.person("seller"))):
        answer = await visitor.post(f"/orders/{placed.number}/refunds", {"amount": "1"})
        assert answer.status_code in {404, 422}
    assert await shop.count("refunds") == 0


async def test_goods_go_back_from_asking_to_the_money(shop: Shop, sold: tuple[Placed, Caller]) -> None:
    placed, seller = sold
    buyer, seen = await browser_of(shop, shop.buyer), await browser_of(shop, seller)
    assert "Give something back" not in (await buyer.get(f"/orders/{placed.number}")).text
    for state in ("shipped", "delivered"):
        await move_order(shop.store, seller, placed.order_id, state)
    assert "Give something back" in (await buyer.get(f"/orders/{placed.number}")).text
    wish = {"line.1": "1", "line.1.quantity": "2", "return_reason": "damaged", "comment": "The handles are loose."}
    assert "We have told the seller" in (await buyer.post(f"/orders/{placed.number}/returns", wish)).text
    board = await seen.get("/me/sales")
    assert "The handles are loose." in board.text
    path = re.search(r'action="(/returns/[0-9a-f-]+)"', board.text)
    assert path
    stranger = await browser_of(shop, await shop.make.person("seller"))
    assert "There is no such return" in (await stranger.post(path[1], {"decision": "accept"})).text
    await seen.post(path[1], {"decision": "accept", "answer": "Please send them."})
    assert "Please send them." in (await buyer.get(f"/orders/{placed.number}")).text
    await seen.post(path[1], {"decision": "receive", "restock": "1"})
    assert (await get_order(shop.store, shop.buyer, placed.number)).refunded_minor == 2000
    assert "decided already" in (await seen.post(path[1], {"decision": "receive"})).text


async def program_of(shop: Shop, person: Caller, *scopes: str) -> httpx.AsyncClient:
    """Return a program with an API token of a person."""
    token = secret_token()
    await shop.run(
        text(
            "INSERT INTO tokens (user_id, token_hash, kind, name, scopes, expires_at) "
            "VALUES (:user_id, :hash, 'api', 'test', :scopes, now() + interval '1 day')"
        ),
        user_id=person.user_id, hash=token_hash(token), scopes=list(scopes),
    )  # fmt: skip
    app = create_app({shop.store.code: shop.store}, show_costs=True)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://market.localhost/api/v1",
        headers={"authorization": f"Bearer {token}"},
    )  # fmt: skip


async def test_a_request_with_a_key_is_done_once(shop: Shop, sold: tuple[Placed, Caller]) -> None:
    placed, seller = sold
    program = await program_of(shop, seller, "sell")
    path, key = f"/orders/{placed.number}/refunds", {"idempotency-key": "refund-one"}
    first = await program.post(path, json={"amount_minor": 300}, headers=key)
    again = await program.post(path, json={"amount_minor": 300}, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert await shop.rows("SELECT amount_minor FROM refunds") == [(300,)]
    other = await program.post(path, json={"amount_minor": 301}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "KeyReused")
    assert (await program.post(path, json={"amount_minor": 300})).status_code == 201
    assert await shop.count("refunds") == 2


async def test_a_refused_request_may_be_repeated_with_its_key(shop: Shop, sold: tuple[Placed, Caller]) -> None:
    placed, seller = sold
    program, key = await program_of(shop, seller, "sell"), {"idempotency-key": "move-one"}
    path = f"/orders/{placed.number}/moves"
    refused = await program.post(path, json={"to_state": "delivered"}, headers=key)
    assert refused.status_code == 409
    assert await shop.count("idempotency_keys", "key = 'move-one'") == 0
    moved = await program.post(path, json={"to_state": "shipped"}, headers=key)
    assert moved.status_code == 200
    events = await shop.count("order_events")
    assert (await program.post(path, json={"to_state": "shipped"}, headers=key)).json() == moved.json()
    assert await shop.count("order_events") == events


async def test_adding_to_a_cart_twice_with_a_key_adds_once(shop: Shop) -> None:
    variant = await shop.goods()
    program = await program_of(shop, shop.buyer, "buy")
    for _ in range(3):
        added = await program.post(
            "/cart/lines", json={"variant_id": str(variant), "quantity": 2}, headers={"idempotency-key": "add-one"}
        )
        assert added.status_code == 201
    assert Decimal((await program.get("/cart")).json()["groups"][0]["lines"][0]["quantity"]) == 2
    reader = await program_of(shop, shop.buyer)
    refused = await reader.post("/cart/lines", json={"variant_id": str(variant), "quantity": 2})
    assert refused.status_code == 403


async def test_a_seller_sees_money_held_released_and_given_back(shop: Shop, sold: tuple[Placed, Caller]) -> None:
    placed, seller = sold
    held = await get_statement(shop.store, seller)
    assert [(b.available_minor, b.held_minor > 0) for b in held.balances] == [(0, True)]
    for state in ("shipped", "delivered"):
        await move_order(shop.store, seller, placed.order_id, state)
    await refund_order(shop.store, seller, placed.order_id, RefundForm(amount_minor=500))
    first = await get_statement(shop.store, seller, limit=1)
    lines, after = list(first.lines), first.after
    while after:
        following = await get_statement(shop.store, seller, after=after, limit=1)
        lines, after = [*lines, *following.lines], following.after
    whole = await get_statement(shop.store, seller)
    assert tuple(lines) == whole.lines
    for balance, is_held in ((whole.balances[0].available_minor, False), (whole.balances[0].held_minor, True)):
        assert sum(line.amount_minor for line in lines if line.is_held is is_held) == balance
    assert whole.balances[0].held_minor == 0
    shown = await (await browser_of(shop, seller)).get("/me/money")
    assert placed.number in shown.text
    assert "Released to you" in shown.text
    assert (await (await browser_of(shop, shop.buyer)).get("/me/money")).status_code == 403
    newcomer = (await (await browser_of(shop, await shop.make.person("seller"))).get("/me/money")).text
    assert "Nothing earned yet" in newcomer
    assert 'action="/me/money/accounts/sandbox"' in newcomer  # where the money goes can be said before there is any


async def test_a_misspelt_field_of_what_moves_money_is_told_and_moves_nothing(
    shop: Shop, sold: tuple[Placed, Caller]
) -> None:
    placed, seller = sold
    await shop.put(await shop.goods("Second"), 1)
    buyer, shopkeeper = await program_of(shop, shop.buyer, "buy"), await program_of(shop, seller, "sell")
    address = {"name": "Ann", "line1": "1 Main Street", "city": "Springfield", "country": "US"}
    checkout = {"gateway": "sandbox", "method": "approve", "shipping": "pickup"}
    order = f"/orders/{placed.number}"
    for program, path, body, field in [
        (buyer, "/checkout", checkout | {"expected_total": 1}, "expected_total"),
        (buyer, "/checkout", checkout | {"shipping_address": address | {"zip": "1"}}, "zip"),
        (buyer, "/checkout/quote", {"point": 3}, "point"),
        (buyer, "/checkout/quote", {"points": -3}, "points"),
        (buyer, f"{order}/payments", {"gateway": "sandbox", "amount": 1}, "amount"),
        (shopkeeper, f"{order}/refunds", {"amount": 1}, "amount"),
        (shopkeeper, f"{order}/moves", {"to_state": "shipped", "refund": True}, "refund"),
        (buyer, f"{order}/returns", {"lines": [], "reason": "other", "amount": 1}, "amount"),
    ]:
        answer = await program.post(path, json=body, headers={"idempotency-key": f"try-{field}-{len(path)}"})
        assert answer.status_code in {400, 422}, path
        assert field in answer.text, path
        assert answer.json()["code"] == "BadRequest", path
    assert await shop.count("orders") == 1
    assert await shop.count("refunds") == 0
    assert (await shop.row("SELECT state FROM orders")) == ("paid",)
