"""What the rest of the product sees of the kitchen."""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.core.errors import Conflict, Invalid, NotFound

Reason = Literal["delivery", "baked", "waste", "stock_take", "correction"]
REASONS: dict[Reason, str] = {
    "delivery": "Delivered", "baked": "Baked", "waste": "Thrown away", "stock_take": "Counted", "correction": "Corrected",
}  # fmt: skip


class NoSuchIngredient(NotFound):
    """There is no such ingredient."""


class IngredientTwice(Conflict):
    """There is an ingredient of this name already."""


@dataclass(eq=False)
class BadAmount(Invalid):
    """Amounts are more than 0, with up to three digits after the point."""

    field: str | None = "quantity"


class IngredientDraft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An ingredient as somebody writes it down. `pack`: how much comes in one when it is ordered."""

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    unit: Annotated[str, Meta(min_length=1, max_length=20)]
    reorder_at: Decimal = Decimal(0)
    pack: Decimal = Decimal(1)
    supplier: Annotated[str, Meta(max_length=120)] = ""


class Ingredient(msgspec.Struct, frozen=True):
    """An ingredient with what is there of it."""

    id: UUID
    name: str
    unit: str
    on_hand: Decimal
    reorder_at: Decimal
    pack: Decimal
    supplier: str
    is_active: bool
    used_in: int

    @property
    def is_low(self) -> bool:
        """Whether it is time to order it."""
        return self.is_active and self.on_hand <= self.reorder_at and self.reorder_at > 0

    def packs_for(self, needed: Decimal) -> int:
        """Return how many packs bring the stock back over its mark once so much is used."""
        missing = needed + self.reorder_at - self.on_hand
        return int((missing / self.pack).to_integral_value(ROUND_CEILING)) if missing > 0 else 0


class RecipeLine(msgspec.Struct, frozen=True):
    """An ingredient of a listing."""

    listing_id: UUID
    ingredient_id: UUID
    name: str
    unit: str
    quantity: Decimal


class Movement(msgspec.Struct, frozen=True):
    """A change of an ingredient's stock."""

    at: datetime
    quantity: Decimal
    reason: Reason
    note: str
    actor_name: str

    @property
    def said(self) -> str:
        """The reason in words."""
        return REASONS[self.reason]
