"""Grow a store to many plausible listings, by COPY: for benchmarks, never for a store in use.

Every new listing descends from one of the store's own sample listings: its category, kind, attributes, unit and pictures stay,
its words, price, place and seller vary. Words follow Zipf's law, as real catalogues do, so that rare and common terms both
occur. Deterministic for a seed. Runs as the owner.
"""

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Double, func, select, text

from tradepost.accounts.tables import user_roles
from tradepost.catalog.tables import listing_images, listings, places, prices, variants
from tradepost.core import clock
from tradepost.core.database import SYSTEM, Database, Transaction
from tradepost.core.ids import uuid7
from tradepost.core.text import slugify
from tradepost.flows.install_store import Progress, silent
from tradepost.search.counting import count_terms

CHUNK = 10_000
LISTINGS_PER_SELLER = 50
_ADJECTIVES = [
    "fresh",
    "crisp",
    "sweet",
    "young",
    "ripe",
    "golden",
    "early",
    "late",
    "wild",
    "hand-picked",
    "sturdy",
    "compact",
    "light",
    "heavy",
    "rare",
    "classic",
    "modern",
    "vintage",
    "original",
    "refurbished",
    "spare",
    "large",
    "small",
    "medium",
    "double",
    "mini",
    "extra",
    "slim",
    "wide",
    "soft",
    "firm",
    "smooth",
    "rough",
    "bright",
    "dark",
    "pale",
    "deep",
    "warm",
    "cool",
    "quiet",
    "fast",
    "steady",
    "reliable",
    "simple",
    "fancy",
    "plain",
    "rustic",
    "royal",
    "urban",
    "country",
    "coastal",
    "northern",
    "southern",
    "mountain",
    "river",
    "garden",
    "house",
    "kitchen",
    "workshop",
    "field",
    "travel",
    "family",
    "office",
    "school",
    "winter",
    "summer",
    "spring",
    "autumn",
    "weekend",
    "everyday",
]
_SYLLABLES = [
    "ba",
    "be",
    "bo",
    "da",
    "de",
    "do",
    "fa",
    "fi",
    "go",
    "ha",
    "jo",
    "ka",
    "ke",
    "ko",
    "la",
    "le",
    "lo",
    "ma",
    "me",
    "mi",
    "mo",
    "na",
    "ne",
    "no",
    "pa",
    "pe",
    "ra",
    "re",
    "ri",
    "ro",
    "sa",
    "se",
    "so",
    "ta",
    "te",
    "to",
    "va",
    "ve",
    "vo",
    "za",
    "ze",
    "zo",
]
_NOTES = (
    "Collected this week.", "Ask before you come by.", "Smaller amounts are fine.", "Kept dry and out of the sun.",
    "Works as it should; pictures show the real thing.", "One owner.", "Delivery within the district can be arranged.",
    "First come, first served.", "Price is for one unit.", "Returns taken within a week.",
)  # fmt: skip


@dataclass(frozen=True)
class _Parent:
    """What a descendant takes from a sample listing."""

    row: dict[str, Any]
    variants: list[dict[str, Any]]
    images: list[dict[str, Any]]


@dataclass(frozen=True)
class _Ground:
    """What new listings are made from."""

    parents: list[_Parent]
    places: list[tuple[str, float, float]]
    place_weights: list[float]
    sellers: list[UUID]
    words: list[str]
    word_weights: list[float]
    currency: str
    now: datetime


async def grow_sample(db: Database, wanted: int, *, seed: int = 7, progress: Progress = silent) -> int:
    """Add listings until the store has `wanted`; return how many were added. Each chunk of 10,000 commits by itself.

    Ends by counting words anew: until then a search plans for a store of the old size.
    """
    chance = random.Random(seed)  # noqa: S311  # plausible, not secret
    async with db.transaction(actor=SYSTEM) as tx:
        have: int = await tx.value(select(func.count()).select_from(listings))
        missing = max(0, wanted - have)
        if not missing:
            return 0
        ground = await _ground(tx, chance, missing)
    chance.seed(f"{seed}:{have}")
    made = 0
    while made < missing:
        size = min(CHUNK, missing - made)
        async with db.transaction(actor=SYSTEM) as tx:
            await _add(tx, [_descend(chance, ground) for _ in range(size)], ground)
        made += size
        progress("listings", made, missing)
    async with db.connection() as connection:
        await connection.execute("ANALYZE")
    progress("words counted", 0, 1)
    await count_terms(db)
    progress("words counted", 1, 1)
    return made


