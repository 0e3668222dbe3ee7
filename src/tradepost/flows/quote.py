"""What a cart costs, explained line by line: goods, promo codes, points, delivery for each seller, tax, commission."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.accounts.types import Caller
from tradepost.cart import service as carts
from tradepost.cart.types import CartView
from tradepost.core.clock import now
from tradepost.core.database import Transaction
from tradepost.core.postal import Address
from tradepost.delivery.slots import Slot, open_slots
from tradepost.flows.gateways import takes
from tradepost.flows.plan_delivery import priced_by_distance
from tradepost.flows.pricing import BasketLine, Priced, PricingRules, Terms, price_basket
from tradepost.flows.pricing_rules import loyalty_of, pricing_rules
from tradepost.flows.processes import course_for
from tradepost.flows.store import Store
from tradepost.offers.service import checkout_row
from tradepost.orders.processes import Course, courses
from tradepost.orders.rules import ShippingOption, choose_shipping, delivers_to, shipping_price
from tradepost.orders.types import ExplanationLine
from tradepost.promotions.rules import PromoEffect
from tradepost.promotions.service import find_promos, read_points
from tradepost.promotions.types import NotEnoughPoints


class CheckoutChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a buyer has chosen so far. `shipping` empty: the first way that delivers there. `offer_id`: that accepted offer, not the cart."""

    shipping: str = ""
    shipping_address: Address | None = None
    points: Annotated[int, Meta(ge=0, le=10**9)] = 0
    slot_id: UUID | None = None
    offer_id: UUID | None = None


class QuotedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A cart line with what it comes to. `total_minor` = gross − discount − points + tax."""

    line_no: int
    seller_id: UUID
    title: str
    quantity: Decimal
    unit_price_minor: int
    gross_minor: int
    discount_minor: int
    points_minor: int
    tax_minor: int
    included_tax_minor: int
    total_minor: int
    tax_name: str
    tax_percent: Decimal


class ShippingChoice(msgspec.Struct, frozen=True, kw_only=True):
    """A way of delivery and what it costs for this cart, all sellers together."""

    code: str
    name: str
    description: str
    price_minor: int
    pickup: bool
    is_chosen: bool


class SlotChoice(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery window that still has room, in the store's own time. `label`: “Sat 21 Nov, 10:00–12:00”."""

    id: UUID
    label: str
    left: int
    is_chosen: bool


class GatewayChoice(msgspec.Struct, frozen=True, kw_only=True):
    """A way to pay. `methods`: what to ask for next, e.g. web and ecocash; `needs_phone`: the payer's number is asked for."""

    code: str
    name: str
    description: str
    methods: tuple[tuple[str, str], ...]
    needs_phone: bool
    is_test: bool
    is_offline: bool


class PromoOnCart(msgspec.Struct, frozen=True, kw_only=True):
    """A promo code on the cart: what it takes off, or why it takes nothing off now."""

    code: str
    description: str
    discount_minor: int
    problem: str | None


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """The price of a cart and what may still be chosen. `explanation` adds up to `total_minor`.

    `deposit_minor`: what is paid first where the rest is paid later, else 0; `asks_first`: the provider accepts before it is paid.
    """

    cart: CartView
    currency: str
    tax_inclusive: bool
    lines: tuple[QuotedLine, ...]
    subtotal_minor: int
    discount_minor: int
    points_minor: int
    shipping_minor: int
    tax_minor: int
    included_tax_minor: int
    total_minor: int
    deposit_minor: int
    asks_first: bool
    explanation: tuple[ExplanationLine, ...]
    promos: tuple[PromoOnCart, ...]
    shipping: tuple[ShippingChoice, ...]
    slots: tuple[SlotChoice, ...]
    gateways: tuple[GatewayChoice, ...]
    points_available: int
    points_usable: int
    points_spent: int
    points_earned: int
    needs_address: bool


class Basket(msgspec.Struct, frozen=True, kw_only=True):
    """A priced cart with what the price came from. `course`: that its order will take; None for an empty one."""

    cart: CartView
    version: int
    rules_version: str
    lines: tuple[BasketLine, ...]
    rules: PricingRules
    terms: Terms
    priced: Priced
    course: Course | None

    @property
    def asks_first(self) -> bool:
        """Whether a provider accepts before anything is paid: then there is no delivery, but a place to come to."""
        return _asks_first(self.course)


