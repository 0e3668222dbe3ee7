"""From cart to order: prepare, charge, finalise (docs/decisions/0006-three-phase-checkout.md).

PREPARE is one transaction: the key claimed, stock reserved, promo codes counted, points and a delivery window taken, the order
and its payment written. CHARGE asks the gateway with no transaction open. FINALISE is `settle_payment`. A crash at any point
leaves an order that the sweeper finishes or gives up.
"""

import asyncio
import re
from datetime import date, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta
from sqlalchemy import text

from tradepost.accounts.types import Caller, SignInFirst
from tradepost.cart import service as carts
from tradepost.catalog import stock
from tradepost.catalog.stock import NotEnoughStock, Want
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Transaction
from tradepost.core.errors import DomainError
from tradepost.core.events import record
from tradepost.core.idempotency import Claim, KeyInFlight, claim, finish, owner_of, request_hash
from tradepost.core.ids import readable_code, uuid7
from tradepost.core.metrics import CHECKOUTS
from tradepost.core.money import to_major
from tradepost.core.postal import Address
from tradepost.delivery.slots import SlotNeeded, check_slot, has_open_slots, take_slot
from tradepost.flows.deposits import due_now
from tradepost.flows.gateways import check_way, webhook_url
from tradepost.flows.orders import access_order
from tradepost.flows.processes import BOOKING
from tradepost.flows.quote import Basket, CheckoutChoice, person_key, read_basket
from tradepost.flows.settle_payment import Reply, Settled, settle_payment
from tradepost.flows.store import Store
from tradepost.offers.service import hand_over
from tradepost.orders import service as orders
from tradepost.orders.events import OrderPlaced
from tradepost.orders.processes import Course, Transition, courses
from tradepost.orders.service import LineDraft, OrderDraft, PartDraft
from tradepost.orders.types import (
    BookSeparately,
    CartEmpty,
    DayNeeded,
    DepositFirst,
    EmailNeeded,
    NoSuchOrder,
    NothingToPay,
    PricesChanged,
    SoldOut,
    TotalChanged,
)
from tradepost.payments import service as payments
from tradepost.payments.ports import About, ChargeRequest, Gateway, Outcome
from tradepost.payments.service import PaymentDraft
from tradepost.payments.types import GatewayDown, GatewayUnknown, LockedPayment
from tradepost.promotions import service as promotions

CHARGE_TIMEOUT_S = 20.0
TAKEN_OVER_AFTER = timedelta(seconds=60)
_HELD_FOR = timedelta(minutes=30)
_EMAILS = text("""
    SELECT o.email_enc, CAST(u.email AS text) FROM orders o LEFT JOIN users u ON u.id = o.buyer_id WHERE o.id = :order_id
""")


class CheckoutForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A buyer's order. `expected_total_minor`: the total the buyer saw; another one is told and asked, never charged.

    With `offer_id` an accepted offer is ordered at its price, and the cart stays as it is.

    Services are booked for the day `requested_on`; they are paid for once their provider has accepted.

    `method` and `payer` are the gateway's: Paynow takes web, ecocash or onemoney and a telephone number; the sandbox takes
    page (the default), approve, decline, delay or lost.
    """

    gateway: Annotated[str, Meta(max_length=40)]
    method: Annotated[str, Meta(max_length=40)] = ""
    payer: Annotated[str, Meta(max_length=120)] = ""
    shipping: Annotated[str, Meta(max_length=60)] = ""
    shipping_address: Address | None = None
    billing_address: Address | None = None
    email: Annotated[str, Meta(max_length=255)] = ""
    points: Annotated[int, Meta(ge=0, le=10**9)] = 0
    slot_id: UUID | None = None
    note: Annotated[str, Meta(max_length=2000)] = ""
    requested_on: date | None = None
    expected_total_minor: int | None = None
    offer_id: UUID | None = None


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """An order that exists. `redirect_url`: where the buyer pays; None when nothing is left to do there."""

    order_id: UUID
    number: str
    state: str
    payment_id: UUID | None
    payment_state: str
    total_minor: int
    currency: str
    redirect_url: str | None = None
    instructions: str = ""

    @property
    def path(self) -> str:
        """The address of the order's page."""
        return f"/orders/{self.number}"


