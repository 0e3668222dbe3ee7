"""What the rest of the product sees of promo codes and points."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec

from tradepost.core.errors import Conflict, Invalid


@dataclass(eq=False)
class PromoUnknown(Invalid):
    """There is no promo code “{promo}” here."""

    promo: str
    field: str | None = "promo"


@dataclass(eq=False)
class PromoExpired(Invalid):
    """The promo code “{promo}” is not valid at the moment."""

    promo: str
    field: str | None = "promo"


@dataclass(eq=False)
class PromoUsedUp(Conflict):
    """The promo code “{promo}” has been used as often as it may be."""

    promo: str
    field: str | None = "promo"


@dataclass(eq=False)
class PromoBelowMinimum(Invalid):
    """The promo code “{promo}” needs a basket of at least {minimum}."""

    promo: str
    minimum: str
    field: str | None = "promo"


@dataclass(eq=False)
class PromoNotForThese(Invalid):
    """The promo code “{promo}” is not for anything in this basket."""

    promo: str
    field: str | None = "promo"


@dataclass(eq=False)
class PromoStandsAlone(Invalid):
    """The promo code “{promo}” cannot be combined with another."""

    promo: str
    field: str | None = "promo"


@dataclass(eq=False)
class NotEnoughPoints(Conflict):
    """You have {available} points."""

    available: int
    field: str | None = "points"


class Promo(msgspec.Struct, frozen=True, kw_only=True):
    """A promo code as the rules of pricing need it. `percent` for kind percent, `amount_minor` for kind fixed.

    `category_paths` empty: for everything. `seller_id`: only that seller's goods, and borne by that seller; None: borne by
    the store.
    """

    id: UUID
    code: str
    kind: Literal["percent", "fixed"]
    percent: Decimal | None = None
    amount_minor: int | None = None
    currency: str | None = None
    valid_from: datetime
    valid_to: datetime
    usage_limit: int | None = None
    per_person_limit: int | None = None
    used_count: int = 0
    used_by_me: int = 0
    minimum_minor: int = 0
    category_paths: tuple[str, ...] = ()
    seller_id: UUID | None = None
    stacks: bool = False
    is_active: bool = True
    description: str = ""


class PointsEntry(msgspec.Struct, frozen=True):
    """One change of a person's points."""

    seq: int
    at: datetime
    points: int
    kind: str
    order_id: UUID | None
    note: str
    expires_at: datetime | None


class PointsAccount(msgspec.Struct, frozen=True):
    """A person's points, what they are worth, and the latest entries."""

    points: int
    worth_minor: int
    currency: str
    entries: tuple[PointsEntry, ...]
