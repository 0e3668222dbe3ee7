"""Which requests may be answered by a read replica, and how whoever changes something sees it in the next answer.

After a change a browser gets the primary's position in a cookie, a program in the header `tradepost-position`, which it sends
along next time. Asked of the primary alone: whatever changes something, a program with a token that sends no position, and what a
page's own script fetches, since a live line may have told it of something that a replica has not heard of yet.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from tradepost.core.database import Database
from tradepost.core.errors import DomainError
from tradepost.core.replicas import Reading, reading_after

HEADER: Final = b"tradepost-position"
COOKIE: Final = b"position"
_SAFE = frozenset({"GET", "HEAD"})
_LONGEST_S = 3600  # a replica that lags for longer is left out anyway
_MOST_DIGITS = 16


def reading_of(db: Database, scope: Any) -> AbstractContextManager[Reading | None]:
    """Return the block in which a request is handled: its reads may be a moment old where that does no harm."""
    if db.replicas is None or scope["method"] not in _SAFE:
        return nullcontext()
    seen = _seen(scope["headers"])
    return nullcontext() if seen is None else reading_after(seen)


async def position_headers(
    db: Database, scope: Any, reading: Reading | None, *, secure: bool
) -> list[tuple[bytes, bytes]]:
    """Return the headers that say how far the primary has come, after a request that may have changed something."""
    if db.replicas is None or (scope["method"] in _SAFE and not (reading and reading.wrote)):
        return []
    try:
        position = f"{await db.position():x}".encode()
    except DomainError:  # the primary went away since: whoever comes back is answered by what there is
        return []
    cookie = COOKIE + b"=" + position + f"; Path=/; Max-Age={_LONGEST_S}; HttpOnly; SameSite=lax".encode()
    return [(HEADER, position), (b"set-cookie", cookie + (b"; Secure" if secure else b""))]


def _seen(headers: list[tuple[bytes, bytes]]) -> int | None:
    """Return the position up to which the asker must see everything, or None where only the primary will do."""
    given, cookies, has_token = None, b"", False
    for name, value in headers:
        if name == HEADER:
            given = value
        elif name == b"cookie":
            cookies += b"; " + value
        elif name == b"authorization":
            has_token = True
        elif name == b"sec-fetch-dest" and value == b"empty":
            return None
    if given is None and has_token:
        return None
    if given is None:
        pairs = (part.strip().partition(b"=") for part in cookies.split(b";"))
        given = next((value for name, _, value in pairs if name == COOKIE), b"0")
    return _number(given)


def _number(text: bytes) -> int | None:
    try:
        return int(text, 16) if len(text) <= _MOST_DIGITS else None
    except ValueError:
        return None
