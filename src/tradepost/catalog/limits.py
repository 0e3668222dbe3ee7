"""How much somebody has on offer, for limits that depend on how well the store knows them. What the limits are is the flow's."""

from dataclasses import dataclass
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, func, literal_column, select
from sqlalchemy.dialects import postgresql

from tradepost.catalog.tables import listings
from tradepost.core.database import Transaction
from tradepost.core.errors import Refused

_SELLER = bindparam("seller_id", type_=postgresql.UUID)
_ACTIVE = listings.c.status == literal_column("'active'")
_OFFERED = select(
    select(func.count()).where(listings.c.seller_id == _SELLER, _ACTIVE).scalar_subquery().label("listings"),
    func.coalesce(listings.c.price_minor, 0).label("price_minor"),
).where(listings.c.id == bindparam("listing_id", type_=postgresql.UUID), listings.c.seller_id == _SELLER, _ACTIVE)


@dataclass(eq=False)
class OfferLimit(Refused):
    """You have {most} listings on offer, as many as we let people have whom we do not know yet. To offer more, please {how}."""

    most: int
    how: str


@dataclass(eq=False)
class PriceLimit(Refused):
    """To offer something for more than {most}, please show who you are first."""

    most: str


class OnOffer(msgspec.Struct, frozen=True):
    """How many listings a seller has on offer, and the lowest price of one of them."""

    listings: int
    price_minor: int


async def count_on_offer(tx: Transaction, seller_id: UUID, listing_id: UUID) -> OnOffer | None:
    """Return what a seller has on offer, and this listing's price; None where it is not on offer, or somebody else's."""
    return await tx.maybe(_OFFERED, into=OnOffer, seller_id=seller_id, listing_id=listing_id)
