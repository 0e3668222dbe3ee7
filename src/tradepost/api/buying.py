"""Cart, checkout and orders, for programs."""

from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, HeaderParameter, JSONBody, PathParameter, QueryParameter
from litestar.status_codes import HTTP_200_OK
from msgspec import Meta

from tradepost.api.repeatable import OWN_KEY
from tradepost.cart.types import CartView
from tradepost.core.pages import Page
from tradepost.flows.cart import add_promo, add_to_cart, change_line, get_cart, remove_line, remove_promo
from tradepost.flows.checkout import CheckoutForm, Placed, checkout, pay_again
from tradepost.flows.disputes import list_evidence, show_evidence
from tradepost.flows.move_order import move_order
from tradepost.flows.orders import get_board, get_order, list_orders
from tradepost.flows.quote import CheckoutChoice, Quote, quote_cart
from tradepost.flows.refund_by_hand import confirm_refund
from tradepost.flows.refund_order import RefundForm, refund_order
from tradepost.flows.returns import (
    decide_return,
    list_returns,
    list_returns_to,
    receive_return,
    request_return,
    withdraw_return,
)
from tradepost.flows.sign_in import open_visit
from tradepost.flows.statements import Statement, get_statement
from tradepost.orders.disputes import Evidence, EvidenceForm
from tradepost.orders.returns import ReturnForm, ReturnView
from tradepost.orders.types import Board, OrderCard, OrderView
from tradepost.web.security import SESSION_COOKIE, cookie
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest
from tradepost.web.visits import saw

Cursor = Annotated[str | None, QueryParameter(max_length=400, description="`after` of the page before.")]
Key = Annotated[
    str,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=8,
        max_length=200,
        description="The same key and body give the same answer.",
    ),
]
Number = Annotated[str, PathParameter(max_length=60)]


class NewLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something to put in the cart."""

    variant_id: UUID
    quantity: Annotated[Decimal, Meta()] = Decimal(1)
    configuration: dict[str, Any] | None = None


class NewQuantity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line's new quantity; 0 takes it out."""

    quantity: Decimal


class PromoCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A promo code as the buyer types it."""

    code: Annotated[str, Meta(min_length=1, max_length=60)]


class NewMove(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A move of an order, or of one seller's part of it."""

    to_state: Annotated[str, Meta(max_length=60)]
    seller_id: UUID | None = None
    reason: Annotated[str, Meta(max_length=500)] = ""
    carrier: Annotated[str, Meta(max_length=80)] = ""
    tracking: Annotated[str, Meta(max_length=120)] = ""


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of a return. For `receive`: whether the goods go back on the shelf, and how much of their price goes back."""

    decision: Literal["accept", "reject", "receive", "withdraw"]
    answer: Annotated[str, Meta(max_length=2000)] = ""
    restock: bool = True
    amount_minor: Annotated[int, Meta(ge=0, le=10**12)] | None = None


class NewPayment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to pay for an order that still waits for it."""

    gateway: Annotated[str, Meta(max_length=40)]
    method: Annotated[str, Meta(max_length=40)] = ""
    payer: Annotated[str, Meta(max_length=120)] = ""


@get("/cart", tags=["Buying"])
async def cart(store: GivenStore, caller: GivenCaller) -> CartView:
    """Return the caller's cart with today's prices and stock."""
    return await get_cart(store, caller)


@post("/cart/lines", tags=["Buying"])
async def add_line(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, data: JSONBody[NewLine]
) -> Response[CartView]:
    """Put something in the cart; a visitor without a session gets one, as a cookie."""
    cookies = []
    if caller.user_id is None and caller.session is None:
        visit = await open_visit(store, caller, request.headers.get("user-agent", ""))
        caller = visit.caller
        cookies.append(cookie(SESSION_COOKIE, visit.token, secure=request.url.scheme == "https"))
    changed = await add_to_cart(store, caller, data.variant_id, data.quantity, data.configuration)
    saw(request, store, caller, "cart_added", variant=str(data.variant_id), through="api")
    return Response(changed, cookies=cookies)


