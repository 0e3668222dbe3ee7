"""Ready-made people and listings for tests, written straight into the tables."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, func, insert, select, text
from sqlalchemy.dialects.postgresql import JSONB

from tradepost.accounts.tables import role_permissions, user_roles, users
from tradepost.accounts.types import Caller
from tradepost.catalog.tables import categories, listings, prices, variants
from tradepost.core.database import SYSTEM
from tradepost.core.text import slugify
from tradepost.flows.store import Store

_CATEGORY = select(categories.c.id).where(categories.c.slug == bindparam("slug"))
_PERMISSIONS = select(role_permissions.c.permission).where(role_permissions.c.role == bindparam("role"))


class Factory:
    """Makes rows in one store's database; every call commits."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.count = 0

    async def person(self, role: str = "buyer", username: str | None = None, **columns: Any) -> Caller:
        """Make a person with one role and return them as a caller."""
        self.count += 1
        username = username or f"{role}{self.count}"
        values = {"username": username, "email": f"{username}@example.com", "display_name": username.title(), **columns}
        async with self.store.db.transaction(actor=SYSTEM) as tx:
            user_id = await tx.value(insert(users).values(values).returning(users.c.id))
            await tx.run(insert(user_roles).values(user_id=user_id, role=role))
            permissions = await tx.values(_PERMISSIONS, role=role)
        return Caller(user_id, None, username, username.title(), frozenset(permissions))

    async def listing(  # a factory has a keyword for each thing a test may care about
        self,
        seller: Caller,
        title: str = "Red apples",
        *,
        price: int = 250,
        stock: Decimal | int | None = 10,
        category: str = "fruit",
        unit: str = "piece",
        step: str = "1",
        place: tuple[float, float] | None = None,
        **columns: Any,
    ) -> UUID:
        """Make an active listing with one variant, `price` in minor units of the store's currency."""
        values: dict[str, Any] = {
            "seller_id": seller.user_id, "kind": "product", "feed": "discover", "slug": slugify(title),
            "title": title, "description": f"{title}, as good as they look.", "status": "active", **columns,
        }  # fmt: skip
        if place:
            values["location"] = func.geo_point(*place)
        async with self.store.db.transaction(actor=SYSTEM) as tx:
            values["category_id"] = await tx.value(_CATEGORY, slug=category)
            values.setdefault("published_at", text("now()"))
            listing_id: UUID = await tx.value(insert(listings).values(values).returning(listings.c.id))
            await self._variant(tx, listing_id, price, stock, unit, step)
        return listing_id

    async def variant(
        self, listing_id: UUID, *, price: int, stock: Decimal | int | None = 10, options: dict[str, str]
    ) -> UUID:
        """Add a variant to a listing."""
        async with self.store.db.transaction(actor=SYSTEM) as tx:
            return await self._variant(tx, listing_id, price, stock, "piece", "1", options)

    async def _variant(self, tx: Any, listing_id: UUID, price: int, stock: Any, unit: str, step: str,
                       options: dict[str, str] | None = None) -> UUID:  # fmt: skip
        variant_id: UUID = await tx.value(
            insert(variants).values(
                listing_id=listing_id, unit=unit, sale_step=Decimal(step), on_hand=None if stock is None else Decimal(stock),
                options=bindparam("options", options or {}, type_=JSONB),
            ).returning(variants.c.id)
        )  # fmt: skip
        await tx.run(
            insert(prices).values(variant_id=variant_id, currency=self.store.currency, amount_minor=price,
                                  valid_from=text("now() - interval '1 day'"))
        )  # fmt: skip
        return variant_id

    async def variant_of(self, listing_id: UUID) -> UUID:
        """Return the first variant of a listing."""
        return (
            await self.store.db.read(
                select(variants.c.id).where(variants.c.listing_id == listing_id).order_by(variants.c.position)
            )
        )[0][0]  # type: ignore[no-any-return]
