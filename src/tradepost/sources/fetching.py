"""Asking a source's server: only what its robots.txt allows, one request at a time, never faster than agreed, again later when it is busy.

Promises that nothing inside our own network is reached (core/http), that every answer has a limit of time and of bytes, and that an
answer which has not changed since it was last read is not sent again where the server can tell.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import msgspec
from protego import Protego

from tradepost.core.clock import now
from tradepost.core.errors import DomainError
from tradepost.core.http import Outside, OutsideUnreachable, Reply, StreamedReply
from tradepost.sources.types import SourceAway, SourceUnreadable

AGENT: Final = "Tradepost"
LARGEST_PAGE: Final = 8_000_000
LARGEST_FEED: Final = 50_000_000_000
_LARGEST_ROBOTS: Final = 500_000
_LONGEST_PAUSE_S: Final = 60.0
_TRIES: Final = 3
_SLOWEST: Final = 200  # bytes a second, while we wait for them
_BUSY: Final = frozenset((429, 500, 502, 503, 504))
Sleep = Callable[[float], Awaitable[None]]
TakeTurn = Callable[[str, float], Awaitable[float]]
"""Takes the next moment at which a host may be asked, so many seconds after the one before; returns how long it is until then."""


class Limits(msgspec.Struct, frozen=True):
    """How long answers may take in all, in seconds; `idle_s`: how long a feed may send nothing, or next to nothing."""

    page_s: float = 20.0
    feed_s: float = 6 * 3600.0
    idle_s: float = 60.0


class Stream(msgspec.Struct, frozen=True):
    """A feed that arrives: its bytes, how many there will be where the server says, and what it is recognised by next time."""

    chunks: AsyncIterator[bytes]
    whole: int | None
    validators: dict[str, str]
    content_type: str = ""


class OwnTurns:
    """The turns of a reader that shares its servers with nobody."""

    def __init__(self) -> None:
        self._free: dict[str, float] = {}

    async def take(self, host: str, pause_s: float) -> float:
        """Take the next moment of a host."""
        now_s = asyncio.get_running_loop().time()
        at = max(self._free.get(host, now_s), now_s)
        self._free[host] = at + pause_s
        return at - now_s


class Fetcher:
    """Asks the servers of one source. `take_turn` shares their pace with other readers; without it they are asked as if by nobody else."""

    def __init__(
        self,
        name: str,
        outside: Outside,
        *,
        pause_s: float = 2.0,
        limits: Limits | None = None,
        sleep: Sleep = asyncio.sleep,
        take_turn: TakeTurn | None = None,
    ) -> None:
        self._name = name
        self._outside = outside
        self._pause_s = pause_s
        self._limits = limits or Limits()
        self._sleep = sleep
        self._robots: dict[str, Protego] = {}
        self._take_turn = take_turn or OwnTurns().take

    async def page(self, url: str) -> Reply:
        """Return a page. Raises `SourceUnreadable` for what will not change by itself, `SourceAway` for what may."""
        await self._check_allowed(url)
        reply = await self._patiently(url)
        if not reply.is_success:
            raise SourceUnreadable(self._name, f"{url[:200]} answers {reply.status}")
        return reply

    @asynccontextmanager
    async def feed(self, url: str, validators: Mapping[str, str] | None = None) -> AsyncIterator[Stream | None]:
        """Lend a feed while it arrives, None where it has not changed since. Raises as `page`."""
        await self._check_allowed(url)
        headers = _conditions(validators or {})
        for attempt in range(1, _TRIES + 1):
            await self._wait_turn(url)
            async with AsyncExitStack() as stack:
                reply = await self._begun(stack, url, headers)
                if reply.status == 304:
                    yield None
                    return
                if 200 <= reply.status < 300:
                    yield _stream(reply, self._lively(reply.chunks), url)
                    return
                if reply.status not in _BUSY:
                    raise SourceUnreadable(self._name, f"it answers {reply.status}")
                await self._back_off(reply.status, reply.headers, attempt)
        raise SourceAway(self._name, "it was busy each time")

    async def _begun(self, stack: AsyncExitStack, url: str, headers: Mapping[str, str]) -> StreamedReply:
        asked = self._outside.stream(url, headers=headers, most_bytes=LARGEST_FEED, seconds=self._limits.feed_s)
        try:
            async with asyncio.timeout(self._limits.page_s):
                return await stack.enter_async_context(asked)
        except TimeoutError:
            raise SourceAway(self._name, f"it did not answer within {self._limits.page_s:g} seconds") from None

    async def _lively(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Pass a feed on. Raises `SourceAway` where it stops, or comes so slowly that it would never end."""
        loop, idle, waited, received = asyncio.get_running_loop(), self._limits.idle_s, 0.0, 0
        while True:
            began = loop.time()
            try:
                async with asyncio.timeout(idle):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise SourceAway(self._name, f"it sent nothing for {idle:g} seconds") from None
            if chunk is None:
                return
            waited, received = waited + loop.time() - began, received + len(chunk)
            if waited > idle and received < waited * _SLOWEST:
                raise SourceAway(self._name, f"it sends only {received / waited:.0f} bytes a second")
            yield chunk

    async def _patiently(self, url: str) -> Reply:
        for attempt in range(1, _TRIES + 1):
            await self._wait_turn(url)
            try:
                reply = await self._outside.fetch(url, most_bytes=LARGEST_PAGE, seconds=self._limits.page_s)
            except OutsideUnreachable:
                if attempt == _TRIES:
                    raise
                await self._sleep(2.0**attempt)
                continue
            if reply.status not in _BUSY:
                return reply
            await self._back_off(reply.status, reply.headers, attempt)
        raise SourceAway(self._name, "it was busy each time")

    async def _back_off(self, status: int, headers: Mapping[str, str], attempt: int) -> None:
        """Wait as long as the server asks, or longer each time. Raises `SourceAway` where that is too long to wait."""
        asked = _seconds(headers.get("retry-after", ""))
        wait = asked if asked is not None else 2.0**attempt
        if attempt == _TRIES or wait > _LONGEST_PAUSE_S:
            raise SourceAway(self._name, f"it answers {status}")
        await self._sleep(wait)

    async def _wait_turn(self, url: str) -> None:
        """Wait until the host may be asked again."""
        host = urlsplit(url).netloc.lower()
        robots = self._robots.get(_origin(url))
        delay = max(self._pause_s, min((robots.crawl_delay(AGENT) if robots else None) or 0.0, _LONGEST_PAUSE_S))
        if delay > 0 and (left := await self._take_turn(host, delay)) > 0:
            await self._sleep(left)

    async def _check_allowed(self, url: str) -> None:
        """Raise `SourceUnreadable` where the site's robots.txt does not want us there (RFC 9309)."""
        origin = _origin(url)
        robots = self._robots.get(origin)
        if robots is None:
            robots = self._robots[origin] = await self._read_robots(origin)
        if not robots.can_fetch(url, AGENT):
            raise SourceUnreadable(self._name, f"robots.txt does not allow {urlsplit(url).path[:200] or '/'}")

    async def _read_robots(self, origin: str) -> Protego:
        """Return the rules of a site: none where it has no robots.txt; while it cannot be asked for them, nothing is allowed."""
        try:
            reply = await self._outside.fetch(
                f"{origin}/robots.txt", most_bytes=_LARGEST_ROBOTS, seconds=self._limits.page_s
            )
        except OutsideUnreachable as error:
            raise SourceAway(self._name, str(error)) from None
        except DomainError as error:
            if error.kind == "refused":
                raise
            return Protego.parse("")
        if reply.status >= 500:
            raise SourceAway(self._name, f"its robots.txt answers {reply.status}")
        return Protego.parse(reply.body.decode("utf-8", "replace") if reply.is_success else "")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _conditions(validators: Mapping[str, str]) -> dict[str, str]:
    given = {"If-None-Match": validators.get("etag", ""), "If-Modified-Since": validators.get("last-modified", "")}
    return {name: value for name, value in given.items() if value}


