"""Where notices can go beside the store and the letter box: browsers that take pushes, and a person's own program.

Addresses of browsers and secrets are stored encrypted. Tokens need the scope for a person's own things.
"""

import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.accounts.types import PROFILE_SCOPE, Caller
from tradepost.core.crypto import Keyring
from tradepost.core.database import Transaction
from tradepost.notifications.push import Subscription, check_subscription, decode, encode, new_key
from tradepost.notifications.types import NoHook, NoSuchBrowser

MOST_BROWSERS: Final = 10
BROWSER: Final = "push-subscription"
HOOK_SECRET: Final = "notice-hook"  # noqa: S105  # what the value is for, not the value
PUSH_KEY: Final = "push-key"


class Browser(msgspec.Struct, frozen=True):
    """A browser that takes pushes."""

    id: UUID
    label: str
    created_at: datetime


class Hook(msgspec.Struct, frozen=True):
    """Where a person's program is told; `failures` in a row, and why the last failed."""

    url: str
    failures: int
    error: str | None
    created_at: datetime


class PushKey(msgspec.Struct, frozen=True):
    """The store's key for push services: its private half, and its public one in base64url."""

    private: bytes
    public: str


_ADD = text("""
    INSERT INTO push_subscriptions (user_id, endpoint_hash, subscription_enc, label) VALUES (:me, :hash, :sealed, :label)
    ON CONFLICT (endpoint_hash) DO UPDATE SET subscription_enc = excluded.subscription_enc, label = excluded.label
""")
# A statement of its own, because one statement does not see what it inserts. The one just given stays, however old it is.
_KEEP_LATEST = text("""
    DELETE FROM push_subscriptions WHERE user_id = :me AND endpoint_hash <> :hash
      AND id IN (SELECT id FROM push_subscriptions WHERE user_id = :me ORDER BY id DESC OFFSET :most)
""")
_TAKE_OVER = text("DELETE FROM push_subscriptions WHERE endpoint_hash = :hash AND user_id <> :me")
_BROWSERS = text("SELECT id, label, created_at FROM push_subscriptions WHERE user_id = :me ORDER BY id DESC")
_SEALED = text("SELECT id, subscription_enc FROM push_subscriptions WHERE user_id = :user_id ORDER BY id")
_REMOVE = text("DELETE FROM push_subscriptions WHERE user_id = :me AND id = :browser_id")
_GONE = text("DELETE FROM push_subscriptions WHERE id = :browser_id")
_SET_HOOK = text("""
    INSERT INTO notice_hooks (user_id, url, secret_enc) VALUES (:me, :url, :sealed)
    ON CONFLICT (user_id) DO UPDATE SET url = excluded.url, secret_enc = excluded.secret_enc, failures = 0, error = NULL,
        created_at = now()
""")
_HOOK = text("SELECT url, failures, error, created_at FROM notice_hooks WHERE user_id = :me")
_HOOK_SECRET = text("SELECT url, secret_enc FROM notice_hooks WHERE user_id = :user_id")
_REMOVE_HOOK = text("DELETE FROM notice_hooks WHERE user_id = :me")
_NOTE_HOOK = text("""
    UPDATE notice_hooks SET failures = CASE WHEN CAST(:error AS text) IS NULL THEN 0 ELSE failures + 1 END, error = CAST(:error AS text)
    WHERE user_id = :user_id AND (failures > 0 OR CAST(:error AS text) IS NOT NULL)
""")
_READ_KEY = text("SELECT private_enc, public FROM push_keys")
_MAKE_KEY = text("INSERT INTO push_keys (private_enc, public) VALUES (:sealed, :public) ON CONFLICT DO NOTHING")


