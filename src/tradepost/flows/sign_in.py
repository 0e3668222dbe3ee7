"""Who makes a request, and how they prove it: cookies, API tokens, signing in and out.

Promises that signing in always begins a new session under a new token (the old one ends), that a visitor's cart comes along in
the same transaction, and that nothing tells a name nobody has from a wrong password: not the answer, not the time it takes.
"""

import hashlib
from typing import Final
from uuid import UUID

import msgspec
import structlog

from tradepost.accounts import app_tokens, queries, sessions
from tradepost.accounts.events import PersonSignedOut, SessionsEnded
from tradepost.accounts.passwords import LONGEST, check_password, hash_password, needs_rehash
from tradepost.accounts.service import keep_password
from tradepost.accounts.types import (
    AccountClosed,
    BadSignIn,
    Caller,
    NoSuchSession,
    SignIn,
    StartedSession,
    TokenInvalid,
)
from tradepost.core.clock import now
from tradepost.core.events import record
from tradepost.core.ids import secret_token, token_hash
from tradepost.core.limits import check_rate, network_of, rate_key
from tradepost.core.text import is_plain
from tradepost.flows.admit import admit, as_allowed, person_of
from tradepost.flows.store import Store

TRIES_FROM_ADDRESS: Final = 60
TRIES_AT_ACCOUNT: Final = 100
TRIES_FROM_ADDRESS_AT_ACCOUNT: Final = 10
LONGEST_TOKEN: Final = 100

_log = structlog.get_logger("tradepost.accounts")


class SignInRow(msgspec.Struct, frozen=True):
    """What is known of somebody who signs in."""

    id: UUID
    username: str
    password_hash: str | None
    is_active: bool
    has_second_step: bool


async def load_caller(store: Store, token: str | None, address: str) -> Caller:
    """Return who a cookie's token stands for; a visitor without a session when it is none (any more).

    One look in the cache, or one query; once an hour the session's last use is written down, which lets it last longer.
    """
    if not token or len(token) > LONGEST_TOKEN:
        return Caller(address=address)
    id_hash = token_hash(token)
    found = await sessions.recall_session(store.db, store.cache, id_hash)
    if found is None:
        _log.info("session.unknown", store=store.code, address=address)
        return Caller(address=address)
    caller = as_allowed(store, found.as_caller(address, id_hash))
    if found.last_activity <= now() - sessions.NOTED_EVERY:
        async with store.db.transaction(actor=caller.actor) as tx:
            await sessions.touch_session(tx, store.cache, id_hash, address)
    return caller


async def load_caller_by_token(store: Store, token: str, address: str) -> Caller:
    """Return whom a program acts for by its API token. Raises `TokenInvalid` for one that is revoked, expired or made up."""
    if not token or len(token) > LONGEST_TOKEN:
        raise TokenInvalid
    hashed = token_hash(token)
    found = await sessions.recall_token(store.db, store.cache, hashed)
    if found is None:
        _log.warning("token.refused", store=store.code, address=address)
        raise TokenInvalid
    caller = as_allowed(store, found.as_caller(address, None))
    if found.last_activity <= now() - sessions.NOTED_EVERY:
        async with store.db.transaction(actor=caller.actor) as tx:
            await sessions.touch_token(tx, store.cache, hashed, address)
    return caller


async def open_visit(store: Store, caller: Caller, user_agent: str = "") -> StartedSession:
    """Give a visitor a session, because they need one now: for a cart. `token` goes into the cookie."""
    token = secret_token()
    visitor = msgspec.structs.replace(caller, session=token_hash(token))
    async with store.db.transaction(actor=visitor.actor) as tx:
        expires_at = await sessions.start_session(tx, token, caller.user_id, caller.address, user_agent)
    return StartedSession(token, visitor, expires_at)


