"""Apps that sign in: pairs of tokens, refresh tokens that take turns, and what happens to one that was copied."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.mail import letters
from tests.people import PASSWORD, join, join_as, visitor
from tests.visitor import Visitor, text_of
from tradepost.accounts.api_tokens import issue_token
from tradepost.accounts.totp import code_at, step_of
from tradepost.accounts.types import (
    AppSignIn,
    BadSignIn,
    Caller,
    ChangePassword,
    NewToken,
    NoSuchApp,
    NotByToken,
    SecondStepNeeded,
    TokenInvalid,
    TokenPair,
    TokenReused,
)
from tradepost.core.clock import now, stopped_at
from tradepost.core.database import SYSTEM
from tradepost.core.errors import FieldErrors
from tradepost.flows import app_sign_in, second_step
from tradepost.flows.app_sign_in import refresh, sign_in_app, sign_out_app
from tradepost.flows.manage_account import change_password
from tradepost.flows.sign_in import load_caller, load_caller_by_token, sign_out_others
from tradepost.flows.store import Store

Race = Callable[..., Awaitable[list[Any]]]
PHONE = {"name": "Tendai's telephone", "model": "A5"}


@pytest_asyncio.fixture(autouse=True)
async def fresh_counters(store: Store) -> None:
    """Tests share a cache, and with it the counters of those they all write to."""
    await store.cache._client.flushdb()


async def rows(store: Store, sql: str, **params: Any) -> list[dict[str, Any]]:
    async with store.db.transaction(actor=SYSTEM) as tx:
        return [dict(row) for row in await tx.all(text(sql), **params)]


async def app_of(store: Store, username: str = "tendai", **more: Any) -> TokenPair:
    form = AppSignIn(login=username, password=PASSWORD, **{"device_info": PHONE, **more})
    return await sign_in_app(store, visitor(), form, "Dart/3.9")


async def who(store: Store, pair: TokenPair) -> Caller:
    return await load_caller_by_token(store, pair.access_token, "203.0.113.9")


async def facts(store: Store) -> list[str]:
    return [
        r["kind"]
        for r in await rows(store, "SELECT kind FROM events WHERE kind LIKE 'App%' OR kind LIKE 'Refresh%' ORDER BY id")
    ]


async def test_an_app_gets_a_pair_and_acts_for_its_person(store: Store) -> None:
    mine = await join(store)
    pair = await app_of(store)
    caller = await who(store, pair)
    assert (caller.user_id, caller.permissions) == (mine.caller.user_id, mine.caller.permissions)
    assert (pair.expires_in, pair.scopes) == (900, ("profile", *sorted(mine.caller.permissions)))
    stored = await rows(
        store,
        "SELECT kind, token_hash, name, device_info, host(ip) AS ip, expires_at > now() + interval '29 days' AS long FROM tokens WHERE family IS NOT NULL ORDER BY kind",
    )
    assert [(r["kind"], r["name"], r["device_info"], r["long"]) for r in stored] == [
        ("access", PHONE["name"], PHONE, False), ("refresh", PHONE["name"], PHONE, True),
    ]  # fmt: skip
    assert all(r["ip"].startswith("2001:db8:") for r in stored)
    assert pair.access_token.encode() not in b"".join(r["token_hash"] for r in stored)
    assert PASSWORD not in repr(pair) + repr(AppSignIn(login="a", password=PASSWORD))
    assert pair.refresh_token not in repr(pair)
    assert (await load_caller(store, mine.token, "")).is_signed_in
    assert len(await rows(store, "SELECT 1 FROM sessions")) == 1


async def test_an_access_token_ends_after_a_quarter_of_an_hour_and_takes_no_refreshing(store: Store) -> None:
    await join(store)
    begun = now()
    with stopped_at(begun):
        pair = await app_of(store)
    with stopped_at(begun + timedelta(minutes=14, seconds=59)):
        assert (await who(store, pair)).is_signed_in
    with stopped_at(begun + timedelta(minutes=15)), pytest.raises(TokenInvalid):
        await who(store, pair)
    for wrong in (pair.access_token, "", "x", "tpr_" + "a" * 43, "é" * 90, "y" * 101):
        with pytest.raises(TokenInvalid):
            await refresh(store, "203.0.113.9", wrong)
    with pytest.raises(TokenInvalid):
        await load_caller_by_token(store, pair.refresh_token, "203.0.113.9")


async def test_refresh_tokens_take_turns(store: Store) -> None:
    await join(store)
    pairs = [await app_of(store, scopes=("buy",))]
    for _ in range(3):
        pairs.append(await refresh(store, "203.0.113.9", pairs[-1].refresh_token))
    assert len({p.access_token for p in pairs} | {p.refresh_token for p in pairs}) == 8
    assert {p.scopes for p in pairs} == {("buy",)}
    assert (await who(store, pairs[-1])).permissions == {"buy"}
    (app,) = await rows(
        store, "SELECT count(DISTINCT family) AS n, count(*) AS all FROM tokens WHERE family IS NOT NULL"
    )
    assert (app["n"], app["all"]) == (1, 8)
    assert await facts(store) == ["AppSignedIn"]


async def test_a_refresh_token_that_comes_twice_ends_the_sign_in_and_is_told(store: Store) -> None:
    await join(store)
    other, first = await app_of(store), await app_of(store)
    second = await refresh(store, "203.0.113.9", first.refresh_token)
    third = await refresh(store, "203.0.113.9", second.refresh_token)
    with pytest.raises(TokenReused):
        await refresh(store, "198.51.100.6", first.refresh_token)
    for pair in (first, second, third):
        with pytest.raises(TokenInvalid):
            await who(store, pair)
        with pytest.raises(TokenInvalid):
            await refresh(store, "203.0.113.9", pair.refresh_token)
    assert (await who(store, other)).is_signed_in
    assert await facts(store) == ["AppSignedIn", "AppSignedIn", "RefreshTokenReplayed"]
    (letter,) = await letters(store, "security_changed")
    assert "may have been copied" in letter.text


async def test_of_two_who_refresh_at_once_one_gets_a_pair_that_is_worth_nothing(store: Store, race: Race) -> None:
    await join(store)
    pair = await app_of(store)
    found = await race(*(refresh(store, "203.0.113.9", pair.refresh_token) for _ in range(3)))
    won = [f for f in found if isinstance(f, TokenPair)]
    assert len(won) == 1
    assert {type(f) for f in found} - {TokenPair, TokenReused, TokenInvalid} == set()
    with pytest.raises(TokenInvalid):
        await who(store, won[0])
    assert (await facts(store)).count("RefreshTokenReplayed") == 1


async def test_an_app_unused_for_thirty_days_signs_in_again(store: Store) -> None:
    await join(store)
    begun = now()
    with stopped_at(begun):
        pair = await app_of(store)
    with stopped_at(begun + timedelta(days=29)):
        pair = await refresh(store, "203.0.113.9", pair.refresh_token)
    with stopped_at(begun + timedelta(days=59)), pytest.raises(TokenInvalid):
        await refresh(store, "203.0.113.9", pair.refresh_token)
    assert "RefreshTokenReplayed" not in await facts(store)


async def test_an_app_is_asked_for_the_second_step(store: Store) -> None:
    mine = await join(store)
    secret = await second_step.offer_totp(store, mine.caller)
    codes = await second_step.confirm_totp(store, mine.caller, code_at(secret, step_of(now())))
    with pytest.raises(SecondStepNeeded):
        await app_of(store)
    with pytest.raises(FieldErrors):
        await app_of(store, code="000000")
    assert (await who(store, await app_of(store, code=codes[0]))).is_signed_in
    with pytest.raises(BadSignIn):
        await sign_in_app(store, visitor(), AppSignIn(login="tendai", password="not the one at all"), "")
    assert len(await rows(store, "SELECT 1 FROM tokens WHERE kind = 'refresh'")) == 1


async def test_an_app_gets_no_scope_that_its_person_lacks_and_loses_what_they_lose(store: Store) -> None:
    await join_as(store, "tendai", "seller")
    for scopes in (("manage_people",), ("buy", "everything")):
        with pytest.raises(FieldErrors):
            await app_of(store, scopes=scopes)
    pair = await app_of(store, scopes=("sell",))
    assert (await who(store, pair)).can("sell")
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("DELETE FROM user_roles WHERE role = 'seller'"))
    pair = await refresh(store, "", pair.refresh_token)
    assert (await who(store, pair)).permissions == frozenset()


async def test_what_takes_a_person_an_app_cannot_do(store: Store) -> None:
    await join(store)
    caller = await who(store, await app_of(store))
    with pytest.raises(NotByToken):
        await change_password(store, caller, ChangePassword(current=PASSWORD, new="rain on a tin roof"))
    with pytest.raises(NotByToken):
        await app_sign_in.list_apps(store, caller)
    async with store.db.transaction(actor=caller.actor) as tx:
        with pytest.raises(NotByToken):
            await issue_token(tx, caller, NewToken(name="more"))


async def test_apps_are_signed_out_by_themselves_by_their_person_and_with_the_password(store: Store) -> None:
    mine, other = await join(store), await join(store, "other")
    one, two, three = await app_of(store), await app_of(store), await app_of(store)
    await sign_out_app(store, "", one.refresh_token)
    await sign_out_app(store, "", one.refresh_token)
    await sign_out_app(store, "", "made up")
    apps = await app_sign_in.list_apps(store, mine.caller)
    assert [(a.name, a.ip is not None) for a in apps] == [(PHONE["name"], True)] * 2
    for caller, family in ((other.caller, apps[0].id), (mine.caller, uuid4())):
        with pytest.raises(NoSuchApp):
            await app_sign_in.end_app(store, caller, family)
    await app_sign_in.end_app(store, mine.caller, apps[0].id)
    with pytest.raises(NoSuchApp):
        await app_sign_in.end_app(store, mine.caller, apps[0].id)
    with pytest.raises(TokenInvalid):
        await who(store, three)
    assert (await who(store, two)).is_signed_in
    await change_password(store, mine.caller, ChangePassword(current=PASSWORD, new="rain on a tin roof"))
    with pytest.raises(TokenInvalid):
        await who(store, two)
    assert (await facts(store)).count("AppSignedOut") == 3


async def test_signing_all_others_out_means_apps_too(store: Store) -> None:
    mine = await join(store)
    pair = await app_of(store)
    assert await sign_out_others(store, mine.caller) == 1
    with pytest.raises(TokenInvalid):
        await who(store, pair)
    assert (await load_caller(store, mine.token, "")).is_signed_in


async def test_over_http_without_cookie_or_form_token(browse: Visitor, store: Store) -> None:
    await join(store)
    form = {"login": "tendai", "password": PASSWORD, "device_info": PHONE}
    answer = await browse.client.post("/api/v1/tokens", json=form, headers={"idempotency-key": "same"})
    assert answer.status_code == 201
    assert "set-cookie" not in answer.headers
    pair = answer.json()
    me = await browse.client.get("/api/v1/me", headers={"authorization": f"Bearer {pair['access_token']}"})
    assert me.json()["username"] == "tendai"
    first = {"refresh_token": pair["refresh_token"]}
    assert (await browse.client.post("/api/v1/tokens/refresh", json=first)).status_code == 200
    again = await browse.client.post("/api/v1/tokens/refresh", json=first, headers={"idempotency-key": "again"})
    assert (again.status_code, again.json()["code"]) == (403, "TokenReused")
    assert (await facts(store))[-1] == "RefreshTokenReplayed"
    assert (await browse.client.post("/api/v1/tokens/revoke", json=first)).status_code == 204
    for wrong in ({}, {"refresh_token": "x" * 101}, {"refresh_token": 7}, {"refresh_token": "x", "user_id": 1}):
        assert (await browse.client.post("/api/v1/tokens/refresh", json=wrong)).status_code in {400, 403}


async def test_the_page_lists_apps_and_signs_them_out(browse: Visitor, store: Store) -> None:
    await browse.sign_up("ann")
    form = AppSignIn(login="ann", password="a-walnut-tree-in-may", device_info={"name": "<b>Phone</b>"})
    pair = await sign_in_app(store, visitor(), form, "")
    page = await browse.get("/me/security")
    assert "<b>Phone" not in page.text
    assert "&lt;b&gt;Phone&lt;/b&gt;" in page.text
    (family,) = await rows(store, "SELECT DISTINCT family FROM tokens WHERE family IS NOT NULL")
    said = await browse.post("/me/apps/end", {"id": str(family["family"])})
    assert "That app is signed out." in text_of(said.text)
    with pytest.raises(TokenInvalid):
        await who(store, pair)
    assert (await browse.post("/me/apps/end", {"id": "x"})).status_code == 404


async def test_replies_that_may_be_repeated_are_kept_encrypted(browse: Visitor, store: Store) -> None:
    await browse.sign_up("ann")
    headers = {"x-csrf-token": browse.token, "idempotency-key": "one"}
    first = await browse.client.post("/api/v1/me/tokens", json={"name": "mine"}, headers=headers)
    again = await browse.client.post("/api/v1/me/tokens", json={"name": "mine"}, headers=headers)
    assert (first.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert len(await rows(store, "SELECT 1 FROM tokens WHERE kind = 'api'")) == 1
    (kept,) = await rows(store, "SELECT response::text FROM idempotency_keys")
    assert first.json()["secret"] not in kept["response"]
