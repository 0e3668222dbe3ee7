"""The second step of a sign-in, proving oneself again, and keeping one's second steps.

Promises that codes cannot be guessed: ten tries a quarter of an hour for each person, however many browsers ask.
"""

from typing import Final
from uuid import UUID

import msgspec

from tradepost.accounts import outside_logins, passkeys, queries, second_steps, sessions
from tradepost.accounts.one_time import find_link, use_link
from tradepost.accounts.outside_logins import OutsideLogin
from tradepost.accounts.passkeys import Passkey, Site
from tradepost.accounts.passwords import check_password
from tradepost.accounts.second_steps import SecondSteps
from tradepost.accounts.types import Caller, PasskeyRefused, SecondStepNeeded, SignIn, StartedSession
from tradepost.core.fields import check_fields
from tradepost.core.limits import check_rate, network_of
from tradepost.flows.admit import arrive, person_of
from tradepost.flows.letters import send_letter
from tradepost.flows.sign_in import SignInRow, sign_in
from tradepost.flows.store import Store

TRIES: Final = 10
TRIES_FROM_ADDRESS: Final = 60


class SecurityPage(msgspec.Struct, frozen=True):
    """What a person sees of the ways into their account."""

    steps: SecondSteps
    passkeys: tuple[Passkey, ...]
    logins: tuple[OutsideLogin, ...]


def site_of(store: Store) -> Site:
    """Return what the store's passkeys are made for."""
    return Site.of(store.settings.store.name, store.base_url, store.keys)


async def ask_second_step(store: Store, step: str) -> SecondSteps:
    """Return which second steps the person has who got this far. Raises `LinkSpent`."""
    link = await find_link(store.db, step, "second_step")
    async with store.db.transaction(actor=person_of(link.user_id, Caller()), read_only=True) as tx:
        return await second_steps.list_second_steps(tx, link.user_id)


async def finish_by_code(store: Store, caller: Caller, step: str, code: str, user_agent: str = "") -> StartedSession:
    """Sign in who got this far and shows a code of their app, or a recovery code.

    Raises `LinkSpent`, `WrongCode`, `TooOften`, `AccountClosed`.
    """
    link = await find_link(store.db, step, "second_step")
    await _count_try(store, link.user_id)
    async with store.db.transaction(actor=person_of(link.user_id, caller)) as tx:
        await second_steps.use_any_code(tx, store.keys, link.user_id, code)
        await use_link(tx, link)
        return await arrive(tx, store, caller, link.user_id, user_agent)


async def sign_in_whole(store: Store, caller: Caller, form: SignIn, user_agent: str = "") -> StartedSession:
    """Sign in a person who brings the code of their second step along. Raises as `sign_in` and `finish_by_code`."""
    try:
        return await sign_in(store, caller, form, user_agent)
    except SecondStepNeeded as needed:
        if not form.code:
            raise
        return await finish_by_code(store, caller, needed.step, form.code, user_agent)


async def sign_in_by_passkey(
    store: Store, caller: Caller, answer: str, user_agent: str = "", *, step: str = ""
) -> StartedSession:
    """Sign a person in by a passkey: all that is asked, because a key knows its person; with `step`, of whom got this far.

    Raises `PasskeyRefused`, `LinkSpent`, `TooOften`, `AccountClosed`.
    """
    await check_rate(store.cache, network_of(caller.address), "passkey", TRIES_FROM_ADDRESS)
    link = await find_link(store.db, step, "second_step") if step else None
    proved = await passkeys.prove_passkey(store.db, store.cache, site_of(store), answer)
    if link is not None and link.user_id != proved.user_id:
        raise PasskeyRefused
    async with store.db.transaction(actor=person_of(proved.user_id, caller)) as tx:
        if link is not None:
            await use_link(tx, link)
        await passkeys.note_use(tx, proved)
        return await arrive(tx, store, caller, proved.user_id, user_agent)


async def prove_by_password(store: Store, caller: Caller, password: str) -> None:
    """Note that the caller has just shown their password, for changes of how they sign in. Raises `FieldErrors`, `TooOften`."""
    user_id = caller.check_in_person()
    await _count_try(store, user_id)
    row = await store.db.read_maybe(queries.SIGN_IN_BY_ID, into=SignInRow, fresh=True, user_id=user_id)
    known = row.password_hash if row else None
    if not await check_password(known, password) or known is None:
        check_fields({"password": "This is not your password."})
    await _note_proof(store, caller)


