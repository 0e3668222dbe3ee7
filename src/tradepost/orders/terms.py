"""Rates of tax and ways of delivery as those who run the store see and change them.

A trigger raises `rules_version`, so every process reckons by them from the next checkout on; orders keep what they were made with,
and the audit log keeps who changed what.
"""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta
from sqlalchemy import text

from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import Conflict, FieldErrors, NotFound
from tradepost.core.ids import uuid7

Name = Annotated[str, Meta(min_length=1, max_length=100)]


class NoSuchTerm(NotFound):
    """There is no such rate, and no such way of delivery."""


class CodeTaken(Conflict):
    """There is a way of delivery with this short name already."""

    field = "code"


class TaxDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A rate as it is typed: for a category with all below it, a country, a region of one; everything where none is named."""

    name: Name
    percent: Decimal
    category_id: UUID | None = None
    country: str | None = None
    region: str | None = None


class OfficeTax(msgspec.Struct, frozen=True):
    """A rate as the office shows it; `category`: its slugs from the root, "" for every one."""

    id: UUID
    name: str
    percent: Decimal
    category: str
    country: str
    region: str
    is_active: bool


class WayDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A way of delivery as it is typed; amounts in minor units, `free_from_minor` None: never free, no countries: everywhere."""

    name: Name
    description: Annotated[str, Meta(max_length=300)] = ""
    price_minor: int
    free_from_minor: int | None = None
    countries: tuple[str, ...] = ()
    is_pickup: bool = False
    by_distance: bool = False
    position: int = 0


class OfficeWay(msgspec.Struct, frozen=True):
    """A way of delivery as the office shows it."""

    code: str
    name: str
    description: str
    price_minor: int
    free_from_minor: int | None
    currency: str
    countries: tuple[str, ...]
    is_pickup: bool
    by_distance: bool
    is_active: bool
    position: int


on_violation("pk_shipping_options", CodeTaken)
on_violation("ck_tax_rates_percent_range", lambda: FieldErrors({"percent": "0 to less than 100 percent."}))
on_violation("ck_tax_rates_region_has_country", lambda: FieldErrors({"country": "A region is one of a country."}))
on_violation(
    "ck_shipping_options_price_not_negative", lambda: FieldErrors({"price": "0 or more; free from more than 0."})
)

_TAXES = text("""
    SELECT r.id, r.name, r.percent, coalesce(c.path, '') AS category, coalesce(r.country, '') AS country, coalesce(r.region, '') AS region,
           r.is_active
    FROM tax_rates r LEFT JOIN categories c ON c.id = r.category_id
    ORDER BY r.is_active DESC, c.path NULLS FIRST, r.country NULLS FIRST, r.region NULLS FIRST, r.id LIMIT 500
""")
_PUT_TAX = text("""
    INSERT INTO tax_rates (id, name, percent, category_id, country, region)
    VALUES (:id, :name, :percent, :category_id, :country, :region)
    ON CONFLICT (category_id, country, region) DO UPDATE SET name = excluded.name, percent = excluded.percent, is_active = true
""")
_SWITCH_TAX = text("UPDATE tax_rates SET is_active = :is_active WHERE id = :id")
_WAYS = text("""
    SELECT code, name, description, price_minor, free_from_minor, currency, countries, is_pickup, by_distance, is_active, position
    FROM shipping_options ORDER BY is_active DESC, position, code LIMIT 100
""")
_ADD_WAY = text("""
    INSERT INTO shipping_options (code, name, description, price_minor, free_from_minor, currency, countries, is_pickup, by_distance, position)
    VALUES (:code, :name, :description, :price_minor, :free_from_minor, :currency, :countries, :is_pickup, :by_distance, :position)
""")
_CHANGE_WAY = text("""
    UPDATE shipping_options SET name = :name, description = :description, price_minor = :price_minor, free_from_minor = :free_from_minor,
           countries = :countries, is_pickup = :is_pickup, by_distance = :by_distance, position = :position, currency = :currency
    WHERE code = :code
""")
_SWITCH_WAY = text("UPDATE shipping_options SET is_active = :is_active WHERE code = :code")


async def list_taxes(tx: Transaction) -> list[OfficeTax]:
    """Return the rates, those in force first, from the general to the particular."""
    return await tx.all(_TAXES, into=OfficeTax)


async def put_tax(tx: Transaction, draft: TaxDraft) -> None:
    """Put a rate in force in place of the one for the same goods and places. Raises `FieldErrors`."""
    await tx.run(
        _PUT_TAX, id=uuid7(), name=draft.name, percent=draft.percent, category_id=draft.category_id, country=draft.country,
        region=draft.region,
    )  # fmt: skip


async def switch_tax(tx: Transaction, tax_id: UUID, *, is_active: bool) -> None:
    """End a rate, or put it in force again. Raises `NoSuchTerm`."""
    if not await tx.run(_SWITCH_TAX, id=tax_id, is_active=is_active):
        raise NoSuchTerm


async def list_ways(tx: Transaction) -> list[OfficeWay]:
    """Return the ways of delivery, those on offer first."""
    return await tx.all(_WAYS, into=OfficeWay)


async def add_way(tx: Transaction, code: str, draft: WayDraft, currency: str) -> None:
    """Offer another way of delivery. Raises `CodeTaken`, `FieldErrors`."""
    await tx.run(_ADD_WAY, code=code, currency=currency, **_columns(draft))


async def change_way(tx: Transaction, code: str, draft: WayDraft, currency: str) -> None:
    """Change a way of delivery; its short name stays. Raises `NoSuchTerm`, `FieldErrors`."""
    if not await tx.run(_CHANGE_WAY, code=code, currency=currency, **_columns(draft)):
        raise NoSuchTerm


async def switch_way(tx: Transaction, code: str, *, is_active: bool) -> None:
    """Take a way of delivery off the checkout, or put it back. Raises `NoSuchTerm`."""
    if not await tx.run(_SWITCH_WAY, code=code, is_active=is_active):
        raise NoSuchTerm


def _columns(draft: WayDraft) -> dict[str, object]:
    values = msgspec.structs.asdict(draft)
    return values | {"countries": list(draft.countries)}
