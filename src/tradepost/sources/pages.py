"""Pages as rows: of a sitemap, by address, of search results, saved in a folder."""

import asyncio
import email
import email.policy
import re
from collections.abc import AsyncIterator, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

from tradepost.core.errors import DomainError
from tradepost.core.text import one_line
from tradepost.sources.extraction import Page, decode_page, extract_page
from tradepost.sources.fetching import Fetcher, unpacked
from tradepost.sources.formats import in_memory
from tradepost.sources.types import Raw, Selectors, Source, SourceUnreadable

_LOC: Final = re.compile(r"<(?:\w+:)?loc>\s*(?:<!\[CDATA\[)?\s*([^<\]\s]+)", re.IGNORECASE)
_SAVED_FROM: Final = re.compile(r"<!--\s*saved from url=\(\d+\)(\S+)\s*-->", re.IGNORECASE)
_SAVED: Final = (".html", ".htm", ".mhtml", ".mht")
_MOST_SITEMAPS: Final = 50
_LARGEST_SITEMAP: Final = 50 << 20
"""So large may a sitemap be, unpacked (https://www.sitemaps.org/protocol.html)."""


class Extent:
    """How far a reading came: `is_cut` where a source has more than is read of it."""

    def __init__(self) -> None:
        self.is_cut = False


async def read_addresses(
    fetcher: Fetcher, source: Source, urls: AsyncIterator[str], home: str, extent: Extent
) -> AsyncIterator[Raw]:
    """Yield what each page offers; one that cannot be read is a row with a problem."""
    count = 0
    async for url in urls:
        count += 1
        if count > source.settings.most_pages:
            extent.is_cut = True
            return
        yield await read_address(fetcher, url, home)


async def read_address(fetcher: Fetcher, url: str, home: str) -> Raw:
    """Return what the page at an address offers. A server that does not answer ends the reading: its listings have not gone."""
    try:
        reply = await fetcher.page(url)
    except DomainError as error:
        if error.kind in {"refused", "unavailable"}:
            raise
        return Raw(url, {}, str(error)[:300])
    html = decode_page(reply.body, reply.headers.get("content-type", ""))
    return as_raw(await asyncio.to_thread(extract_page, html, reply.url, home=home), url)


def as_raw(page: Page, place: str) -> Raw:
    """Return a page as a row; one that offers nothing has that as its problem."""
    if not page.name:
        return Raw(place, {}, "No product was found on this page.")
    if page.price is None and not page.availability:
        return Raw(place, {}, f"No price was found on this page, “{page.name[:80]}”.")
    return Raw(place, page.as_row())


async def sitemap_addresses(fetcher: Fetcher, source: Source, extent: Extent) -> AsyncIterator[str]:
    """Yield the addresses in a sitemap and those that it leads to, that match the source's pattern."""
    left, asked = [source.url], 0
    while left and asked < _MOST_SITEMAPS:
        asked += 1
        reply = await fetcher.page(left.pop(0))
        text = (await _unpacked_whole(reply.body, source)).decode("utf-8", "replace")
        found = [_unescaped(loc) for loc in _LOC.findall(text)]
        if "<sitemapindex" in text[:2000]:
            left += found
            continue
        for url in found:
            if matches(url, source.settings.matching):
                yield url
    extent.is_cut = extent.is_cut or bool(left)


async def _unpacked_whole(body: bytes, source: Source) -> bytes:
    whole = bytearray()
    async for part in unpacked(in_memory(body)):
        whole += part
        if len(whole) > _LARGEST_SITEMAP:
            raise SourceUnreadable(source.name, "a sitemap of it is larger than 50 MB")
    return bytes(whole)


def matches(url: str, pattern: str) -> bool:
    """Whether an address is one that a source wants: by a pattern with `*`, by a part of it, or any."""
    return not pattern or (fnmatch(url, pattern) if "*" in pattern else pattern in url)


def _unescaped(text: str) -> str:
    return text.replace("&amp;", "&").strip()


async def given_addresses(source: Source) -> AsyncIterator[str]:
    """Yield the addresses that a source names."""
    for url in dict.fromkeys([*([source.url] if source.url.startswith("http") else []), *source.settings.pages]):
        yield url


