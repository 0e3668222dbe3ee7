"""Signing in with another provider: there, back, and whose account that is here.

Promises that an answer counts only in the browser that set out, once, within ten minutes; that a sign-in there belongs to one
person here; and that an account which exists is joined to it only where both sides have proved the same address, or by its own
person on their security page. Whoever has a second step is asked for it however they come.
"""

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from tradepost.accounts import emails, outside_logins, queries
from tradepost.accounts.emails import ADDRESSEE_BY_EMAIL, Addressee
from tradepost.accounts.openid import Journey, Provider, Vouched
from tradepost.accounts.rules import email_problem, username_problem
from tradepost.accounts.second_steps import list_second_steps
from tradepost.accounts.service import add_person
from tradepost.accounts.types import (
    AccountClosed,
    AlreadyTaken,
    Caller,
    EmailTaken,
    LastWayIn,
    LinkSpent,
    NoSuchProvider,
    NotVouchedFor,
    OutsideEmailMissing,
    OutsideEmailTaken,
    SecondStepNeeded,
    StartedSession,
    UsernameTaken,
)
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Actor, Transaction
from tradepost.core.errors import DomainError
from tradepost.core.ids import uuid7
from tradepost.core.limits import check_rate, network_of
from tradepost.core.settings import Settings, StoreKeys
from tradepost.core.text import is_plain, one_line
from tradepost.flows.account_links import send_confirmation
from tradepost.flows.admit import admit, arrive, person_of
from tradepost.flows.letters import send_letter
from tradepost.flows.store import Store, own_names

NAMES: Final = {"google": "Google", "apple": "Apple", "facebook": "Facebook"}
JOURNEY: Final = "outside-journey"
LASTS: Final = timedelta(minutes=10)
TRIES_FROM_ADDRESS: Final = 60
_ASKED: Final[dict[str, dict[str, str]]] = {
    "google": {"scope": "openid email profile"},
    "apple": {"scope": "openid email name", "response_mode": "form_post"},  # it gives the address no other way
    "facebook": {"scope": "openid email public_profile"},
}


class Answer(msgspec.Struct, frozen=True):
    """What came back with the visitor."""

    code: str
    state: str
    error: str
    issuer: str


class _Kept(msgspec.Struct, frozen=True):
    """What the browser carries, encrypted: it can neither be read nor made up."""

    provider: str
    journey: Journey
    target: str
    link_to: UUID | None
    begun_at: datetime


def open_providers(installation: Settings, store_code: str) -> dict[str, Provider]:
    """Return the providers that a store offers: those whose `client_id` is set. Raises `BadProvider`."""
    own = installation.store.get(store_code, StoreKeys())
    made = {}
    for code, name in NAMES.items():
        settings = getattr(own, code).over(getattr(installation, code))
        if settings.client_id:
            made[code] = Provider(code, name, settings, _ASKED[code])
    return made


def offered(store: Store) -> tuple[tuple[str, str], ...]:
    """Return code and name of the providers that people may sign in with here."""
    return tuple((code, NAMES[code]) for code in store.providers)


def _provider(store: Store, code: str) -> Provider:
    found: Provider | None = store.providers.get(code)
    if found is None:
        raise NoSuchProvider(code[:40])
    return found


def _back(store: Store, code: str) -> str:
    return f"{store.base_url}/sign-in/with/{code}/back"


async def begin(store: Store, caller: Caller, code: str, target: str, *, is_link: bool) -> tuple[str, str]:
    """Return where to send the browser and what it carries along. `is_link`: the sign-in is to be added to the caller's account.

    Raises `NoSuchProvider`, `ProviderAway`, `TooOften`; with `is_link` also `ProveItAgain`, `NotByToken`.
    """
    provider = _provider(store, code)
    link_to = caller.check_proved() if is_link else None
    await check_rate(store.cache, network_of(caller.address), "outside", TRIES_FROM_ADDRESS)
    journey = Journey.begun()
    kept = _Kept(code, journey, target[:500], link_to, now())
    sealed = store.keys.encrypt(msgspec.json.encode(kept).decode(), JOURNEY)
    return await provider.address(journey, _back(store, code)), base64.urlsafe_b64encode(sealed).decode()


async def finish(
    store: Store, caller: Caller, code: str, carried: str, answer: Answer, user_agent: str = ""
) -> tuple[StartedSession | SecondStepNeeded | None, str]:
    """Sign in whom the provider vouches for, making an account where there is none, or add the sign-in to the caller's (None).

    A question for the second step is returned, not raised. Return also where the visitor wanted to go. Raises `NotVouchedFor`,
    `OutsideEmailTaken`, `AlreadyTaken`, `AccountClosed`, `LinkSpent` (no journey of this browser), and as `begin`.
    """
    provider = _provider(store, code)
    await check_rate(store.cache, network_of(caller.address), "outside", TRIES_FROM_ADDRESS)
    kept = _opened(store, carried, code)
    same = hmac.compare_digest(answer.state.encode("utf-8", "replace"), kept.journey.state.encode())
    if not same or not answer.code or answer.error:
        raise NotVouchedFor(provider.name)
    vouched = await provider.vouch(kept.journey, _back(store, code), answer.code, said_by=answer.issuer)
    if kept.link_to is not None:
        await _link(store, caller, kept.link_to, code, vouched)
        return None, kept.target
    for _ in range(3):  # of two who come at once for the first time, one makes the account and the other finds it
        try:
            return await _sign_in(store, caller, code, vouched, user_agent), kept.target
        except (UsernameTaken, EmailTaken, AlreadyTaken):
            continue
    raise AlreadyTaken


