"""Putting a listing on offer, within what the store lets people do whom it does not know yet."""

from uuid import UUID

from tradepost.accounts.standing import read_standing
from tradepost.accounts.types import Caller
from tradepost.catalog.limits import OfferLimit, PriceLimit, count_on_offer
from tradepost.catalog.service import publish_listing
from tradepost.core.database import Transaction
from tradepost.core.money import to_minor
from tradepost.flows.store import Store

CONFIRM, VERIFY = "confirm your e-mail address or your telephone number", "show who you are"


async def publish(tx: Transaction, store: Store, caller: Caller, listing_id: UUID) -> None:
    """Show a listing to everybody. Idempotent. Raises `NoSuchListing`, `NothingToSell`, and as `check_limits`."""
    await publish_listing(tx, caller, listing_id)
    await check_limits(tx, store, caller, listing_id)


async def check_limits(tx: Transaction, store: Store, caller: Caller, listing_id: UUID) -> None:
    """See that what is on offer keeps within the preset's limits for people who are not confirmed, or not verified.

    Those who manage the catalogue are not limited. Raises `OfferLimit`, `PriceLimit`.
    """
    limits = store.settings.security
    if caller.can("manage_catalog") or not limits.has_limits:
        return
    seller_id = caller.check_signed_in()
    standing = await read_standing(tx, seller_id)
    found = None if standing.is_verified else await count_on_offer(tx, seller_id, listing_id)
    if found is None:
        return
    most = limits.listings_unverified if standing.is_reachable else limits.listings_unconfirmed
    if most and found.listings > most:
        raise OfferLimit(most, VERIFY if standing.is_reachable else CONFIRM)
    highest = limits.price_unverified
    if highest and found.price_minor > to_minor(highest, store.currency):
        raise PriceLimit(f"{highest} {store.currency}")