async def add_browser(tx: Transaction, keys: Keyring, caller: Caller, given: Subscription, label: str) -> None:
    """Have notices pushed to a browser, the ten latest of a person. Whoever uses it now gets them, nobody else.

    `tx` is the system's, because a browser may have been somebody else's. Raises `NotASubscription`, `SignInFirst`, `NotAllowed`.
    """
    me = caller.check_scope(PROFILE_SCOPE)
    check_subscription(given)
    digest = hashlib.sha256(given.endpoint.encode()).digest()
    await tx.run(_TAKE_OVER, hash=digest, me=me)
    sealed = keys.encrypt(msgspec.json.encode(given).decode(), BROWSER)
    await tx.run(_ADD, me=me, hash=digest, sealed=sealed, label=label[:200])
    await tx.run(_KEEP_LATEST, me=me, hash=digest, most=MOST_BROWSERS)


async def list_browsers(tx: Transaction, caller: Caller) -> list[Browser]:
    """Return the caller's browsers, the latest first. Raises `SignInFirst`."""
    return await tx.all(_BROWSERS, into=Browser, me=caller.check_signed_in())


async def remove_browser(tx: Transaction, caller: Caller, browser_id: UUID) -> None:
    """Push nothing to a browser any more. Raises `NoSuchBrowser`, `SignInFirst`, `NotAllowed`."""
    if not await tx.run(_REMOVE, me=caller.check_scope(PROFILE_SCOPE), browser_id=browser_id):
        raise NoSuchBrowser


async def forget_browser(tx: Transaction, browser_id: UUID) -> None:
    """Forget a browser that its push service does not know any more."""
    await tx.run(_GONE, browser_id=browser_id)


async def browsers_of(tx: Transaction, keys: Keyring, user_id: UUID) -> list[tuple[UUID, Subscription]]:
    """Return somebody's browsers as they introduced themselves."""
    rows = await tx.all(_SEALED, user_id=user_id)
    return [
        (r["id"], msgspec.json.decode(keys.decrypt(r["subscription_enc"], BROWSER), type=Subscription)) for r in rows
    ]


async def set_hook(tx: Transaction, keys: Keyring, caller: Caller, url: str) -> str:
    """Have the caller's program told at an address; return the secret that signs what it gets, shown this once.

    Raises `SignInFirst`, `NotAllowed`.
    """
    me = caller.check_scope(PROFILE_SCOPE)
    secret = f"whsec_{secrets.token_urlsafe(32)}"
    await tx.run(_SET_HOOK, me=me, url=url, sealed=keys.encrypt(secret, HOOK_SECRET))
    return secret


async def read_hook(tx: Transaction, caller: Caller) -> Hook | None:
    """Return where the caller's program is told. Raises `SignInFirst`."""
    return await tx.maybe(_HOOK, into=Hook, me=caller.check_signed_in())


async def remove_hook(tx: Transaction, caller: Caller) -> None:
    """Tell the caller's program nothing any more. Raises `NoHook`, `SignInFirst`, `NotAllowed`."""
    if not await tx.run(_REMOVE_HOOK, me=caller.check_scope(PROFILE_SCOPE)):
        raise NoHook


async def hook_of(tx: Transaction, keys: Keyring, user_id: UUID) -> tuple[str, str] | None:
    """Return the address of somebody's program and its secret."""
    row: Any = await tx.maybe(_HOOK_SECRET, user_id=user_id)
    return (row["url"], keys.decrypt(row["secret_enc"], HOOK_SECRET)) if row else None


async def note_hook(tx: Transaction, user_id: UUID, error: str | None) -> None:
    """Note whether somebody's program could be told."""
    await tx.run(_NOTE_HOOK, user_id=user_id, error=error[:300] if error else None)


def signature(secret: str, body: bytes, at: int) -> str:
    """Return what proves to a program that the store sent this, and when: `t=…,v1=…`, over the time, a dot and the body."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={mac}"


async def read_push_key(tx: Transaction, keys: Keyring) -> PushKey:
    """Return the store's key for push services; it is made when it is first asked for."""
    row = await tx.maybe(_READ_KEY)
    if row is None:
        private, public = new_key()
        await tx.run(_MAKE_KEY, sealed=keys.encrypt(encode(private), PUSH_KEY), public=public)
        row = await tx.one(_READ_KEY)
    return PushKey(decode(keys.decrypt(row["private_enc"], PUSH_KEY)), row["public"])
