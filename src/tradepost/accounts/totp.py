"""Codes that an authenticator app shows (TOTP, RFC 6238): six digits, every 30 seconds, HMAC-SHA-1, as every app reads them."""

import base64
import hashlib
import hmac
import secrets
import struct
from datetime import datetime
from typing import Final
from urllib.parse import quote

SECONDS: Final = 30
DIGITS: Final = 6
_SLACK: Final = 1  # steps that a clock may be off, either way


def new_secret() -> bytes:
    """Return the 160 random bits that RFC 4226 asks for."""
    return secrets.token_bytes(20)


def code_at(secret: bytes, step: int) -> str:
    """Return the code of a step, counted in half minutes since 1970 (RFC 4226, 5.3)."""
    digest = hmac.new(secret, struct.pack(">Q", step), hashlib.sha1).digest()
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def step_of(moment: datetime) -> int:
    """Return the step that a moment is in."""
    return int(moment.timestamp()) // SECONDS


def matching_step(secret: bytes, code: str, moment: datetime, after: int | None) -> int | None:
    """Return the step whose code this is, at most one off and later than `after`, which was used; None where there is none."""
    today = step_of(moment)
    steps = [step for step in range(today - _SLACK, today + _SLACK + 1) if after is None or step > after]
    fits = [
        step for step in steps if hmac.compare_digest(code_at(secret, step).encode(), code.encode("utf-8", "replace"))
    ]
    return fits[-1] if fits else None


def as_text(secret: bytes) -> str:
    """Return a secret as people type it: base32 in groups of four."""
    text = base64.b32encode(secret).decode().rstrip("=")
    return " ".join(text[n : n + 4] for n in range(0, len(text), 4))


def as_address(secret: bytes, *, issuer: str, account: str) -> str:
    """Return the `otpauth://` address that apps read from a QR code."""
    label = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    key = as_text(secret).replace(" ", "")
    return f"otpauth://totp/{label}?secret={key}&issuer={quote(issuer, safe='')}&algorithm=SHA1&digits={DIGITS}&period={SECONDS}"
