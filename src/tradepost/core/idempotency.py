"""Requests that a client may repeat: `Idempotency-Key`, claimed and answered in the transaction of its effect.

The same key with the same request gives the stored reply; with another request it is refused; while the first is under way it
is refused too. A request that fails leaves no trace, so it can be repeated with the same key once its cause is mended. Keys are
kept for a day. A use case of one transaction runs inside `once`; one that talks to the outside in between (a checkout) claims
and finishes its key itself.
"""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import text

from tradepost.core.database import Actor, Database, Transaction
from tradepost.core.errors import Conflict, Invalid

LONGEST_KEY = 200


class KeyReused(Invalid):
    """This Idempotency-Key was used for another request."""

    field: str | None = "Idempotency-Key"


class BadKeyText(Invalid):
    """An Idempotency-Key has 1 to 200 printable characters."""

    field: str | None = "Idempotency-Key"


class KeyInFlight(Conflict):
    """The first request with this Idempotency-Key is still under way; please ask again in a moment."""


class Claim(msgspec.Struct, frozen=True):
    """What is known of a key. `is_mine`: the caller is the first and goes on. `state` of another's claim: running or done."""

    is_mine: bool
    state: str
    status: int | None
    response: Any
    created_at: datetime | None


_FIRST = Claim(is_mine=True, state="running", status=None, response=None, created_at=None)

# The lock tells a request under way from one that crashed: it goes with the transaction, whatever becomes of it.
_CLAIM = text("""
    INSERT INTO idempotency_keys (actor, key, request_hash, response)
    SELECT :owner, :key, :hash, :response WHERE pg_try_advisory_xact_lock(hashtextextended(CAST(:owner AS text) || :key, 0))
    ON CONFLICT DO NOTHING
""")
_LOOK = text(
    "SELECT state, status, response, created_at, request_hash FROM idempotency_keys WHERE actor = :owner AND key = :key"
)
_FINISH = text("""
    UPDATE idempotency_keys SET state = 'done', status = :status, response = :response
    WHERE actor = :owner AND key = :key AND state = 'running'
""")
_FORGET = text("DELETE FROM idempotency_keys WHERE created_at < now() - interval '1 day'")


def owner_of(actor: Actor) -> str:
    """Return whose keys these are: those of two people never meet."""
    return f"user:{actor.user_id}" if actor.user_id else f"session:{(actor.session or b'').hex()}"


def request_hash(*parts: Any) -> bytes:
    """Return what tells two requests apart."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).digest()


async def claim(tx: Transaction, owner: str, key: str, fingerprint: bytes, response: Any = None) -> Claim:
    """Claim a key for a request, or return what is known of it. `response` is kept meanwhile, for whoever takes over.

    Raises `KeyReused`, `KeyInFlight` while another transaction holds the claim, `BadKeyText`.
    """
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise BadKeyText
    if await tx.run(_CLAIM, owner=owner, key=key, hash=fingerprint, response=response):
        return _FIRST
    found = await tx.maybe(_LOOK, owner=owner, key=key)
    if found is None:
        raise KeyInFlight
    if found["request_hash"] != fingerprint:
        raise KeyReused
    return Claim(False, found["state"], found["status"], found["response"], found["created_at"])


async def finish(tx: Transaction, owner: str, key: str, status: int, response: Any) -> None:
    """Store the reply of a claimed key. Idempotent: the first reply stays."""
    await tx.later(_FINISH, owner=owner, key=key, status=status, response=response)


async def forget_old_keys(tx: Transaction) -> int:
    """Delete the keys of yesterday and before; return how many."""
    return await tx.run(_FORGET)


class Once:
    """The reply of a request that is done once. `is_done`: it was, and `status` and `body` are what it got."""

    def __init__(self, known: Claim) -> None:
        self.is_done = not known.is_mine
        self.status = known.status or 0
        self.body = known.response

    def keep(self, status: int, body: Any) -> None:
        """Set the reply that a repetition will get; `body` is anything that JSON can hold."""
        self.status, self.body = status, body


@asynccontextmanager
async def once(db: Database, actor: Actor, key: str, fingerprint: bytes) -> AsyncIterator[Once]:
    """Do the work of the block once for a key. Transactions on `db` that it opens join one, committed with the reply.

    Check `is_done` first: then the block must do nothing. Otherwise it ends with `keep(status, body)`; on any error nothing
    is kept. Raises `KeyReused`, `KeyInFlight`, `BadKeyText`.
    """
    owner = owner_of(actor)
    async with db.transaction(actor=actor) as tx:
        known = await claim(tx, owner, key, fingerprint)
        if not known.is_mine and known.state == "running":
            raise KeyInFlight
        reply = Once(known)
        with db.joined_by(tx):
            yield reply
        if known.is_mine:
            await finish(tx, owner, key, reply.status, reply.body)