async def read_search(fetcher: Fetcher, source: Source, home: str, extent: Extent) -> AsyncIterator[Raw]:
    """Yield the results of a search page and of those that follow it; with `follow`, what each result's own page says, too."""
    url, seen = source.url, set[str]()
    for number in range(1, source.settings.most_pages + 1):
        seen.add(url)
        reply = await fetcher.page(url)
        html = decode_page(reply.body, reply.headers.get("content-type", ""))
        rows, following = await asyncio.to_thread(read_results, html, reply.url, source.settings.selectors)
        if number == 1 and not rows:
            raise SourceUnreadable(source.name, "no result was found by its selectors: the page looks different now")
        for n, row in enumerate(rows, 1):
            place = f"page {number:,}, result {n:,}"
            yield (
                await _followed(fetcher, row, place, home)
                if source.settings.follow and row.get("url")
                else Raw(place, row)
            )
        if not following or following in seen:
            return
        url = following
    extent.is_cut = True


async def _followed(fetcher: Fetcher, row: dict[str, Any], place: str, home: str) -> Raw:
    found = await read_address(fetcher, row["url"], home)
    return Raw(place, found.data | {k: v for k, v in row.items() if not found.data.get(k)} | {"url": row["url"]})


def read_results(html: str, url: str, selectors: Selectors) -> tuple[list[dict[str, Any]], str]:
    """Return the results on a page by its selectors, and the address of the next page. Raises `SourceUnreadable` for a bad selector."""
    from lxml import html as parser

    tree = parser.fromstring(html.encode("utf-8", "replace") or b"<html/>", parser=parser.HTMLParser(encoding="utf-8"))
    rows = []
    for item in _select(tree, selectors.item):
        found = {
            "url": _joined(url, _value(item, selectors.link)),
            "title": _value(item, selectors.title) or one_line("".join(item.itertext()))[:255],
            "price": _value(item, selectors.price),
            "image": _joined(url, _value(item, selectors.image)),
            "place": _value(item, selectors.place),
        }
        rows.append({k: v for k, v in found.items() if v})
    return rows, _joined(url, _value(tree, selectors.next))


def _joined(base: str, link: str) -> str:
    """Return where a link leads; nothing where it is no address (`http://[x`)."""
    try:
        return urljoin(base, link) if link else ""
    except ValueError:
        return ""


def _select(tree: Any, selector: str) -> list[Any]:
    from cssselect import SelectorError
    from lxml.cssselect import CSSSelector

    try:
        return list(CSSSelector(selector)(tree))
    except SelectorError as error:
        raise SourceUnreadable("The page", f"“{selector[:80]}” is not a CSS selector: {error}") from None


def _value(item: Any, selector: str) -> str:
    """Return the text, or with `@name` an attribute, of the first element that a selector finds; `@name` alone is of the item itself."""
    path, _, attribute = selector.partition("@")
    if not selector:
        return ""
    found = _select(item, path) if path else [item]
    if not found:
        return ""
    return str(found[0].get(attribute) or "").strip() if attribute else one_line("".join(found[0].itertext()))


def read_saved(folder: Path, home: str) -> Iterator[Raw]:
    """Yield what pages offer that somebody saved in a folder with their browser, by the order of their names."""
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SAVED and p.is_file()):
        place = path.relative_to(folder).as_posix()
        html, url = saved_page(path)
        yield as_raw(extract_page(html, url or f"file:///{place}", home=home), place)


def saved_page(path: Path) -> tuple[str, str]:
    """Return the text of a saved page and the address it was saved from, as far as its browser noted that."""
    body = path.read_bytes()
    if path.suffix.lower() in {".mhtml", ".mht"}:
        message = email.message_from_bytes(body, policy=email.policy.default)
        part = message.get_body(("html",)) or message
        location = str(part.get("Content-Location") or message.get("Snapshot-Content-Location") or "")
        content = part.get_payload(decode=True)
        return decode_page(content if isinstance(content, bytes) else b"", str(part.get("Content-Type", ""))), location
    html = decode_page(body)
    found = _SAVED_FROM.search(html[:5000])
    return html, found[1] if found else ""
