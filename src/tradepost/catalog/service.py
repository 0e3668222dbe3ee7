"""Commands of sellers on their listings. Each locks, checks who asks, changes, and records the fact."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from tradepost.accounts.types import PROFILE_SCOPE, Caller
from tradepost.catalog import events, queries
from tradepost.catalog.listing_pages import CategoryTree
from tradepost.catalog.pictures import StoredPicture
from tradepost.catalog.tables import likes, listing_images, listing_kinds, listings, variants, wishlists
from tradepost.catalog.types import (
    EditedMeanwhile,
    ListingDraft,
    NoSuchListing,
    Place,
    SellersOnly,
    VariantDraft,
    product_key,
)
from tradepost.catalog.variants import NewVariant, add_variants, change_amounts, write_variants
from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import Conflict, FieldErrors, Invalid
from tradepost.core.events import record
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.ids import uuid7
from tradepost.core.money import plain_number
from tradepost.core.text import one_line, paragraphs, slugify

LARGEST_GALLERY = 12
_OWNER = select(listings.c.seller_id, listings.c.status, listings.c.version).where(
    listings.c.id == bindparam("listing_id", type_=PG_UUID)
)
_LOCK = _OWNER.with_for_update()
_KIND_FIELDS = select(listing_kinds.c.fields).where(listing_kinds.c.code == bindparam("kind"))
_COUNT_IMAGES = select(func.count()).where(listing_images.c.listing_id == bindparam("listing_id", type_=PG_UUID))

on_violation("fk_listings_feed", lambda: FieldErrors({"feed": "Choose one of the feeds."}))
on_violation("fk_listings_condition", lambda: FieldErrors({"condition": "Choose one of the conditions."}))


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
    ids = sorted(uuid7() for _ in draft.variants)
    fresh = [
        NewVariant(key, listing_id, n, variant)
        for n, (key, variant) in enumerate(zip(ids, draft.variants, strict=True))
    ]
    await add_variants(tx, fresh, currency, actor_id=seller_id)
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
    await write_variants(tx, caller, listing_id, draft.variants, currency)
    await _note_change(tx, listing_id, found)


async def set_configuration(
    tx: Transaction, caller: Caller, listing_id: UUID, schema: dict[str, Any] | None, *, version: int | None
) -> None:
    """Have a listing made to order by this schema, or as it is (None); `version` is the one the editor started from.

    Raises `NoSuchListing`, `SellersOnly`, `EditedMeanwhile`.
    """
    found = await _lock_own(tx, caller, listing_id)
    if version is not None and version != found["version"]:
        raise EditedMeanwhile
    await tx.run(
        update(listings)
        .values(configuration_schema=schema, is_customizable=schema is not None, version=listings.c.version + 1)
        .where(listings.c.id == listing_id)
    )
    await _note_change(tx, listing_id, found)


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
    found = await _lock_own(tx, caller, listing_id)
    status = "removed" if remove else "inactive"
    if found["status"] == status:
        return
    await tx.run(
        update(listings).values(status=status, version=listings.c.version + 1).where(listings.c.id == listing_id)
    )
    await record(tx, events.ListingWithdrawn(listing_id), subject_id=listing_id)


async def add_image(tx: Transaction, caller: Caller, listing_id: UUID, picture: StoredPicture) -> int:
    """Put a stored picture at the end of a listing's gallery; return its position. Raises `NoSuchListing`, `GalleryFull`."""
    found = await _lock_own(tx, caller, listing_id)
    position: int = await tx.value(_COUNT_IMAGES, listing_id=listing_id)
    if position >= LARGEST_GALLERY:
        raise GalleryFull
    await tx.run(
        insert(listing_images).values(
            listing_id=listing_id, position=position, file_id=picture.id, width=picture.width, height=picture.height,
            bytes=picture.bytes, format=picture.media_type.removeprefix("image/"),
        )
    )  # fmt: skip
    await _note_change(tx, listing_id, found)
    return position


async def arrange_images(tx: Transaction, caller: Caller, listing_id: UUID, file_ids: list[UUID]) -> None:
    """Keep just these stored pictures of a listing, in this order; outside ones follow them. Raises `NoSuchListing`."""
    found = await _lock_own(tx, caller, listing_id)
    rows = await tx.all(select(listing_images).where(listing_images.c.listing_id == listing_id))
    known = {row["file_id"]: row for row in rows}
    await tx.run(delete(listing_images).where(listing_images.c.listing_id == listing_id))
    kept = [dict(known[f]) for f in dict.fromkeys(file_ids) if f in known]
    kept += [dict(row) for row in rows if row["file_id"] is None]
    for position, row in enumerate(kept):
        await tx.run(insert(listing_images).values(row | {"position": position}))
    await _note_change(tx, listing_id, found)


async def access_own_listing(tx: Transaction, caller: Caller, listing_id: UUID) -> None:
    """Check that the caller may change a listing, without locking it. Raises `NoSuchListing`, `SellersOnly`."""
    caller.check_signed_in()
    _check_may_change(await tx.maybe(_OWNER, listing_id=listing_id), caller)


async def count_view(tx: Transaction, listing_id: UUID) -> None:
    """Add one to a listing's views; concurrent views are all counted."""
    await tx.run(queries.COUNT_VIEW, of=listing_id)