class _Charge(msgspec.Struct, frozen=True, kw_only=True):
    """A payment that is written down and may now be asked for."""

    payment_id: UUID
    order_id: UUID
    number: str
    gateway: str
    method: str
    payer: str
    email: str
    amount_minor: int
    currency: str
    is_open: bool = True


async def checkout(store: Store, caller: Caller, form: CheckoutForm, idempotency_key: str) -> Placed:
    """Order the caller's cart and charge for it. The same key and form again return the same order.

    Raises `CartEmpty`, `TotalChanged`, `PricesChanged`, `SoldOut`, `EmailNeeded`, `AddressIncomplete`, `NoDelivery`,
    `SlotFull`, promo and points errors, `GatewayUnknown`, `MethodUnknown`, `PhoneNeeded`, `KeyReused`, `KeyInFlight`. A declined card is no error: the
    order comes back with payment_state failed.
    """
    try:
        placed, is_new = await _checkout(store, caller, form, idempotency_key)
    except DomainError as error:
        CHECKOUTS.add(store.code, type(error).__name__)
        raise
    CHECKOUTS.add(store.code, "placed" if is_new else "repeated")
    return placed


async def _checkout(store: Store, caller: Caller, form: CheckoutForm, idempotency_key: str) -> tuple[Placed, bool]:
    """Return the order, and whether it is new."""
    _check_buyer(store, caller, form)
    method = check_way(store.gateways, store.currency, form.gateway, form.method, form.payer)
    form = msgspec.structs.replace(form, method=method)
    reply = Reply(owner_of(caller.actor), idempotency_key)
    try:
        prepared = await _prepare(store, caller, form, reply)
    except NotEnoughStock:
        raise SoldOut(await _short_titles(store, caller)) from None
    if isinstance(prepared, Settled):
        return _placed(prepared), False
    return _placed(await _charge(store, prepared, reply)), True


def _check_buyer(store: Store, caller: Caller, form: CheckoutForm) -> None:
    if caller.user_id is not None:
        caller.check_can("buy")
    elif not store.settings.features.guest_checkout:
        raise SignInFirst
    elif not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", form.email.strip()):
        raise EmailNeeded


async def _prepare(store: Store, caller: Caller, form: CheckoutForm, reply: Reply) -> _Charge | Settled:
    """Write down everything an order takes, or return what this key has led to before."""
    order_id, payment_id = uuid7(), uuid7()
    async with store.db.transaction(actor=caller.actor) as tx:
        known = await claim(tx, reply.owner, reply.key, request_hash("checkout", form), {"payment_id": payment_id})
        if not known.is_mine:
            return await _known(tx, known, form)
        email_key = _email_key(store, caller, form)
        choice = CheckoutChoice(
            shipping=form.shipping, shipping_address=form.shipping_address, points=form.points, offer_id=form.offer_id
        )
        basket = await read_basket(tx, store, caller, choice, with_points=False, email_key=email_key)
        _check_basket(basket, form)
        course = _course_for(basket, form)
        await _check_slot(tx, store, form, basket)
        if form.offer_id is None:
            await carts.use_up(tx, caller, basket.cart.id, basket.version)
        else:
            await hand_over(tx, caller, form.offer_id, order_id)
        draft = _draft(store, caller, form, basket, order_id, course)
        await orders.place(tx, draft)
        wants = [Want(p.line.variant_id, p.line.quantity) for p in basket.priced.lines]
        await stock.reserve(tx, order_id, wants, draft.due_at or now() + _HELD_FOR)
        amount = basket.priced.total_minor
        sellers = tuple(part.seller_id for part in draft.parts)
        fact = OrderPlaced(order_id, draft.number, draft.buyer_id, sellers, amount, draft.currency)
        await record(tx, fact, subject_id=order_id)
        await _take_extras(tx, caller, form, basket, order_id, email_key)
        first = course.payment_move(course.initial)
        if first is None:
            return await _ask_first(tx, reply, draft, amount)
        about, amount = store.gateways[form.gateway].about, course.first_amount(amount, draft.currency)
        _check_deposit(first, about)
        await payments.start(
            tx,
            PaymentDraft(id=payment_id, order_id=order_id, buyer_id=draft.buyer_id, session_hash=draft.session_hash, purpose=first.purpose,
                         gateway=form.gateway, method=form.method, amount_minor=amount, currency=draft.currency,
                         is_offline=about.is_offline),
        )  # fmt: skip
    return _Charge(payment_id=payment_id, order_id=order_id, number=draft.number, gateway=form.gateway, method=form.method,
                   payer=form.payer, email=form.email, amount_minor=amount, currency=draft.currency)  # fmt: skip


