"""Letting somebody in who has proved who they are: the second step where there is one, and a session.

Promises that whoever has a second step is asked for it however they came, by password, by link or through another provider; that a
session always begins under a new token; and that a store which asks its staff for a second step lends no staff permission before.
"""

from uuid import UUID

import msgspec

from tradepost.accounts import sessions
from tradepost.accounts.events import PersonSignedIn
from tradepost.accounts.one_time import issue_link
from tradepost.accounts.service import note_arrival
from tradepost.accounts.types import AccountClosed, Caller, SecondStepNeeded, StartedSession
from tradepost.assistant.talks import adopt_talks
from tradepost.cart.service import merge_guest_cart
from tradepost.core.database import Actor, Transaction
from tradepost.core.events import record
from tradepost.core.ids import secret_token, token_hash
from tradepost.flows.store import Store


def as_allowed(store: Store, caller: Caller) -> Caller:
    """Return the caller with what this store lets them do now: staff without a second step are as anybody where it asks for one."""
    asked = store.settings.security.second_step == "staff"
    if not asked or caller.has_second_step or "staff" not in caller.permissions:
        return caller
    usual = next((set(role.permissions) for role in store.settings.roles if role.default), set())
    return msgspec.structs.replace(caller, permissions=caller.permissions & usual, lacks_second_step=True)


async def begin_session(
    tx: Transaction, store: Store, caller: Caller, user_id: UUID, user_agent: str
) -> StartedSession:
    """Put a person's new session in the place of the caller's, with the visitor's cart and talks where there are some.

    The transaction's actor is the person with the caller's session.
    """
    if caller.session is not None:
        if caller.user_id is None:
            await merge_guest_cart(tx, caller.session, user_id)
            await adopt_talks(tx, caller.session, user_id)
        await sessions.end_session(tx, store.cache, caller.session)
    token = secret_token()
    expires_at = await sessions.start_session(tx, token, user_id, caller.address, user_agent)
    found = await sessions.read_session(tx, token_hash(token))
    return StartedSession(token, as_allowed(store, found.as_caller(caller.address, token_hash(token))), expires_at)


async def arrive(tx: Transaction, store: Store, caller: Caller, user_id: UUID, user_agent: str) -> StartedSession:
    """Sign a person in who has proved all that is asked. Raises `AccountClosed`. The actor is as for `begin_session`."""
    if not await note_arrival(tx, user_id):
        raise AccountClosed
    started = await begin_session(tx, store, caller, user_id, user_agent)
    await record(tx, PersonSignedIn(user_id), subject_id=user_id)
    return started


async def admit(
    tx: Transaction, store: Store, caller: Caller, user_id: UUID, *, has_second_step: bool, user_agent: str
) -> StartedSession | SecondStepNeeded:
    """Sign a person in, or return the question for their second step: to be raised once the transaction has committed."""
    if has_second_step:
        return SecondStepNeeded(await issue_link(tx, user_id, "second_step"))
    return await arrive(tx, store, caller, user_id, user_agent)


def person_of(user_id: UUID, caller: Caller) -> Actor:
    """Return the actor for somebody who has proved who they are while the request is still a visitor's."""
    return Actor("person", user_id, caller.session)
