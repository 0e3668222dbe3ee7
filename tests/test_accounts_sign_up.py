"""Joining a store: what is written, what is refused, and what happens when two ask for the same name."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from tests.factories import Factory
from tests.people import PASSWORD, join, visitor
from tradepost.accounts.passwords import check_password
from tradepost.accounts.types import EmailTaken, SignUp, UsernameTaken
from tradepost.core.database import SYSTEM
from tradepost.core.errors import FieldErrors
from tradepost.core.ids import token_hash
from tradepost.core.limits import TooOften
from tradepost.flows.cart import add_to_cart, get_cart
from tradepost.flows.sign_in import load_caller, open_visit
from tradepost.flows.sign_up import TRIES_FROM_ADDRESS, sign_up
from tradepost.flows.store import Store

Race = Callable[..., Awaitable[list[Any]]]
TAKEN = "Somebody has this name already, or one that looks the same."
HAS_ACCOUNT = "There is an account with this address already. Would you like to sign in?"


def form(**changed: Any) -> SignUp:
    """Return a form that would be accepted."""
    return SignUp(**({"username": "tendai", "email": "tendai@example.com", "password": PASSWORD} | changed))


async def rows(store: Store, sql: str) -> list[dict[str, Any]]:
    """Return what a query over everybody's rows finds."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        return [dict(row) for row in await tx.all(text(sql))]


async def counts(store: Store) -> tuple[int, int, int]:
    """Return how many people, sessions and facts there are."""
    found = await rows(
        store,
        "SELECT (SELECT count(*) FROM users) u, (SELECT count(*) FROM sessions) s, (SELECT count(*) FROM events) e",
    )
    return found[0]["u"], found[0]["s"], found[0]["e"]


async def test_sign_up_writes_a_person_a_role_a_session_and_a_fact(store: Store) -> None:
    who = visitor()
    started = await sign_up(store, who, form(username=" Tendai ", display_name=" Tendai\tMoyo "), "Firefox 140")
    (person,) = await rows(store, "SELECT * FROM users")
    assert (person["username"], person["email"], person["display_name"]) == (
        "Tendai",
        "tendai@example.com",
        "Tendai Moyo",
    )
    assert (person["is_active"], person["email_verified_at"], person["phone_enc"]) == (True, None, None)
    assert person["id"] == started.caller.user_id
    assert await check_password(person["password_hash"], PASSWORD)
    assert await rows(store, "SELECT user_id, role FROM user_roles") == [{"user_id": person["id"], "role": "buyer"}]
    (session,) = await rows(store, "SELECT *, host(ip) AS address FROM sessions")
    assert session["id_hash"] == token_hash(started.token) == started.caller.session
    assert started.token.encode() not in session["id_hash"]
    assert (session["user_id"], session["user_agent"]) == (person["id"], "Firefox 140")
    assert session["address"] == who.address
    assert session["expires_at"] == started.expires_at
    (fact,) = await rows(store, "SELECT kind, user_id, subject_id, data FROM events")
    assert fact == {
        "kind": "PersonSignedUp", "user_id": person["id"], "subject_id": person["id"],
        "data": {"user_id": str(person["id"]), "role": "buyer"},
    }  # fmt: skip


async def test_new_person_may_do_what_the_role_allows(store: Store) -> None:
    buyer, seller = await join(store, "tafara"), await join(store, "rudo", role="seller")
    assert (buyer.caller.role, buyer.caller.permissions) == ("buyer", {"buy", "review"})
    assert (seller.caller.role, seller.caller.permissions) == ("seller", {"buy", "sell", "review"})
    assert await load_caller(store, buyer.token, buyer.caller.address) == buyer.caller


async def test_everything_wrong_is_said_at_once_and_nothing_is_written(store: Store) -> None:
    wrong = form(username="a", email="a@b", password="short", display_name="x" * 101, role="admin")
    with pytest.raises(FieldErrors) as refused:
        await sign_up(store, visitor(), wrong)
    assert refused.value.errors == {
        "username": "At least 3 characters, please.",
        "email": "This does not look like an e-mail address.",
        "password": "At least 10 characters, please.",
        "display_name": "At most 100 characters.",
        "role": "This role cannot be chosen here.",
    }
    assert await counts(store) == (0, 0, 0)


@pytest.mark.parametrize("role", ["admin", "staff", "rider", "nonsense"])
async def test_role_that_nobody_may_choose_is_refused(store: Store, role: str) -> None:
    with pytest.raises(FieldErrors) as refused:
        await sign_up(store, visitor(), form(role=role))
    assert refused.value.errors == {"role": "This role cannot be chosen here."}
    assert await counts(store) == (0, 0, 0)


