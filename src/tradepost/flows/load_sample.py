"""Load a preset's sample people, places, pictures, listings and reviews into a store that has none.

Promises that it happens once (a second call does nothing) and whole or not at all. Runs as the owner.
"""

import asyncio
import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import Double, bindparam, func, insert, select, update

from tradepost.accounts.passwords import hash_password
from tradepost.accounts.tables import user_roles, users
from tradepost.catalog.pictures import add_trusted_picture
from tradepost.catalog.tables import (
    categories,
    listing_images,
    listing_stats,
    listings,
    places,
    price_history,
    prices,
    sources,
    stock_movements,
    variants,
)
from tradepost.core import clock
from tradepost.core.crypto import Keyring
from tradepost.core.database import SYSTEM, Database, Transaction
from tradepost.core.files import FileStore
from tradepost.core.ids import uuid7
from tradepost.core.money import to_minor
from tradepost.core.tables import store_facts
from tradepost.core.text import slugify
from tradepost.flows.install_store import Progress, silent
from tradepost.flows.preset import StoreSettings
from tradepost.flows.sample_orders import load_orders
from tradepost.flows.sample_talk import Names, load_shows, load_talks
from tradepost.reviews.tables import reviews
from tradepost.search.counting import count_terms

T = TypeVar("T")
_POINT = func.geo_point(bindparam("lat", type_=Double), bindparam("lon", type_=Double))


class SamplePerson(msgspec.Struct, frozen=True):
    """A line of people.jsonl."""

    username: str
    email: str
    first_name: str
    last_name: str
    display_name: str
    place: str
    roles: tuple[str, ...]
    bio: str = ""
    business_name: str | None = None
    service_type: str | None = None


class SampleVariant(msgspec.Struct, frozen=True):
    """A variant in listings.jsonl; amounts in major units."""

    sku: str | None
    options: dict[str, str]
    unit: str
    price: str
    sale_step: str = "1"
    on_hand: str | None = None
    compare_at: str | None = None


class SampleListing(msgspec.Struct, frozen=True):
    """A line of listings.jsonl."""

    key: str
    kind: str
    feed: str
    title: str
    description: str
    category: str
    place: str
    attributes: dict[str, Any]
    images: tuple[str, ...]
    published_days_ago: float
    variants: tuple[SampleVariant, ...]
    seller: str | None = None
    source: str | None = None
    external_id: str | None = None
    outside_url: str | None = None
    outside_seller: dict[str, Any] | None = None
    brand: str | None = None
    condition: str | None = None
    is_customizable: bool = False
    configuration_schema: dict[str, Any] | None = None
    views: int = 0
    likes: int = 0


class SampleReview(msgspec.Struct, frozen=True):
    """A line of reviews.jsonl."""

    listing: str
    by: str
    rating: int
    comment: str
    days_ago: float
    reply: str | None = None


class SamplePrice(msgspec.Struct, frozen=True):
    """A line of price_history.jsonl."""

    listing: str
    days_ago: float
    price: str | None
    availability: str = "available"


@dataclass
class _Known:
    """Ids by the names that the files use."""

    now: datetime
    people: dict[str, UUID]
    categories: dict[str, UUID]
    sources: dict[str, UUID]
    places: dict[str, tuple[str, float, float]]
    pictures: dict[str, tuple[UUID, int, int, int]]
    listings: dict[str, UUID]


_SAMPLE = select(store_facts.c.value).where(store_facts.c.name == "sample")


async def load_sample(
    db: Database, files: FileStore, folder: Path, settings: StoreSettings, progress: Progress = silent,
    keys: Keyring | None = None,
) -> bool:  # fmt: skip
    """Load the sample of the preset in `folder`; return whether there was anything to do. Orders need the `keys`: addresses are sealed."""
    async with db.transaction(actor=SYSTEM) as tx:
        await tx.value(select(func.pg_advisory_xact_lock(0x73616D70)))
        if await tx.value(_SAMPLE):
            return False
        sample = folder / "sample"
        known = _Known(clock.now(), {}, {}, {}, {}, {}, {})
        known.categories = {r["slug"]: r["id"] for r in await tx.all(select(categories.c.slug, categories.c.id))}
        known.sources = {r["code"]: r["id"] for r in await tx.all(select(sources.c.code, sources.c.id))}
        await _places(tx, sample, known)
        await _people(tx, sample, settings, known)
        await _pictures(tx, files, sample, known, progress)
        await _listings(tx, sample, settings, known, progress)
        await _reviews(tx, sample, known)
        await _price_history(tx, sample, settings, known)
        names = Names(known.now, known.people, known.listings, known.categories, settings.store.currency)
        await load_shows(tx, sample / "shows.jsonl", names)
        await load_talks(tx, sample / "talks.jsonl", names)
        if keys is not None:
            await load_orders(tx, sample, keys, settings.store.currency)
        await tx.run(insert(store_facts).values(name="sample", value="loaded"))
    await count_terms(db)
    return True