@patch("/cart/lines/{line_no:int}", tags=["Buying"])
async def set_line(
    store: GivenStore, caller: GivenCaller, line_no: FromPath[int], data: JSONBody[NewQuantity]
) -> CartView:
    """Change a line's quantity."""
    return await change_line(store, caller, line_no, data.quantity)


@delete("/cart/lines/{line_no:int}", tags=["Buying"], status_code=HTTP_200_OK)
async def drop_line(store: GivenStore, caller: GivenCaller, line_no: FromPath[int]) -> CartView:
    """Take a line out."""
    return await remove_line(store, caller, line_no)


@post("/cart/promo-codes", tags=["Buying"])
async def use_promo(store: GivenStore, caller: GivenCaller, data: JSONBody[PromoCode]) -> CartView:
    """Put a promo code on the cart."""
    return await add_promo(store, caller, data.code)


@delete("/cart/promo-codes/{code:str}", tags=["Buying"], status_code=HTTP_200_OK)
async def drop_promo(store: GivenStore, caller: GivenCaller, code: FromPath[str]) -> CartView:
    """Take a promo code off the cart."""
    return await remove_promo(store, caller, code)


@post("/checkout/quote", tags=["Buying"], status_code=HTTP_200_OK)
async def quote(store: GivenStore, caller: GivenCaller, data: JSONBody[CheckoutChoice]) -> Quote:
    """Say what the cart costs with these choices, line by line."""
    return await quote_cart(store, caller, data)


@post("/checkout", tags=["Buying"], opt={OWN_KEY: True})
async def order_now(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    data: JSONBody[CheckoutForm],
    idempotency_key: Key,
) -> Placed:
    """Order the cart and charge for it."""
    placed = await checkout(store, caller, data, idempotency_key)
    saw(request, store, caller, "order_placed", order=str(placed.order_id), through="api")
    return placed


@get("/orders", tags=["Orders"])
async def orders(
    store: GivenStore,
    caller: GivenCaller,
    after: Cursor = None,
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 24,
) -> Page[OrderCard]:
    """List the orders the caller placed, newest first."""
    caller.check_signed_in()
    return await list_orders(store, caller, after=after, limit=limit)


@get("/orders/{number:str}", tags=["Orders"])
async def order(store: GivenStore, caller: GivenCaller, number: FromPath[Number]) -> OrderView:
    """Return an order by its number, as the caller may see it."""
    return await get_order(store, caller, number)


@post("/orders/{number:str}/moves", tags=["Orders"], status_code=HTTP_200_OK)
async def make_move(
    store: GivenStore, caller: GivenCaller, number: FromPath[Number], data: JSONBody[NewMove]
) -> OrderView:
    """Move an order along its process."""
    found = await get_order(store, caller, number)
    return await move_order(
        store,
        caller,
        found.id,
        data.to_state,
        seller_id=data.seller_id,
        reason=data.reason,
        carrier=data.carrier,
        tracking=data.tracking,
    )


@post("/orders/{number:str}/payments", tags=["Orders"], opt={OWN_KEY: True})
async def pay(store: GivenStore, caller: GivenCaller, number: FromPath[Number], data: JSONBody[NewPayment]) -> Placed:
    """Start another payment for an order that waits for one."""
    found = await get_order(store, caller, number)
    return await pay_again(store, caller, found.id, data.gateway, data.method, data.payer)


@post("/orders/{number:str}/refunds", tags=["Orders"])
async def refund(
    store: GivenStore, caller: GivenCaller, number: FromPath[Number], data: JSONBody[RefundForm]
) -> OrderView:
    """Give part of an order's money back: for lines, for some of a line, for delivery, or as a gesture.

    Sellers refund what is theirs; staff with the permission `refund_orders` all of it.
    """
    found = await get_order(store, caller, number)
    return await refund_order(store, caller, found.id, data)


@post("/orders/{number:str}/refunds/{refund_id:uuid}/paid", tags=["Orders"], status_code=HTTP_200_OK)
async def confirm(
    store: GivenStore, caller: GivenCaller, number: FromPath[Number], refund_id: FromPath[UUID]
) -> OrderView:
    """Say that a refund which no gateway makes, of cash or of Paynow, was paid back by hand."""
    found = await get_order(store, caller, number)
    await confirm_refund(store, caller, found.id, refund_id)
    return await get_order(store, caller, number)


