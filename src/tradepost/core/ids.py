"""Keys: time-ordered UUIDs, and short codes that people can read out loud.

Promises that ids made in one process sort in the order they were made, as PostgreSQL's `uuidv7()` does, also where the clock is set
back.
"""

import hashlib
import secrets
import time
from uuid import UUID

_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # no 0/O, 1/I/L, U: fewer mistakes on the telephone


_last = 0  # the moment of the last id


def uuid7() -> UUID:
    """Return a version 7 UUID: Unix milliseconds, 12 bits of their fraction, then 62 random bits (RFC 9562, section 6.2, method 3)."""
    global _last  # noqa: PLW0603  # it is the process' own
    moment = _last = max(time.time_ns() * 4096 // 1_000_000, _last + 1)
    return UUID(int=moment >> 12 << 80 | 0x7 << 76 | (moment & 0xFFF) << 64 | 0x2 << 62 | secrets.randbits(62))


def readable_code(length: int = 8) -> str:
    """Return a random code of capital letters and digits that cannot be mistaken for each other."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def secret_token() -> str:
    """Return 256 random bits as URL-safe text: for sessions, API tokens and one-time links."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """Return the SHA-256 under which a secret token is stored; the tokens are random, so no salt is needed."""
    return hashlib.sha256(token.encode()).digest()


_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def short_id(key: UUID) -> str:
    """Return a UUID as 22 letters and digits, for addresses of pages."""
    number, digits = key.int, []
    for _ in range(22):
        number, rest = divmod(number, 62)
        digits.append(_BASE62[rest])
    return "".join(reversed(digits))


def from_short_id(text: str) -> UUID | None:
    """Return the UUID that `short_id` wrote, or None when the text is not one."""
    if len(text) != 22 or not text.isascii() or not text.isalnum():
        return None
    number = 0
    for letter in text:
        number = number * 62 + _BASE62.index(letter)
    return UUID(int=number) if number < 1 << 128 else None