def _rows(path: Path, into: type[T]) -> Iterator[T]:
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            if line.strip():
                yield msgspec.json.decode(line, type=into)


async def _places(tx: Transaction, sample: Path, known: _Known) -> None:
    with (sample / "places.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        label = row["name"] if row["region"] in {"", row["name"]} else f"{row['name']}, {row['region']}"
        known.places.setdefault(row["name"], (label, float(row["lat"]), float(row["lon"])))
    change = insert(places).values(
        country=bindparam("country"), region=bindparam("region"), district=bindparam("district"), name=bindparam("name"),
        population=bindparam("population"), location=_POINT,
    )  # fmt: skip
    await tx.run_many(change, [
        {"country": r["country"], "region": r["region"], "district": r["district"], "name": r["name"],
         "population": int(r["population"] or 0), "lat": float(r["lat"]), "lon": float(r["lon"])} for r in rows
    ])  # fmt: skip


async def _people(tx: Transaction, sample: Path, settings: StoreSettings, known: _Known) -> None:
    """All of them with the same password, hashed once: they are introduced in `demo`, not in production."""
    people = list(_rows(sample / "people.jsonl", SamplePerson))
    password_hash = await hash_password(settings.sample.password)
    change = insert(users).values(
        {n: bindparam(n) for n in ("id", "username", "email", "email_verified_at", "password_hash", "first_name", "last_name",
                                   "display_name", "bio", "business_name", "service_type", "location_text", "created_at")}
        | {"location": _POINT}
    )  # fmt: skip
    rows: list[dict[str, Any]] = []
    for person in people:
        known.people[person.username] = uuid7()
        label, lat, lon = known.places[person.place]
        rows.append({
            "id": known.people[person.username], "username": person.username, "email": person.email,
            "email_verified_at": known.now, "password_hash": password_hash, "first_name": person.first_name,
            "last_name": person.last_name, "display_name": person.display_name, "bio": person.bio,
            "business_name": person.business_name, "service_type": person.service_type, "location_text": label,
            "created_at": known.now - timedelta(days=120 + 17 * len(rows) % 900), "lat": lat, "lon": lon,
        })  # fmt: skip
    await tx.run_many(change, rows)
    roles = [{"user_id": known.people[p.username], "role": role} for p in people for role in p.roles]
    await tx.run_many(insert(user_roles).values(user_id=bindparam("user_id"), role=bindparam("role")), roles)


async def _pictures(tx: Transaction, files: FileStore, sample: Path, known: _Known, progress: Progress) -> None:
    paths = sorted((sample / "images").glob("*.webp"))
    for n, path in enumerate(paths, 1):
        added = await add_trusted_picture(tx, files, await asyncio.to_thread(path.read_bytes))
        known.pictures[path.name] = added.id, added.width, added.height, added.bytes
        progress("pictures", n, len(paths))


async def _listings(tx: Transaction, sample: Path, settings: StoreSettings, known: _Known, progress: Progress) -> None:
    rows = list(_rows(sample / "listings.jsonl", SampleListing))
    for n, row in enumerate(rows, 1):
        await _listing(tx, row, settings.store.currency, known)
        progress("listings", n, len(rows))


_LISTING_COLUMNS = (
    "id", "seller_id", "source_id", "external_id", "kind", "feed", "slug", "title", "description", "category_id", "brand",
    "condition", "status", "location_text", "attributes", "is_customizable", "configuration_schema", "outside_url",
    "outside_seller", "published_at", "listed_at", "popularity",
)  # fmt: skip
_ADD_LISTING = insert(listings).values(
    {n: bindparam(n, type_=listings.c[n].type) for n in _LISTING_COLUMNS} | {"location": _POINT}
)
_ADD_VARIANT = insert(variants).values(
    {n: bindparam(n, type_=variants.c[n].type)
     for n in ("id", "listing_id", "position", "sku", "options", "unit", "sale_step", "on_hand")}
)  # fmt: skip
_ADD_PRICE = insert(prices).values(
    {n: bindparam(n, type_=prices.c[n].type)
     for n in ("variant_id", "currency", "amount_minor", "compare_at_minor", "valid_from")}
)  # fmt: skip
_ADD_MOVEMENT = insert(stock_movements).values(
    variant_id=bindparam("variant_id"),
    quantity=bindparam("quantity", type_=stock_movements.c.quantity.type),
    reason="initial",
)
_ADD_IMAGE = insert(listing_images).values(
    {n: bindparam(n, type_=listing_images.c[n].type)
     for n in ("listing_id", "position", "file_id", "width", "height", "bytes", "format", "alt")}
)  # fmt: skip
_SET_STATS = (
    update(listing_stats)
    .values(
        views=bindparam("views", type_=listing_stats.c.views.type),
        likes=bindparam("likes", type_=listing_stats.c.likes.type),
    )
    .where(listing_stats.c.listing_id == bindparam("of"))
)


async def _listing(tx: Transaction, row: SampleListing, currency: str, known: _Known) -> None:
    listing_id = known.listings[row.key] = uuid7()
    label, lat, lon = known.places[row.place]
    at = known.now - timedelta(days=row.published_days_ago)
    await tx.run(
        _ADD_LISTING, id=listing_id, seller_id=known.people[row.seller] if row.seller else None,
        source_id=known.sources[row.source] if row.source else None, external_id=row.external_id, kind=row.kind, feed=row.feed,
        slug=slugify(row.title), title=row.title, description=row.description, category_id=known.categories[row.category],
        brand=row.brand, condition=row.condition, status="active", location_text=label, attributes=row.attributes,
        is_customizable=row.is_customizable, configuration_schema=row.configuration_schema, outside_url=row.outside_url,
        outside_seller=row.outside_seller, published_at=at, listed_at=at if row.source else None,
        popularity=math.log1p(row.views + 10 * row.likes), lat=lat, lon=lon,
    )  # fmt: skip
    await _variants(tx, row, listing_id, at, currency)
    images = [
        dict(zip(("file_id", "width", "height", "bytes"), known.pictures[name], strict=True))
        | {"listing_id": listing_id, "position": n, "format": "webp", "alt": row.title}
        for n, name in enumerate(row.images)
    ]
    await tx.run_many(_ADD_IMAGE, images)
    await tx.run(_SET_STATS, of=listing_id, views=row.views, likes=row.likes)


async def _variants(tx: Transaction, row: SampleListing, listing_id: UUID, at: datetime, currency: str) -> None:
    made, priced, moved = [], [], []
    for position, v in enumerate(row.variants):
        variant_id, on_hand = uuid7(), None if v.on_hand is None else Decimal(v.on_hand)
        made.append({"id": variant_id, "listing_id": listing_id, "position": position, "sku": v.sku, "options": v.options,
                     "unit": v.unit, "sale_step": Decimal(v.sale_step), "on_hand": on_hand})  # fmt: skip
        priced.append({"variant_id": variant_id, "currency": currency, "amount_minor": to_minor(v.price, currency),
                       "compare_at_minor": to_minor(v.compare_at, currency) if v.compare_at else None, "valid_from": at})  # fmt: skip
        if on_hand:
            moved.append({"variant_id": variant_id, "quantity": on_hand})
    await tx.run_many(_ADD_VARIANT, made)
    await tx.run_many(_ADD_PRICE, priced)
    await tx.run_many(_ADD_MOVEMENT, moved)


async def _reviews(tx: Transaction, sample: Path, known: _Known) -> None:
    rows = []
    for r in _rows(sample / "reviews.jsonl", SampleReview):
        at = known.now - timedelta(days=r.days_ago)
        rows.append({"listing_id": known.listings[r.listing], "user_id": known.people[r.by], "rating": r.rating,
                     "comment": r.comment, "reply": r.reply, "replied_at": at + timedelta(hours=20) if r.reply else None,
                     "created_at": at})  # fmt: skip
    names = ("listing_id", "user_id", "rating", "comment", "reply", "replied_at", "created_at")
    await tx.run_many(insert(reviews).values({n: bindparam(n, type_=reviews.c[n].type) for n in names}), rows)


async def _price_history(tx: Transaction, sample: Path, settings: StoreSettings, known: _Known) -> None:
    currency = settings.store.currency
    rows = [
        {"listing_id": known.listings[r.listing], "at": known.now - timedelta(days=r.days_ago), "currency": currency,
         "amount_minor": to_minor(r.price, currency) if r.price else None, "availability": r.availability}
        for r in _rows(sample / "price_history.jsonl", SamplePrice)
    ]  # fmt: skip
    names = ("listing_id", "at", "amount_minor", "currency", "availability")
    await tx.run_many(
        insert(price_history).values({n: bindparam(n, type_=price_history.c[n].type) for n in names}), rows
    )