def _course_for(basket: Basket, form: CheckoutForm) -> Course:
    """Return the process an order takes: services are booked with their provider, where the store has bookings.

    Raises `BookSeparately` for services together with goods or of several providers, `DayNeeded`.
    """
    lines = [p.line for p in basket.priced.lines]
    course = basket.course
    if course is None:
        raise CartEmpty
    if course.code != BOOKING:
        return course
    services = [line for line in lines if line.kind == "service"]
    if len(services) < len(basket.priced.lines) or len({line.seller_id for line in services}) > 1:
        raise BookSeparately(", ".join(line.title for line in services))
    if form.requested_on is None or form.requested_on < now().date():
        raise DayNeeded
    return course


def _check_deposit(move: Transition, about: About) -> None:
    """Raise `DepositFirst` where a deposit would be paid at the door."""
    if move.purpose == "deposit" and about.is_offline:
        raise DepositFirst(about.name)


async def _ask_first(tx: Transaction, reply: Reply, draft: OrderDraft, amount: int) -> Settled:
    """Keep the reply for an order that its seller accepts before it is paid."""
    asked = Settled(order_id=draft.id, number=draft.number, state=draft.state, payment_id=None, payment_state="none",
                    total_minor=amount, currency=draft.currency)  # fmt: skip
    await finish(tx, reply.owner, reply.key, 201, asked)
    return asked


async def _known(tx: Transaction, known: Claim, form: CheckoutForm) -> _Charge | Settled:
    """Return the reply of a key that was used before; take over from a process that died in between."""
    if known.state == "done":
        return msgspec.convert(known.response, Settled)
    if known.created_at is None or now() - known.created_at < TAKEN_OVER_AFTER:
        raise KeyInFlight
    found = await tx.one(payments.FIND_CHARGE, payment_id=UUID(known.response["payment_id"]))
    return _Charge(**found, payer=form.payer, email=form.email)


def _check_basket(basket: Basket, form: CheckoutForm) -> None:
    """Raise what the buyer must be told, and asked, before anything is ordered."""
    cart, priced = basket.cart, basket.priced
    if cart.is_empty:
        raise CartEmpty
    short = [line.title for line in cart.lines if not line.can_be_bought]
    if short:
        raise SoldOut(", ".join(short))
    if form.expected_total_minor is None:
        if cart.has_changed_prices:
            raise PricesChanged(", ".join(line.title for line in cart.lines if line.price_changed))
        problem = next((e.problem for e in priced.promos if e.problem is not None), None)
        if problem is not None:
            raise problem
    elif form.expected_total_minor != priced.total_minor:
        amounts = (
            f"{to_major(m, cart.currency)} {cart.currency}" for m in (form.expected_total_minor, priced.total_minor)
        )
        raise TotalChanged(*amounts)
    option = basket.terms.shipping
    if basket.asks_first or (option is not None and not option.is_pickup):
        (form.shipping_address or Address(name="", line1="", country="ZZ")).check("shipping_address")
    if form.billing_address is not None:
        form.billing_address.check("billing_address")


def _email_key(store: Store, caller: Caller, form: CheckoutForm) -> str:
    if caller.user_id is not None:
        return ""
    return store.keys.blind_index(form.email.strip().casefold(), "order-email").hex()


async def _take_extras(
    tx: Transaction, caller: Caller, form: CheckoutForm, basket: Basket, order_id: UUID, email_key: str
) -> None:
    """Take promo codes, points and the delivery window."""
    discounts = {
        e.promo.id: e.discount_minor for e in basket.priced.promos if e.promo is not None and e.problem is None
    }
    await promotions.use_promos(tx, order_id, caller.user_id, person_key(caller, email_key), discounts)
    if basket.priced.points_spent and caller.user_id is not None:
        await promotions.spend_points(tx, caller.user_id, basket.priced.points_spent, order_id)
    if form.slot_id is not None:
        await take_slot(tx, order_id, form.slot_id)


