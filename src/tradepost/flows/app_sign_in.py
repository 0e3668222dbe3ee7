"""Apps that sign in as a person: by password and second step, and on from there by refresh tokens."""

from typing import Final
from uuid import UUID

import msgspec
import structlog

from tradepost.accounts import app_tokens, sessions
from tradepost.accounts.api_tokens import scope_problem
from tradepost.accounts.one_time import OneTime, find_token
from tradepost.accounts.types import (
    PROFILE_SCOPE,
    AppSignIn,
    Caller,
    SignedInApp,
    SignIn,
    TokenInvalid,
    TokenPair,
    TokenReused,
)
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.limits import check_rate, network_of
from tradepost.flows.admit import person_of
from tradepost.flows.letters import send_letter
from tradepost.flows.second_step import sign_in_whole
from tradepost.flows.store import Store

TRIES_FROM_ADDRESS: Final = 600
_log = structlog.get_logger("tradepost.accounts")


async def sign_in_app(store: Store, caller: Caller, form: AppSignIn, user_agent: str = "") -> TokenPair:
    """Sign an app in as a person and return its first pair of tokens. All that a sign-in by a page asks is asked.

    Raises as `sign_in_whole`, and `FieldErrors` for scopes that the person does not have.
    """
    check_fields(broken_limits(form))
    visitor = msgspec.structs.replace(caller, session=None)
    wanted = SignIn(login=form.login, password=form.password, code=form.code)
    person = (await sign_in_whole(store, visitor, wanted, user_agent)).caller
    async with store.db.transaction(actor=person.actor) as tx:
        if person.session is not None:  # what is asked and counted is a browser's sign-in; what comes of it is not
            await sessions.end_session(tx, store.cache, person.session)
        scopes = (
            (PROFILE_SCOPE, *sorted(person.permissions)) if form.scopes is None else tuple(sorted(set(form.scopes)))
        )
        check_fields({"scopes": await scope_problem(tx, person, scopes)})
        device = form.device_info or {app_tokens.NAME: user_agent[:100]}
        return await app_tokens.begin(tx, person.check_signed_in(), scopes, device, caller.address)


async def refresh(store: Store, address: str, secret: str) -> TokenPair:
    """Return the next pair of tokens for a refresh token, which is used up by that.

    Raises `TokenInvalid` for one that ended, `TokenReused` for one that was used: its sign-in ends, and its person is told.
    """
    await check_rate(store.cache, network_of(address), "refresh", TRIES_FROM_ADDRESS)
    found = await find_token(store.db, secret, "refresh")
    if found is None or found.revoked_at is not None or not found.is_active:
        raise TokenInvalid
    if found.used_at is None:
        if not found.is_good:
            raise TokenInvalid
        async with store.db.transaction(actor=person_of(found.user_id, Caller(address=address))) as tx:
            pair = await app_tokens.turn(tx, found, address)
        if pair is not None:
            return pair
    await _end_copied(store, found, address)
    raise TokenReused


async def _end_copied(store: Store, found: OneTime, address: str) -> None:
    _log.warning("refresh.replayed", store=store.code, address=address, user_id=str(found.user_id))
    async with store.db.transaction(actor=person_of(found.user_id, Caller(address=address))) as tx:
        await app_tokens.note_replay(tx, store.cache, found)
        what = "An app was signed out, because its key was used twice and may have been copied"
        await send_letter(tx, store, "security_changed", found.user_id, what=what)


async def sign_out_app(store: Store, address: str, secret: str) -> None:
    """End the sign-in that a refresh token belongs to. Idempotent: nothing is said of a token that is none."""
    await check_rate(store.cache, network_of(address), "refresh", TRIES_FROM_ADDRESS)
    found = await find_token(store.db, secret, "refresh")
    if found is None or found.family is None or found.revoked_at is not None:
        return
    async with store.db.transaction(actor=person_of(found.user_id, Caller(address=address))) as tx:
        await app_tokens.end_app(tx, store.cache, found.user_id, found.family)


async def list_apps(store: Store, caller: Caller) -> tuple[SignedInApp, ...]:
    """Return the apps that are signed in as the caller. Raises `NotByToken`."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await app_tokens.list_apps(tx, caller)


async def end_app(store: Store, caller: Caller, family: UUID) -> None:
    """Sign one of the caller's apps out. Raises `NoSuchApp`, `NotByToken`."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await app_tokens.end_app(tx, store.cache, caller.check_in_person(), family)
