"""A buyer in front of a store: the few words in which tests of orders and money are written."""

from decimal import Decimal
from itertools import count
from typing import Any, Self
from uuid import UUID

from sqlalchemy import text

from tests.factories import Factory
from tradepost.accounts.types import Caller
from tradepost.core.database import SYSTEM
from tradepost.core.postal import Address
from tradepost.flows.cart import add_to_cart
from tradepost.flows.checkout import CheckoutForm, Placed, checkout
from tradepost.flows.store import Store
from tradepost.flows.sweep import move_on

# What a raw change of a state begins with: a move that the order's history does not tell is refused.
TELL = """
    WITH told AS (INSERT INTO order_events (order_id, seq, actor_role, kind, to_state)
                  SELECT :id, coalesce(max(seq), 0) + 1, 'system', 'moved', :state FROM order_events WHERE order_id = :id)
"""
HOME = Address(name="Ann Buyer", line1="1 Main Street", city="Springfield", region="Ohio", country="US")

PAID_ONCE = {"paid": 1, "captures": 1, "sales": 1}


class Shop:
    """One buyer in a store, and what they do there."""

    def __init__(self, store: Store, make: Factory, buyer: Caller) -> None:
        self.store = store
        self.make = make
        self.buyer = buyer
        self.sellers: dict[UUID, Caller] = {}
        self._keys = count(1)

    @classmethod
    async def open(cls, store: Store, make: Factory) -> Self:
        """Return a store with a fresh buyer in it."""
        return cls(store, make, await make.person())

    async def goods(self, title: str = "Hammer", seller: Caller | None = None, **options: Any) -> UUID:
        """Offer something, by a seller of its own unless told; return its variant. Tools: taxed at 15 %."""
        seller = seller or await self.make.person("seller")
        listing = await self.make.listing(seller, title, **{"category": "tools", "price": 1000, **options})
        variant = await self.make.variant_of(listing)
        self.sellers[variant] = seller
        return variant

    def form(self, **fields: Any) -> CheckoutForm:
        """Return an order form: picked up, approved by the sandbox at once, unless told otherwise."""
        values = {"gateway": "sandbox", "method": "approve", "shipping": "pickup", "shipping_address": HOME, **fields}
        return CheckoutForm(**values)

    async def put(self, variant: UUID, quantity: int | str) -> None:
        """Put something in the buyer's cart."""
        await add_to_cart(self.store, self.buyer, variant, Decimal(quantity))

    async def buy(self, variant: UUID, quantity: int | str = 1, **fields: Any) -> Placed:
        """Put something in the cart and order all of it."""
        await self.put(variant, quantity)
        return await checkout(self.store, self.buyer, self.form(**fields), f"buy{next(self._keys)}")

    async def run_out(self, *orders: UUID) -> None:
        """Have the time of orders that nobody paid for run out."""
        for order_id in orders:
            await move_on(self.store, order_id)

    async def sell_out(self) -> None:
        """Have nothing left of anything."""
        await self.run(text("UPDATE variants SET on_hand = 0"))

    async def promo(self, code: str, *, percent: int | None = None, amount: int | None = None, **columns: Any) -> None:
        """Issue a promo code."""
        values = {"kind": "percent" if percent else "fixed", "percent": percent, "amount_minor": amount,
                  "currency": None if percent else "USD", **columns}  # fmt: skip
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        await self.run(
            text(f"INSERT INTO promo_codes (code, valid_to, {names}) VALUES (:code, now() + interval '1 day', {marks})"),
            code=code, **values,
        )  # fmt: skip

    async def run(self, statement: Any, **params: Any) -> int:
        """Run a change as the system."""
        async with self.store.db.transaction(actor=SYSTEM) as tx:
            return await tx.run(statement, **params)

    async def row(self, sql: str, **params: Any) -> tuple[Any, ...]:
        """Return the first row of a query, as the system sees it."""
        async with self.store.db.transaction(actor=SYSTEM) as tx:
            return tuple(await tx.one(text(sql), **params))

    async def rows(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """Return every row of a query, as the system sees it."""
        async with self.store.db.transaction(actor=SYSTEM) as tx:
            return [tuple(row) for row in await tx.all(text(sql), **params)]

    async def count(self, table: str, test: str = "true") -> int:
        """Count rows of a table."""
        return int((await self.row(f"SELECT count(*) FROM {table} WHERE {test}"))[0])

    async def paid_for(self) -> dict[str, int]:
        """Return what must be there once for one paid order (`PAID_ONCE`)."""
        return {
            "paid": await self.count("orders", "payment_state = 'paid'"),
            "captures": await self.count("ledger_journals", "kind = 'capture'"),
            "sales": await self.count("stock_movements", "reason = 'sale'"),
        }

    async def stock(self, variant: UUID) -> tuple[Decimal, Decimal]:
        """Return what is on hand and what is reserved of a variant."""
        on_hand, reserved = await self.row("SELECT on_hand, reserved FROM variants WHERE id = :id", id=variant)
        return on_hand, reserved

    async def balances(self) -> dict[str, int]:
        """Return every kind of account that is not at 0, with its balance: debits positive."""
        rows = await self.rows("""
            SELECT a.kind, CAST(sum(e.amount_minor) AS bigint) FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id
            GROUP BY a.kind HAVING sum(e.amount_minor) <> 0
        """)
        return {kind: int(amount) for kind, amount in rows}
