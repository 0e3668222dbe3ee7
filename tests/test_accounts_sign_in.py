"""Signing in and out, sessions, the cache that remembers them, changing the password."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from tests.factories import Factory
from tests.people import PASSWORD, join, visitor
from tradepost.accounts.queries import list_sessions
from tradepost.accounts.sessions import Remembered, recall_session, remove_expired_sessions, session_key
from tradepost.accounts.types import (
    AccountClosed,
    BadSignIn,
    Caller,
    ChangePassword,
    NoSuchSession,
    SignIn,
    SignInFirst,
    StartedSession,
)
from tradepost.core.cache import Cache
from tradepost.core.clock import now, stopped_at
from tradepost.core.database import ANYBODY, SYSTEM, count_queries
from tradepost.core.errors import FieldErrors
from tradepost.core.ids import secret_token, token_hash
from tradepost.core.limits import TooOften, network_of
from tradepost.flows.cart import add_to_cart, get_cart
from tradepost.flows.manage_account import change_password, close_account
from tradepost.flows.sign_in import (
    TRIES_FROM_ADDRESS_AT_ACCOUNT,
    load_caller,
    open_visit,
    sign_in,
    sign_out,
    sign_out_device,
    sign_out_others,
)
from tradepost.flows.store import Store

Race = Callable[..., Awaitable[list[Any]]]
NEW = "rain on a tin roof"


def right(login: str = "tendai") -> SignIn:
    """Return what somebody types who knows the password."""
    return SignIn(login=login, password=PASSWORD)


async def rows(store: Store, sql: str, **params: Any) -> list[dict[str, Any]]:
    """Return what a statement over everybody's rows finds."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        return [dict(row) for row in await tx.all(text(sql), **params)]


async def state(store: Store) -> list[dict[str, Any]]:
    """Return what a refused sign-in must not change."""
    return await rows(
        store,
        "SELECT (SELECT array_agg(id_hash ORDER BY id_hash) FROM sessions) AS sessions, (SELECT count(*) FROM events) AS facts, "
        "(SELECT array_agg((last_login_at, password_hash)::text ORDER BY id) FROM users) AS people",
    )


async def is_signed_in(store: Store, started: StartedSession) -> bool:
    """Whether the browser's cookie is still good for the person."""
    return (await load_caller(store, started.token, started.caller.address)).is_signed_in


@pytest.mark.parametrize("login", ["tendai", "TENDAI", " tendai ", "tendai@example.com", "Tendai@Example.com"])
async def test_sign_in_by_name_or_address_in_any_case(store: Store, login: str) -> None:
    joined = await join(store, "Tendai")
    started = await sign_in(store, visitor(), right(login), "Safari")
    assert started.caller.user_id == joined.caller.user_id
    assert started.token != joined.token
    facts = await rows(store, "SELECT kind FROM events ORDER BY id")
    assert [f["kind"] for f in facts] == ["PersonSignedUp", "PersonSignedIn"]
    (person,) = await rows(store, "SELECT last_login_at > created_at AS later FROM users")
    assert person["later"]


async def test_unknown_name_costs_the_same_hashes_as_a_wrong_password(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: one Argon2id computation of today's parameters for each try, whoever is asked for."""
    await join(store)
    tried: list[str] = []
    real = PasswordHasher.verify

    def counted(self: PasswordHasher, hashed: Any, password: Any) -> Any:
        tried.append(hashed.rsplit("$", 2)[0])
        return real(self, hashed, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    costs = []
    for login in ("tendai", "nobody", "nobody@example.com", "tendai@example.com", "\x00", ""):
        tried.clear()
        with pytest.raises(BadSignIn):
            await sign_in(store, visitor(), SignIn(login=login, password="maize in the evening"))
        costs.append(tuple(tried))
    assert set(costs) == {("$argon2id$v=19$m=19456,t=2,p=1",)}


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("tendai", "maize in the evening"),
        ("tendai", ""),
        ("tendai", PASSWORD + "x" * 200),
        ("nobody", PASSWORD),
        ("nobody@example.com", PASSWORD),
        ("", PASSWORD),
        ("tendai\x00", PASSWORD),
        ("tendai' OR '1'='1", PASSWORD),
        ("x" * 10_000, PASSWORD),
    ],
)
async def test_wrong_password_and_unknown_name_get_one_answer(store: Store, login: str, password: str) -> None:
    await join(store)
    before = await state(store)
    with pytest.raises(BadSignIn) as refused:
        await sign_in(store, visitor(), SignIn(login=login, password=password))
    assert refused.value.message == "The name or the password is not right."
    assert await state(store) == before