@get("/orders/{number:str}/returns", tags=["Orders"])
async def returns(store: GivenStore, caller: GivenCaller, number: FromPath[Number]) -> list[ReturnView]:
    """Return the returns of an order."""
    found = await get_order(store, caller, number)
    return await list_returns(store, caller, found.id)


@post("/orders/{number:str}/returns", tags=["Orders"])
async def ask_for_return(
    store: GivenStore, caller: GivenCaller, number: FromPath[Number], data: JSONBody[ReturnForm]
) -> ReturnView:
    """Ask to give goods of one seller back, within thirty days of their arrival."""
    found = await get_order(store, caller, number)
    return await request_return(store, caller, found.id, data)


@get("/orders/{number:str}/evidence", tags=["Orders"])
async def evidence(store: GivenStore, caller: GivenCaller, number: FromPath[Number]) -> list[Evidence]:
    """Return what was shown about an order while it was disputed, as far as it concerns the caller."""
    found = await get_order(store, caller, number)
    return await list_evidence(store, caller, found.id)


@post("/orders/{number:str}/evidence", tags=["Orders"])
async def add_evidence(
    store: GivenStore, caller: GivenCaller, number: FromPath[Number], data: JSONBody[EvidenceForm]
) -> Evidence:
    """Say something about an order that is disputed, as its buyer, a seller or staff."""
    found = await get_order(store, caller, number)
    return await show_evidence(store, caller, found.id, data)


class EvidencePicture(msgspec.Struct):
    """A picture of what is disputed, with words if there are any, as a form sends them."""

    picture: UploadFile
    body: str = ""


@post("/orders/{number:str}/evidence/pictures", tags=["Orders"])
async def add_evidence_picture(
    store: GivenStore, caller: GivenCaller, number: FromPath[Number],
    data: Annotated[EvidencePicture, Body(media_type=RequestEncodingType.MULTI_PART)],
) -> Evidence:  # fmt: skip
    """Show a picture about an order that is disputed: JPEG, PNG, WebP, GIF or AVIF, up to 12 MB unless the operator says otherwise."""
    found = await get_order(store, caller, number)
    return await show_evidence(store, caller, found.id, EvidenceForm(body=data.body), await data.picture.read())


@post("/returns/{return_id:uuid}/decision", tags=["Orders"], status_code=HTTP_200_OK)
async def settle_return(
    store: GivenStore, caller: GivenCaller, return_id: FromPath[UUID], data: JSONBody[Decision]
) -> ReturnView:
    """Bring a return on: its seller or staff accept, reject or receive it, its buyer withdraws it."""
    match data.decision:
        case "withdraw":
            return await withdraw_return(store, caller, return_id)
        case "receive":
            return await receive_return(
                store, caller, return_id, restock=data.restock, amount_minor=data.amount_minor, answer=data.answer
            )
        case _:
            return await decide_return(store, caller, return_id, accept=data.decision == "accept", answer=data.answer)


@get("/me/returns", tags=["Selling"])
async def returns_to_me(store: GivenStore, caller: GivenCaller) -> list[ReturnView]:
    """Return the returns that wait for the caller as a seller, the oldest first."""
    return await list_returns_to(store, caller)


@get("/me/statement", tags=["Selling"])
async def statement(store: GivenStore, caller: GivenCaller, after: Cursor = None) -> Statement:
    """Return what the store owes the caller as a seller, and every change of it, the newest first."""
    return await get_statement(store, caller, after=after)


@get("/me/board", tags=["Selling"])
async def board(store: GivenStore, caller: GivenCaller) -> Board:
    """Return the caller's parts of orders as a seller, in columns by state."""
    caller.check_can("sell")
    return await get_board(store, caller)


buying_routes: list[Any] = [
    cart, add_line, set_line, drop_line, use_promo, drop_promo, quote, order_now, orders, order, make_move, pay, refund, confirm,
    returns, ask_for_return, settle_return, returns_to_me, evidence, add_evidence, add_evidence_picture, statement, board,
]  # fmt: skip
