"""Commands of sellers on their listings. Each locks, checks who asks, changes, and records the fact."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from tradepost.accounts.types import Caller
from tradepost.catalog import events, queries
from tradepost.catalog.listing_pages import CategoryTree
from tradepost.catalog.pictures import StoredPicture
from tradepost.catalog.stock import set_stock
from tradepost.catalog.tables import likes, listing_images, listing_kinds, listings, prices, variants, wishlists
from tradepost.catalog.types import (
    EditedMeanwhile,
    ListingDraft,
    NoSuchListing,
    Place,
    SellersOnly,
    SkuTaken,
    VariantDraft,
)
from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import Conflict, Invalid
from tradepost.core.events import record
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.ids import uuid7
from tradepost.core.text import one_line, paragraphs, slugify

LARGEST_GALLERY = 12
_LOCK = (
    select(listings.c.seller_id, listings.c.status, listings.c.version)
    .where(listings.c.id == bindparam("listing_id", type_=PG_UUID))
    .with_for_update()
)
_VARIANTS = select(variants.c.id, variants.c.options).where(
    variants.c.listing_id == bindparam("listing_id", type_=PG_UUID)
)
_KIND_FIELDS = select(listing_kinds.c.fields).where(listing_kinds.c.code == bindparam("kind"))
_END_PRICES = (
    update(prices)
    .values(valid_to=func.now())
    .where(
        prices.c.variant_id == bindparam("variant", type_=PG_UUID),
        prices.c.currency == bindparam("in_currency", type_=prices.c.currency.type),
        prices.c.valid_to.is_(None),
        prices.c.valid_from < func.now(),
    )
)
_DROP_UNSTARTED_PRICES = delete(prices).where(
    prices.c.variant_id == bindparam("variant", type_=PG_UUID),
    prices.c.currency == bindparam("in_currency", type_=prices.c.currency.type),
    prices.c.valid_from >= func.now(),
)
_CURRENT_PRICE = select(prices.c.amount_minor, prices.c.compare_at_minor).where(
    prices.c.variant_id == bindparam("variant", type_=PG_UUID),
    prices.c.currency == bindparam("in_currency", type_=prices.c.currency.type),
    prices.c.valid_to.is_(None),
)
_COUNT_IMAGES = select(func.count()).where(listing_images.c.listing_id == bindparam("listing_id", type_=PG_UUID))

on_violation("uq_variants_sku", SkuTaken)


@dataclass(eq=False)
class GalleryFull(Invalid):
    """A listing can have up to 12 pictures."""

    field: str | None = "pictures"


class NothingToSell(Conflict):
    """A listing needs a price before it can be published."""


async def create_listing(tx: Transaction, caller: Caller, draft: ListingDraft, *, tree: CategoryTree, place: Place | None,
                         currency: str) -> UUID:  # fmt: skip
    """Make a listing as a draft and return its id. Raises `SellersOnly`, `FieldErrors`, `SkuTaken`."""
    seller_id = caller.check_signed_in()
    if not caller.can("sell"):
        raise SellersOnly
    listing_id = uuid7()
    values = await _columns(tx, draft, tree, place)
    await tx.run(insert(listings).values(id=listing_id, seller_id=seller_id, status="draft", **values))
    await _write_variants(tx, caller, listing_id, draft.variants, currency)
    return listing_id


async def update_listing(  # what the form and the store know
    tx: Transaction, caller: Caller, listing_id: UUID, draft: ListingDraft, *, version: int | None, tree: CategoryTree,
    place: Place | None, currency: str,
) -> None:  # fmt: skip
    """Change a listing to what the draft says; variants that are not in it are retired.

    `version` is the one the editor started from. Raises `NoSuchListing`, `EditedMeanwhile`, `FieldErrors`, `SkuTaken`.
    """
    found = await _lock_own(tx, caller, listing_id)
    if version is not None and version != found["version"]:
        raise EditedMeanwhile
    values = await _columns(tx, draft, tree, place)
    await tx.run(update(listings).values(version=listings.c.version + 1, **values).where(listings.c.id == listing_id))
    await _write_variants(tx, caller, listing_id, draft.variants, currency)
    if found["status"] == "active":
        await record(tx, events.ListingChanged(listing_id), subject_id=listing_id)


async def publish_listing(tx: Transaction, caller: Caller, listing_id: UUID) -> None:
    """Show a listing to everybody. Raises `NoSuchListing`, `NothingToSell`. Idempotent."""
    found = await _lock_own(tx, caller, listing_id)
    if found["status"] == "active":
        return
    change = (
        update(listings)
        .values(
            status="active",
            published_at=func.coalesce(listings.c.published_at, func.now()),
            version=listings.c.version + 1,
        )
        .where(listings.c.id == listing_id, listings.c.price_minor.is_not(None))
    )
    if not await tx.run(change):
        raise NothingToSell
    await record(tx, events.ListingPublished(listing_id, found["seller_id"]), subject_id=listing_id)


async def withdraw_listing(tx: Transaction, caller: Caller, listing_id: UUID, *, remove: bool = False) -> None:
    """Hide a listing, or remove it from its seller's list too; orders keep what they need. Idempotent. Raises `NoSuchListing`."""
    await _lock_own(tx, caller, listing_id)
    status = "removed" if remove else "inactive"
    await tx.run(
        update(listings).values(status=status, version=listings.c.version + 1).where(listings.c.id == listing_id)
    )
    await record(tx, events.ListingWithdrawn(listing_id), subject_id=listing_id)


