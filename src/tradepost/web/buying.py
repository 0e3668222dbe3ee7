"""Cart, checkout, the sandbox gateway's page, orders."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from babel import Locale
from litestar import Response, get, post
from litestar.datastructures import Cookie
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from tradepost.accounts.types import Caller
from tradepost.cart.configuration import nested
from tradepost.cart.types import CartView
from tradepost.catalog.listing_pages import list_listings, listing_of_variant
from tradepost.catalog.types import ListingFilter
from tradepost.core.clock import now
from tradepost.core.errors import DomainError, FieldErrors, Invalid
from tradepost.core.ids import secret_token
from tradepost.core.postal import Address
from tradepost.flows.cart import (
    accept_prices,
    add_promo,
    add_to_cart,
    change_line,
    get_cart,
    keep_picture,
    remove_line,
    remove_promo,
)
from tradepost.flows.checkout import CheckoutForm, Placed, checkout, pay_again
from tradepost.flows.disputes import list_evidence
from tradepost.flows.hand_over import Standing, get_standing
from tradepost.flows.move_order import move_order
from tradepost.flows.orders import get_order, list_orders
from tradepost.flows.plan_delivery import offered_slots
from tradepost.flows.product_page import see_facts
from tradepost.flows.quote import CheckoutChoice, Quote, payment_choices, quote_cart
from tradepost.flows.refund_by_hand import refunds_by_hand
from tradepost.flows.reorder import reorder
from tradepost.flows.returns import list_returns, returnable_now
from tradepost.flows.sandbox import get_sandbox_payment, sandbox_outcome
from tradepost.flows.settle_payment import check_payment, look_again
from tradepost.flows.sign_in import open_visit
from tradepost.flows.store import Store
from tradepost.orders.disputes import DISPUTED
from tradepost.orders.types import OrderLine, OrderView
from tradepost.web.forms import Form, first_problem, problems_of, read_form
from tradepost.web.kept import easel_of
from tradepost.web.listing_view import liked_ids, listing_context
from tradepost.web.pages import go, page
from tradepost.web.security import SESSION_COOKIE, cookie, local_path
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest
from tradepost.web.visits import saw


@post("/cart/add", include_in_schema=False)
async def add(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Put something in the cart; a visitor gets a session for it. A refusal shows the listing again with what is wrong."""
    form = await read_form(request)
    cookies: tuple[Cookie, ...] = ()
    if caller.user_id is None and caller.session is None:
        visit = await open_visit(store, caller, request.headers.get("user-agent", ""))
        caller = visit.caller
        cookies = (cookie(SESSION_COOKIE, visit.token, secure=request.url.scheme == "https"),)
    variant_id = _uuid(form.get("variant_id"), "variant_id")
    try:
        configuration = await _configuration(store, caller, form)
        await add_to_cart(store, caller, variant_id, form.number("quantity"), configuration or None)
    except DomainError as error:
        return await _listing_again(request, store, caller, variant_id, form, error, cookies)
    saw(request, store, caller, "cart_added", variant=str(variant_id))
    return go(request, form.get("next") or "/cart", say="It is in your cart.", cookies=cookies)


async def _configuration(store: Store, caller: Caller, form: Form) -> dict[str, Any]:
    """Return how something is to be made, with the pictures that came along stored and named by their ids."""
    for name, uploads in form.files.items():
        if name.startswith("configuration."):
            try:
                form.texts[name] = str(await keep_picture(store, caller, await uploads[0].read()))
            except Invalid as error:
                raise FieldErrors({name: error.message}) from None
    return nested(form.below("configuration"))


async def _listing_again(
    request: HttpRequest,
    store: Store,
    caller: Caller,
    variant_id: UUID,
    form: Form,
    error: DomainError,
    cookies: tuple[Any, ...],
) -> Response[Any]:
    listing_id = await listing_of_variant(store.db, variant_id)
    if listing_id is None:
        raise error
    facts = await see_facts(store, caller, listing_id, easel_of(store), None)
    context = await listing_context(store, caller, facts, str(variant_id))
    shown = context | {"form": form.texts, "errors": problems_of(error)}
    return await page(
        request, store, caller, "listing", status=409 if error.kind == "conflict" else 422, cookies=cookies, **shown
    )


