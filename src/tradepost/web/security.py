"""What protects pages: the session cookie, the CSRF token, response headers, safe redirects.

Promises that every form post and every cookie-authenticated request that changes something carries a token that only a page
of this store could know, and that no page allows inline script or style.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from litestar.datastructures import Cookie

from tradepost.accounts.types import Caller
from tradepost.core.crypto import Keyring
from tradepost.core.errors import Refused
from tradepost.core.ids import secret_token
from tradepost.web.typing import HttpConnection, HttpRequest

SESSION_COOKIE = "session"
CSRF_COOKIE = "csrf"
COOKIE_SECONDS = 400 * 24 * 3600  # the most that browsers keep; the server decides when a session ends
_SALT_LENGTH = 16  # characters
_SAFE = {"GET", "HEAD", "OPTIONS"}
_ELSEWHERE = {"cross-site", "same-site"}  # "same-site" is another host of the same domain

_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: https:; font-src 'self'; connect-src 'self'; "
    "media-src 'self' https:; object-src 'none'; base-uri 'none'; form-action {}; frame-ancestors 'none'"
)
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"geolocation=(self), camera=(), microphone=()"),
]
_STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


def security_headers(payment_origins: Iterable[str] = (), *, secure: bool = False) -> list[tuple[bytes, bytes]]:
    """Return the headers that every answer carries.

    A form may lead to this store, and to where its gateways take payments: browsers follow the redirect of a post by the same rule.
    """
    actions = " ".join(["'self'", *sorted(set(payment_origins))])
    policy = (b"content-security-policy", _POLICY.format(actions).encode())
    return [policy, *_HEADERS, *([_STRICT_TRANSPORT] if secure else [])]


def with_video(headers: list[tuple[bytes, bytes]], origin: str) -> list[tuple[bytes, bytes]]:
    """Return headers that let a page's player fetch video from an origin and hand it on as a blob."""
    name, policy = headers[0]
    fetches = "" if origin == "'self'" else f" {origin}"
    policy = policy.replace(b"connect-src 'self'", b"connect-src 'self'" + fetches.encode())
    return [
        (name, policy.replace(b"media-src 'self' https:", b"media-src 'self' blob: https:" + fetches.encode())),
        *headers[1:],
    ]


@dataclass(eq=False)
class StaleForm(Refused):
    """This form has expired or came from somewhere else; please go back, reload the page and try again."""


def cookie(name: str, value: str, *, secure: bool, max_age: int | None = COOKIE_SECONDS) -> Cookie:
    """Return a cookie that scripts cannot read and other sites cannot send along with a post."""
    return Cookie(key=name, value=value, httponly=True, secure=secure, samesite="lax", path="/", max_age=max_age)


def forget(name: str) -> Cookie:
    """Return the cookie that deletes another."""
    return Cookie(key=name, value="", httponly=True, samesite="lax", path="/", max_age=0)


@lru_cache(maxsize=64)
def form_secret(keys: Keyring) -> bytes:
    """Return the key that signs the tokens of a store's forms."""
    return keys.derived_key("csrf")


def csrf_token(secret: bytes, request: HttpRequest, caller: Caller) -> tuple[str, Cookie | None]:
    """Return the token for this browser's forms, and the cookie to set where it has none yet.

    Another one each time: a secret that stays the same could be guessed from the size of compressed pages (BREACH). It is good
    for the session of whoever is signed in, and for no other; a visitor's is good until they sign in.
    """
    known = request.cookies.get(CSRF_COOKIE)
    value = known or secret_token()
    fresh = None if known else cookie(CSRF_COOKIE, value, secure=request.url.scheme == "https")
    return _sign(secret, value, secrets.token_hex(_SALT_LENGTH // 2), caller), fresh


async def check_csrf(secret: bytes, request: HttpRequest, caller: Caller) -> None:
    """Refuse a changing request that does not carry the token, in the form field `csrf_token` or `X-CSRF-Token`.

    One that a browser says comes from another site is refused with it, too: stores are neighbours below one domain, and a
    neighbour can plant a cookie. Raises `StaleForm`.
    """
    if request.method in _SAFE:
        return
    if comes_from_elsewhere(request):
        raise StaleForm
    given = request.headers.get("x-csrf-token")
    if given is None and request.headers.get("content-type", "").startswith(("application/x-www-form", "multipart/")):
        value = (await request.form()).get("csrf_token")
        given = value if isinstance(value, str) else None
    if not is_form_token(secret, request, caller, given or ""):
        raise StaleForm


def is_form_token(secret: bytes, request: HttpRequest, caller: Caller, given: str) -> bool:
    """Whether this is a token that only a page of this store could put before this browser."""
    known = request.cookies.get(CSRF_COOKIE, "")
    expected = _sign(secret, known, given[:_SALT_LENGTH], caller)
    same = hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))
    return bool(given and known and same)


def comes_from_elsewhere(request: HttpConnection) -> bool:
    """Whether the browser says that another site sent this; older ones say only which, in `Origin`."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in _ELSEWHERE
    origin = request.headers.get("origin")
    return origin is not None and origin.lower().partition("://")[2] != request.headers.get("host", "").lower()


def _sign(secret: bytes, value: str, salt: str, caller: Caller) -> str:
    session = caller.session.hex() if caller.is_signed_in and caller.session else ""
    return (
        salt + hmac.new(secret, f"csrf:{salt}:{value}:{session}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()
    )


def local_path(target: str | None, fallback: str = "/") -> str:
    """Return `target` where it is a path on this site, else `fallback`: no open redirects."""
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")) or any(ord(c) < 32 for c in target):
        return fallback
    parts = urlsplit(target)
    return fallback if parts.scheme or parts.netloc else target
