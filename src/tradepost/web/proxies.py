"""Who a request comes from when a proxy brings it: the address that rate limits count and devices are listed by.

Promises that nobody chooses their own address: `X-Forwarded-For` is read from its end, where our own proxies wrote, and only as
far back as proxies that the operator named.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from tradepost.core.errors import Invalid

Networks = tuple[IPv4Network | IPv6Network, ...]


@dataclass(eq=False)
class NotANetwork(Invalid):
    """“{text}” in the settings is not an address or a network, such as 127.0.0.1 or 10.0.0.0/8."""

    text: str


def networks_of(texts: Iterable[str]) -> Networks:
    """Return the networks that settings name. Raises `NotANetwork`."""
    found = []
    for text in texts:
        try:
            found.append(ip_network(text, strict=False))
        except ValueError:
            raise NotANetwork(text[:60]) from None
    return tuple(found)


def visitor_of(peer: str, headers: Sequence[tuple[bytes, bytes]], trusted: Networks) -> str:
    """Return the address of whoever stands behind the proxies; `peer` itself where it is no proxy of ours."""
    if not trusted or not _is_in(peer, trusted):
        return peer
    told = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1")
    for hop in reversed([part.strip() for part in told.split(",") if part.strip()]):
        if not _is_address(hop):
            return peer
        peer = hop
        if not _is_in(hop, trusted):
            break
    return peer


def is_proxy(peer: str, trusted: Networks) -> bool:
    """Whether an address is one of the proxies that the operator named."""
    return _is_in(peer, trusted)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_in(text: str, networks: Networks) -> bool:
    address: Any = ip_address(text) if _is_address(text) else None
    return address is not None and any(address.version == net.version and address in net for net in networks)
