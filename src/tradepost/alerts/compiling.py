"""Keeping the index of alerts what the alerts say: filed anew when they are saved, changed, paused, removed or taken back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import text

from tradepost.alerts.criteria import Needs, Offered, criteria_of_alert, needs_of
from tradepost.alerts.filing import BROAD, EVERYTHING, Filed, Lexed, Share, cells_of, file_alert
from tradepost.core.database import Transaction

_log = structlog.get_logger()
_TOO_FEW: Final = 20
"""So many imagined documents steady the shares of a store that has few."""
_USUAL: Final = (
    ("=seller=", 0.001), ("=.", 0.01), ("=brand=", 0.005), ("=category=", 0.05), ("=source=", 0.1), ("=condition=", 0.3),
    ("=kind=", 0.5), ("=feed=", 0.7), ("=stock", 0.8), ("=~", 0.01), ("@cell=", 0.02), ("@area=", 0.2), ("$", 0.3),
    (EVERYTHING, 1.0),
)  # fmt: skip
_NOT_COUNTED: Final = ("=source=", "=~")
"""What search counts nothing of: the usual share holds, whatever the store has."""

_READ = text("""
    SELECT id, user_id, query, criteria, is_active AND removed_at IS NULL AS is_on FROM alerts WHERE id = ANY (CAST(:ids AS uuid[]))
    ORDER BY id FOR UPDATE
""")
_LEX = text("""
    SELECT w, plainto_tsquery('public.store_words', search_text(w))::text AS together,
           phraseto_tsquery('public.store_words', search_text(w))::text AS in_order,
           tsvector_to_array(to_tsvector('public.store_words', search_text(w))) AS lexemes
    FROM unnest(CAST(:words AS text[])) AS w
""")
# Alerts take a brand or a colour in whatever letters, so those of all spellings are counted together.
_COUNTS = text("""
    SELECT kind, term, documents FROM search_terms
    WHERE (kind, term) IN (SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:terms AS text[]))) AND kind <> 'tag'
    UNION ALL
    SELECT kind, lower(term), sum(documents)::int FROM search_terms WHERE kind = 'tag' AND lower(term) = ANY (CAST(:tags AS text[]))
    GROUP BY kind, lower(term)
""")
_BANDS = text(
    "SELECT CAST(substr(term, 7) AS int), documents FROM search_terms WHERE kind = 'mark' AND term LIKE 'price=%'"
)
_DOCUMENTS = text("SELECT documents FROM search_state")
_DROP = text("DELETE FROM alert_index WHERE alert_id = ANY (CAST(:ids AS uuid[]))")
_WIDE = text(
    "INSERT INTO alert_wide_terms (term) SELECT unnest(CAST(:terms AS text[])) ORDER BY 1 ON CONFLICT DO NOTHING"
)
_FILE = text("""
    INSERT INTO alert_index (term, alert_id, user_id, wants, min_minor, max_minor, currency, lat, lon, radius_m, ranges, is_verified,
                             max_age_days, drop_minor, drop_percent)
    SELECT t.term, a.id, a.user_id, CAST(a.wants AS tsquery), a.min_minor, a.max_minor, a.currency, a.lat, a.lon, a.radius_m, a.ranges,
           a.is_verified, a.max_age_days, a.drop_minor, a.drop_percent
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS a(id uuid, user_id uuid, terms jsonb, wants text, min_minor bigint, max_minor bigint,
        currency text, lat float8, lon float8, radius_m float8, ranges jsonb, is_verified boolean, max_age_days int, drop_minor bigint,
        drop_percent int)
    CROSS JOIN LATERAL jsonb_array_elements_text(a.terms) AS t(term)
    ON CONFLICT DO NOTHING
""")
# A broad alert is told once a day unless its person chose another digest; one that was broad goes back to what they chose.
_NOTE = text("""
    UPDATE alerts SET compiled_at = now(), compiled_for = (SELECT documents FROM search_state), is_broad = n.is_broad
    FROM unnest(CAST(:ids AS uuid[]), CAST(:broad AS boolean[])) AS n(id, is_broad) WHERE alerts.id = n.id
""")
_STALE = text("""
    SELECT id FROM alerts WHERE id > :after AND removed_at IS NULL AND is_active
      AND compiled_for * 2 + 1000 < (SELECT documents FROM search_state)
    ORDER BY id LIMIT :most
""")
_UNFILED = text("""
    SELECT id FROM alerts WHERE id > :after AND removed_at IS NULL AND is_active AND compiled_at IS NULL ORDER BY id LIMIT :most
""")
_FORGET_FILING = text("UPDATE alerts SET compiled_at = NULL WHERE compiled_at IS NOT NULL")
_FORGET_WAITING = text("DELETE FROM alert_queue")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as the index has it, with its terms."""

    id: UUID
    user_id: UUID
    terms: tuple[str, ...]
    wants: str | None
    min_minor: int | None
    max_minor: int | None
    currency: str | None
    lat: float | None
    lon: float | None
    radius_m: float | None
    ranges: dict[str, tuple[float | None, float | None]] | None
    is_verified: bool
    max_age_days: int | None
    drop_minor: int | None
    drop_percent: int | None