def _seconds(text: str) -> float | None:
    """Return what a Retry-After says: seconds, or until a moment."""
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - now()).total_seconds())
    except (ValueError, TypeError):
        return None


def _stream(reply: StreamedReply, chunks: AsyncIterator[bytes], url: str) -> Stream:
    headers = reply.headers
    kept = {name: headers[name][:500] for name in ("etag", "last-modified") if headers.get(name)}
    length = headers.get("content-length", "")
    whole = int(length) if length.isdigit() and not headers.get("content-encoding") else None
    kind = headers.get("content-type", "")
    is_packed = "gzip" in kind or urlsplit(url).path.endswith(".gz")
    return Stream(unpacked(chunks) if is_packed else chunks, None if is_packed else whole, kept, kind)


async def unpacked(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Undo gzip while the bytes arrive, some at a time however much a few of them hold; what is not gzip passes as it is."""
    engine, first, is_whole = None, True, True
    async for chunk in chunks:
        if first and not chunk.startswith(b"\x1f\x8b"):
            yield chunk
            async for rest in chunks:
                yield rest
            return
        first = False
        engine = engine or zlib.decompressobj(zlib.MAX_WBITS | 16)
        data = chunk
        while data:
            is_whole = False
            try:
                part = engine.decompress(data, 1 << 20)
            except zlib.error as error:
                raise SourceUnreadable("The feed", f"its compression is broken: {error}") from None
            if part:
                yield part
            data = engine.unconsumed_tail
            if engine.eof:
                is_whole = True
                data, engine = engine.unused_data, zlib.decompressobj(zlib.MAX_WBITS | 16)
    if not is_whole:
        raise SourceUnreadable("The feed", "its compression ends too early")