def _asks_first(course: Course | None) -> bool:
    return course is not None and course.payment_move(course.initial) is None


async def quote_cart(store: Store, caller: Caller, choice: CheckoutChoice) -> Quote:
    """Return what the caller's cart costs with these choices. Raises `NoDelivery`, `ShippingUnknown`, `NotEnoughPoints`."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        basket = await read_basket(tx, store, caller, choice, with_points=True)
        slots = await _slots(tx, store, basket, choice.slot_id)
    return _quote(store, basket, choice, slots)


async def read_basket(
    tx: Transaction, store: Store, caller: Caller, choice: CheckoutChoice, *, with_points: bool, email_key: str = ""
) -> Basket:
    """Read and price the caller's cart, or what an accepted offer is about. `with_points` reads what the person has even where none are to be spent.

    `email_key` stands for a guest where a promo code counts persons.
    """
    rows: list[Any] = (
        [await checkout_row(tx, caller, choice.offer_id)] if choice.offer_id else await carts.read_rows(tx, caller)
    )
    cart = carts.cart_view(rows, store.currency)
    version = str(rows[0]["rules_version"]) if rows else "0"
    rules = await pricing_rules(tx, version) if rows else PricingRules((), (), ())
    loyalty = loyalty_of(store.settings) if caller.user_id else None
    points = 0
    if loyalty and caller.user_id and (with_points or choice.points):
        points = await read_points(tx, caller.user_id)
    if choice.points > points:
        raise NotEnoughPoints(points)
    address = choice.shipping_address
    lines = basket_lines(rows, cart)
    course = course_for(lines, await courses(tx, version)) if lines else None
    option = None
    if rows and not _asks_first(course):
        ways = await priced_by_distance(tx, store.settings, rules.shipping, address)
        rules = msgspec.structs.replace(rules, shipping=ways)
        option = choose_shipping(ways, choice.shipping, address.country if address else None)
    is_sent = option is not None and not option.is_pickup and address is not None
    terms = Terms(
        currency=cart.currency,
        tax_inclusive=store.settings.tax.inclusive,
        country=address.country if address and is_sent else store.settings.store.country,
        region=address.region if address and is_sent else "",
        shipping=option,
        codes=cart.promo_codes,
        promos=await find_promos(tx, cart.promo_codes, person_key(caller, email_key)),
        loyalty=loyalty,
        points_available=points,
        points_wanted=choice.points,
        now=now(),
    )
    return Basket(
        cart=cart, version=rows[0]["version"] if rows else 0, rules_version=version, lines=lines, rules=rules, terms=terms,
        priced=price_basket(lines, rules, terms), course=course,
    )  # fmt: skip


def person_key(caller: Caller, email_key: str) -> str:
    """Return who counts as one person for promo codes: an account, or a guest's e-mail address as a blind index."""
    return f"user:{caller.user_id}" if caller.user_id else f"email:{email_key}"


def basket_lines(rows: Sequence[Any], cart: CartView) -> tuple[BasketLine, ...]:
    """Return the lines of a cart that can be bought now, ready to be priced."""
    by_no = {row["line_no"]: row for row in rows}
    return tuple(
        BasketLine(
            line_no=line.line_no, variant_id=line.variant_id, listing_id=line.listing_id, seller_id=group.seller_id,
            seller_name=group.seller_name, title=line.title, slug=by_no[line.line_no]["slug"], kind=line.kind,
            category_path=by_no[line.line_no]["category_path"], image_id=line.image_id, sku=line.sku, options=line.options,
            configuration=line.configuration, unit=line.unit, quantity=line.quantity, unit_price_minor=line.unit_price_minor,
        )
        for group in cart.groups
        for line in group.lines
        if line.can_be_bought
    )  # fmt: skip


async def _slots(tx: Transaction, store: Store, basket: Basket, chosen: UUID | None) -> list[Slot]:
    """Return the windows that leave time to make what is in the basket."""
    if not store.settings.features.delivery:
        return []
    listing_ids = [line.listing_id for line in basket.lines]
    return await open_slots(tx, store.settings.store.timezone, listing_ids=listing_ids, chosen=chosen)


