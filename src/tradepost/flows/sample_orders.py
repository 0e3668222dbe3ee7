"""Load a preset's sample orders and customers' addresses: `customers.jsonl` and `orders.jsonl`, as the retail domain of tau2-bench has them.

Every order is written whole, in the state it is in, as if it had been placed some days ago and paid in the sandbox. Needs the store's
keys, because addresses are sealed.
"""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.clock import now
from tradepost.core.crypto import Keyring
from tradepost.core.database import Transaction
from tradepost.core.ids import uuid7
from tradepost.core.money import to_minor
from tradepost.core.postal import Address
from tradepost.delivery.queries import sealed

_STATES: Final = {"pending": "paid", "processed": "processed", "delivered": "delivered", "cancelled": "cancelled"}
_COUNTRIES: Final = {"USA": "US"}


class SampleAddress(msgspec.Struct, frozen=True):
    """An address as the files have it."""

    address1: str
    address2: str
    city: str
    country: str
    state: str
    zip: str


class SampleCustomer(msgspec.Struct, frozen=True):
    """A line of customers.jsonl."""

    user_id: str
    address: SampleAddress


class SampleItem(msgspec.Struct, frozen=True):
    """A thing ordered: the SKU of a variant, and its price then."""

    item_id: str
    price: float


class SampleTracking(msgspec.Struct, frozen=True):
    """How a part was sent."""

    tracking_id: tuple[str, ...]


class SamplePayment(msgspec.Struct, frozen=True):
    """Money that moved."""

    transaction_type: str
    amount: float
    payment_method_id: str


class SampleOrder(msgspec.Struct, frozen=True):
    """A line of orders.jsonl."""

    order_id: str
    user_id: str
    address: SampleAddress
    items: tuple[SampleItem, ...]
    status: str
    fulfillments: tuple[SampleTracking, ...]
    payment_history: tuple[SamplePayment, ...]


_VARIANTS = text("""
    SELECT v.sku, v.id AS variant_id, v.listing_id, v.options, v.unit, l.title, l.slug, l.seller_id, l.kind
    FROM variants v JOIN listings l ON l.id = v.listing_id WHERE v.sku = ANY (CAST(:skus AS text[]))
""")
_PEOPLE = text("SELECT username, id, display_name FROM users")
_ADDRESSES = text("""
    INSERT INTO addresses (user_id, label, address_enc, is_default)
    SELECT a.user_id, 'Home', decode(a.address, 'base64'), true FROM jsonb_to_recordset(:rows) AS a(user_id uuid, address text)
""")
_ORDERS = text("""
    INSERT INTO orders (id, number, buyer_id, seller_ids, process, state, payment_state, currency, tax_inclusive, subtotal_minor,
                        shipping_address_enc, billing_address_enc, payment_method, placed_at, state_since)
    SELECT o.id, o.number, o.buyer_id, ARRAY[o.seller_id], 'purchase', o.state, o.payment_state, :currency, false, o.total_minor,
           decode(o.address, 'base64'), decode(o.address, 'base64'), 'sandbox', o.placed_at, o.placed_at
    FROM jsonb_to_recordset(:rows) AS o(id uuid, number text, buyer_id uuid, seller_id uuid, state text, payment_state text,
                                        total_minor bigint, address text, placed_at timestamptz)
""")
_PARTS = text("""
    INSERT INTO fulfilments (order_id, seller_id, buyer_id, process, state, carrier, tracking, opened_at, shipped_at, handed_over_at)
    SELECT o.id, o.seller_id, o.buyer_id, 'purchase', o.state, CASE WHEN o.tracking <> '' THEN 'Parcel' ELSE '' END, o.tracking, o.placed_at,
           CASE WHEN o.tracking <> '' THEN o.placed_at + interval '1 day' END, o.arrived_at
    FROM jsonb_to_recordset(:rows) AS o(id uuid, seller_id uuid, buyer_id uuid, state text, tracking text, placed_at timestamptz,
                                        arrived_at timestamptz)
""")
_LINES = text("""
    INSERT INTO order_lines (order_id, line_no, buyer_id, seller_id, listing_id, variant_id, title, sku, options, unit, quantity,
                             unit_price_minor, gross_minor, refunded_minor, snapshot)
    SELECT l.order_id, l.line_no, l.buyer_id, l.seller_id, l.listing_id, l.variant_id, l.title, l.sku, l.options, l.unit, 1,
           l.price_minor, l.price_minor, l.refunded_minor, jsonb_build_object('slug', l.slug, 'kind', l.kind)
    FROM jsonb_to_recordset(:rows) AS l(order_id uuid, line_no int, buyer_id uuid, seller_id uuid, listing_id uuid, variant_id uuid,
                                        title text, sku text, options jsonb, unit text, price_minor bigint, refunded_minor bigint,
                                        slug text, kind text)
""")
_EVENTS = text("""
    INSERT INTO order_events (order_id, seq, at, actor_id, actor_role, kind, to_state, buyer_id)
    SELECT o.id, 1, o.placed_at, o.buyer_id, 'buyer', 'placed', o.state, o.buyer_id
    FROM jsonb_to_recordset(:rows) AS o(id uuid, buyer_id uuid, state text, placed_at timestamptz)
""")
_PAYMENTS = text("""
    INSERT INTO payments (order_id, buyer_id, gateway, method, amount_minor, refunded_minor, currency, state, gateway_ref, charged_at, settled_at)
    SELECT o.id, o.buyer_id, 'sandbox', o.method, o.total_minor, CASE WHEN o.state = 'cancelled' THEN o.total_minor ELSE 0 END, :currency,
           CASE WHEN o.state = 'cancelled' THEN 'refunded' ELSE 'success' END, 'sample-' || o.number, o.placed_at, o.placed_at
    FROM jsonb_to_recordset(:rows) AS o(id uuid, number text, buyer_id uuid, method text, total_minor bigint, state text, placed_at timestamptz)
""")
# What was sold was there before: the shelves end as the listings say they are now.
_STOCKED = text("""
    INSERT INTO stock_movements (variant_id, quantity, reason)
    SELECT l.variant_id, count(*), 'correction' FROM jsonb_to_recordset(:rows) AS l(variant_id uuid)
    JOIN variants v ON v.id = l.variant_id WHERE v.on_hand IS NOT NULL GROUP BY 1 ORDER BY 1
""")
_SOLD = text("""
    INSERT INTO reservations (order_id, variant_id, quantity, state, expires_at)
    SELECT l.order_id, l.variant_id, count(*), 'sold', now()
    FROM jsonb_to_recordset(:rows) AS l(order_id uuid, variant_id uuid) GROUP BY 1, 2
""")