async def test_an_unknown_name_costs_the_same_hash_as_a_wrong_password(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long an answer takes must not tell who is a member."""
    await join(store)
    compared: list[str] = []
    verify = PasswordHasher.verify

    def noting(self: PasswordHasher, hashed: str, password: str | bytes) -> bool:
        compared.append(hashed)
        return verify(self, hashed, password)

    monkeypatch.setattr(PasswordHasher, "verify", noting)
    for login in ("tendai", "nobody"):
        with pytest.raises(BadSignIn):
            await sign_in(store, visitor(), SignIn(login=login, password="maize in the evening"))
    known, unknown = (hashed.rsplit("$", 2)[0] for hashed in compared)
    assert known == unknown


async def test_closed_account_is_told_to_who_knows_the_password_only(store: Store) -> None:
    started = await join(store)
    await close_account(store, started.caller, PASSWORD)
    before = await state(store)
    with pytest.raises(BadSignIn):
        await sign_in(store, visitor(), SignIn(login="tendai", password="maize in the evening"))
    with pytest.raises(AccountClosed):
        await sign_in(store, visitor(), right())
    assert await state(store) == before


async def test_person_without_a_password_cannot_sign_in_with_any(store: Store, make: Factory) -> None:
    await make.person("buyer", "tafara")
    for password in ("", "nobody", PASSWORD):
        with pytest.raises(BadSignIn):
            await sign_in(store, visitor(), SignIn(login="tafara", password=password))


async def test_old_hash_is_made_anew_at_sign_in(store: Store) -> None:
    await join(store)
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    await rows(store, "UPDATE users SET password_hash = :old RETURNING 1", old=old)
    await sign_in(store, visitor(), right())
    (person,) = await rows(store, "SELECT password_hash FROM users")
    assert person["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    await sign_in(store, visitor(), right())
    assert (await rows(store, "SELECT password_hash FROM users")) == [person]


async def test_sign_in_begins_a_new_session_and_ends_the_old_one(store: Store) -> None:
    await join(store)
    first = await sign_in(store, visitor(), right())
    second = await sign_in(store, first.caller, right())
    assert second.token != first.token
    assert not await is_signed_in(store, first)
    assert await is_signed_in(store, second)


async def test_cookie_planted_before_sign_in_is_worth_nothing_after(store: Store) -> None:
    await join(store)
    planted = await open_visit(store, visitor())
    await sign_in(store, planted.caller, right())
    assert await load_caller(store, planted.token, "203.0.113.9") == Caller(address="203.0.113.9")


async def test_cart_of_a_visitor_is_added_to_the_persons(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    apples, pears = await make.listing(seller, "Apples"), await make.listing(seller, "Pears")
    joined = await join(store)
    await add_to_cart(store, joined.caller, await make.variant_of(apples), Decimal(1))
    visit = await open_visit(store, visitor())
    await add_to_cart(store, visit.caller, await make.variant_of(apples), Decimal(2))
    await add_to_cart(store, visit.caller, await make.variant_of(pears), Decimal(1))
    with pytest.raises(BadSignIn):
        await sign_in(store, visit.caller, SignIn(login="tendai", password="maize in the evening"))
    assert len((await get_cart(store, visit.caller)).lines) == 2
    started = await sign_in(store, visit.caller, right())
    cart = await get_cart(store, started.caller)
    assert {line.listing_id: line.quantity for line in cart.lines} == {apples: Decimal(3), pears: Decimal(1)}


async def test_tries_at_one_account_from_one_address_are_limited(store: Store) -> None:
    await join(store)
    guesser = visitor()
    for n in range(TRIES_FROM_ADDRESS_AT_ACCOUNT):
        with pytest.raises(BadSignIn):
            await sign_in(store, guesser, SignIn(login="Tendai" if n % 2 else "tendai", password=f"guess number {n}"))
    before = await state(store)
    with pytest.raises(TooOften):
        await sign_in(store, guesser, right())
    assert await state(store) == before
    neighbour = Caller(address=guesser.address.replace("::1", "::2"))  # the same customer's network
    with pytest.raises(TooOften):
        await sign_in(store, neighbour, right())
    assert (await sign_in(store, visitor(), right())).caller.is_signed_in


async def test_success_sets_the_tries_back(store: Store) -> None:
    await join(store)
    who = visitor()
    for _ in range(2):
        for n in range(TRIES_FROM_ADDRESS_AT_ACCOUNT - 1):
            with pytest.raises(BadSignIn):
                await sign_in(store, who, SignIn(login="tendai", password=f"guess number {n}"))
        await sign_in(store, who, right())


def test_addresses_are_counted_by_network() -> None:
    assert network_of("203.0.113.7") == "203.0.113.7"
    assert network_of("::ffff:203.0.113.7") == "203.0.113.7"
    assert network_of("2001:db8:1:2:3:4:5:6") == "2001:db8:1:2::/64"
    assert network_of("made up") == network_of("") == "unknown"


async def test_caller_costs_one_query_and_then_none(store: Store) -> None:
    started = await join(store)
    with count_queries() as first:
        caller = await load_caller(store, started.token, started.caller.address)
    with count_queries() as second:
        again = await load_caller(store, started.token, started.caller.address)
    assert (first.queries, second.queries) == (1, 0)
    assert caller == again == started.caller


async def test_cache_holds_the_documented_session(store: Store) -> None:
    started = await join(store)
    await load_caller(store, started.token, started.caller.address)
    found = await store.cache.get(f"session:{token_hash(started.token).hex()}", into=dict[str, Any])
    assert found is not None
    assert {k: found[k] for k in ("user_id", "email", "role")} == {
        "user_id": str(started.caller.user_id), "email": "tendai@example.com", "role": "buyer",
    }  # fmt: skip
    (row,) = await rows(store, "SELECT created_at, last_seen_at FROM sessions")
    assert datetime.fromisoformat(found["created_at"]) == row["created_at"]
    assert datetime.fromisoformat(found["last_activity"]) == row["last_seen_at"]
    assert started.token not in str(found)


@pytest.mark.parametrize("token", [None, "", "x", "x" * 43, "x" * 5000, "\x00", "' OR 1=1 --", "é"])
async def test_forged_cookie_is_a_visitor(store: Store, token: str | None) -> None:
    await join(store)
    before = await state(store)
    assert await load_caller(store, token, "203.0.113.9") == Caller(address="203.0.113.9")
    assert await state(store) == before


async def test_session_ends_30_days_after_its_last_use(store: Store) -> None:
    begin = now()
    with stopped_at(begin):
        used, unused = await join(store, "tendai"), await join(store, "rudo")
    assert used.expires_at == begin + timedelta(days=30)
    for days in (20, 45, 70):
        with stopped_at(begin + timedelta(days=days)):
            assert await is_signed_in(store, used)
    with stopped_at(begin + timedelta(days=30)):
        assert not await is_signed_in(store, unused)
    with stopped_at(begin + timedelta(days=99)):
        assert await is_signed_in(store, used)
    with stopped_at(begin + timedelta(days=129)):
        assert not await is_signed_in(store, used)


async def test_last_use_is_written_once_an_hour(store: Store) -> None:
    begin = now()
    with stopped_at(begin):
        started = await join(store)
    for minutes, written in ((1, 0), (59, 0), (60, 60), (61, 60), (119, 60), (125, 125)):
        with stopped_at(begin + timedelta(minutes=minutes)):
            assert (await load_caller(store, started.token, "203.0.113.5")).is_signed_in
        (session,) = await rows(store, "SELECT last_seen_at, expires_at, host(ip) AS ip FROM sessions")
        seen = begin + timedelta(minutes=written)
        assert (session["last_seen_at"], session["expires_at"]) == (seen, seen + timedelta(days=30))
        assert session["ip"] == ("203.0.113.5" if written else started.caller.address)


async def test_many_requests_at_once_write_the_last_use_once(store: Store, race: Race) -> None:
    begin = now()
    with stopped_at(begin):
        started = await join(store)
    with stopped_at(begin + timedelta(hours=2)):
        callers = await race(*(load_caller(store, started.token, "203.0.113.5") for _ in range(12)))
    assert all(c.is_signed_in for c in callers)
    (session,) = await rows(store, "SELECT last_seen_at FROM sessions")
    assert session["last_seen_at"] == begin + timedelta(hours=2)


async def test_sign_out_takes_effect_at_once(store: Store) -> None:
    started = await join(store)
    assert await is_signed_in(store, started)
    await sign_out(store, started.caller)
    assert not await is_signed_in(store, started)
    await sign_out(store, started.caller)
    await sign_out(store, visitor())
    facts = await rows(store, "SELECT kind FROM events ORDER BY id")
    assert [f["kind"] for f in facts] == ["PersonSignedUp", "PersonSignedOut"]


async def test_sign_out_while_others_read_leaves_nobody_signed_in(store: Store, race: Race) -> None:
    for n in range(8):
        started = await join(store, f"tendai_{n}x")

        async def read(started: StartedSession = started) -> None:
            for _ in range(6):
                await store.cache.delete(session_key(token_hash(started.token)))
                await load_caller(store, started.token, started.caller.address)

        async def leave(started: StartedSession = started) -> None:
            await asyncio.sleep(0)
            await sign_out(store, started.caller)
            assert not await is_signed_in(store, started)

        assert await race(read(), read(), leave(), read()) == [None] * 4
        assert not await is_signed_in(store, started)
        assert await store.cache.get(session_key(token_hash(started.token)), into=Remembered) is None


async def test_what_was_read_before_a_sign_out_is_not_remembered_after(store: Store) -> None:
    started = await join(store)
    id_hash = token_hash(started.token)
    lease = await store.cache.lease(session_key(id_hash))
    read = await recall_session(store.db, store.cache, id_hash)
    assert read is not None
    await sign_out(store, started.caller)
    await store.cache.keep(session_key(id_hash), read, lease, ttl_s=60)
    assert not await is_signed_in(store, started)


async def test_what_the_cache_says_is_believed_for_a_minute(store: Store) -> None:
    begin = now()
    with stopped_at(begin):
        started = await join(store)
        assert await is_signed_in(store, started)
    await rows(store, "DELETE FROM sessions RETURNING 1")  # as if the cache could not be reached at a sign-out
    with stopped_at(begin + timedelta(seconds=59)):
        assert await is_signed_in(store, started)
    with stopped_at(begin + timedelta(seconds=61)):
        assert not await is_signed_in(store, started)


async def test_all_works_without_a_cache(store: Store) -> None:
    dead = replace(store, cache=await Cache.open("redis://127.0.0.1:1/0", timeout_ms=50))
    joined = await join(dead)
    assert await is_signed_in(dead, joined)
    started = await sign_in(dead, visitor(), right())
    await sign_out(dead, started.caller)
    assert not await is_signed_in(dead, started)
    who = visitor()
    for _ in range(TRIES_FROM_ADDRESS_AT_ACCOUNT):
        with pytest.raises(BadSignIn):
            await sign_in(dead, who, SignIn(login="tendai", password="maize in the evening"))
    with pytest.raises(TooOften):
        await sign_in(dead, who, right())
    await dead.cache.close()


async def test_person_sees_and_ends_their_own_devices_only(store: Store) -> None:
    mine, hers = await join(store, "tendai"), await join(store, "rudo")
    other = await sign_in(store, visitor(), right("tendai"), "Safari\nMobile")
    async with store.db.transaction(actor=mine.caller.actor) as tx:
        devices = (await list_sessions(tx, mine.caller)).items
    assert {d.id: d.user_agent for d in devices} == {
        token_hash(mine.token).hex(): "Firefox", token_hash(other.token).hex(): "Safari Mobile",
    }  # fmt: skip
    for name in (token_hash(hers.token).hex(), "zz", "00" * 32, ""):
        with pytest.raises(NoSuchSession):
            await sign_out_device(store, mine.caller, name)
    assert await is_signed_in(store, hers)
    await sign_out_device(store, mine.caller, token_hash(other.token).hex())
    assert not await is_signed_in(store, other)
    assert await is_signed_in(store, mine)


async def test_devices_come_in_pages(store: Store) -> None:
    begin = now()
    mine = await join(store)
    for n in range(4):
        with stopped_at(begin + timedelta(minutes=n)):
            await sign_in(store, visitor(), right(), f"Browser {n}")
    seen, after = [], None
    while True:
        async with store.db.transaction(actor=mine.caller.actor) as tx:
            page = await list_sessions(tx, mine.caller, after=after, limit=2)
        seen += [d.user_agent for d in page.items]
        after = page.after
        if after is None:
            break
    assert seen[:3] == ["Browser 3", "Browser 2", "Browser 1"]
    assert set(seen[3:]) == {"Browser 0", "Firefox"}
    assert len(seen) == 5


async def test_other_devices_are_signed_out_together(store: Store) -> None:
    mine, hers = await join(store, "tendai"), await join(store, "rudo")
    others = [await sign_in(store, visitor(), right("tendai")) for _ in range(3)]
    assert await sign_out_others(store, mine.caller) == 3
    assert [await is_signed_in(store, s) for s in (*others, mine, hers)] == [False, False, False, True, True]
    assert await sign_out_others(store, mine.caller) == 0
    with pytest.raises(SignInFirst):
        await sign_out_others(store, visitor())


async def test_password_change_ends_every_session_and_begins_one(store: Store) -> None:
    mine = await join(store)
    other = await sign_in(store, visitor(), right())
    started = await change_password(store, mine.caller, ChangePassword(current=PASSWORD, new=NEW))
    assert [await is_signed_in(store, s) for s in (mine, other, started)] == [False, False, True]
    with pytest.raises(BadSignIn):
        await sign_in(store, visitor(), right())
    assert (await sign_in(store, visitor(), SignIn(login="tendai", password=NEW))).caller.is_signed_in


@pytest.mark.parametrize(
    ("current", "new", "errors"),
    [
        ("maize in the evening", NEW, {"current": "This is not your password."}),
        (PASSWORD, "short", {"new": "At least 10 characters, please."}),
        (PASSWORD, PASSWORD, {"new": "This is the password you have."}),
        (PASSWORD, "tendai-2026", {"new": "Your name or address is the first thing somebody would try. Please choose something else."}),
    ],
)  # fmt: skip
async def test_refused_password_change_changes_nothing(
    store: Store, current: str, new: str, errors: dict[str, str]
) -> None:
    mine = await join(store)
    before = await state(store)
    with pytest.raises(FieldErrors) as refused:
        await change_password(store, mine.caller, ChangePassword(current=current, new=new))
    assert refused.value.errors == errors
    assert await state(store) == before
    assert await is_signed_in(store, mine)


async def test_of_two_password_changes_at_once_one_holds(store: Store, race: Race) -> None:
    mine = await join(store)
    other = await sign_in(store, visitor(), right())
    news = ("rain on a tin roof", "dust on a long road")
    results = await race(
        *(
            change_password(store, s.caller, ChangePassword(current=PASSWORD, new=n))
            for s, n in zip((mine, other), news, strict=True)
        )
    )
    won = [n for n, r in zip(news, results, strict=True) if isinstance(r, StartedSession)]
    refused = [r for r in results if isinstance(r, Exception)]
    assert len(won) == 1
    assert [r.errors for r in refused if isinstance(r, FieldErrors)] == [
        {"current": "The password was changed meanwhile."}
    ]
    assert (await sign_in(store, visitor(), SignIn(login="tendai", password=won[0]))).caller.is_signed_in
    assert len(await rows(store, "SELECT 1 FROM sessions")) == 2


async def test_expired_sessions_are_removed(store: Store) -> None:
    begin = now()
    with stopped_at(begin - timedelta(days=31)):
        await join(store, "rudo")
        await open_visit(store, visitor())
    kept = await join(store, "tendai")
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert await remove_expired_sessions(tx) == 2
    assert [r["id_hash"] for r in await rows(store, "SELECT id_hash FROM sessions")] == [token_hash(kept.token)]


async def test_database_shows_sessions_to_their_owner_only(store: Store) -> None:
    mine = await join(store, "tendai")
    await join(store, "rudo")
    visit = await open_visit(store, visitor())
    seen = {}
    for who, actor in {
        "anybody": ANYBODY,
        "me": mine.caller.actor,
        "visit": visit.caller.actor,
        "system": SYSTEM,
    }.items():
        async with store.db.transaction(actor=actor) as tx:
            seen[who] = [r["id_hash"] for r in await tx.all(text("SELECT id_hash FROM sessions"))]
    assert seen["anybody"] == []
    assert seen["me"] == [token_hash(mine.token)]
    assert seen["visit"] == [token_hash(visit.token)]
    assert len(seen["system"]) == 3
    async with store.db.transaction(actor=mine.caller.actor) as tx:
        assert await tx.run(text("DELETE FROM sessions")) == 1


async def test_token_made_up_by_a_visitor_opens_nothing(store: Store) -> None:
    who = visitor()
    visit = await open_visit(store, who)
    assert visit.caller.session == token_hash(visit.token)
    assert (visit.caller.user_id, visit.caller.permissions) == (None, frozenset())
    assert await load_caller(store, secret_token(), who.address) == who
