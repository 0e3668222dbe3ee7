"""The database's health in the back office: figures, pictures, advice, and what maintenance did."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get

from tradepost.flows.engine import DatabaseHealth, get_database_health
from tradepost.ops.rules import in_words
from tradepost.ops.types import Sample
from tradepost.web.pages import page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

_MOST_POINTS = 48
_MOST_TABLES = 12


class Course(msgspec.Struct, frozen=True):
    """How the figures went: one value for each stretch of the last two days, for sparklines; `bars`: transactions a minute."""

    sizes: tuple[int, ...] = ()
    hits: tuple[float, ...] = ()
    connections: tuple[int, ...] = ()
    due: tuple[int, ...] = ()
    dead: tuple[float, ...] = ()
    bars: tuple[tuple[str, int, str], ...] = ()


def course_of(samples: Sequence[Sample], zone: ZoneInfo) -> Course:
    """Return what to draw of samples; what was counted between two of them where PostgreSQL only counts up."""
    if len(samples) < 2:
        return Course()
    step = max(1, len(samples) // _MOST_POINTS)
    some = samples[::-1][::step][::-1]
    steps = [_step(before, after, zone) for before, after in pairwise(some)]
    return Course(
        sizes=tuple(s.database_bytes for s in some), connections=tuple(s.connections for s in some),
        due=tuple(s.jobs_due for s in some),
        dead=tuple(round(100 * s.dead_rows / max(1, s.live_rows + s.dead_rows), 1) for s in some),
        hits=tuple(hit for hit, _ in steps if hit is not None), bars=tuple(bar for _, bar in steps),
    )  # fmt: skip


def _step(before: Sample, after: Sample, zone: ZoneInfo) -> tuple[float | None, tuple[str, int, str]]:
    """Return the share of pages found in memory between two samples, and a bar of the transactions a minute."""
    hit, read = after.blocks_hit - before.blocks_hit, after.blocks_read - before.blocks_read
    share = round(100 * hit / (hit + read), 1) if hit >= 0 and read >= 0 and hit + read else None
    minutes = max((after.taken_at - before.taken_at) / timedelta(minutes=1), 1 / 60)
    a_minute = round(max(0, after.commits - before.commits) / minutes)
    return share, (after.taken_at.astimezone(zone).strftime("%H:%M"), a_minute, f"{a_minute:,} a minute")


@get("/office/health", include_in_schema=False)
async def health_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show how the store's database does."""
    health: DatabaseHealth = await get_database_health(store, caller)
    return await page(
        request, store, caller, "office_health", health=health, course=course_of(health.samples, store.zone), size=in_words,
        largest=health.tables[:_MOST_TABLES], dying=sorted((t for t in health.tables if t.dead_rows), key=lambda t: -t.dead_rows)[:8],
        tab="health",
    )  # fmt: skip


health_routes = [health_page]
