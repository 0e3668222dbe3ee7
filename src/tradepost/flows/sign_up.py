"""Joining a store."""

from typing import Final

from tradepost.accounts import queries
from tradepost.accounts.passwords import hash_password, password_problem
from tradepost.accounts.rules import email_problem, username_problem
from tradepost.accounts.service import add_person
from tradepost.accounts.types import Caller, EmailTaken, SignUp, StartedSession, UsernameTaken
from tradepost.core.database import Actor
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.ids import uuid7
from tradepost.core.limits import check_rate, network_of
from tradepost.core.text import one_line
from tradepost.flows.account_links import send_confirmation
from tradepost.flows.admit import begin_session
from tradepost.flows.store import Store, own_names

TRIES_FROM_ADDRESS: Final = 30


async def sign_up(store: Store, caller: Caller, form: SignUp, user_agent: str = "") -> StartedSession:
    """Make an account, sign it in, give it the visitor's cart, and ask its address to confirm: all in one transaction, or nothing.

    The role is one of those a person may choose here, else the store's usual one; nothing else of the account can be set.
    Raises `FieldErrors` with everything that is wrong (`UsernameTaken`, `EmailTaken` to the slower of two), `TooOften` after
    30 tries from one address in a quarter of an hour.
    """
    await check_rate(store.cache, network_of(caller.address), "sign_up", TRIES_FROM_ADDRESS)
    username, email, display_name = form.username.strip(), form.email.strip(), one_line(form.display_name)
    problems = _problems(store, form, username, email, display_name)
    await _check_free(store, problems, username, email)
    password_hash = await hash_password(form.password)
    user_id = uuid7()
    async with store.db.transaction(actor=Actor("person", user_id, caller.session)) as tx:
        await add_person(
            tx, user_id=user_id, username=username, email=email, password_hash=password_hash,
            display_name=display_name or username, locale=caller.locale, role=_role(store, form.role) or "",
        )  # fmt: skip
        started = await begin_session(tx, store, caller, user_id, user_agent)
        await send_confirmation(tx, store, started.caller, email)
        return started


def _problems(store: Store, form: SignUp, username: str, email: str, display_name: str) -> dict[str, str]:
    shop = store.settings.store
    personal = (username, email, email.partition("@")[0], display_name, shop.name, shop.code)
    found = {
        "username": username_problem(username, also_reserved=own_names(store)),
        "email": email_problem(email),
        "password": password_problem(form.password, personal),
        "role": None if _role(store, form.role) else "This role cannot be chosen here.",
    }
    return {field: problem for field, problem in found.items() if problem} | broken_limits(form)


async def _check_free(store: Store, problems: dict[str, str], username: str, email: str) -> None:
    """Raise all problems at once, with those that only the database knows: a name or an address that is taken."""
    askable = {"username": username, "email": email} | dict.fromkeys(problems, "")
    taken = (await store.db.read(queries.WHO_HAS, fresh=True, username=askable["username"], email=askable["email"]))[0]
    if taken["username"]:
        problems |= UsernameTaken().errors
    if taken["email"]:
        problems |= EmailTaken().errors
    check_fields(problems)


def _role(store: Store, wanted: str | None) -> str | None:
    """Return the role to give: the one chosen, if people may choose it, or the store's usual one."""
    if wanted:
        return next((r.code for r in store.settings.roles if r.code == wanted and r.self_service), None)
    return next((r.code for r in store.settings.roles if r.default), None)