def _lines(path: Path, into: Any) -> list[Any]:
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=into) for line in path.read_bytes().splitlines() if line.strip()]


def as_address(name: str, given: SampleAddress) -> Address:
    """Return an address of the files as the store writes it."""
    return Address(
        name=name, line1=given.address1, line2=given.address2, city=given.city, region=given.state, postcode=given.zip,
        country=_COUNTRIES.get(given.country, given.country),
    )  # fmt: skip


async def load_orders(tx: Transaction, sample: Path, keys: Keyring, currency: str) -> int:
    """Write the customers' addresses and the orders of a sample folder; return how many orders. `tx` is the owner's."""
    customers = _lines(sample / "customers.jsonl", SampleCustomer)
    orders = _lines(sample / "orders.jsonl", SampleOrder)
    if not customers and not orders:
        return 0
    people = {row["username"]: (row["id"], row["display_name"]) for row in await tx.all(_PEOPLE)}
    rows = [
        {"user_id": people[c.user_id][0], "address": _base64(sealed(keys, as_address(people[c.user_id][1], c.address)))}
        for c in customers
    ]
    await tx.run(_ADDRESSES, rows=rows)
    skus = sorted({item.item_id for order in orders for item in order.items})
    variants = {row["sku"]: dict(row) for row in await tx.all(_VARIANTS, skus=skus)}
    written = [_order(n, order, people, variants, keys, currency) for n, order in enumerate(orders)]
    heads, lines = [head for head, _ in written], [line for _, some in written for line in some]
    await tx.run(_ORDERS, rows=heads, currency=currency)
    await tx.run(_PARTS, rows=heads)
    await tx.run(_EVENTS, rows=heads)
    await tx.run(_LINES, rows=lines)
    await tx.run(_PAYMENTS, rows=heads, currency=currency)
    await tx.run(_STOCKED, rows=lines)
    await tx.run(_SOLD, rows=lines)
    return len(heads)


def _order(
    n: int, order: SampleOrder, people: dict[str, tuple[UUID, str]], variants: dict[str, Any], keys: Keyring, currency: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:  # fmt: skip
    order_id, (buyer_id, name) = uuid7(), people[order.user_id]
    state = _STATES[order.status]
    placed = now() - timedelta(days=8 + n % 20, minutes=n)
    prices = [to_minor(str(Decimal(str(item.price))), currency) for item in order.items]
    is_back = state == "cancelled"
    lines = [
        {**variants[item.item_id], "order_id": order_id, "line_no": at, "buyer_id": buyer_id, "price_minor": price,
         "refunded_minor": price if is_back else 0}
        for at, (item, price) in enumerate(zip(order.items, prices, strict=True), 1)
    ]  # fmt: skip
    address = keys.encrypt(msgspec.json.encode(as_address(name, order.address)).decode(), "order-address")
    head = {
        "id": order_id, "number": order.order_id.lstrip("#"), "buyer_id": buyer_id, "seller_id": lines[0]["seller_id"],
        "state": state, "payment_state": "refunded" if is_back else "paid", "total_minor": sum(prices), "address": _base64(address),
        "placed_at": placed, "arrived_at": now() - timedelta(days=1 + n % 6) if state == "delivered" else None,
        "tracking": ", ".join(t for f in order.fulfillments for t in f.tracking_id),
        "method": order.payment_history[0].payment_method_id,
    }  # fmt: skip
    return head, lines


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()
