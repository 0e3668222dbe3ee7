"""Every read of offers. `access_offer` is the door to one; the floor price has none but its seller's."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.core.database import Transaction
from tradepost.core.pages import Page, newest_first, page_of, page_size, to_cursor
from tradepost.offers.types import Goods, NoSuchOffer, Offer

COLUMNS = ", ".join(f"o.{name}" for name in Offer.__struct_fields__)
_OFFER = f"SELECT {COLUMNS} FROM offers o"  # our own text
BY_ID = text(f"{_OFFER} WHERE o.id = :offer_id")
LOCKED = text(f"{_OFFER} WHERE o.id = :offer_id FOR NO KEY UPDATE")
# In the order of their ids: two who accept on one listing meet at the first of them.
LOCKED_RIVALS = text(f"""{_OFFER} WHERE o.listing_id = :listing_id AND o.variant_id = :variant_id AND o.status = 'pending'
    ORDER BY o.id FOR NO KEY UPDATE""")
BY_IDS = text(f"{_OFFER} WHERE o.id = ANY (CAST(:ids AS uuid[])) AND (o.buyer_id = :me OR o.seller_id = :me)")
MINE = text(f"""{_OFFER} WHERE (o.buyer_id = :me OR o.seller_id = :me)
    AND (o.created_at, o.id) < (CAST(:before_at AS timestamptz), CAST(:before_id AS uuid))
    ORDER BY o.created_at DESC, o.id DESC LIMIT :limit""")
OPEN_OF = text(f"{_OFFER} WHERE o.listing_id = :listing_id AND o.buyer_id = :me AND o.status = 'pending'")
COUNT_TODAY = text("""
    SELECT count(*) FROM offers WHERE listing_id = :listing_id AND buyer_id = :me AND by = 'buyer' AND created_at > now() - interval '1 day'
""")
_GOODS = """
    SELECT l.id AS listing_id, v.id AS variant_id, l.seller_id, l.title, l.feed, l.status, p.amount_minor AS price_minor, p.currency,
           v.sale_step, v.on_hand - v.reserved AS left
    FROM variants v JOIN listings l ON l.id = v.listing_id
    LEFT JOIN LATERAL (SELECT amount_minor, currency FROM prices WHERE variant_id = v.id AND currency = :currency
                       AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now()) LIMIT 1) p ON true
    WHERE l.id = :listing_id AND (v.id = :variant_id OR CAST(:variant_id AS uuid) IS NULL) AND v.is_active
    ORDER BY v.position, v.id LIMIT 1
"""
GOODS = text(_GOODS)
LOCKED_GOODS = text(f"{_GOODS} FOR NO KEY UPDATE OF v")
DUE = text("""
    SELECT id FROM offers WHERE (status = 'pending' AND expires_at <= now())
       OR (status = 'accepted' AND order_id IS NULL AND held_until <= now()) ORDER BY id LIMIT :limit
""")
STALE = text("""
    SELECT o.id FROM offers o JOIN listings l ON l.id = o.listing_id
    WHERE o.status = 'pending' AND l.status <> 'active' ORDER BY o.id LIMIT :limit
""")
FLOOR = text("SELECT floor_minor FROM offer_floors WHERE listing_id = :listing_id AND seller_id = :me")
# A cart line as the cart itself reads it, for the one thing an accepted offer is about, at its price. The item is held by the
# offer, so what is left for its buyer includes it.
CHECKOUT_ROW = text("""
    SELECT NULL::uuid AS cart_id, 0 AS version, o.currency, '{}'::text[] AS promo_codes, NULL::uuid AS slot_id,
           (SELECT value FROM store_facts WHERE name = 'rules_version') AS rules_version, 1 AS line_no, v.id AS variant_id,
           o.quantity, o.amount_minor AS price_when_added, '{}'::jsonb AS configuration, v.options, v.sku, v.unit,
           un.short AS unit_short, v.sale_step, o.quantity AS available, false AS can_backorder, v.expected_on,
           true AS is_active, l.id AS listing_id, l.slug, l.title, l.kind, l.category_id, l.image_id, 'active' AS status,
           l.seller_id, c.path AS category_path, CAST(u.username AS text) AS seller_username,
           coalesce(u.business_name, u.display_name) AS seller_name, o.amount_minor, NULL::bigint AS compare_at_minor,
           NULL::jsonb AS configuration_schema
    FROM offers o JOIN variants v ON v.id = o.variant_id JOIN units un ON un.code = v.unit JOIN listings l ON l.id = o.listing_id
    JOIN categories c ON c.id = l.category_id JOIN users u ON u.id = l.seller_id
    WHERE o.id = :offer_id AND o.buyer_id = :me AND o.status = 'accepted' AND o.order_id IS NULL AND o.held_until > now()
""")


async def access_offer(tx: Transaction, caller: Caller, offer_id: UUID) -> Offer:
    """Return an offer of which the caller is one side. Raises `NoSuchOffer` to everybody else."""
    me = caller.check_signed_in()
    found = await tx.maybe(BY_ID, into=Offer, offer_id=offer_id)
    if found is None or found.side_of(me) is None:
        raise NoSuchOffer
    return found


async def offers_by_id(tx: Transaction, caller: Caller, ids: Sequence[UUID]) -> dict[UUID, Offer]:
    """Return those of these offers that concern the caller, by id."""
    if not ids:
        return {}
    rows = await tx.all(BY_IDS, into=Offer, ids=list(ids), me=caller.check_signed_in())
    return {row.id: row for row in rows}


async def list_offers(tx: Transaction, caller: Caller, *, after: str | None = None, limit: int = 24) -> Page[Offer]:
    """Return the offers the caller made or got, the latest first. Raises `NoSuchPage`."""
    size = page_size(limit)
    at, key = newest_first(after)
    rows = await tx.all(MINE, into=Offer, me=caller.check_signed_in(), before_at=at, before_id=key, limit=size + 1)
    return page_of(rows, size, lambda last: to_cursor(last.created_at, last.id))


async def find_goods(tx: Transaction, listing_id: UUID, variant_id: UUID | None, currency: str) -> Goods | None:
    """Return what an offer would be about, or None where nothing of that is for sale."""
    return await tx.maybe(GOODS, into=Goods, listing_id=listing_id, variant_id=variant_id, currency=currency)


async def own_floor(tx: Transaction, caller: Caller, listing_id: UUID) -> int | None:
    """Return the least the caller would take for a listing of their own, or None."""
    found: int | None = await tx.value(FLOOR, listing_id=listing_id, me=caller.check_signed_in())
    return found
