"""What would be read from an address: its kind, how it should be read, and its first listings, before anything is saved."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from tradepost.accounts.types import Caller
from tradepost.catalog.outside_types import OutsideRow
from tradepost.core.errors import DomainError
from tradepost.core.text import slugify
from tradepost.flows.ingest import bearings_of
from tradepost.flows.push_listings import PERMISSION
from tradepost.flows.read_sources import Connect, feed_rows, local_path, opened_fetcher
from tradepost.flows.store import Store
from tradepost.sources.extraction import decode_page, extract_page
from tradepost.sources.fetching import Fetcher
from tradepost.sources.formats import Broken, in_memory
from tradepost.sources.mapping import Bearings, Reader
from tradepost.sources.pages import Extent, as_raw, read_address, read_results, read_saved, sitemap_addresses
from tradepost.sources.types import BadRow, Kind, Raw, Reading, Source, SourceDraft, SourceUnreadable

T = TypeVar("T")
_SHOWN: Final = 12
_PAGES_SHOWN: Final = 3
_HEAD: Final = 400_000


class PreviewRow(msgspec.Struct, frozen=True):
    """A row as it would be taken, or why it would be refused."""

    place: str
    listing: OutsideRow | None
    reason: str = ""


class Preview(msgspec.Struct, frozen=True):
    """What an address has. `problem`: why nothing could be read."""

    draft: SourceDraft
    rows: tuple[PreviewRow, ...] = ()
    problem: str = ""

    @property
    def good(self) -> int:
        """How many of the rows would be taken."""
        return sum(row.listing is not None for row in self.rows)


async def preview_source(
    store: Store, caller: Caller, draft: SourceDraft, *, guess: bool, connect: Connect | None = None
) -> Preview:
    """Return what would be read from the draft's address; with `guess` its kind, name and code are told from what is there.

    Raises what the caller may not.
    """
    caller.check_scope(PERMISSION)
    caller.check_can(PERMISSION)
    try:
        return await _preview(store, draft, guess=guess, connect=connect)
    except DomainError as error:
        if (
            error.kind == "unavailable"
            or isinstance(error, SourceUnreadable | Broken)
            or error.kind in {"refused", "invalid"}
        ):
            return Preview(draft, problem=str(error))
        raise


async def _preview(store: Store, draft: SourceDraft, *, guess: bool, connect: Connect | None) -> Preview:
    bearings = await bearings_of(store)
    if draft.url.startswith(("sample:", "folder:")):
        return await _local(store, _named(draft), bearings, guess=guess)
    async with opened_fetcher(store, _as_source(draft), connect) as fetcher:
        reply_kind, body, content_type = await _head(fetcher, draft.url)
        found = _named(msgspec.structs.replace(draft, kind=reply_kind) if guess else draft)
        raws = await _raws(fetcher, _as_source(found), body, content_type, found.settings.currency or store.currency)
    return Preview(found, _understood(found, raws, bearings))


def _as_source(draft: SourceDraft) -> Source:
    return Source(UUID(int=0), draft.code, draft.name or "The source", draft.kind, draft.url, draft.description, draft.settings, True, draft.schedule,
                  draft.pause_s, draft.terms)  # fmt: skip


async def _head(fetcher: Fetcher, url: str) -> tuple[Kind, bytes, str]:
    """Return the beginning of what is at an address, and what kind of source it looks like."""
    body, kind = b"", ""
    async with fetcher.feed(url) as stream:
        if stream is not None:
            kind = stream.content_type
            async with aclosing(cast("AsyncGenerator[bytes, None]", stream.chunks)) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > _HEAD:
                        break
    return kind_of(body, kind), body, kind


def kind_of(body: bytes, content_type: str) -> Kind:
    """Return what kind of source a document is, by what it says of itself and by how it begins."""
    start = body[:2000].lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = start.lower()
    if start.startswith((b"[", b"{")):
        first = start.split(b"\n", 1)[0].rstrip()
        is_lines = first.startswith(b"{") and first.endswith(b"}") and start.count(b"\n{") > 0
        return "ndjson_feed" if is_lines or "ndjson" in content_type else "json_feed"
    if b"<urlset" in lower or b"<sitemapindex" in lower:
        return "sitemap"
    if b"<!doctype html" in lower or b"<html" in lower or "html" in content_type:
        return "pages"
    if start.startswith(b"<"):
        return "rss_feed"
    return "csv_feed"


def _named(draft: SourceDraft) -> SourceDraft:
    """Return a draft with a name and a code, from its address where it has none."""
    host = urlsplit(draft.url).hostname or draft.url.partition(":")[2].strip("/").rpartition("/")[2].partition(".")[0]
    name = draft.name or (host or "source").removeprefix("www.")
    return msgspec.structs.replace(draft, name=name[:100], code=draft.code or slugify(name)[:50].rstrip("-"))


async def _raws(fetcher: Fetcher, source: Source, body: bytes, content_type: str, home: str) -> list[Raw]:
    if source.kind == "sitemap":
        urls = await _first(sitemap_addresses(fetcher, source, Extent()), _PAGES_SHOWN)
        return [await read_address(fetcher, url, home) for url in urls]
    if source.kind in {"pages", "search_page", "folder"}:
        html = decode_page(body, content_type)
        if source.kind == "search_page" and source.settings.selectors.item:
            rows, _ = read_results(html, source.url, source.settings.selectors)
            return [Raw(f"result {n}", row) for n, row in enumerate(rows[:_SHOWN], 1)]
        return [as_raw(extract_page(html, source.url, home=home), source.url)]
    return await _first(feed_rows(source, in_memory(body), content_type), _SHOWN)


async def _first(rows: AsyncIterator[T], most: int) -> list[T]:
    """Return the first of some rows; where the document breaks off behind them, that does not matter yet."""
    found: list[T] = []
    async with aclosing(cast("AsyncGenerator[T, None]", rows)) as left:
        try:
            async for row in left:
                found.append(row)
                if len(found) == most:
                    break
        except Broken:
            if not found:
                raise
    return found


async def _local(store: Store, draft: SourceDraft, bearings: Bearings, *, guess: bool) -> Preview:
    path, home = local_path(store, draft.url), draft.settings.currency or store.currency
    if path.is_dir():
        found = msgspec.structs.replace(draft, kind="folder") if guess else draft
        raws = [raw for _, raw in zip(range(_PAGES_SHOWN), read_saved(path, home), strict=False)]
        return Preview(found, _understood(found, raws, bearings))
    body = await asyncio.to_thread(_beginning, path)
    found = msgspec.structs.replace(draft, kind=kind_of(body, "")) if guess else draft
    return Preview(
        found, _understood(found, await _first(feed_rows(_as_source(found), in_memory(body)), _SHOWN), bearings)
    )


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _understood(draft: SourceDraft, raws: list[Raw], bearings: Bearings) -> tuple[PreviewRow, ...]:
    reader = Reader(draft.settings, bearings, draft.url)
    return tuple(_one(reader, raw) for raw in raws)


def _one(reader: Reader, raw: Raw) -> PreviewRow:
    if raw.problem:
        return PreviewRow(raw.place, None, raw.problem)
    try:
        return PreviewRow(raw.place, reader.read(reader.external_id(raw.data), raw.data))
    except BadRow as error:
        return PreviewRow(raw.place, None, error.reason)


def settings_from(texts: dict[str, Any], base: Reading) -> Reading:
    """Return how a source is read as a form says it, on top of what the form does not show. Raises msgspec's error for what is none."""
    given = msgspec.to_builtins(base) | {
        "currency": texts.get("currency", "").strip().upper(), "decimal": texts.get("decimal", ""), "items": texts.get("items", "").strip(),
        "category": texts.get("category", ""), "gone_as": texts.get("gone_as") or "deleted", "matching": texts.get("matching", "").strip(),
        "minor_units": bool(texts.get("minor_units")), "complete": bool(texts.get("complete")), "follow": bool(texts.get("follow")),
        "pages": [line.strip() for line in texts.get("pages", "").splitlines() if line.strip()],
        "fields": _pairs(texts.get("fields", "")), "categories": _pairs(texts.get("categories", "")),
        "selectors": {name: texts.get(f"selector_{name}", "").strip() for name in ("item", "link", "title", "price", "image", "place", "next")},
    }  # fmt: skip
    return msgspec.convert(given, Reading)


def _pairs(text: str) -> dict[str, str]:
    """Return lines of `name = value` as a mapping."""
    found = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in found if name.strip() and value.strip()}
