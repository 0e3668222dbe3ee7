"""The assistant's tools for the cart, for where an order is placed, and for windows, kept searches and what the store says of itself."""

from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.accounts.types import Caller
from tradepost.alerts.service import keep_search
from tradepost.assistant.preset import store_texts
from tradepost.assistant.results import (
    AlertFacts,
    Alerts,
    CartFacts,
    CartItem,
    CheckoutStart,
    Fact,
    StoreFacts,
    Window,
    Windows,
)
from tradepost.cart.types import CartLine, CartView
from tradepost.core.database import SYSTEM
from tradepost.core.money import plain_number, to_minor
from tradepost.delivery.slots import open_slots
from tradepost.flows.assistant_shopping import Price, Words, amount, option_of, read_listing
from tradepost.flows.cart import add_promo, add_to_cart, change_line, get_cart, remove_line, remove_promo
from tradepost.flows.quote import CheckoutChoice, Quote, quote_cart
from tradepost.flows.returns import RETURN_WITHIN
from tradepost.flows.saved_searches import saved_searches
from tradepost.flows.store import Store
from tradepost.search.types import SearchRequest

CHECKOUT = "/checkout"


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments."""


class PutInCart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to put in: a listing with the options that tell its variants apart, or a variant by its id. `configuration`: of made-to-order things."""

    listing_id: UUID
    variant_id: UUID | None = None
    options: Annotated[dict[str, str], Meta(max_length=20)] = {}
    quantity: Annotated[Decimal, Meta()] = Decimal(1)
    configuration: dict[str, Any] | None = None


class ChangeCartLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of the cart by its number, and how many of it there should be."""

    line_no: int
    quantity: Annotated[Decimal, Meta()]


class CartLines(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lines of the cart by their numbers."""

    line_nos: Annotated[tuple[int, ...], Meta(min_length=1, max_length=100)]


class PromoCode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A promo code; `remove`: take it off again."""

    code: Annotated[str, Meta(min_length=1, max_length=50)]
    remove: bool = False


class WindowsFor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be brought, so that there is time to make it; nothing: whatever is in stock."""

    listing_id: UUID | None = None


class KeepSearch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A search to be told about when something new fits it."""

    query: Words = ""
    category: Annotated[str, Meta(max_length=80)] | None = None
    min_price: Price | None = None
    max_price: Price | None = None
    name: Annotated[str, Meta(max_length=80)] = ""


class AboutStore(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked about."""

    topic: Literal["hours", "delivery", "returns", "payment", "contact", "place", "about", "all"] = "all"


async def read_cart(store: Store, caller: Caller, _nothing: Nothing) -> CartFacts:
    """Return the person's cart at today's prices."""
    return _cart(store, await get_cart(store, caller))


def _cart(store: Store, view: CartView) -> CartFacts:
    items = tuple(_item(store, line) for line in view.lines)
    return CartFacts(
        items=items, line_count=view.line_count, subtotal=amount(store, view.subtotal_minor, view.currency),
        promo_codes=view.promo_codes,
    )  # fmt: skip


def _item(store: Store, line: CartLine) -> CartItem:
    return CartItem(
        line_no=line.line_no, listing_id=line.listing_id, title=line.title, options=line.options,
        quantity=plain_number(line.quantity), unit=line.unit_short, unit_price=amount(store, line.unit_price_minor),
        total=amount(store, line.total_minor), stock=line.stock, price_changed=line.price_changed,
    )  # fmt: skip


async def put_in_cart(store: Store, caller: Caller, wanted: PutInCart) -> CartFacts:
    """Put something in the cart; return the cart. Raises `ChooseOption`, `NoSuchOption`, and as the cart does."""
    variant_id = wanted.variant_id
    if variant_id is None:
        listing = await read_listing(store, caller, wanted.listing_id)
        variant_id = option_of(listing, wanted.options).id
    return _cart(store, await add_to_cart(store, caller, variant_id, wanted.quantity, wanted.configuration))


async def change_cart(store: Store, caller: Caller, wanted: ChangeCartLine) -> CartFacts:
    """Set how many there should be of a line; return the cart. Raises as the cart does."""
    return _cart(store, await change_line(store, caller, wanted.line_no, wanted.quantity))


async def remove_from_cart(store: Store, caller: Caller, wanted: CartLines) -> CartFacts:
    """Take lines out; return the cart. Raises `NoSuchLine`."""
    view = await get_cart(store, caller)
    for line_no in dict.fromkeys(wanted.line_nos):
        view = await remove_line(store, caller, line_no)
    return _cart(store, view)


