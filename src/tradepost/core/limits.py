"""How often somebody may ask for the same thing: counters in windows of 15 minutes, shared by all processes of a store.

Owns the keys `rate_limit:{address}:{endpoint}` in the cache. While the cache is down each process counts for itself.
"""

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from tradepost.core.cache import Cache
from tradepost.core.errors import TooMany

WINDOW_S: Final = 900


@dataclass(eq=False)
class TooOften(TooMany):
    """That was tried too often; please wait a quarter of an hour."""

    retry_after_s: int = WINDOW_S


def rate_key(who: str, endpoint: str) -> str:
    """Return the counter's key."""
    return f"rate_limit:{who}:{endpoint}"


def network_of(address: str) -> str:
    """Return what an address is counted under: itself, or the /64 of an IPv6 one, which one customer has whole."""
    try:
        found = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return f"{IPv6Address(int(found) >> 64 << 64)}/64"
    return str(found)


async def check_rate(cache: Cache, who: str, endpoint: str, most: int) -> None:
    """Count one request and raise `TooOften` when there were more than `most` in this window of 15 minutes."""
    if await cache.count(rate_key(who, endpoint), ttl_s=WINDOW_S) > most:
        raise TooOften