async def _check_slot(tx: Transaction, store: Store, form: CheckoutForm, basket: Basket) -> None:
    """Check the delivery window; what is brought where windows are offered needs one. Raises `SlotNeeded`, `SlotFull`, `SlotTooSoon`."""
    listing_ids, timezone = [line.listing_id for line in basket.lines], store.settings.store.timezone
    if form.slot_id is not None:
        await check_slot(tx, form.slot_id, timezone, listing_ids)
        return
    option = basket.terms.shipping
    is_brought = store.settings.features.delivery and option is not None and not option.is_pickup
    if is_brought and await has_open_slots(tx, timezone, listing_ids):
        raise SlotNeeded


def _draft(
    store: Store, caller: Caller, form: CheckoutForm, basket: Basket, order_id: UUID, course: Course
) -> OrderDraft:
    option, is_guest = basket.terms.shipping, caller.user_id is None
    return OrderDraft(
        id=order_id,
        number=f"{store.settings.store.order_prefix}-{readable_code(8)}",
        buyer_id=caller.user_id,
        session_hash=caller.session if is_guest else None,
        email_enc=store.keys.encrypt(form.email.strip(), "order-email") if form.email.strip() else None,
        process=course.code,
        state=course.initial,
        due_at=course.due_at(course.initial, now()),
        currency=basket.terms.currency,
        tax_inclusive=basket.terms.tax_inclusive,
        points_spent=basket.priced.points_spent,
        shipping_address_enc=_sealed(store, form.shipping_address),
        billing_address_enc=_sealed(store, form.billing_address),
        payment_method=form.gateway,
        shipping_method=option.name if option else None,
        cart_id=basket.cart.id,
        explanation=basket.priced.explanation,
        note=form.note.strip(),
        requested_on=form.requested_on,
        actor_role="buyer",
        lines=tuple(_line(p, number) for number, p in enumerate(basket.priced.lines, 1)),
        parts=tuple(PartDraft(seller_id=d.seller_id, shipping_minor=d.price_minor) for d in basket.priced.deliveries),
    )


def _sealed(store: Store, address: Address | None) -> bytes | None:
    return store.keys.encrypt(msgspec.json.encode(address).decode(), "order-address") if address else None


def _line(p: Any, number: int) -> LineDraft:
    line = p.line
    snapshot = {
        "slug": line.slug, "image_id": line.image_id, "kind": line.kind, "category": line.category_path,
        "configuration": line.configuration, "tax": p.tax_name, "tax_percent": p.tax_percent,
        "commission_rule": p.commission_rule.name if p.commission_rule else None,
    }  # fmt: skip
    return LineDraft(
        line_no=number, seller_id=line.seller_id, listing_id=line.listing_id, variant_id=line.variant_id, title=line.title,
        sku=line.sku, options=line.options, unit=line.unit, quantity=line.quantity, unit_price_minor=line.unit_price_minor,
        gross_minor=p.gross_minor, discount_minor=p.discount_minor, store_discount_minor=p.store_discount_minor,
        points_minor=p.points_minor, tax_minor=p.tax_minor, included_tax_minor=p.included_tax_minor,
        commission_minor=p.commission_minor, snapshot=snapshot,
    )  # fmt: skip


async def _short_titles(store: Store, caller: Caller) -> str:
    """Name what was sold out while the order was being written; the reservation shows it only at its end."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        cart = await carts.read_cart(tx, caller, store.currency)
    short = [line.title for line in cart.lines if not line.can_be_bought]
    return ", ".join(short or [line.title for line in cart.lines])


async def _charge(store: Store, wanted: _Charge, reply: Reply | None) -> Settled:
    """Ask the gateway, with nothing locked, and make true what it says; what it does not say, the sweeper will ask for."""
    if not wanted.is_open:
        return await settle_payment(
            store, wanted.gateway, Outcome(state="pending", payment_id=wanted.payment_id), reply=reply
        )
    gateway: Gateway = store.gateways[wanted.gateway]
    if wanted.amount_minor == 0:
        outcome = Outcome(state="success", payment_id=wanted.payment_id, ref=f"free:{wanted.payment_id}")
        return await settle_payment(store, wanted.gateway, outcome, reply=reply)
    request = ChargeRequest(
        payment_id=wanted.payment_id, order_id=wanted.order_id, order_number=wanted.number, amount_minor=wanted.amount_minor,
        currency=wanted.currency, method=wanted.method, payer=wanted.payer, email=await _email(store, gateway, wanted),
        description=f"{store.settings.store.name} {wanted.number}", return_url=f"{store.base_url}/orders/{wanted.number}",
        webhook_url=webhook_url(store.base_url, wanted.gateway),
    )  # fmt: skip
    try:
        outcome = await asyncio.wait_for(gateway.charge(request), CHARGE_TIMEOUT_S)
    except (GatewayDown, TimeoutError) as error:
        outcome = Outcome(state="pending", payment_id=wanted.payment_id, error=str(error) or None)
    return await settle_payment(store, wanted.gateway, outcome, reply=reply)


async def _email(store: Store, gateway: Gateway, wanted: _Charge) -> str:
    """Return the buyer's address for a gateway that wants one: what they wrote, or the one of their account."""
    if wanted.email or not gateway.about.wants_email:
        return wanted.email.strip()
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        sealed, of_account = await tx.one(_EMAILS, order_id=wanted.order_id)
    return (store.keys.decrypt(sealed, "order-email") if sealed else None) or of_account or ""