def _uuid(text: str, field: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotAnId(field) from None


class NotAnId(Invalid):
    """This form is not complete; please go back and try again."""

    def __init__(self, field: str) -> None:
        super().__init__()
        self.field = field


@get("/cart", include_in_schema=False)
async def cart_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show the cart with its price, line by line."""
    return await _cart_page(request, store, caller, {}, {})


async def _cart_page(
    request: HttpRequest, store: Store, caller: Caller, form: dict[str, str], errors: dict[str, str]
) -> Response[str]:
    cart = await _cart(store, caller)
    quote = None if cart.is_empty else await _quote(store, caller, CheckoutChoice(), errors)
    cards = (
        (await list_listings(store.db, ListingFilter(in_stock=True), sort="popular", limit=6)).items
        if cart.is_empty
        else ()
    )
    return await page(
        request, store, caller, "cart", status=422 if form and errors else 200, cart=quote.cart if quote else cart, quote=quote,
        form=form, errors=errors, suggestions=cards, liked_ids=await liked_ids(store, caller),
    )  # fmt: skip


async def _cart(store: Store, caller: Caller) -> CartView:
    if caller.user_id is None and caller.session is None:
        return CartView(id=None, currency=store.currency, groups=(), line_count=0, subtotal_minor=0, promo_codes=(), slot_id=None,
                        has_changed_prices=False, has_problems=False)  # fmt: skip
    return await get_cart(store, caller)


async def _quote(store: Store, caller: Caller, choice: CheckoutChoice, errors: dict[str, str]) -> Quote:
    """Return the price for these choices; a choice that is not possible becomes a message, and the plain price is shown."""
    try:
        return await quote_cart(store, caller, choice)
    except Invalid as error:
        errors.update(problems_of(error))
        return await quote_cart(store, caller, CheckoutChoice())


@post("/cart/lines/{line_no:int}", include_in_schema=False)
async def set_line(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, line_no: FromPath[int]
) -> Response[Any]:
    """Change a line's quantity."""
    form = await read_form(request)
    try:
        await change_line(store, caller, line_no, form.number("quantity"))
    except DomainError as error:
        return go(request, "/cart", say=first_problem(error), tone="bad")
    return go(request, "/cart")


@post("/cart/lines/{line_no:int}/remove", include_in_schema=False)
async def drop_line(request: HttpRequest, store: GivenStore, caller: GivenCaller, line_no: FromPath[int]) -> Redirect:
    """Take a line out."""
    await remove_line(store, caller, line_no)
    return go(request, "/cart", say="Taken out.", tone="info")


@post("/cart/promo", include_in_schema=False)
async def use_promo(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Put a promo code on the cart."""
    form = await read_form(request)
    try:
        await add_promo(store, caller, form.get("code"))
    except DomainError as error:
        return await _cart_page(request, store, caller, form.texts, {"code": error.message})
    return go(request, "/cart", say="The code is on your cart.")


@post("/cart/promo/remove", include_in_schema=False)
async def drop_promo(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Take a promo code off the cart."""
    await remove_promo(store, caller, (await read_form(request)).get("code"))
    return go(request, "/cart", say="The code is off your cart.", tone="info")


@post("/cart/accept-prices", include_in_schema=False)
async def take_prices(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Take note of changed prices."""
    await accept_prices(store, caller)
    return go(request, "/cart")


@get("/checkout", include_in_schema=False)
async def checkout_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, offer: FromQuery[UUID | None] = None
) -> Response[Any]:
    """Show everything an order needs, on one page: for the cart, or for an accepted offer at its price."""
    if offer is not None:
        caller.check_signed_in()
    elif (await _cart(store, caller)).is_empty:
        return go(request, "/cart", say=store.settings.copy.empty_cart, tone="info")
    saw(request, store, caller, "checkout_opened")
    country = store.settings.store.country
    form = {"shipping_address.country": country, "billing_same": "1", "billing_address.country": country}
    if offer is not None:
        form["offer_id"] = str(offer)
    return await _checkout_page(request, store, caller, form, {}, CheckoutChoice(offer_id=offer))


async def _checkout_page(
    request: HttpRequest, store: Store, caller: Caller, form: dict[str, str], errors: dict[str, str], choice: CheckoutChoice,
    *, key: str = "",
) -> Response[Any]:  # fmt: skip
    quote = await _quote(store, caller, choice, errors)
    return await page(
        request, store, caller, "checkout", status=422 if errors else 200, quote=quote, form=form, errors=errors,
        countries=country_choices(store.settings.store.locale), idempotency_key=key or secret_token(),
        today=now().astimezone(ZoneInfo(store.settings.store.timezone)).date().isoformat(),
        test_only=any(g.is_test for g in quote.gateways) and all(g.is_test or g.is_offline for g in quote.gateways),
    )  # fmt: skip


def country_choices(locale: str) -> list[tuple[str, str]]:
    """Return the countries to choose from, by name in the store's language."""
    names = Locale.parse(locale).territories
    return sorted(((c, n) for c, n in names.items() if len(c) == 2 and c.isalpha()), key=lambda pair: pair[1])


@post("/checkout", include_in_schema=False)
async def order_now(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Place the order, or show the page again with what is wrong or with the new price."""
    form = await read_form(request)
    if not form.get("idempotency_key") and (await _cart(store, caller)).is_empty:
        return go(request, "/cart")
    errors: dict[str, str] = {}
    try:
        choice, wanted = _choices(form)
        if form.get("action") == "update":
            return await _checkout_page(request, store, caller, form.texts, errors, choice)
        placed = await checkout(store, caller, wanted, form.get("idempotency_key"))
    except DomainError as error:
        if error.kind == "unavailable":
            raise
        errors = problems_of(error)
        return await _checkout_page(request, store, caller, form.texts, errors, _lenient(form))
    saw(request, store, caller, "order_placed", order=str(placed.order_id))
    return _to_payment(request, placed)


def _to_payment(request: HttpRequest, placed: Placed) -> Redirect:
    if placed.redirect_url and placed.payment_state == "initiated":
        return Redirect(placed.redirect_url, status_code=303)
    return go(request, f"{placed.path}?new=1")


def _choices(form: Form) -> tuple[CheckoutChoice, CheckoutForm]:
    shipping = _address(form, "shipping_address")
    billing = shipping if form.get("billing_same") else _address(form, "billing_address")
    slot = _uuid(form.get("slot_id"), "slot_id") if form.get("slot_id") else None
    points = form.whole("points", 0) or 0
    offer = _uuid(form.get("offer_id"), "offer_id") if form.get("offer_id") else None
    choice = CheckoutChoice(
        shipping=form.get("shipping"), shipping_address=shipping, points=points, slot_id=slot, offer_id=offer
    )
    day = {} if form.get("requested_on") else {"requested_on": None}
    wanted = form.into(
        CheckoutForm, **day, shipping_address=shipping, billing_address=billing, points=points, slot_id=slot, offer_id=offer,
        expected_total_minor=form.whole("expected_total_minor"),
    )  # fmt: skip
    return choice, wanted


def _lenient(form: Form) -> CheckoutChoice:
    """Return as much of the choices as makes sense, to price the page that is shown again."""
    try:
        return _choices(form)[0]
    except DomainError:
        offer = form.get("offer_id")
        return CheckoutChoice(shipping=form.get("shipping"), offer_id=_uuid(offer, "offer_id") if offer else None)


def _address(form: Form, prefix: str) -> Address | None:
    fields = form.below(prefix)
    if not any(text for name, text in fields.items() if name != "country"):
        return None
    return Form(fields, {}).into(Address) if fields.get("country") else None


@get("/pay/sandbox/{payment_id:uuid}", include_in_schema=False)
async def sandbox_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, payment_id: FromPath[UUID]
) -> Response[str]:
    """Show the test gateway's page."""
    payment, number = await get_sandbox_payment(store, caller, payment_id)
    if payment.state == "initiated" and payment.redirect_url is None:
        await check_payment(store, payment_id)
        payment, number = await get_sandbox_payment(store, caller, payment_id)
    is_settling = payment.state == "initiated" and payment.redirect_url is None
    return await page(
        request, store, caller, "sandbox_pay", payment=payment, order_number=number, order_path=f"/orders/{number}",
        refresh_s=_refresh_after(payment.created_at) if is_settling else 0,
    )  # fmt: skip


def _refresh_after(since: datetime) -> int:
    """Return after how many seconds a page looks again for an answer that is on its way: often at first."""
    waited = now() - since
    return 3 if waited < timedelta(minutes=1) else 10 if waited < timedelta(minutes=5) else 60


@post("/pay/sandbox/{payment_id:uuid}", include_in_schema=False)
async def sandbox_choose(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, payment_id: FromPath[UUID]
) -> Redirect:
    """Do at the test gateway what the buyer chose there."""
    form = await read_form(request)
    _, number = await get_sandbox_payment(store, caller, payment_id)
    await sandbox_outcome(store, caller, payment_id, form.get("outcome"))
    return go(request, f"/orders/{number}?new=1")


@get("/orders", include_in_schema=False)
async def orders_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, after: FromQuery[str | None] = None
) -> Response[str]:
    """Show the orders that the caller placed."""
    if caller.session is None:
        caller.check_signed_in()
    found = await list_orders(store, caller, after=after)
    return await page(
        request,
        store,
        caller,
        "orders",
        orders=found.items,
        next_path=f"/orders?after={found.after}" if found.after else None,
    )


@get("/orders/{number:str}", include_in_schema=False)
async def order_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, number: FromPath[str], new: FromQuery[str] = "",
    other: FromQuery[str] = "",
) -> Response[str]:  # fmt: skip
    """Show one order to a party to it. `other`: another way to pay is chosen, so the page does not look again by itself."""
    return await show_order(request, store, caller, number, {}, {}, is_new=bool(new), is_choosing=bool(other))


async def show_order(
    request: HttpRequest,
    store: Store,
    caller: Caller,
    number: str,
    form: dict[str, str],
    errors: dict[str, str],
    *,
    is_new: bool = False,
    is_choosing: bool = False,
) -> Response[str]:
    """Show an order, after a refused post with what was wrong."""
    order = await get_order(store, caller, number)
    if order.can_pay and order.payments and order.payments[-1].state == "initiated" and not errors:
        await look_again(store, order.id)
        order = await get_order(store, caller, number)
    gateways = payment_choices(store, at_once=order.due_purpose == "deposit") if order.can_pay else ()
    payment = order.payments[-1] if order.can_pay and order.payments else None
    refresh_s = (
        _refresh_after(payment.created_at) if payment and payment.is_settling and not (errors or is_choosing) else 0
    )
    returns = await list_returns(store, caller, order.id)
    evidence = await list_evidence(store, caller, order.id)
    return await page(
        request, store, caller, "order", status=422 if errors else 200, order=order, is_new=is_new, form=form, errors=errors,
        gateways=gateways, payment=payment, refresh_s=refresh_s, is_choosing=is_choosing, returns=returns, returnable=returnable_now(order, returns), refundable=_refundable_by(caller, order),
        by_hand=refunds_by_hand(store, order), may_pay_back=caller.can("refund_orders"), standing=await _standing(store, order),
        slots=await offered_slots(store, caller, order), evidence=evidence, is_disputed=order.state == DISPUTED,
    )  # fmt: skip


async def _standing(store: Store, order: OrderView) -> Standing | None:
    return await get_standing(store, order) if store.settings.features.delivery and order.viewer != "seller" else None


def _refundable_by(caller: Caller, order: OrderView) -> list[OrderLine]:
    """Return the lines of which the caller may give something back: staff of any, sellers of their own."""
    all_of_it = caller.can("refund_orders")
    if order.payment_state not in {"paid", "partly_refunded"}:
        return []
    return [
        line for line in order.lines
        if line.total_minor > line.refunded_minor and (all_of_it or line.seller_id == caller.user_id)
    ]  # fmt: skip


@post("/orders/{number:str}/move", include_in_schema=False)
async def move(request: HttpRequest, store: GivenStore, caller: GivenCaller, number: FromPath[str]) -> Response[Any]:
    """Make a move that the order's process allows the caller."""
    form = await read_form(request)
    order = await get_order(store, caller, number)
    seller_id = _uuid(form.get("seller_id"), "seller_id") if form.get("seller_id") else None
    try:
        await move_order(
            store, caller, order.id, form.get("to_state"), seller_id=seller_id, reason=form.get("reason")[:500],
            carrier=form.get("carrier")[:80], tracking=form.get("tracking")[:120],
        )  # fmt: skip
    except DomainError as error:
        return await show_order(request, store, caller, number, form.texts, problems_of(error))
    return go(request, local_path(form.get("next"), f"/orders/{number}"), say="Done.")


@post("/orders/{number:str}/pay", include_in_schema=False)
async def pay_order(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, number: FromPath[str]
) -> Response[Any]:
    """Pay for an order whose payment failed, or was left."""
    form = await read_form(request)
    order = await get_order(store, caller, number)
    try:
        placed = await pay_again(store, caller, order.id, form.get("gateway"), form.get("method"), form.get("payer"))
    except DomainError as error:
        return await show_order(request, store, caller, number, form.texts, problems_of(error))
    return _to_payment(request, placed)


@post("/orders/{number:str}/reorder", include_in_schema=False)
async def order_again(request: HttpRequest, store: GivenStore, caller: GivenCaller, number: FromPath[str]) -> Redirect:
    """Put the goods of an order in the cart again, as far as they can be had."""
    left_out = await reorder(store, caller, number)
    if left_out:
        return go(request, "/cart", say=f"Not to be had any more: {', '.join(left_out)}.", tone="warn")
    return go(request, "/cart", say="It is all in your cart again.")


buying_routes = [
    add, cart_page, set_line, drop_line, use_promo, drop_promo, take_prices, checkout_page, order_now, sandbox_page, sandbox_choose,
    orders_page, order_page, move, pay_order, order_again,
]  # fmt: skip
