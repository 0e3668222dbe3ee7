"""How often somebody may ask for the same thing: counters in windows of 15 minutes, shared by all processes of a store.

Owns the keys `rate_limit:{address}:{endpoint}` in the cache. While the cache is down each process counts for itself. What was
counted during a request is there for the answer's headers (`noting`).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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


@dataclass(frozen=True)
class Counted:
    """One limit that a request was counted under: how many are allowed in a window, how many are left, and when it starts over."""

    name: str
    most: int
    left: int
    resets_s: int


_noted: ContextVar[list[Counted] | None] = ContextVar("counted", default=None)


@contextmanager
def noting() -> Iterator[list[Counted]]:
    """Collect what is counted in this block."""
    found: list[Counted] = []
    token = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(token)


async def check_rate(cache: Cache, who: str, endpoint: str, most: int) -> None:
    """Count one request and raise `TooOften` when there were more than `most` in this window of 15 minutes."""
    counted, left_s = await cache.count_window(rate_key(who, endpoint), ttl_s=WINDOW_S)
    resets_s = max(1, math.ceil(left_s))
    noted = _noted.get()
    if noted is not None:
        noted.append(Counted(endpoint.partition(":")[0], most, max(0, most - counted), resets_s))
    if counted > most:
        raise TooOften(resets_s)


def tightest(counted: list[Counted]) -> Counted:
    """Return the limit that is nearest to its end, as a share."""
    return min(counted, key=lambda one: one.left / one.most)