async def add_image(tx: Transaction, caller: Caller, listing_id: UUID, picture: StoredPicture) -> int:
    """Put a stored picture at the end of a listing's gallery; return its position. Raises `NoSuchListing`, `GalleryFull`."""
    await _lock_own(tx, caller, listing_id)
    position: int = await tx.value(_COUNT_IMAGES, listing_id=listing_id)
    if position >= LARGEST_GALLERY:
        raise GalleryFull
    await tx.run(
        insert(listing_images).values(
            listing_id=listing_id, position=position, file_id=picture.id, width=picture.width, height=picture.height,
            bytes=picture.bytes, format="webp",
        )
    )  # fmt: skip
    return position


async def arrange_images(tx: Transaction, caller: Caller, listing_id: UUID, file_ids: list[UUID]) -> None:
    """Keep just these pictures of a listing, in this order. Raises `NoSuchListing`."""
    await _lock_own(tx, caller, listing_id)
    rows = await tx.all(select(listing_images).where(listing_images.c.listing_id == listing_id))
    known = {row["file_id"]: row for row in rows}
    await tx.run(delete(listing_images).where(listing_images.c.listing_id == listing_id))
    kept = [dict(known[f]) for f in dict.fromkeys(file_ids) if f in known]
    for position, row in enumerate(kept):
        await tx.run(insert(listing_images).values(row | {"position": position}))


async def count_view(tx: Transaction, listing_id: UUID) -> None:
    """Add one to a listing's views; concurrent views are all counted."""
    await tx.run(queries.COUNT_VIEW, of=listing_id)


async def _lock_own(tx: Transaction, caller: Caller, listing_id: UUID) -> Any:
    """Lock a listing that the caller may change: its seller, or staff who manage the catalogue. Raises `NoSuchListing`."""
    user_id = caller.check_signed_in()
    found = await tx.maybe(_LOCK, listing_id=listing_id)
    if (
        found is None
        or found["status"] == "removed"
        or not (found["seller_id"] == user_id or caller.can("manage_catalog"))
    ):
        raise NoSuchListing
    return found


async def _columns(tx: Transaction, draft: ListingDraft, tree: CategoryTree, place: Place | None) -> dict[str, Any]:
    fields = await tx.value(_KIND_FIELDS, kind=draft.kind)
    attributes, problems = check_attributes(fields or [], draft.attributes)
    category = tree.by_slug.get(draft.category)
    check_fields({
        **broken_limits(draft), **problems,
        "kind": None if fields is not None else "Choose one of the kinds.",
        "category": None if category else "Choose a category.",
        "place": None if place or not draft.place else "We do not know this place.",
        **_variant_problems(draft.variants),
    })  # fmt: skip
    title = one_line(draft.title)
    return {
        "kind": draft.kind, "feed": draft.feed, "slug": slugify(title), "title": title,
        "description": paragraphs(draft.description), "category_id": category.id if category else None,
        "brand": one_line(draft.brand) if draft.brand else None, "condition": draft.condition or None,
        "location_text": place.label if place else "", "attributes": attributes,
        "location": func.geo_point(place.lat, place.lon) if place and place.lat is not None else None,
    }  # fmt: skip