async def _ground(tx: Transaction, chance: random.Random, missing: int) -> _Ground:
    rows = [dict(r) for r in await tx.all(_PARENTS)]
    kids = _grouped(await tx.all(_PARENT_VARIANTS, ids=[r["id"] for r in rows]))
    pictures = _grouped(await tx.all(select(listing_images)))
    parents = [_Parent(r, kids.get(r["id"], []), pictures.get(r["id"], [])) for r in rows]
    spots = await tx.all(_PLACES)
    words = ["".join(chance.choice(_SYLLABLES) for _ in range(chance.randint(2, 4))) for _ in range(20_000)]
    ground = _Ground(
        parents=parents,
        places=[(r["name"], r["lat"], r["lon"]) for r in spots],
        place_weights=[math.sqrt(r["population"] + 100) for r in spots],
        sellers=[],
        words=words,
        word_weights=list(itertools.accumulate(1 / (n + 1) for n in range(len(words)))),
        currency=next((v["currency"] for p in parents for v in p.variants), "USD"),
        now=clock.now(),
    )
    ground.sellers.extend(await _add_sellers(tx, chance, ground, missing // LISTINGS_PER_SELLER + 1))
    return ground


_PARENTS = select(
    listings.c.id, listings.c.kind, listings.c.feed, listings.c.title, listings.c.description, listings.c.category_id,
    listings.c.brand, listings.c.condition, listings.c.attributes,
).where(listings.c.status == "active", listings.c.price_minor.is_not(None)).order_by(listings.c.id).limit(200)  # fmt: skip
_PARENT_VARIANTS = text(
    "SELECT v.listing_id, v.options, v.unit, v.sale_step, v.on_hand, p.amount_minor, p.currency FROM variants v "
    "JOIN prices p ON p.variant_id = v.id AND p.valid_to IS NULL WHERE v.listing_id = ANY(CAST(:ids AS uuid[])) ORDER BY v.position"
)
_PLACES = select(
    places.c.name, places.c.population,
    func.geo_lat(places.c.location, type_=Double).label("lat"), func.geo_lon(places.c.location, type_=Double).label("lon"),
).order_by(places.c.population.desc(), places.c.name)  # fmt: skip


def _grouped(rows: Sequence[Any]) -> dict[UUID, list[dict[str, Any]]]:
    found: dict[UUID, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["listing_id"], []).append(dict(row))
    return found


async def _add_sellers(tx: Transaction, chance: random.Random, ground: _Ground, count: int) -> list[UUID]:
    """People who cannot sign in: they have no password."""
    role = await tx.value(text("SELECT role FROM role_permissions WHERE permission = 'sell' ORDER BY role LIMIT 1"))
    made = []
    for _ in range(count):
        name, spot = _name(chance, ground), chance.choices(ground.places, ground.place_weights)[0]
        key = uuid7()
        made.append(
            (
                key,
                f"{name}-{key.hex[-8:]}",
                f"{name}.{key.hex[-8:]}@example.com",
                name.title(),
                f"{name.title()} {spot[0]}",
                spot[0],
            )
        )
    await tx.run(text(_STAGE_SELLERS))
    await tx.copy_in("grown_sellers", ("id", "username", "email", "first_name", "display_name", "location_text"), made)
    await tx.run(_UNSTAGE_SELLERS)
    if role:
        await tx.copy_in(user_roles.name, ("user_id", "role"), [(m[0], role) for m in made])
    return [m[0] for m in made]


def _name(chance: random.Random, ground: _Ground) -> str:
    return chance.choices(ground.words, cum_weights=ground.word_weights)[0]


def _descend(chance: random.Random, ground: _Ground) -> dict[str, Any]:
    parent = chance.choice(ground.parents)
    row, spot = parent.row, chance.choices(ground.places, ground.place_weights)[0]
    words = [chance.choice(_ADJECTIVES) for _ in range(chance.randint(0, 2))]
    title = " ".join([*words, row["title"], _name(chance, ground)])[:200]
    notes = " ".join(chance.sample(_NOTES, 2))
    tail = " ".join(_name(chance, ground) for _ in range(chance.randint(3, 12)))
    age = timedelta(seconds=chance.expovariate(1 / (60 * 86400)))
    brand = row["brand"] if chance.random() < 0.5 else _name(chance, ground).title()
    return {
        "id": uuid7(), "parent": parent, "title": title[:1].upper() + title[1:],
        "description": f"{row['description']} {notes} {tail}", "brand": brand, "seller_id": chance.choice(ground.sellers),
        "place": spot, "published_at": ground.now - age, "popularity": chance.paretovariate(1.2) - 1,
        "factor": Decimal(str(round(chance.lognormvariate(0, 0.4), 3))), "stock": chance.choice((0, 1, 1, 2, 5, 10, 40)),
    }  # fmt: skip


# asyncpg cannot COPY into citext, so names come by way of plain text.
_STAGE_SELLERS = """CREATE TEMP TABLE grown_sellers (id uuid, username text, email text, first_name text, display_name text,
    location_text text) ON COMMIT DROP"""
_UNSTAGE_SELLERS = text(
    "INSERT INTO users (id, username, email, first_name, display_name, location_text) "
    "SELECT id, username, email, first_name, display_name, location_text FROM grown_sellers"
)
_STAGE = """CREATE TEMP TABLE grown (id uuid, seller_id uuid, kind text, feed text, slug text, title text, description text,
    category_id uuid, brand text, condition text, place text, lat float8, lon float8, attributes jsonb, published_at timestamptz,
    popularity real) ON COMMIT DROP"""
_UNSTAGE = text(
    "INSERT INTO listings (id, seller_id, kind, feed, slug, title, description, category_id, brand, condition, status, "
    "location_text, location, attributes, published_at, popularity) SELECT id, seller_id, kind, feed, slug, title, description, "
    "category_id, brand, condition, 'active', place, geo_point(lat, lon), attributes, published_at, popularity FROM grown"
)


async def _add(tx: Transaction, rows: list[dict[str, Any]], ground: _Ground) -> None:
    await tx.run(text(_STAGE))
    await tx.copy_in(
        "grown",
        ("id", "seller_id", "kind", "feed", "slug", "title", "description", "category_id", "brand", "condition", "place", "lat",
         "lon", "attributes", "published_at", "popularity"),
        (
            (r["id"], r["seller_id"], p["kind"], p["feed"], slugify(r["title"]), r["title"], r["description"], p["category_id"],
             r["brand"], p["condition"], *r["place"], p["attributes"], r["published_at"], r["popularity"])
            for r in rows
            for p in (r["parent"].row,)
        ),
    )  # fmt: skip
    await tx.run(_UNSTAGE)
    sellable = list(_variants(rows, ground))
    await tx.copy_in(
        variants.name,
        ("id", "listing_id", "position", "options", "unit", "sale_step", "on_hand"),
        (v[:7] for v in sellable),
    )
    await tx.copy_in(
        prices.name, ("variant_id", "currency", "amount_minor", "valid_from"),
        ((v[0], ground.currency, v[7], v[8]) for v in sellable),
    )  # fmt: skip
    await tx.copy_in(
        listing_images.name, ("listing_id", "position", "file_id", "width", "height", "bytes", "format", "alt"),
        ((r["id"], i["position"], i["file_id"], i["width"], i["height"], i["bytes"], i["format"], r["title"])
         for r in rows for i in r["parent"].images if i["file_id"]),
    )  # fmt: skip


def _variants(rows: list[dict[str, Any]], ground: _Ground) -> Iterator[tuple[Any, ...]]:
    for r in rows:
        for position, v in enumerate(r["parent"].variants[:3]):
            price = max(1, int(v["amount_minor"] * r["factor"]))
            on_hand = None if v["on_hand"] is None else Decimal(r["stock"])
            yield (
                uuid7(),
                r["id"],
                position,
                v["options"],
                v["unit"],
                v["sale_step"],
                on_hand,
                price,
                ground.now - timedelta(days=400),
            )