async def prove_by_code(store: Store, caller: Caller, code: str) -> None:
    """Note that the caller has just shown a code of their app, or a recovery code. Raises `WrongCode`, `TooOften`."""
    user_id = caller.check_in_person()
    await _count_try(store, user_id)
    async with store.db.transaction(actor=caller.actor) as tx:
        await second_steps.use_any_code(tx, store.keys, user_id, code)
        await sessions.note_proof(tx, store.cache, caller.session or b"")


async def prove_by_passkey(store: Store, caller: Caller, answer: str) -> None:
    """Note that the caller has just used a passkey of theirs. Raises `PasskeyRefused`."""
    user_id = caller.check_in_person()
    proved = await passkeys.prove_passkey(store.db, store.cache, site_of(store), answer)
    if proved.user_id != user_id:
        raise PasskeyRefused
    async with store.db.transaction(actor=caller.actor) as tx:
        await passkeys.note_use(tx, proved)
        await sessions.note_proof(tx, store.cache, caller.session or b"")


async def _note_proof(store: Store, caller: Caller) -> None:
    async with store.db.transaction(actor=caller.actor) as tx:
        await sessions.note_proof(tx, store.cache, caller.session or b"")


async def security_page(store: Store, caller: Caller) -> SecurityPage:
    """Return the ways into the caller's account. Raises `SignInFirst`, `NotByToken`."""
    user_id = caller.check_in_person()
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        steps = await second_steps.list_second_steps(tx, user_id)
        held = await passkeys.list_passkeys(tx, user_id)
        return SecurityPage(steps, held, await outside_logins.list_logins(tx, user_id))


async def offer_totp(store: Store, caller: Caller) -> bytes:
    """Return the secret for the caller's authenticator app; it counts once they have shown a code of it. Raises `ProveItAgain`."""
    async with store.db.transaction(actor=caller.actor) as tx:
        return await second_steps.offer_totp(tx, store.keys, caller)


async def confirm_totp(store: Store, caller: Caller, code: str) -> tuple[str, ...]:
    """Ask for the app's codes from now on; return recovery codes where there were none. Raises `WrongCode`, `TooOften`."""
    user_id = caller.check_proved()
    await _count_try(store, user_id)
    async with store.db.transaction(actor=caller.actor) as tx:
        await second_steps.confirm_totp(tx, store.cache, store.keys, caller, code)
        await sessions.end_sessions_of(tx, store.cache, user_id, keep=caller.session or b"")
        await send_letter(tx, store, "security_changed", user_id, what="An authenticator app was added")
        held = await second_steps.list_second_steps(tx, user_id)
        return () if held.codes_left else await second_steps.make_codes(tx, user_id)


async def remove_totp(store: Store, caller: Caller) -> None:
    """Ask for the app's codes no longer. Idempotent. Raises `ProveItAgain`."""
    user_id = caller.check_proved()
    async with store.db.transaction(actor=caller.actor) as tx:
        if await second_steps.remove_totp(tx, store.cache, caller):
            await send_letter(tx, store, "security_changed", user_id, what="The authenticator app was removed")


async def new_recovery_codes(store: Store, caller: Caller) -> tuple[str, ...]:
    """Return ten new recovery codes in the place of the old ones. Raises `ProveItAgain`."""
    user_id = caller.check_proved()
    async with store.db.transaction(actor=caller.actor) as tx:
        await send_letter(tx, store, "security_changed", user_id, what="New recovery codes were made")
        return await second_steps.make_codes(tx, user_id)


async def add_passkey(store: Store, caller: Caller, answer: str, name: str) -> tuple[str, ...]:
    """Take a passkey that the caller's browser made; return recovery codes where there were none.

    Raises `PasskeyRefused`, `TooManyPasskeys`, `ProveItAgain`.
    """
    user_id = caller.check_proved()
    async with store.db.transaction(actor=caller.actor) as tx:
        await passkeys.add_passkey(tx, store.cache, site_of(store), caller, answer, name)
        await send_letter(tx, store, "security_changed", user_id, what="A passkey was added")
        held = await second_steps.list_second_steps(tx, user_id)
        return () if held.codes_left else await second_steps.make_codes(tx, user_id)


async def remove_passkey(store: Store, caller: Caller, key_id: str) -> None:
    """Accept a passkey no longer. Raises `NoSuchPasskey`, `ProveItAgain`."""
    user_id = caller.check_proved()
    async with store.db.transaction(actor=caller.actor) as tx:
        await passkeys.remove_passkey(tx, store.cache, caller, key_id)
        await send_letter(tx, store, "security_changed", user_id, what="A passkey was removed")


async def _count_try(store: Store, user_id: UUID) -> None:
    await check_rate(store.cache, str(user_id), "second_step", TRIES)