async def sign_in(store: Store, caller: Caller, form: SignIn, user_agent: str = "") -> StartedSession:
    """Sign a person in by username or e-mail address. `token` of the answer replaces the one in the cookie.

    A visitor's cart becomes the person's. Raises `BadSignIn`, `AccountClosed` (to who knows the password), `SecondStepNeeded`
    (flows/second_step goes on from there), `TooOften` after 10 tries at one account from one address, 60 from one address, 100
    at one account in a quarter of an hour.
    """
    login = form.login.strip()
    tried = await _check_tries(store, caller, login)
    person = await _find(store, login)
    fits = await check_password(person.password_hash if person else None, form.password[:LONGEST])
    if person is None or person.password_hash is None or not fits or len(form.password) > LONGEST:
        _log.warning("sign_in.refused", store=store.code, address=caller.address, known=person is not None)
        raise BadSignIn
    if not person.is_active:
        _log.warning("sign_in.closed", store=store.code, address=caller.address, user_id=str(person.id))
        raise AccountClosed
    kept = await hash_password(form.password) if needs_rehash(person.password_hash) else person.password_hash
    async with store.db.transaction(actor=person_of(person.id, caller)) as tx:
        if not await keep_password(tx, person.id, known=person.password_hash, password_hash=kept):
            raise BadSignIn
        found = await admit(tx, store, caller, person.id, has_second_step=person.has_second_step, user_agent=user_agent)
    await store.cache.delete(tried)
    if isinstance(found, StartedSession):
        return found
    raise found


async def sign_out(store: Store, caller: Caller) -> None:
    """End the session of the caller's browser. Idempotent."""
    if caller.session is None:
        return
    async with store.db.transaction(actor=caller.actor) as tx:
        if await sessions.end_session(tx, store.cache, caller.session) and caller.user_id:
            await record(tx, PersonSignedOut(caller.user_id), subject_id=caller.user_id)


async def sign_out_device(store: Store, caller: Caller, session_id: str) -> None:
    """End one of the caller's sessions, named as `list_sessions` does. Raises `NoSuchSession` for anybody else's."""
    user_id, id_hash = caller.check_in_person(), queries.as_hash(session_id)
    async with store.db.transaction(actor=caller.actor) as tx:
        if id_hash is None or not await sessions.end_session_of(tx, store.cache, user_id, id_hash):
            raise NoSuchSession
        await record(tx, SessionsEnded(user_id, 1), subject_id=user_id)


async def sign_out_others(store: Store, caller: Caller) -> int:
    """End every session of the caller but this one, those of apps too; return how many there were."""
    user_id = caller.check_in_person()
    async with store.db.transaction(actor=caller.actor) as tx:
        ended = await sessions.end_sessions_of(tx, store.cache, user_id, keep=caller.session or b"")
        ended += await app_tokens.end_apps_of(tx, store.cache, user_id)
        if ended:
            await record(tx, SessionsEnded(user_id, ended), subject_id=user_id)
    return ended


async def _check_tries(store: Store, caller: Caller, login: str) -> str:
    """Count this try, before any work is done for it; return the key of the counter that success sets back."""
    account = hashlib.sha256(login.casefold().encode("utf-8", "replace")).hexdigest()[:24]
    network = network_of(caller.address)
    await check_rate(store.cache, network, "sign_in", TRIES_FROM_ADDRESS)
    await check_rate(store.cache, network, f"sign_in:{account}", TRIES_FROM_ADDRESS_AT_ACCOUNT)
    await check_rate(store.cache, account, "sign_in", TRIES_AT_ACCOUNT)
    return rate_key(network, f"sign_in:{account}")


async def _find(store: Store, login: str) -> SignInRow | None:
    if not login or len(login) > 255 or not is_plain(login):
        return None
    statement = queries.SIGN_IN_BY_EMAIL if "@" in login else queries.SIGN_IN_BY_USERNAME
    return await store.db.read_maybe(statement, into=SignInRow, fresh=True, login=login)
