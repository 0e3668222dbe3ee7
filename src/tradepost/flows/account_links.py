"""What a link in a letter can do: prove an address, change it, choose a new password, sign in, come back to a closed account.

Promises that nobody learns here whether an address has an account (the looking up is a job's, so answer and work are the same for
all), that a link does nothing until its page's button is pressed (programs that look into mail open links), and that an address
becomes an account's only when whoever reads it says so, and whoever reads the old one.
"""

import hashlib
from typing import Any, Final

import msgspec

from tradepost.accounts import api_tokens, emails, outside_logins, passkeys, second_steps, sessions
from tradepost.accounts.emails import Addressee
from tradepost.accounts.one_time import (
    Kind,
    OneTime,
    address_in_waiting,
    end_change,
    find_link,
    has_agreed,
    issue_link,
    use_link,
    void_links,
)
from tradepost.accounts.passwords import hash_password, password_problem
from tradepost.accounts.rules import email_problem
from tradepost.accounts.types import AccountClosed, Caller, LinkSpent, StartedSession
from tradepost.core.database import SYSTEM, Transaction
from tradepost.core.fields import check_fields
from tradepost.core.jobs import Priority, enqueue
from tradepost.core.limits import check_rate, network_of
from tradepost.core.text import is_plain
from tradepost.flows.admit import admit, person_of
from tradepost.flows.letters import send_letter
from tradepost.flows.store import Store

LOGIN: Final = "accounts.send_link"
LETTERS_FROM_ADDRESS: Final = 20
LETTERS_TO_ACCOUNT: Final = 5
TRIES_FROM_ADDRESS: Final = 60


class LinkArgs(msgspec.Struct, frozen=True):
    """Whom to send which link; the name or address that was typed is encrypted, because jobs are kept in the clear."""

    kind: str
    login: bytes


class Pending(msgspec.Struct, frozen=True):
    """What a link's page shows: for which account it is, and the address it is about."""

    kind: str
    username: str
    about: str | None


def confirmation_path(kind: str, secret: str) -> str:
    """Return the page that a link leads to; the secret is in its query, which is not logged."""
    return f"/link/{kind.replace('_', '-')}?token={secret}"


async def send_confirmation(tx: Transaction, store: Store, caller: Caller, email: str) -> None:
    """Have a letter sent that asks whether an address is the person's. The transaction's actor is the person."""
    user_id = caller.check_signed_in()
    secret = await issue_link(tx, user_id, "email", email)
    await send_letter(
        tx, store, "verify_email", user_id, to=email, link=store.base_url + confirmation_path("email", secret)
    )


async def ask_confirmation(store: Store, caller: Caller) -> None:
    """Send the caller the letter of their sign-up once more. Raises `TooOften`."""
    user_id = caller.check_in_person()
    await check_rate(store.cache, str(user_id), "letters", LETTERS_TO_ACCOUNT)
    async with store.db.transaction(actor=caller.actor) as tx:
        person = await tx.one(emails.ADDRESSEE_BY_ID, into=Addressee, user_id=user_id)
        if person.email and not person.is_verified:
            await send_confirmation(tx, store, caller, person.email)


async def look_at_link(store: Store, caller: Caller, secret: str, *kinds: Kind) -> Pending:
    """Return what a link would do; does nothing. Raises `LinkSpent`, `TooOften`."""
    link = await _found(store, caller, secret, *kinds)
    row = await store.db.read_maybe(emails.ADDRESSEE_BY_ID, into=Addressee, fresh=True, user_id=link.user_id)
    if row is None:
        raise LinkSpent
    return Pending(link.kind, row.username, link.about)


async def confirm_email(store: Store, caller: Caller, secret: str) -> None:
    """Take the address for proved that a link was sent to. Raises `LinkSpent`."""
    link = await _found(store, caller, secret, "email")
    async with store.db.transaction(actor=person_of(link.user_id, caller)) as tx:
        await use_link(tx, link)
        await emails.confirm_email(tx, link.user_id, link.about or "")