async def _lock_own(tx: Transaction, caller: Caller, listing_id: UUID) -> Any:
    """Lock a listing that the caller may change; what is kept of it is forgotten with the commit.

    Raises `NoSuchListing`, `SellersOnly`.
    """
    caller.check_signed_in()
    found = await tx.maybe(_LOCK, listing_id=listing_id)
    _check_may_change(found, caller)
    tx.forget(product_key(listing_id))
    return found


def _check_may_change(found: Any, caller: Caller) -> None:
    """A listing is changed by its seller, who must still be one, or by staff who manage the catalogue."""
    manages = caller.can("manage_catalog")
    if found is None or found["status"] == "removed" or not (manages or found["seller_id"] == caller.user_id):
        raise NoSuchListing
    if not manages and not caller.can("sell"):
        raise SellersOnly


async def _note_change(tx: Transaction, listing_id: UUID, found: Any) -> None:
    """Record that a listing changed, if it is one that everybody sees."""
    if found["status"] == "active":
        await record(tx, events.ListingChanged(listing_id), subject_id=listing_id)


async def _columns(tx: Transaction, draft: ListingDraft, tree: CategoryTree, place: Place | None) -> dict[str, Any]:
    return columns_of(draft, await tx.value(_KIND_FIELDS, kind=draft.kind), tree, place)


def columns_of(
    draft: ListingDraft, fields: list[dict[str, Any]] | None, tree: CategoryTree, place: Place | None
) -> dict[str, Any]:
    """Return what a draft writes into the row of its listing; `fields` are its kind's, None where there is no such kind. Raises `FieldErrors`."""
    category = tree.by_slug.get(draft.category)
    fitting = [f for f in fields or [] if category is None or fits_category(f.get("categories"), category.path)]
    attributes, problems = check_attributes(fitting, draft.attributes)
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


def fits_category(categories: Sequence[str] | None, path: str) -> bool:
    """Whether a field that only listings of some categories have belongs to one in the category of this path."""
    return not categories or not set(categories).isdisjoint(path.split("/"))


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
            if not number.is_finite() or number.adjusted() >= 12:  # not abs(): that overflows for the largest exponents
                return None
            return plain_number(number)
        case "boolean":
            return {"true": True, "on": True, "yes": True, "false": False, "no": False}.get(str(value).lower())
        case "choice":
            return value if value in field["choices"] else None
        case _:
            return one_line(str(value)) if len(str(value)) <= 500 else None


def _variant_problems(drafts: tuple[VariantDraft, ...]) -> dict[str, str]:
    problems: dict[str, str] = {}
    seen: set[tuple[tuple[str, str], ...]] = set()
    named = [v.id for v in drafts if v.id is not None]
    for n, v in enumerate(drafts):
        if v.id is not None and named.count(v.id) > 1:
            problems[f"variants.{n}.id"] = "Two rows for the same variant."
        options = tuple(sorted(v.options.items()))
        if not all(name.strip() and value.strip() for name, value in options):
            problems[f"variants.{n}.options"] = "Every option needs a name and a value: Size, M."
        if options in seen:
            problems[f"variants.{n}.options"] = "Two rows are the same: give each its own size, colour or other option."
        seen.add(options)
        if not _is_quantity(v.sale_step) or v.sale_step == 0:
            problems[f"variants.{n}.sale_step"] = "A step above 0, with at most three decimals."
        if v.on_hand is not None and not _is_quantity(v.on_hand):
            problems[f"variants.{n}.on_hand"] = "A quantity of 0 or more, with at most three decimals."
        if isinstance(v.on_hand_before, Decimal) and not _is_quantity(v.on_hand_before):
            problems[f"variants.{n}.on_hand_before"] = "A quantity of 0 or more, with at most three decimals."
        if v.compare_at_minor is not None and v.compare_at_minor <= v.price_minor:
            problems[f"variants.{n}.compare_at_minor"] = "The old price must be higher than the new one."
    return problems


def _is_quantity(number: Decimal) -> bool:
    """Whether the column holds this number as it is: not negative, twelve digits, three of them after the point."""
    return number.is_finite() and 0 <= number < 10**9 and number % Decimal("0.001") == 0


_OF_VARIANT = select(variants.c.listing_id).where(variants.c.id == bindparam("variant", type_=PG_UUID))


async def change_price(tx: Transaction, caller: Caller, variant_id: UUID, price_minor: int, currency: str) -> None:
    """Give a variant another price from now on; a price to compare with stays where it is still higher.

    Raises `NoSuchListing`.
    """
    row = await tx.maybe(_OF_VARIANT, variant=variant_id)
    if row is None:
        raise NoSuchListing
    found = await _lock_own(tx, caller, row["listing_id"])
    await change_amounts(tx, {variant_id: price_minor}, currency)
    await _note_change(tx, row["listing_id"], found)


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

    Raises `SignInFirst`, `NoSuchListing`, and `NotAllowed` for a token without the scope `profile`.
    """
    user_id = caller.check_scope(PROFILE_SCOPE)
    if await tx.run(_UNSAVE, user_id=user_id, of=listing_id):
        await tx.run(_UNLIKE, user_id=user_id, of=listing_id)
        return False
    await tx.run(_SAVE, user_id=user_id, of=listing_id)
    await tx.run(_LIKE, user_id=user_id, of=listing_id)
    return True
