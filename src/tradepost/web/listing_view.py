"""What a listing's page shows beside the frame: what it says to all, and what it says to whoever looks."""

from typing import Any
from uuid import UUID

import msgspec

from tradepost.accounts.types import Caller
from tradepost.catalog.listing_pages import is_saved, saved_ids
from tradepost.catalog.types import Listing, Variant
from tradepost.core.clock import now
from tradepost.core.money import percent_of, to_major
from tradepost.flows.product_page import Facts
from tradepost.flows.review_listing import review_standing
from tradepost.flows.store import Store
from tradepost.web.curves import draw_curve
from tradepost.web.selling import floor_of


def shown_to_all(store: Store, facts: Facts, variant: str | None) -> dict[str, Any]:
    """Return what everybody sees, with the variant of this id chosen where it is one."""
    listing, chosen = facts.listing, _chosen(facts.listing, variant)
    return {
        "listing": listing, "variant": chosen, "variants": listing.offered, "attributes": attribute_pairs(store, listing),
        "breadcrumbs": [(name, f"/c/{slug}") for name, slug in facts.trail], "reviews": facts.reviews, "rating_counts": facts.counts,
        "related": facts.related, "seller_share": _seller_share(store, listing, chosen), "curve": draw_curve(facts.curve, now()), "elsewhere": facts.elsewhere,
        "json_ld": json_ld(store, listing, [name for name, _ in facts.trail]),
    }  # fmt: skip


async def listing_context(store: Store, caller: Caller, facts: Facts, variant: str | None) -> dict[str, Any]:
    """Return what somebody sees: their hearts, whether they may review, and a seller their own least price."""
    liked = await liked_ids(store, caller, facts.listing.id)
    standing = await review_standing(store, caller, facts.listing.id)
    own = msgspec.structs.replace(facts.listing, is_liked=facts.listing.id in liked)
    return {
        **shown_to_all(store, msgspec.structs.replace(facts, listing=own), variant), "liked_ids": liked,
        "is_owner": caller.user_id is not None and caller.user_id == own.seller_id, "may_review": standing.may_review,
        "form": {}, "errors": {}, "floor": await floor_of(store, caller, own),
    }  # fmt: skip


async def liked_ids(store: Store, caller: Caller, listing_id: UUID | None = None) -> frozenset[UUID]:
    """Return which listings the person has saved, to draw their hearts full; of so many the newest, and this one for certain."""
    if caller.user_id is None:
        return frozenset()
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        found = await saved_ids(tx, caller.user_id)
        if listing_id is None or listing_id in found or not await is_saved(tx, caller.user_id, listing_id):
            return found
    return found | {listing_id}


def _chosen(listing: Listing, wanted: str | None) -> Variant | None:
    offered = listing.offered
    by_id = {str(v.id): v for v in offered}
    return by_id.get(wanted or "") or next((v for v in offered if v.in_stock), offered[0] if offered else None)


def _seller_share(store: Store, listing: Listing, variant: Variant | None) -> tuple[int, int] | None:
    """What of the price reaches the seller, where the store takes a commission and is a market of many."""
    commission = store.settings.payments.commission
    if not commission or listing.seller_id is None or variant is None or variant.price_minor is None:
        return None
    return int(100 - commission), variant.price_minor - percent_of(variant.price_minor, commission)


def attribute_pairs(store: Store, listing: Listing) -> list[tuple[str, str]]:
    """Return a listing's attributes as label and text, in the order of its kind's fields; unknown ones follow."""
    fields = {f.key: f for kind in store.settings.kinds if kind.code == listing.kind for f in kind.fields}
    known = [
        (fields[k].label, _attribute_text(listing.attributes[k], fields[k].unit))
        for k in fields
        if k in listing.attributes
    ]
    other = [
        (k.replace("_", " ").capitalize(), _attribute_text(v, ""))
        for k, v in listing.attributes.items()
        if k not in fields
    ]
    start = [("Brand", listing.brand)] if listing.brand else []
    return [*start, *known, *other]


def _attribute_text(value: Any, unit: str) -> str:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    text = (
        ", ".join(map(str, value))
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
    return f"{text} {unit}".strip()


def json_ld(store: Store, listing: Listing, trail: list[str]) -> str:
    """Return the listing in schema.org's words, safe inside a script element."""
    offers = [
        {"@type": "Offer", "priceCurrency": v.currency, "price": str(to_major(v.price_minor, v.currency)), "sku": v.sku,
         "availability": f"https://schema.org/{'InStock' if v.in_stock else 'OutOfStock'}", "url": store.base_url + listing.path}
        for v in listing.offered if v.price_minor is not None and v.currency is not None
    ]  # fmt: skip
    data: dict[str, Any] = {
        "@context": "https://schema.org", "@type": "Service" if listing.kind == "service" else "Product", "name": listing.title,
        "description": listing.description[:500], "offers": offers, "category": " > ".join(trail),
        "image": [f"{store.base_url}/media/{i.file_id}/960.webp" for i in listing.images if i.file_id],
    }  # fmt: skip
    if listing.brand:
        data["brand"] = {"@type": "Brand", "name": listing.brand}
    if listing.rating is not None:
        data["aggregateRating"] = {
            "@type": "AggregateRating", "ratingValue": round(listing.rating, 2), "reviewCount": listing.rating_count
        }  # fmt: skip
    return msgspec.json.encode(data).decode().replace("<", "\\u003c")