async def use_promo_code(store: Store, caller: Caller, wanted: PromoCode) -> CartFacts:
    """Put a promo code on the cart, or take it off; return the cart with what it takes off. Raises as promo codes do."""
    work = remove_promo if wanted.remove else add_promo
    view = await work(store, caller, wanted.code)
    quote = await quote_cart(store, caller, CheckoutChoice())
    return msgspec.structs.replace(_cart(store, view), discount=amount(store, quote.discount_minor, quote.currency))


async def start_checkout(store: Store, caller: Caller, _nothing: Nothing) -> CheckoutStart:
    """Return what the cart comes to and the page where the person orders it: the assistant itself never pays."""
    quote = await quote_cart(store, caller, CheckoutChoice())
    return _start(store, quote)


def _start(store: Store, quote: Quote) -> CheckoutStart:
    ways = tuple(f"{way.name}: {amount(store, way.price_minor).text}" for way in quote.shipping)
    return CheckoutStart(
        link=CHECKOUT, cart=_cart(store, quote.cart), shipping=amount(store, quote.shipping_minor),
        tax=amount(store, quote.tax_minor), total=amount(store, quote.total_minor), ways=ways,
        payment=tuple(way.name for way in quote.gateways),
    )  # fmt: skip


async def delivery_windows(store: Store, caller: Caller, wanted: WindowsFor) -> Windows:
    """Return the delivery windows with room, the earliest first; none where the store brings nothing in windows."""
    if not store.settings.features.delivery:
        return Windows((), delivers=False)
    ids = [wanted.listing_id] if wanted.listing_id else []
    if wanted.listing_id:
        await read_listing(store, caller, wanted.listing_id)
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        found = await open_slots(tx, store.settings.store.timezone, listing_ids=ids, limit=8)
    return Windows(tuple(Window(s.id, s.label, s.delivery_on, s.left) for s in found))


async def keep_alert(store: Store, caller: Caller, wanted: KeepSearch) -> AlertFacts:
    """Keep a search, so that the person hears of what is new. Raises `NothingToKeep`, `TooManyAlerts`, `SignInFirst`."""
    name = wanted.name or wanted.query or wanted.category or ""
    low, high = ((None if p is None else to_minor(p, store.currency)) for p in (wanted.min_price, wanted.max_price))
    request = SearchRequest(query=wanted.query, category=wanted.category, min_minor=low, max_minor=high)
    async with store.db.transaction(actor=caller.actor) as tx:
        alert_id = await keep_search(tx, caller, request, name)
    return AlertFacts(alert_id, name)


async def list_alerts(store: Store, caller: Caller, _nothing: Nothing) -> Alerts:
    """Return the person's kept searches, with how much is new. Raises `SignInFirst`."""
    found = await saved_searches(store, caller)
    return Alerts(tuple(AlertFacts(s.alert.id, s.alert.name, s.new, s.is_more) for s in found))


async def store_facts(store: Store, _caller: Caller, wanted: AboutStore) -> StoreFacts:
    """Return what the store says of its hours, deliveries, returns, payments and of itself."""
    facts = [*_settled(store), *(Fact(t.topic, t.text, t.link) for t in store_texts(store.preset_folder).facts)]
    chosen = tuple(f for f in facts if wanted.topic in {"all", f.topic})
    return StoreFacts(store.settings.store.name, chosen)


def _settled(store: Store) -> list[Fact]:
    """What follows from the settings, so that it cannot be another than what the checkout does."""
    shop = store.settings.store
    ways = "; ".join(
        f"{o.name} {amount(store, to_minor(o.price, store.currency)).text}"
        + (f", free from {amount(store, to_minor(o.free_from, store.currency)).text}" if o.free_from else "")
        + (f" ({o.description.rstrip('.')})" if o.description else "")
        for o in store.settings.shipping
    )
    pays = ", ".join(
        store.gateways[code].about.name for code in store.settings.payments.gateways if code in store.gateways
    )
    found = [
        Fact("returns", f"Goods can be returned within {RETURN_WITHIN.days} days of their arrival.", "/orders"),
        Fact("place", f"{shop.name} is at home in {shop.place}."),
        Fact("about", f"{shop.name}: {shop.description}"),
    ]
    if ways:
        found.append(Fact("delivery", f"Ways of delivery: {ways}."))
    if pays:
        found.append(Fact("payment", f"Ways to pay: {pays}."))
    if shop.support_email:
        found.append(Fact("contact", f"Write to {shop.support_email}."))
    return found