def _opened(store: Store, carried: str, code: str) -> _Kept:
    """Return what the browser carried. Raises `LinkSpent` for what is no journey to this provider, or one too long ago."""
    try:
        sealed = base64.urlsafe_b64decode(carried.encode("ascii"))
        kept = msgspec.json.decode(store.keys.decrypt(sealed, JOURNEY), type=_Kept)
    except (ValueError, binascii.Error, DomainError):
        raise LinkSpent from None
    if kept.provider != code or not now() - LASTS < kept.begun_at <= now():
        raise LinkSpent
    return kept


async def _link(store: Store, caller: Caller, link_to: UUID, code: str, vouched: Vouched) -> None:
    if caller.check_proved() != link_to:
        raise LinkSpent
    async with store.db.transaction(actor=caller.actor) as tx:
        await outside_logins.add_login(tx, link_to, code, vouched.subject, vouched.email)
        what = f"Signing in with {NAMES[code]} was added"
        await send_letter(tx, store, "security_changed", link_to, what=what)


async def _sign_in(
    store: Store, caller: Caller, code: str, vouched: Vouched, user_agent: str
) -> StartedSession | SecondStepNeeded:
    holder = await outside_logins.find_holder(store.db, code, vouched.subject)
    if holder is not None:
        if not holder.is_active:
            raise AccountClosed
        return await _admitted(store, caller, holder.user_id, code, vouched, user_agent, is_new=False)
    if email_problem(vouched.email) is not None:
        raise OutsideEmailMissing(NAMES[code])
    known = await _person_with(store, vouched.email)
    if known is None:
        return await _new_person(store, caller, code, vouched, user_agent)
    if not (vouched.is_email_proven and known.is_verified):
        raise OutsideEmailTaken(NAMES[code])
    if not known.is_active:
        raise AccountClosed
    return await _admitted(store, caller, known.id, code, vouched, user_agent, is_new=True)


async def _person_with(store: Store, email: str) -> Addressee | None:
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        return await tx.maybe(ADDRESSEE_BY_EMAIL, into=Addressee, login=email)


async def _admitted(
    store: Store, caller: Caller, user_id: UUID, code: str, vouched: Vouched, user_agent: str, *, is_new: bool
) -> StartedSession | SecondStepNeeded:
    async with store.db.transaction(actor=person_of(user_id, caller)) as tx:
        if is_new:
            await outside_logins.add_login(tx, user_id, code, vouched.subject, vouched.email)
            what = f"Signing in with {NAMES[code]} was added"
            await send_letter(tx, store, "security_changed", user_id, what=what)
        else:
            await outside_logins.note_login(tx, code, vouched.subject)
        steps = await list_second_steps(tx, user_id)
        return await admit(tx, store, caller, user_id, has_second_step=steps.any, user_agent=user_agent)


async def _new_person(store: Store, caller: Caller, code: str, vouched: Vouched, user_agent: str) -> StartedSession:
    """Make an account without a password. An address that the provider did not prove is asked to confirm, as at any sign-up."""
    user_id, role = uuid7(), next((r.code for r in store.settings.roles if r.default), "")
    username = await _free_name(store, vouched)
    shown = one_line(vouched.name)[:100] if is_plain(vouched.name) else ""
    async with store.db.transaction(actor=Actor("person", user_id, caller.session)) as tx:
        await add_person(
            tx, user_id=user_id, username=username, email=vouched.email, password_hash=None,
            display_name=shown or username, locale=caller.locale, role=role,
        )  # fmt: skip
        await outside_logins.add_login(tx, user_id, code, vouched.subject, vouched.email)
        if vouched.is_email_proven:
            await emails.confirm_email(tx, user_id, vouched.email)
        started = await arrive(tx, store, caller, user_id, user_agent)
        if not vouched.is_email_proven:
            await send_confirmation(tx, store, started.caller, vouched.email)
    return started


async def _free_name(store: Store, vouched: Vouched) -> str:
    """Return a username nobody has: from the name or the address at the provider, else with digits behind it."""
    wanted = [_as_username(vouched.name), _as_username(vouched.email.partition("@")[0])]
    usable = [name for name in wanted if username_problem(name, also_reserved=own_names(store)) is None]
    stem = (usable or ["member"])[0]
    for name in (*usable, f"{stem}{secrets.randbelow(900) + 100}"):
        found = (await store.db.read(queries.WHO_HAS, fresh=True, username=name, email=""))[0]
        if not found["username"]:
            return name
    return f"{stem}{secrets.randbelow(90_000_000) + 10_000_000}"


def _as_username(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40]


async def unlink(store: Store, caller: Caller, code: str) -> bool:
    """Accept a provider's word for the caller no longer; return whether it was.

    Raises `LastWayIn` where nothing else would open the account, `ProveItAgain`, `NotByToken`.
    """
    user_id = caller.check_proved()
    async with store.db.transaction(actor=caller.actor) as tx:
        removed = await outside_logins.remove_login(tx, caller, code)
        if removed:
            await _check_way_in(tx, user_id)
            what = f"Signing in with {NAMES.get(code, code)} was removed"
            await send_letter(tx, store, "security_changed", user_id, what=what)
    return removed


async def _check_way_in(tx: Transaction, user_id: UUID) -> None:
    """An address that is proved is a way in (a link by letter), and so are a password, a passkey and another provider."""
    person = await tx.one(emails.ADDRESSEE_BY_ID, into=Addressee, user_id=user_id)
    row: Mapping[str, Any] = await tx.one(queries.SIGN_IN_BY_ID, user_id=user_id)
    steps = await list_second_steps(tx, user_id)
    others = await outside_logins.list_logins(tx, user_id)
    if not (person.is_verified or row["password_hash"] or steps.passkeys or others):
        raise LastWayIn