@pytest.mark.parametrize("field", ["is_staff", "roles", "email_verified_at", "is_active", "id", "permissions"])
def test_form_takes_no_other_field(field: str) -> None:
    raw = {"username": "tendai", "email": "t@example.com", "password": PASSWORD, field: True}
    with pytest.raises(msgspec.ValidationError, match=f"unknown field `{field}`"):
        msgspec.convert(raw, SignUp)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"email": "a@b.co\r\nBcc: everybody@example.com"}, "email"),
        ({"username": "tеndai"}, "username"),  # a Cyrillic е
        ({"username": "ten\x00dai"}, "username"),
        ({"display_name": "Tendai\x00"}, "display_name"),
        ({"display_name": "Tendai\ud800"}, "display_name"),
        ({"password": "password2024!"}, "password"),
        ({"password": "tendai@example.com"}, "password"),
        ({"password": "market-2026"}, "password"),
        ({"password": "ab " * 10_000}, "password"),
    ],
)
async def test_bad_input_names_the_field_and_writes_nothing(store: Store, changed: dict[str, str], field: str) -> None:
    with pytest.raises(FieldErrors) as refused:
        await sign_up(store, visitor(), form(**changed))
    assert list(refused.value.errors) == [field]
    assert await counts(store) == (0, 0, 0)


async def test_display_name_is_the_username_unless_given(store: Store) -> None:
    await join(store, "tafara")
    assert await rows(store, "SELECT display_name FROM users") == [{"display_name": "tafara"}]


@pytest.mark.parametrize("username", ["tendai", "TENDAI", "tenda1", "tendal"])
async def test_name_that_is_taken_or_looks_the_same_is_refused(store: Store, username: str) -> None:
    await join(store, "Tendai")
    before = await counts(store)
    with pytest.raises(FieldErrors) as refused:
        await sign_up(store, visitor(), form(username=username, email="other@example.com"))
    assert refused.value.errors == {"username": TAKEN}
    assert await counts(store) == before


async def test_taken_name_and_taken_address_are_said_together(store: Store) -> None:
    await join(store, "tendai")
    before = await counts(store)
    with pytest.raises(FieldErrors) as refused:
        await sign_up(store, visitor(), form(email="TENDAI@example.COM", password="short"))
    assert refused.value.errors == {
        "password": "At least 10 characters, please.", "username": TAKEN, "email": HAS_ACCOUNT,
    }  # fmt: skip
    assert await counts(store) == before


async def test_of_two_who_want_one_name_at_once_one_gets_it(store: Store, race: Race) -> None:
    results = await race(
        *(
            sign_up(store, visitor(), form(username=name, email=f"{n}@example.com"))
            for n, name in enumerate(("rudo", "RUDO"))
        )
    )
    refused = [r for r in results if isinstance(r, Exception)]
    assert [type(r) for r in refused] == [UsernameTaken]
    assert refused[0].errors == {"username": TAKEN}
    assert await counts(store) == (1, 1, 1)


async def test_of_two_who_want_one_address_at_once_one_gets_it(store: Store, race: Race) -> None:
    results = await race(*(sign_up(store, visitor(), form(username=name)) for name in ("rudo", "farai")))
    refused = [r for r in results if isinstance(r, Exception)]
    assert [type(r) for r in refused] == [EmailTaken]
    assert await counts(store) == (1, 1, 1)


async def test_cart_of_a_visitor_becomes_the_new_persons(store: Store, make: Factory) -> None:
    listing = await make.listing(await make.person("seller"), price=250)
    visit = await open_visit(store, visitor())
    await add_to_cart(store, visit.caller, await make.variant_of(listing), Decimal(3))
    started = await sign_up(store, visit.caller, form())
    cart = await get_cart(store, started.caller)
    assert [(line.listing_id, line.quantity) for line in cart.lines] == [(listing, Decimal(3))]
    assert await rows(store, "SELECT user_id, session_hash FROM carts") == [
        {"user_id": started.caller.user_id, "session_hash": None}
    ]
    assert started.token != visit.token
    assert (await load_caller(store, visit.token, visit.caller.address)).session is None


async def test_cart_of_a_visitor_stays_when_sign_up_is_refused(store: Store, make: Factory) -> None:
    listing = await make.listing(await make.person("seller"))
    visit = await open_visit(store, visitor())
    await add_to_cart(store, visit.caller, await make.variant_of(listing), Decimal(1))
    with pytest.raises(FieldErrors):
        await sign_up(store, visit.caller, form(password="password2024!"))
    assert len((await get_cart(store, visit.caller)).lines) == 1
    assert await load_caller(store, visit.token, visit.caller.address) == visit.caller


async def test_too_many_sign_ups_from_one_address_are_refused(store: Store) -> None:
    who = visitor()
    for _ in range(TRIES_FROM_ADDRESS):
        with pytest.raises(FieldErrors):
            await sign_up(store, who, form(username="a"))
    with pytest.raises(TooOften) as refused:
        await sign_up(store, who, form())
    assert refused.value.retry_after_s == 900
    assert await counts(store) == (0, 0, 0)
    await sign_up(store, visitor(), form())


def test_passwords_and_tokens_do_not_show_when_printed() -> None:
    assert repr(form()) == "SignUp(…)"
    assert PASSWORD not in f"{form()} {form()!r}"
