"""Requests to addresses that people gave us: web hooks, feeds, pictures by URL.

Promises that nothing inside our own network is ever reached, whatever a name resolves to and wherever a redirect leads: the name
is resolved here, every address it has is checked, and the connection goes to the checked address itself, so a second answer of
the name server changes nothing. Every request has a limit of time and of bytes, counted after decompression. Proxies and cookies
are not used. It does not retry: callers run in jobs, which do.
"""

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Self

import httpcore
import httpx
import msgspec

from tradepost.core.errors import Invalid, Refused, Unavailable

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_LONGEST_URL: Final = 2048
_NEVER: Final = tuple(
    ip_network(net)
    for net in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        # IPv6: only what the registries hand out (2000::/3) is left, without what carries an IPv4 address or is special in it.
        *("::/3", "4000::/2", "8000::/1", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "2620:4f:8000::/48"),
    )
)  # IANA special-purpose address registries, as of October 2026
_MAPPED: Final = ip_network("::ffff:0:0/96")
_NAT64: Final = ip_network("64:ff9b::/96")


@dataclass(eq=False)
class NotAWebAddress(Invalid):
    """“{url}” is not a web address; it must begin with http:// or https:// and name a public host."""

    url: str
    field: str | None = None


@dataclass(eq=False)
class AddressRefused(Refused):
    """We do not send requests to {host}: it is not a public address."""

    host: str


@dataclass(eq=False)
class ReplyTooLarge(Invalid):
    """The answer of {host} is larger than {limit} bytes."""

    host: str
    limit: int


@dataclass(eq=False)
class ReplyUnreadable(Invalid):
    """The answer of {host} cannot be read: {problem}."""

    host: str
    problem: str


@dataclass(eq=False)
class OutsideUnreachable(Unavailable):
    """{host} does not answer: {problem}."""

    host: str
    problem: str


class Reply(msgspec.Struct, frozen=True):
    """A whole answer. `url` is where redirects ended; header names are in lower case."""

    url: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is one of the two hundreds."""
        return 200 <= self.status < 300


@dataclass(frozen=True)
class StreamedReply:
    """An answer whose body is still to come. `chunks` raises `ReplyTooLarge` where the limit is passed."""

    url: str
    status: int
    headers: dict[str, str]
    chunks: AsyncIterator[bytes]


def is_public(address: Address) -> bool:
    """Whether an address is a public one; an IPv4 address in IPv6 clothes counts as what it is."""
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return not any(address.version == net.version and address in net for net in _NEVER)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver for every address of a name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to checked addresses only. The name stays with the request, for TLS and the Host header."""

    def __init__(self, allowed: Iterable[str], ask: Resolve) -> None:
        self._allowed = tuple(ip_network(net) for net in allowed)
        self._resolve = ask
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of a name that answers. Raises `AddressRefused` where one of them is not public."""
        try:
            async with asyncio.timeout(timeout):
                addresses = [ip_address(found) for found in await self._resolve(host, port)]
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"the name {host} was not resolved in time") from None
        except (OSError, ValueError) as error:
            raise httpcore.ConnectError(f"the name {host} is unknown") from error
        if not all(
            is_public(a) or any(a in net for net in self._allowed if net.version == a.version) for a in addresses
        ):
            raise AddressRefused(host)
        failure: Exception = httpcore.ConnectError(f"the name {host} has no address")
        for address in addresses:
            try:
                return await self._backend.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109, ARG002  # httpcore's signature
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002  # as above
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: a socket of this machine is nobody's web address."""
        raise AddressRefused(path)

    async def sleep(self, seconds: float) -> None:
        """Wait, for httpcore."""
        await asyncio.sleep(seconds)


class _CheckedTransport(httpx.AsyncHTTPTransport):
    """httpx over the backend above; httpx itself offers no way to give one."""

    def __init__(self, backend: _CheckedBackend) -> None:
        context = httpx.create_ssl_context(trust_env=False)
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=20,
            max_keepalive_connections=5,
            keepalive_expiry=10.0,
            network_backend=backend,
        )