async def compile_alerts(tx: Transaction, ids: Sequence[UUID], offered: Offered) -> int:
    """File these alerts anew, or take them out of the index where they are paused, removed or gone; return how many are filed.

    `tx` is the system's. Idempotent; waits for whoever changes one of them. One that cannot be read is logged, noted and left out.
    """
    found = await tx.all(_READ, ids=list(ids))
    is_on = [r for r in found if r["is_on"]]
    needs = {r["id"]: needs for r in is_on if (needs := _read_needs(r, offered)) is not None}
    filed = await file_all(tx, needs)
    await tx.run(_DROP, ids=list(ids))
    rows = [row_of(r["id"], r["user_id"], needs[r["id"]], filed[r["id"]]) for r in is_on if r["id"] in needs]
    await put_rows(tx, rows, filed.values())
    broad = {r["id"]: r["id"] in filed and filed[r["id"]].share >= BROAD for r in is_on}
    await tx.run(_NOTE, ids=list(broad), broad=list(broad.values()))
    return len(rows)


def _read_needs(row: Mapping[str, Any], offered: Offered) -> Needs | None:
    """Return what an alert needs, None where what is stored of it cannot be read: it must not keep the others from being filed."""
    try:
        return needs_of(criteria_of_alert(row["query"], row["criteria"]), offered)
    except msgspec.ValidationError as error:
        _log.warning("alert cannot be read", alert_id=str(row["id"]), problem=str(error))
        return None


async def list_unfiled(tx: Transaction, after: UUID, most: int = 500) -> list[UUID]:
    """Return alerts that are in force and not in the index yet."""
    return await tx.values(_UNFILED, after=after, most=most)


async def list_stale(tx: Transaction, after: UUID, most: int = 500) -> list[UUID]:
    """Return alerts that were filed when the store had less than half of what it has now."""
    return await tx.values(_STALE, after=after, most=most)


async def forget_filing(tx: Transaction) -> None:
    """Have every alert filed anew and no document matched that only changed its words: the store's words mean something else now."""
    await tx.run(_FORGET_FILING)
    await tx.run(_FORGET_WAITING)


async def put_rows(tx: Transaction, rows: Sequence[Row], filed: Iterable[Filed]) -> None:
    """Write rows of the index, and the common terms that their alerts stand under together with others."""
    wide = sorted({term for one in filed for term in one.wide})
    if wide:
        await tx.run(_WIDE, terms=wide)
    if rows:
        await tx.run(_FILE, rows=rows)


async def file_all(tx: Transaction, needs: dict[UUID, Needs]) -> dict[UUID, Filed]:
    """Return where each alert belongs, by what is known of the store's documents."""
    lexed = await lex(tx, [w for n in needs.values() for w in (*n.words, *n.without)],
                      [w for n in needs.values() for w in n.phrases])  # fmt: skip
    share = await shares_of(tx, needs.values(), lexed)
    return {alert_id: file_alert(one, lexed, share) for alert_id, one in needs.items()}


async def lex(tx: Transaction, words: Iterable[str], phrases: Iterable[str] = ()) -> dict[str, Lexed]:
    """Return words and phrases as the store's language understands them."""
    in_order = frozenset(phrases)
    rows = await tx.all(_LEX, words=sorted({*words, *in_order}))
    return {r["w"]: Lexed(r["in_order" if r["w"] in in_order else "together"], tuple(r["lexemes"])) for r in rows}


async def shares_of(tx: Transaction, needs: Iterable[Needs], lexed: dict[str, Lexed]) -> Share:
    """Return which share of all documents has a term, steadied by what is usual where a store has few."""
    asked = {
        *(x for one in lexed.values() for x in one.lexemes),
        *(tag for n in needs for group in n.any_of for tag in group),
        *(cell for n in needs if n.near and n.radius_m for cell in cells_of(n.near, n.radius_m)),
    }
    known = sorted(asked)
    counted = [_counted(t) for t in known]
    rows = await tx.all(
        _COUNTS, kinds=[kind for kind, _ in counted], terms=[term for _, term in counted],
        tags=[term for kind, term in counted if kind == "tag"],
    )  # fmt: skip
    counts = {(row["kind"], row["term"]): row["documents"] for row in rows}
    bands = {row[0]: row[1] for row in await tx.all(_BANDS)}
    documents = int(await tx.value(_DOCUMENTS) or 0)

    def share(term: str) -> float:
        if term.startswith(_NOT_COUNTED):
            return _usual(term)
        count = _in_node(term, bands) if term.startswith("$") else counts.get(_counted(term), 0)
        return (count + _TOO_FEW * _usual(term)) / (documents + _TOO_FEW)

    return share


def _counted(term: str) -> tuple[str, str]:
    """Return what search counts a term as, and how it spells it."""
    if term.startswith(("@", "=seller=", "=stock")):
        return "mark", term[1:]
    return ("tag", term[1:].lower()) if term.startswith("=") else ("word", term)


def _usual(term: str) -> float:
    return next((share for start, share in _USUAL if term.startswith(start)), 0.002)


def _in_node(term: str, bands: dict[int, int]) -> int:
    height, _, number = term[4:].partition(":")
    first = int(number) << int(height)
    return sum(bands.get(n, 0) for n in range(first, first + (1 << int(height))))


def row_of(alert_id: UUID, user_id: UUID, needs: Needs, filed: Filed) -> Row:
    """Return an alert as the index has it."""
    return Row(
        id=alert_id, user_id=user_id, terms=filed.terms, wants=filed.wants, min_minor=needs.min_minor, max_minor=needs.max_minor,
        currency=needs.currency, lat=needs.near[0] if needs.near else None, lon=needs.near[1] if needs.near else None,
        radius_m=needs.radius_m, ranges=needs.ranges or None, is_verified=needs.is_verified, max_age_days=needs.max_age_days,
        drop_minor=needs.drop_minor, drop_percent=needs.drop_percent,
    )  # fmt: skip