async def pay_again(  # the pages' own order: which order, then how it is to be paid
    store: Store, caller: Caller, order_id: UUID, gateway: str, method: str = "", payer: str = ""
) -> Placed:
    """Start another payment for an order that still waits for one; an open one is stopped first.

    Raises `NoSuchOrder`, `NothingToPay`, `GatewayUnknown`, `MethodUnknown`, `PhoneNeeded`, `GatewayDown`, and `NotAllowed` for a token that may not buy.
    """
    caller.check_token("buy")
    method = check_way(store.gateways, store.currency, gateway, method, payer)
    paid = await _stop_open_payments(store, caller, order_id)
    if paid is not None:
        return _placed(paid)
    payment_id = uuid7()
    async with store.db.transaction(actor=SYSTEM) as tx:
        await _check_payer(tx, caller, order_id)
        order = await orders.lock_order(tx, order_id)
        course = (await courses(tx, order.rules_version))[order.process]
        move = course.payment_move(order.state)
        if move is None:
            raise NothingToPay
        _check_deposit(move, store.gateways[gateway].about)
        amount = await due_now(tx, order_id, order.total_minor, order.currency, course, move)
        await payments.start(
            tx,
            PaymentDraft(id=payment_id, order_id=order_id, buyer_id=order.buyer_id, session_hash=order.session_hash, purpose=move.purpose,
                         gateway=gateway, method=method, amount_minor=amount, currency=order.currency,
                         is_offline=store.gateways[gateway].about.is_offline),
        )  # fmt: skip
    wanted = _Charge(payment_id=payment_id, order_id=order_id, number=order.number, gateway=gateway, method=method, payer=payer,
                     email="", amount_minor=amount, currency=order.currency)  # fmt: skip
    return _placed(await _charge(store, wanted, None))


async def _check_payer(tx: Transaction, caller: Caller, order_id: UUID) -> None:
    access = await access_order(tx, caller, order_id=order_id)
    if "buyer" not in access.parties:
        raise NoSuchOrder


async def _stop_open_payments(store: Store, caller: Caller, order_id: UUID) -> Settled | None:
    """Cancel an order's open payments at their gateways; return the settlement of one that turns out to be paid."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await _check_payer(tx, caller, order_id)
        found = [p for p in await payments.lock_payments_of(tx, order_id) if p.state == "initiated"]
    for payment in found:
        settled = await settle_payment(store, payment.gateway, await _cancel(store, payment), keep_order=True)
        if settled.payment_state == "success":
            return settled
    return None


async def _cancel(store: Store, payment: LockedPayment) -> Outcome:
    """Raises `GatewayUnknown` for one that the store has no more, `GatewayDown`: then the payment may still succeed."""
    gateway = store.gateways.get(payment.gateway)
    if gateway is None:
        raise GatewayUnknown(payment.gateway)
    try:
        return await asyncio.wait_for(gateway.cancel(payment.id, payment.gateway_ref), CHARGE_TIMEOUT_S)
    except TimeoutError:
        raise GatewayDown(gateway.about.name) from None


def _placed(settled: Settled) -> Placed:
    return Placed(
        order_id=settled.order_id, number=settled.number, state=settled.state, payment_id=settled.payment_id,
        payment_state=settled.payment_state, total_minor=settled.total_minor, currency=settled.currency,
        redirect_url=settled.redirect_url, instructions=settled.instructions,
    )  # fmt: skip