async def ask_link(store: Store, caller: Caller, login: str, kind: Kind) -> None:
    """Have a link sent to whoever has this name or address, if anybody has: to sign in, or for a new password.

    Raises `FieldErrors` for what is no name or address, `TooOften`: five letters for one name, 20 from one address.
    """
    login = login.strip()
    is_login = 0 < len(login) <= 255 and is_plain(login)
    check_fields({"login": None if is_login else "Your username or e-mail address, please."})
    await check_rate(store.cache, network_of(caller.address), "letters", LETTERS_FROM_ADDRESS)
    account = hashlib.sha256(login.casefold().encode("utf-8", "replace")).hexdigest()[:24]
    await check_rate(store.cache, account, "letters", LETTERS_TO_ACCOUNT)
    async with store.db.transaction(actor=caller.actor) as tx:
        args = LinkArgs(kind, store.keys.encrypt(login, LOGIN))
        await enqueue(tx, "accounts.send_link", args, priority=Priority.URGENT)


async def send_link(store: Store, args: LinkArgs) -> None:
    """Send a link to whoever has the name or address; nobody else hears anything. Idempotent: an older link ends."""
    login = store.keys.decrypt(args.login, LOGIN)
    statement = emails.ADDRESSEE_BY_EMAIL if "@" in login else emails.ADDRESSEE_BY_USERNAME
    kind: Any = args.kind
    async with store.db.transaction(actor=SYSTEM) as tx:
        person = await tx.maybe(statement, into=Addressee, login=login)
        if person is None or not person.is_active or not person.email:
            return
        secret = await issue_link(tx, person.id, kind, person.email)
        letter = {"reset": "reset_password", "sign_in": "sign_in_link"}[kind]
        await send_letter(tx, store, letter, person.id, link=store.base_url + confirmation_path(kind, secret))


async def reset_password(store: Store, caller: Caller, secret: str, new: str) -> None:
    """Give an account the password that whoever reads its letters chooses; every session and token of it ends.

    Where the address was never proved before, every other way in goes too: somebody else may have made the account and left a
    door open. Raises `LinkSpent`, `FieldErrors`, `AccountClosed`, `TooOften`.
    """
    link = await _found(store, caller, secret, "reset")
    if not link.is_active:
        raise AccountClosed
    async with store.db.transaction(actor=person_of(link.user_id, caller), read_only=True) as tx:
        person = await tx.one(emails.ADDRESSEE_BY_ID, into=Addressee, user_id=link.user_id)
    email = person.email or ""
    personal = (person.username, email, email.partition("@")[0], store.settings.store.name)
    check_fields({"new": password_problem(new, personal)})
    password_hash = await hash_password(new)
    async with store.db.transaction(actor=person_of(link.user_id, caller)) as tx:
        await use_link(tx, link)
        await emails.replace_password(tx, link.user_id, password_hash)
        await sessions.end_sessions_of(tx, store.cache, link.user_id)
        await api_tokens.revoke_tokens_of(tx, store.cache, link.user_id)
        if link.about == email and await emails.confirm_email(tx, link.user_id, email):
            await _close_other_doors(tx, link)
        await send_letter(tx, store, "security_changed", link.user_id, what="Your password was changed")


async def _close_other_doors(tx: Transaction, link: OneTime) -> None:
    await passkeys.remove_all_passkeys(tx, link.user_id)
    await second_steps.remove_all_steps(tx, link.user_id)
    await outside_logins.remove_all_logins(tx, link.user_id)


