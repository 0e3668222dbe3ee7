"""Passwords: which ones are refused, and how the rest are kept.

Promises Argon2id with OWASP's parameters (19 MiB, two passes), at most two hashes at a time in a process (38 MiB), never on the
event loop, and the same time for a name nobody has as for a wrong password to a hash of ours. A hash that came from elsewhere takes
the time and the memory that it says, within the limits of `foreign_passwords`, until its person signs in (decision 0018). Refused are
the commonest passwords of real leaks (`breached_passwords.txt`, which names its source and licence), the words people build them from
(`common_passwords.txt`, our own), runs of the keyboard, and the person's own names.
"""

import asyncio
import re
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tradepost.accounts.foreign_passwords import is_bearable_argon2, verify_foreign

T = TypeVar("T")

SHORTEST, LONGEST = 10, 200
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_WORKERS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")  # argon2 lets go of the interpreter lock
_LEET = (str.maketrans("0134578@$!", "oieastbasi"), str.maketrans("0134578@$!", "oleastbasi"))
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "azertyuiop", "1234567890", "abcdefghijklmnopqrstuvwxyz")
_TOO_COMMON = (
    "This is one of the passwords that are tried first. Please choose another; three or four words in a row work well."
)


async def hash_password(password: str) -> str:
    """Return the Argon2id hash of a password, salt and parameters in it."""
    return await _in_thread(_hash, password)


async def check_password(password_hash: str | None, password: str) -> bool:
    """Whether this is the password. Takes as long without a hash (no such person, no password) as with one of ours."""
    return await _in_thread(_verify, password_hash, password)


def needs_rehash(password_hash: str) -> bool:
    """Whether a hash was made with other parameters than today's, or in another form."""
    return not password_hash.startswith("$argon2id$") or _HASHER.check_needs_rehash(password_hash)


def password_problem(password: str, names: Iterable[str] = ()) -> str | None:
    """Return why a password is refused, or None. `names` are the person's own: username, e-mail, display name."""
    if len(password) < SHORTEST:
        return f"At least {SHORTEST} characters, please."
    if len(password) > LONGEST:
        return f"At most {LONGEST} characters, please."
    if any(unicodedata.category(c) in {"Cc", "Cs"} for c in password):
        return "There is a character in it that cannot be typed."
    if any(_is_made_of(password, name) for name in names):
        return "Your name or address is the first thing somebody would try. Please choose something else."
    if _is_trivial(password) or any(form in _common() for form in _forms(password)):
        return _TOO_COMMON
    return None


def _hash(password: str) -> str:
    return _HASHER.hash(_spelled(password))


def _verify(password_hash: str | None, password: str) -> bool:
    nobody = _nobody()
    if password_hash is not None and not password_hash.startswith("$argon2id$"):
        return verify_foreign(password_hash, password)
    if password_hash is not None and not is_bearable_argon2(password_hash):
        return False
    try:
        return _HASHER.verify(password_hash or nobody, _spelled(password)) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobody() -> str:
    """Return a hash to compare with where there is no person."""
    return _HASHER.hash("nobody")


def _spelled(password: str) -> bytes:
    """Return a password's bytes; keyboards that compose accents differently give the same ones (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "replace")


async def _in_thread(work: Callable[..., T], *arguments: object) -> T:
    return await asyncio.get_running_loop().run_in_executor(_WORKERS, work, *arguments)


@cache
def _common() -> frozenset[str]:
    folder = files(__package__)
    texts = [folder.joinpath(name).read_text("utf-8") for name in ("common_passwords.txt", "breached_passwords.txt")]
    lines = [line for text in texts for line in text.splitlines() if not line.startswith("# ")]
    return frozenset(word.casefold() for line in lines for word in line.split())


def _forms(password: str) -> set[str]:
    """Return the shapes of a password that are looked up: as it is, unleeted, and with short ends taken off."""
    lower = unicodedata.normalize("NFC", password).casefold()
    spelled = {lower, *(lower.translate(table) for table in _LEET)}
    core = re.sub(r"^[\W\d_]+|[\W\d_]+$", "", lower)
    ends = lower.replace(core, "", 1) if core else lower
    if core and (len(ends) < 8 or _is_trivial(ends)):
        spelled |= {core, *(core.translate(table) for table in _LEET)}
    spelled |= {re.sub(r"[\W_]+", "", form) for form in spelled}
    return spelled | {twice[1].rstrip("0123456789") for form in spelled if (twice := re.fullmatch(r"(.+?)\1+", form))}


def _is_trivial(password: str) -> bool:
    """Whether a password is a run of the alphabet or the keyboard, one piece repeated, or a date, or a short number."""
    lower = password.casefold()
    digits = re.sub(r"[\W_]+", "", lower)
    if len(set(lower)) <= 3 or (digits.isdigit() and len(digits) < 13):
        return True
    if re.fullmatch(r"(.{1,4})\1+", lower):
        return True
    return any(lower in doubled for row in _ROWS for doubled in (row * 3, row[::-1] * 3))


def _is_made_of(password: str, name: str) -> bool:
    """Whether a password is little more than a name: what is left without it would not do as a password's end."""
    name = name.casefold()
    if len(name) < 3:
        return False
    lower = password.casefold()
    shapes = {lower, *(lower.translate(table) for table in _LEET)}
    return any(name in shape and len(shape.replace(name, "")) < 6 for shape in shapes)
