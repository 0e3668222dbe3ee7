"""Hashes that other systems made: Django's and plain bcrypt. They are checked until their person signs in, and then made anew.

Promises to compare in constant time, and to refuse a hash that would take too long: more than 5 million rounds of PBKDF2, a bcrypt cost above
15, an Argon2 of more than 256 MiB, 10 passes or 8 lanes. Two at a time are checked, so they take 512 MiB at most. Nothing here makes a hash.
"""

import base64
import hashlib
import hmac
import re
from typing import Final

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

MOST_ROUNDS: Final = 5_000_000
MOST_COST: Final = 15
_MOST_MEMORY_KIB, _MOST_PASSES, _MOST_LANES = 256 * 1024, 10, 8
_BCRYPT: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_ARGON2: Final = re.compile(r"\$argon2(?:id|i|d)\$v=\d+\$m=(\d{1,8}),t=(\d{1,4}),p=(\d{1,3})\$")
_VERIFIER: Final = PasswordHasher()


def verify_foreign(password_hash: str, password: str) -> bool:
    """Whether this is the password of a hash of another system; of one in no known form it never is.

    Passwords are taken as they are typed, as those systems did; bcrypt reads their first 72 bytes.
    """
    given = password.encode("utf-8", "replace")
    kind, _, rest = password_hash.partition("$")
    if kind in {"pbkdf2_sha256", "pbkdf2_sha1"}:
        return _is_pbkdf2(kind.removeprefix("pbkdf2_"), rest, given)
    if kind == "bcrypt_sha256":
        return _is_bcrypt(rest, hashlib.sha256(given).hexdigest().encode())
    if kind == "bcrypt":
        return _is_bcrypt(rest, given)
    if kind == "argon2":
        return _is_argon2(f"${rest}", given)
    if password_hash.startswith("$argon2"):
        return _is_argon2(password_hash, given)
    return _is_bcrypt(password_hash, given)


def _is_pbkdf2(digest: str, rest: str, given: bytes) -> bool:
    parts = rest.split("$")
    if len(parts) != 3 or not re.fullmatch(r"[1-9][0-9]{0,7}", parts[0]) or int(parts[0]) > MOST_ROUNDS:
        return False
    made = hashlib.pbkdf2_hmac(digest, given, parts[1].encode(), int(parts[0]))
    return hmac.compare_digest(base64.b64encode(made), parts[2].encode("ascii", "replace"))


def _is_bcrypt(stored: str, given: bytes) -> bool:
    found = _BCRYPT.fullmatch(stored)
    if found is None or not 4 <= int(found[1]) <= MOST_COST or b"\0" in given:
        return False
    return bcrypt.checkpw(given[:72], stored.encode())


def is_bearable_argon2(stored: str) -> bool:
    """Whether an Argon2 hash, ours or not, asks for no more memory, passes and lanes than we give one."""
    found = _ARGON2.match(stored)
    most = _MOST_MEMORY_KIB, _MOST_PASSES, _MOST_LANES
    return found is not None and all(int(n) <= m for n, m in zip(found.groups(), most, strict=True))


def _is_argon2(stored: str, given: bytes) -> bool:
    if not is_bearable_argon2(stored):
        return False
    try:
        return _VERIFIER.verify(stored, given)
    except (Argon2Error, InvalidHashError):
        return False