def _quote(
    store: Store, basket: Basket, choice: CheckoutChoice, slots: list[Slot]
) -> Quote:  # fmt: skip
    priced, terms, course = basket.priced, basket.terms, basket.course
    first = course.payment_move(course.initial) if course else None
    has_deposit = course is not None and first is not None and first.purpose == "deposit"
    return Quote(
        cart=basket.cart,
        currency=terms.currency,
        tax_inclusive=terms.tax_inclusive,
        lines=tuple(_quoted(p) for p in priced.lines),
        subtotal_minor=priced.sum_of("gross_minor"),
        discount_minor=priced.sum_of("discount_minor"),
        points_minor=priced.sum_of("points_minor"),
        shipping_minor=priced.shipping_minor,
        tax_minor=priced.sum_of("tax_minor"),
        included_tax_minor=priced.sum_of("included_tax_minor"),
        total_minor=priced.total_minor,
        deposit_minor=course.first_amount(priced.total_minor, terms.currency) if course and has_deposit else 0,
        asks_first=basket.asks_first,
        explanation=priced.explanation,
        promos=tuple(_promo(effect) for effect in priced.promos),
        shipping=() if basket.asks_first else _shipping(basket, choice),
        slots=tuple(
            SlotChoice(id=s.id, label=s.label, left=s.left, is_chosen=s.id == choice.slot_id)
            for s in slots
            if not basket.asks_first
        ),
        gateways=payment_choices(store, at_once=has_deposit),
        points_available=terms.points_available,
        points_usable=priced.points_usable,
        points_spent=priced.points_spent,
        points_earned=priced.points_earned,
        needs_address=basket.asks_first or (terms.shipping is not None and not terms.shipping.is_pickup),
    )


def _quoted(p: Any) -> QuotedLine:
    return QuotedLine(
        line_no=p.line.line_no, seller_id=p.line.seller_id, title=p.line.title, quantity=p.line.quantity,
        unit_price_minor=p.line.unit_price_minor, gross_minor=p.gross_minor, discount_minor=p.discount_minor,
        points_minor=p.points_minor, tax_minor=p.tax_minor, included_tax_minor=p.included_tax_minor,
        total_minor=p.total_minor, tax_name=p.tax_name, tax_percent=p.tax_percent,
    )  # fmt: skip


def _promo(effect: PromoEffect) -> PromoOnCart:
    return PromoOnCart(
        code=effect.code, description=effect.promo.description if effect.promo else "",
        discount_minor=effect.discount_minor, problem=effect.problem.message if effect.problem else None,
    )  # fmt: skip


def _shipping(basket: Basket, choice: CheckoutChoice) -> tuple[ShippingChoice, ...]:
    """Price every way of delivery that goes there for this cart, so that a page can show them side by side."""
    country = choice.shipping_address.country if choice.shipping_address else None
    goods: dict[UUID, int] = {}
    for p in basket.priced.lines:
        goods[p.line.seller_id] = goods.get(p.line.seller_id, 0) + p.gross_minor - p.discount_minor

    def shown(option: ShippingOption) -> ShippingChoice:
        return ShippingChoice(
            code=option.code, name=option.name, description=option.description, pickup=option.is_pickup,
            price_minor=sum(shipping_price(option, value) for value in goods.values()),
            is_chosen=option is basket.terms.shipping,
        )  # fmt: skip

    return tuple(shown(o) for o in basket.rules.shipping if delivers_to(o, country))


def payment_choices(store: Store, *, at_once: bool = False) -> tuple[GatewayChoice, ...]:
    """Return the ways to pay that this store offers in its currency, in its order. `at_once`: without those that pay at the door."""
    offered = (code for code in store.settings.payments.gateways if code in store.gateways)
    found = tuple(_gateway(store, code) for code in offered if takes(store.gateways[code], store.currency))
    return tuple(choice for choice in found if not (at_once and choice.is_offline))


def _gateway(store: Store, code: str) -> GatewayChoice:
    about = store.gateways[code].about
    return GatewayChoice(
        code=code, name=about.name, description=about.description, methods=about.methods, needs_phone=about.needs_phone,
        is_test=about.is_test, is_offline=about.is_offline,
    )  # fmt: skip