def check_attributes(fields: list[dict[str, Any]], given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the attributes as their kind's fields type them, and a problem for each that does not fit.

    Text from forms is accepted for numbers and yes/no; what the kind does not know is left out.
    """
    kept: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for field in fields:
        name, value = field["key"], given.get(field["key"])
        if value is None or value == "":
            if field.get("required"):
                problems[f"attributes.{name}"] = "This is needed."
            continue
        typed = _typed(field, value)
        if typed is None:
            problems[f"attributes.{name}"] = _WRONG[field["type"]]
        else:
            kept[name] = typed
    return kept, problems


_WRONG = {"number": "A number, please.", "boolean": "Yes or no, please.", "choice": "Choose one of the list.",
          "text": "At most 500 characters."}  # fmt: skip


def _typed(field: dict[str, Any], value: Any) -> Any:
    match field["type"]:
        case "number":
            try:
                number = Decimal(str(value))
            except ArithmeticError:
                return None
            if not number.is_finite() or abs(number) > 10**12:
                return None
            return int(number) if number == number.to_integral_value() else float(number)
        case "boolean":
            return {"true": True, "on": True, "yes": True, "false": False, "no": False}.get(str(value).lower())
        case "choice":
            return value if value in field["choices"] else None
        case _:
            return one_line(str(value)) if len(str(value)) <= 500 else None


def _variant_problems(drafts: tuple[VariantDraft, ...]) -> dict[str, str]:
    problems: dict[str, str] = {}
    seen: set[tuple[tuple[str, str], ...]] = set()
    for n, v in enumerate(drafts):
        options = _key(v.options)
        if options in seen:
            problems[f"variants.{n}.options"] = "Two variants with the same options."
        seen.add(options)
        if v.sale_step <= 0 or v.sale_step != v.sale_step.quantize(Decimal("0.001")):
            problems[f"variants.{n}.sale_step"] = "A step above 0, with at most three decimals."
        if v.on_hand is not None and (not v.on_hand.is_finite() or not 0 <= v.on_hand < 10**9):
            problems[f"variants.{n}.on_hand"] = "A quantity of 0 or more."
        if v.compare_at_minor is not None and v.compare_at_minor <= v.price_minor:
            problems[f"variants.{n}.compare_at_minor"] = "The old price must be higher than the new one."
    return problems


async def _write_variants(
    tx: Transaction, caller: Caller, listing_id: UUID, drafts: tuple[VariantDraft, ...], currency: str
) -> None:
    """Make and change the variants of a draft, known by id or else by their options.

    Those it leaves out stay for old orders, but are no longer offered.
    """
    rows = await tx.all(_VARIANTS, listing_id=listing_id)
    known, by_options = {r["id"] for r in rows}, {_key(r["options"]): r["id"] for r in rows}
    kept: set[UUID] = set()
    for position, draft in enumerate(drafts):
        variant_id = (
            draft.id if draft.id is not None and draft.id in known else by_options.get(_key(draft.options), uuid7())
        )
        values = {"position": position, "sku": draft.sku or None, "options": draft.options, "unit": draft.unit,
                  "sale_step": draft.sale_step, "is_active": True}  # fmt: skip
        if variant_id in known:
            await tx.run(update(variants).values(values).where(variants.c.id == variant_id))
        else:
            await tx.run(insert(variants).values(id=variant_id, listing_id=listing_id, **values))
        await set_stock(tx, variant_id, draft.on_hand, actor_id=caller.user_id, is_new=variant_id not in known)
        await _set_price(tx, variant_id, draft, currency)
        kept.add(variant_id)
    for gone in known - kept:
        await tx.run(update(variants).values(is_active=False).where(variants.c.id == gone))


def _key(options: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(options.items()))


async def _set_price(tx: Transaction, variant_id: UUID, draft: VariantDraft, currency: str) -> None:
    """End the running price and begin the new one now, where it differs."""
    running = await tx.maybe(_CURRENT_PRICE, variant=variant_id, in_currency=currency)
    if running and tuple(running) == (draft.price_minor, draft.compare_at_minor):
        return
    await tx.run(_END_PRICES, variant=variant_id, in_currency=currency)
    await tx.run(_DROP_UNSTARTED_PRICES, variant=variant_id, in_currency=currency)
    await tx.run(
        insert(prices).values(
            variant_id=variant_id,
            currency=currency,
            amount_minor=draft.price_minor,
            compare_at_minor=draft.compare_at_minor,
        )
    )


_SAVE = (
    insert_or_skip(wishlists)
    .values(user_id=bindparam("user_id", type_=PG_UUID), listing_id=bindparam("of", type_=PG_UUID))
    .on_conflict_do_nothing()
)
_UNSAVE = delete(wishlists).where(
    wishlists.c.user_id == bindparam("user_id", type_=PG_UUID), wishlists.c.listing_id == bindparam("of", type_=PG_UUID)
)
_LIKE = (
    insert_or_skip(likes)
    .values(user_id=bindparam("user_id", type_=PG_UUID), listing_id=bindparam("of", type_=PG_UUID))
    .on_conflict_do_nothing()
)
_UNLIKE = delete(likes).where(
    likes.c.user_id == bindparam("user_id", type_=PG_UUID), likes.c.listing_id == bindparam("of", type_=PG_UUID)
)

on_violation("fk_wishlists_listing_id", NoSuchListing)


async def toggle_saved(tx: Transaction, caller: Caller, listing_id: UUID) -> bool:
    """Save a listing to the person's list, or take it off; it counts as a like. Return whether it is saved now.

    Raises `SignInFirst`, `NoSuchListing`.
    """
    user_id = caller.check_signed_in()
    if await tx.run(_UNSAVE, user_id=user_id, of=listing_id):
        await tx.run(_UNLIKE, user_id=user_id, of=listing_id)
        return False
    await tx.run(_SAVE, user_id=user_id, of=listing_id)
    await tx.run(_LIKE, user_id=user_id, of=listing_id)
    return True