async def sign_in_by_link(store: Store, caller: Caller, secret: str, user_agent: str = "") -> StartedSession:
    """Sign in who reads the account's letters, which proves its address, too.

    Raises `LinkSpent`, `AccountClosed`, `SecondStepNeeded`, `TooOften`.
    """
    link = await _found(store, caller, secret, "sign_in")
    if not link.is_active:
        raise AccountClosed
    async with store.db.transaction(actor=person_of(link.user_id, caller)) as tx:
        await use_link(tx, link)
        person = await tx.one(emails.ADDRESSEE_BY_ID, into=Addressee, user_id=link.user_id)
        await emails.confirm_email(tx, link.user_id, link.about or "")
        found = await admit(
            tx, store, caller, link.user_id, has_second_step=person.has_second_step, user_agent=user_agent
        )
    if isinstance(found, StartedSession):
        return found
    raise found


async def ask_email_change(store: Store, caller: Caller, email: str) -> None:
    """Ask both the old and the new address whether letters should go to the new one. An old one never proved is not asked.

    Whether another account has the new address is not said here: its reader would be told by whoever asks. Raises `FieldErrors`,
    `ProveItAgain`, `TooOften`.
    """
    user_id, email = caller.check_proved(), email.strip()
    problem = email_problem(email)
    check_fields({"email": problem})
    await check_rate(store.cache, str(user_id), "letters", LETTERS_TO_ACCOUNT)
    async with store.db.transaction(actor=caller.actor) as tx:
        person = await tx.one(emails.ADDRESSEE_BY_ID, into=Addressee, user_id=user_id)
        if (person.email or "").casefold() == email.casefold():
            check_fields({"email": "This is the address you have."})
        await end_change(tx, user_id)
        if person.is_verified:
            await _send_question(tx, store, person, "change_old", email, to=person.email)
        await _send_question(tx, store, person, "change_new", email, to=email)


async def _send_question(
    tx: Transaction, store: Store, person: Addressee, kind: Kind, email: str, *, to: str | None
) -> None:
    secret = await issue_link(tx, person.id, kind, email)
    link = store.base_url + confirmation_path(kind, secret)
    await send_letter(tx, store, kind, person.id, to=to, link=link, new_email=email)


async def agree_to_change(store: Store, caller: Caller, secret: str) -> bool:
    """Count one side's yes to a new address; return whether it is the account's now, or the other side is still to be heard.

    Raises `LinkSpent`, `EmailTaken`, `TooOften`.
    """
    link = await _found(store, caller, secret, "change_old", "change_new")
    email = link.about or ""
    async with store.db.transaction(actor=person_of(link.user_id, caller)) as tx:
        person = await tx.one(emails.ADDRESSEE_BY_ID, into=Addressee, user_id=link.user_id)
        await use_link(tx, link)
        agreed = await has_agreed(tx, link.user_id, "change_new", email)
        if not agreed or (person.is_verified and not await has_agreed(tx, link.user_id, "change_old", email)):
            return False
        await emails.change_email(tx, link.user_id, email)
        await sessions.forget_person(tx, store.cache, link.user_id)
        await end_change(tx, link.user_id)
        await void_links(tx, link.user_id, ("reset", "sign_in", "email"))
        if person.email:
            await send_letter(tx, store, "email_changed", link.user_id, to=person.email, new_email=email)
    return True


async def awaited_email(store: Store, caller: Caller) -> str | None:
    """Return the address that the caller wants to have and that is not confirmed yet."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await address_in_waiting(tx, caller.check_signed_in())


async def reopen_account(store: Store, caller: Caller, secret: str) -> None:
    """Open an account again that its person closed. Raises `LinkSpent`, `AccountClosed` where others closed it meanwhile."""
    link = await _found(store, caller, secret, "reopen")
    async with store.db.transaction(actor=person_of(link.user_id, caller)) as tx:
        await use_link(tx, link)
        if not await emails.reopen(tx, link.user_id):
            raise AccountClosed


async def _found(store: Store, caller: Caller, secret: str, *kinds: Kind) -> OneTime:
    await check_rate(store.cache, network_of(caller.address), "link", TRIES_FROM_ADDRESS)
    return await find_link(store.db, secret, *kinds)
