"""The places a store knows, as the staff keep them: added, corrected, hidden. What was written with a place keeps its words."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta
from sqlalchemy import TextClause, text

from tradepost.catalog.tables import places
from tradepost.core.audit import note_act
from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import Conflict, FieldErrors, NotFound
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.ids import uuid7
from tradepost.core.pages import Page, from_cursor, page_of, page_size, to_cursor
from tradepost.core.text import one_line

_Name = Annotated[str, Meta(min_length=1, max_length=100)]
_Part = Annotated[str, Meta(max_length=100)]


class NoSuchPlace(NotFound):
    """There is no such place."""


class PlaceKnown(Conflict):
    """There is a place of this name in this district already."""


on_violation("uq_places_country_region_district_name", PlaceKnown)


class PlaceDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A place as the staff write it. It lies in a district of a region of a country (two letters); `lat` and `lon` in degrees."""

    name: _Name = ""
    district: _Part = ""
    region: _Name = ""
    country: str = ""
    population: int = 0
    lat: float | None = None
    lon: float | None = None


class OfficePlace(msgspec.Struct, frozen=True):
    """A place with all that is known of it."""

    id: UUID
    name: str
    district: str
    region: str
    country: str
    population: int
    lat: float | None
    lon: float | None
    is_active: bool


_COLUMNS = (
    "id, name, district, region, country, population, geo_lat(location) AS lat, geo_lon(location) AS lon, is_active"
)
_TESTS = {
    "words": "(lower(name) LIKE :words OR lower(region) LIKE :words OR lower(district) LIKE :words)",
    "after": "(lower(name), id) > (:after_name, :after_id)",
}
_ONE = text(f"SELECT {_COLUMNS} FROM places WHERE id = :id")
_POINT = (
    "CASE WHEN CAST(:lat AS float8) IS NULL THEN NULL ELSE geo_point(CAST(:lat AS float8), CAST(:lon AS float8)) END"
)
_ADD = text(f"""
    INSERT INTO places (id, name, district, region, country, population, location)
    VALUES (:id, :name, :district, :region, :country, :population, {_POINT})
""")
_CHANGE = text(f"""
    UPDATE places SET name = :name, district = :district, region = :region, country = :country, population = :population,
           location = {_POINT} WHERE id = :id
""")
_SHOW = text("UPDATE places SET is_active = :is_active WHERE id = :id")
_REGIONS = text("SELECT DISTINCT region FROM places ORDER BY region LIMIT 200")


def _statement(names: tuple[str, ...]) -> TextClause:
    tests = " AND ".join(_TESTS[name] for name in names) or "true"
    return text(f"SELECT {_COLUMNS} FROM places WHERE {tests} ORDER BY lower(name), id LIMIT :limit")


async def list_places(tx: Transaction, words: str, *, after: str | None, limit: int) -> Page[OfficePlace]:
    """Return places by name, hidden ones too: those whose name, district or region begins so. Raises `NoSuchPage`."""
    size, params, names = page_size(limit), {}, []
    safe = "".join("\\" + c if c in "%_\\" else c for c in one_line(words).lower()[:60])
    if safe:
        params["words"] = safe + "%"
        names.append("words")
    if after is not None:
        params["after_name"], params["after_id"] = from_cursor(after, str, UUID)
        names.append("after")
    rows: list[OfficePlace] = await tx.all(_statement(tuple(names)), into=OfficePlace, limit=size + 1, **params)
    return page_of(rows, size, lambda last: to_cursor(last.name.lower(), last.id))


async def list_regions(tx: Transaction) -> list[str]:
    """Return the regions that have places, at most 200."""
    return await tx.values(_REGIONS)


async def access_place(tx: Transaction, place_id: UUID) -> OfficePlace:
    """Return a place, hidden or not. Raises `NoSuchPlace`."""
    found = await tx.maybe(_ONE, into=OfficePlace, id=place_id)
    if found is None:
        raise NoSuchPlace
    return found


async def add_place(tx: Transaction, draft: PlaceDraft) -> UUID:
    """Add a place; return its id. Raises `FieldErrors`, `PlaceKnown`."""
    added = uuid7()
    await tx.run(_ADD, id=added, **_checked(draft))
    await note_act(tx, places.name, str(added), added=draft.name)
    return added


async def change_place(tx: Transaction, place_id: UUID, draft: PlaceDraft) -> None:
    """Write a place anew. Raises `NoSuchPlace`, `FieldErrors`, `PlaceKnown`."""
    if not await tx.run(_CHANGE, id=place_id, **_checked(draft)):
        raise NoSuchPlace


async def show_place(tx: Transaction, place_id: UUID, *, is_active: bool) -> None:
    """Offer a place in forms and searches, or no longer. Raises `NoSuchPlace`."""
    if not await tx.run(_SHOW, id=place_id, is_active=is_active):
        raise NoSuchPlace


def _checked(draft: PlaceDraft) -> dict[str, Any]:
    country = draft.country.strip().upper()
    check_fields({
        **broken_limits(draft),
        "country": None if len(country) == 2 and country.isascii() and country.isalpha() else "Two letters, such as ZW.",
        "population": None if 0 <= draft.population < 2_000_000_000 else "0 or more.",
        "lat": _degrees(draft.lat, 90), "lon": _degrees(draft.lon, 180),
    })  # fmt: skip
    if (draft.lat is None) != (draft.lon is None):
        raise FieldErrors({"lat" if draft.lat is None else "lon": "Both, or neither."})
    return {
        "name": one_line(draft.name), "district": one_line(draft.district), "region": one_line(draft.region), "country": country,
        "population": draft.population, "lat": draft.lat, "lon": draft.lon,
    }  # fmt: skip


def _degrees(value: float | None, most: float) -> str | None:
    return None if value is None or -most <= value <= most else f"Between -{most} and {most} degrees."
