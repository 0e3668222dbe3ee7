"""Reads of sources, their runs and reports."""

from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, Text, bindparam, select, text
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from tradepost.catalog.tables import sources
from tradepost.core.database import Database, Transaction
from tradepost.core.pages import LATEST
from tradepost.sources.tables import ingest_errors, ingest_runs
from tradepost.sources.types import NoSuchRun, NoSuchSource, RowError, Run, Source, SourceHealth

_SOURCE = select(*(sources.c[n] for n in Source.__struct_fields__))
_BY_CODE = _SOURCE.where(sources.c.code == bindparam("code", type_=Text))
_BY_ID = _SOURCE.where(sources.c.id == bindparam("source", type_=PG_UUID))
_RUN = select(*(ingest_runs.c[n] for n in Run.__struct_fields__))
_RUN_BY_ID = _RUN.where(ingest_runs.c.id == bindparam("run", type_=PG_UUID))
_RUNS_OF = (
    _RUN.where(ingest_runs.c.source_id == bindparam("source", type_=PG_UUID), ingest_runs.c.id < bindparam("before", type_=PG_UUID))
    .order_by(ingest_runs.c.id.desc())
    .limit(bindparam("limit", type_=BigInteger))
)  # fmt: skip
_ERRORS = (
    select(ingest_errors.c.place, ingest_errors.c.external_id, ingest_errors.c.reason, ingest_errors.c.excerpt)
    .where(ingest_errors.c.run_id == bindparam("run", type_=PG_UUID), ingest_errors.c.n >= bindparam("after", type_=BigInteger))
    .order_by(ingest_errors.c.n)
    .limit(bindparam("limit", type_=BigInteger))
)  # fmt: skip
_HEALTH = text("""
    SELECT s.id, s.code, s.name, s.kind, s.url, s.is_active, s.schedule,
           (SELECT count(*) FROM listings l WHERE l.source_id = s.id AND l.status = 'active')::int AS listings,
           t.due_at, coalesce(t.failures, 0) AS failures, r.id AS run_id, r.state AS run_state, r.started_at AS run_at,
           r.refused AS run_refused, r.seen AS run_seen, r.message AS run_message,
           ARRAY(SELECT (x.inserted + x.changed + x.returned + x.gone)::int FROM (
               SELECT * FROM ingest_runs y WHERE y.source_id = s.id ORDER BY y.id DESC LIMIT 20) x ORDER BY x.id) AS counts
    FROM sources s LEFT JOIN source_states t ON t.source_id = s.id
    LEFT JOIN LATERAL (SELECT * FROM ingest_runs x WHERE x.source_id = s.id ORDER BY x.id DESC LIMIT 1) r ON true
    ORDER BY s.is_active DESC, s.name
""")
_MISSING = text("""
    SELECT i.listing_id FROM outside_items i
    LEFT JOIN (SELECT unnest(e.listing_ids) AS id FROM ingest_seen e WHERE e.run_id = :run) seen ON seen.id = i.listing_id
    WHERE i.source_id = :source AND i.missing_since IS NULL AND seen.id IS NULL
""")
_COUNT_KNOWN = text("""
    SELECT count(*) FROM outside_items i JOIN listings l ON l.id = i.listing_id
    WHERE i.source_id = :source AND i.missing_since IS NULL AND l.status = 'active'
""")
_BEARINGS = text("""
    SELECT (SELECT coalesce(jsonb_object_agg(c.slug, c.id), '{}') FROM categories c WHERE c.is_active) AS categories,
           (SELECT coalesce(jsonb_object_agg(lower(c.name), c.id), '{}') FROM categories c WHERE c.is_active) AS category_names,
           (SELECT coalesce(jsonb_object_agg(p.name, jsonb_build_array(p.label, p.lat, p.lon)), '{}') FROM (
               SELECT DISTINCT ON (lower(name)) lower(name) AS name, geo_lat(location) AS lat, geo_lon(location) AS lon,
                      CASE WHEN region IN ('', name) THEN name ELSE name || ', ' || region END AS label
               FROM places WHERE is_active ORDER BY lower(name), population DESC LIMIT 20000) p) AS places
""")
_VALIDATORS = text("SELECT validators FROM source_states WHERE source_id = :source")
_FAILURES = text("SELECT failures FROM source_states WHERE source_id = :source")
MOST_ERRORS: Final = 10_000


async def find_source(db: Database, code: str) -> Source:
    """Return a source by its code. Raises `NoSuchSource`."""
    found = await db.read(_BY_CODE, fresh=True, code=code)
    if not found:
        raise NoSuchSource
    return _source(found[0])


async def get_source(tx: Transaction, source_id: UUID) -> Source:
    """Return a source. Raises `NoSuchSource`."""
    found = await tx.maybe(_BY_ID, source=source_id)
    if found is None:
        raise NoSuchSource
    return _source(found)


def _source(row: Any) -> Source:
    return msgspec.convert(dict(row), Source)


async def get_run(tx: Transaction, run_id: UUID) -> Run:
    """Return a reading. Raises `NoSuchRun`."""
    found = await tx.maybe(_RUN_BY_ID, into=Run, run=run_id)
    if found is None:
        raise NoSuchRun
    return found


async def list_runs(tx: Transaction, source_id: UUID, *, before: UUID | None = None, limit: int = 30) -> list[Run]:
    """Return the readings of a source, the latest first."""
    return await tx.all(_RUNS_OF, into=Run, source=source_id, before=before or LATEST[1], limit=limit)


async def list_errors(tx: Transaction, run_id: UUID, *, after: int = 0, limit: int = 100) -> list[RowError]:
    """Return the refused rows of a reading, from the one numbered `after` on."""
    return await tx.all(_ERRORS, into=RowError, run=run_id, after=after, limit=limit)


async def list_health(tx: Transaction) -> list[SourceHealth]:
    """Return every source with how it fares."""
    return await tx.all(_HEALTH, into=SourceHealth)


async def missing_listings(tx: Transaction, source_id: UUID, run_id: UUID) -> list[UUID]:
    """Return the listings of a source that a reading has not seen and that were there before."""
    return await tx.values(_MISSING, source=source_id, run=run_id)


async def count_known(tx: Transaction, source_id: UUID) -> int:
    """Return how many listings of a source are on offer."""
    return int(await tx.value(_COUNT_KNOWN, source=source_id))


async def read_validators(tx: Transaction, source_id: UUID) -> dict[str, Any]:
    """Return what the source's server said last time to recognise an unchanged answer by."""
    return await tx.value(_VALIDATORS, source=source_id) or {}


async def count_failures(tx: Transaction, source_id: UUID) -> int:
    """Return how often reading a source has failed in a row."""
    return int(await tx.value(_FAILURES, source=source_id) or 0)


async def read_names(db: Database) -> Any:
    """Return the store's categories by slug and by name, and its places by name, in one row."""
    return (await db.read(_BEARINGS))[0]