class Outside:
    """A client for the world outside. Use it as an asynchronous context manager; one serves many requests at once.

    `allowed` names networks that may be reached although they are not public: local servers in tests, a hook inside the house.
    """

    def __init__(self, *, allowed: Iterable[str] = (), agent: str = "Tradepost", ask: Resolve = resolve) -> None:
        self._client = httpx.AsyncClient(
            transport=_CheckedTransport(_CheckedBackend(allowed, ask)),
            headers={"User-Agent": agent, "Accept-Encoding": "gzip, deflate"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        most_bytes: int = 5_000_000,
        seconds: float = 10.0,
        redirects: int = 5,
    ) -> Reply:
        """Send a request and return the whole answer, whatever its status.

        Raises `NotAWebAddress`, `AddressRefused`, `ReplyTooLarge`, `ReplyUnreadable`, `OutsideUnreachable`.
        """
        asked = self.stream(
            url,
            method=method,
            headers=headers,
            content=content,
            most_bytes=most_bytes,
            seconds=seconds,
            redirects=redirects,
        )
        async with asked as reply:
            body = b"".join([chunk async for chunk in reply.chunks])
            return Reply(reply.url, reply.status, reply.headers, body)

    @asynccontextmanager
    async def stream(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        most_bytes: int = 5_000_000,
        seconds: float = 10.0,
        redirects: int = 5,
    ) -> AsyncIterator[StreamedReply]:
        """Send a request and lend its answer while the body arrives; `seconds` is for all of the block. Raises as `fetch`."""
        request = self._client.build_request(method, _checked(url), headers=headers, content=content, timeout=seconds)
        host = request.url.host
        try:
            async with asyncio.timeout(seconds) as limit:
                response = await self._followed(request, redirects)
                try:
                    host = response.url.host
                    chunks = _limited(response, most_bytes)
                    yield StreamedReply(str(response.url), response.status_code, dict(response.headers), chunks)
                finally:
                    await response.aclose()
        except TimeoutError:
            if not limit.expired():
                raise  # the block's own affair
            raise OutsideUnreachable(host, f"it took longer than {seconds:g} seconds") from None
        except httpx.TransportError as error:
            raise OutsideUnreachable(host, str(error) or type(error).__name__) from error

    async def _followed(self, request: httpx.Request, redirects: int) -> httpx.Response:
        """Send a request and those it is redirected to; every hop is checked like the first."""
        for _ in range(redirects + 1):
            try:
                response = await self._client.send(request, stream=True)
            except httpx.RemoteProtocolError as error:
                raise ReplyUnreadable(request.url.host, str(error)) from error
            if response.next_request is None:
                return response
            await response.aclose()
            request = response.next_request
            _checked(str(request.url))
        raise ReplyUnreadable(request.url.host, f"it redirects more than {redirects} times")


def _checked(url: str) -> httpx.URL:
    """Return a URL that may be asked for; where its name leads is checked when connecting."""
    try:
        parsed = httpx.URL(url) if len(url) <= _LONGEST_URL else None
        host = parsed.host if parsed else ""  # decoded only now, and may be no name in any alphabet
    except (httpx.InvalidURL, ValueError):
        parsed, host = None, ""
    if parsed is None or parsed.scheme not in {"http", "https"} or not host or parsed.userinfo:
        raise NotAWebAddress(url[:100])
    if not 0 < (parsed.port or 443) < 65_536:
        raise NotAWebAddress(url[:100])
    return parsed


async def _limited(response: httpx.Response, limit: int) -> AsyncIterator[bytes]:
    """Yield the body, decompressed step by step so that a small answer cannot fill the memory."""
    host = response.url.host
    engine = _decompressor(response)
    left = limit
    async for raw in response.aiter_raw():
        try:
            chunk = engine.decompress(raw, left + 1) if engine else raw
        except zlib.error:
            raise ReplyUnreadable(host, "its compression is broken") from None
        left -= len(chunk)
        if left < 0:
            raise ReplyTooLarge(host, limit)
        if chunk:
            yield chunk
    if engine and not engine.eof and left < limit:
        raise ReplyUnreadable(host, "it ends too early")


def _decompressor(response: httpx.Response) -> "zlib._Decompress | None":
    """Return what undoes the encoding of an answer, None where there is none to undo."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        return None
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        raise ReplyUnreadable(response.url.host, f"it is encoded as {encoding[:20]}, which we did not ask for")
    return zlib.decompressobj(zlib.MAX_WBITS | 32)
