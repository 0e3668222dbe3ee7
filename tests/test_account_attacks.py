"""What attackers send to the doors of accounts: refused with a clear error, logged, and nothing is changed by it."""

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.mail import letters
from tests.people import PASSWORD, join
from tests.visitor import Visitor, text_of
from tradepost.core.clock import now, stopped_at
from tradepost.core.database import SYSTEM
from tradepost.core.limits import WINDOW_S
from tradepost.core.log import configure_logging
from tradepost.core.settings import LogSettings
from tradepost.flows.sign_in import TRIES_FROM_ADDRESS, TRIES_FROM_ADDRESS_AT_ACCOUNT
from tradepost.flows.store import Store
from tradepost.web.security import CSRF_COOKIE, SESSION_COOKIE

STATE = text("""
    SELECT (SELECT jsonb_agg(to_jsonb(u) - 'updated_at' ORDER BY u.id) FROM users u)::text
        || (SELECT coalesce(jsonb_agg(to_jsonb(r) ORDER BY r.user_id, r.role), '[]') FROM user_roles r)::text
        || (SELECT count(*) FROM sessions)::text || (SELECT count(*) FROM tokens)::text || (SELECT count(*) FROM mails)::text
""")


@pytest.fixture
def log() -> Iterator[StringIO]:
    """Collect what is logged."""
    stream = StringIO()
    configure_logging(LogSettings(level="info", format="json"), stream)
    yield stream
    configure_logging(LogSettings())


@pytest_asyncio.fixture(autouse=True)
async def fresh_counters(store: Store) -> None:
    """Tests share a cache, and with it the counters of those they all write to."""
    await store.cache._client.flushdb()


async def state(store: Store) -> str:
    async with store.db.transaction(actor=SYSTEM) as tx:
        found: str = await tx.value(STATE)
    return found


def logged(log: StringIO, event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == event]


async def guess(browse: Visitor, login: str, word: str = "correct horse battery") -> Any:
    return await browse.post("/sign-in", {"login": login, "password": word}, follow=False)


async def test_credential_stuffing_is_slowed_for_the_address_and_told_when_to_come_back(
    store: Store, browse: Visitor, log: StringIO
) -> None:
    """Names and passwords of another shop's leak: each name once, from one address."""
    await join(store)
    before = await state(store)
    answers = [await guess(browse, f"leaked-{n}@example.com") for n in range(TRIES_FROM_ADDRESS + 1)]
    assert [a.status_code for a in answers] == [422] * TRIES_FROM_ADDRESS + [429]
    slowed = answers[-1]
    assert 0 < int(slowed.headers["retry-after"]) <= WINDOW_S
    assert slowed.headers["ratelimit-policy"] == f'"sign_in";q={TRIES_FROM_ADDRESS};w={WINDOW_S}'
    assert slowed.headers["ratelimit"].startswith('"sign_in";r=0;t=')
    assert "That was tried too often" in text_of(slowed.text)
    assert len(logged(log, "sign_in.refused")) == TRIES_FROM_ADDRESS
    assert await state(store) == before
    assert "correct horse" not in log.getvalue()


async def test_guessing_at_one_account_is_slowed_sooner_and_counts_down(store: Store, browse: Visitor) -> None:
    await join(store)
    answers = [await guess(browse, "tendai") for _ in range(TRIES_FROM_ADDRESS_AT_ACCOUNT + 1)]
    left = [a.headers["ratelimit"].partition(";r=")[2].partition(";")[0] for a in answers]
    assert left == [str(max(0, TRIES_FROM_ADDRESS_AT_ACCOUNT - n)) for n in range(1, len(answers) + 1)]
    assert [a.status_code for a in answers] == [422] * TRIES_FROM_ADDRESS_AT_ACCOUNT + [429]
    assert (await guess(browse, "tendai", PASSWORD)).status_code == 429  # the right one, too late
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.value(text("SELECT count(*) FROM events WHERE kind = 'PersonSignedIn'")) == 0


async def test_a_token_that_was_taken_back_is_refused_and_logged(store: Store, browse: Visitor, log: StringIO) -> None:
    await browse.sign_up("ann")
    headers = {"x-csrf-token": browse.token}
    made = (await browse.client.post("/api/v1/me/tokens", json={"name": "x"}, headers=headers)).json()
    bearer = {"authorization": f"Bearer {made['secret']}"}
    browse_cookies = dict(browse.client.cookies)
    assert (await browse.client.get("/api/v1/me", headers=bearer)).status_code == 200
    gone = await browse.client.request("DELETE", f"/api/v1/me/tokens/{made['id']}", headers=headers)
    assert gone.status_code == 204
    browse.client.cookies.clear()
    before = await state(store)
    for replayed in (bearer, {"authorization": "Bearer tp_" + "a" * 43}, {"authorization": "Bearer " + "x" * 9000}):
        answer = await browse.client.patch("/api/v1/me", json={"bio": "taken over"}, headers=replayed)
        assert (answer.status_code, answer.json()["code"]) == (403, "TokenInvalid")
    assert len(logged(log, "token.refused")) >= 2
    assert await state(store) == before
    assert browse_cookies[SESSION_COOKIE] not in log.getvalue()


@pytest.mark.parametrize("cookie", ["x", "a" * 43, "a" * 4000, "%00", "../../etc/passwd", "' OR true --"])
async def test_a_forged_session_is_a_visitor_and_logged(
    store: Store, browse: Visitor, log: StringIO, cookie: str
) -> None:
    await join(store)
    before = await state(store)
    browse.client.cookies.set(SESSION_COOKIE, cookie)
    assert (await browse.client.get("/me")).headers["location"].startswith("/sign-in?next=/me")
    assert (await browse.client.get("/api/v1/me")).status_code == 401
    answer = await browse.post("/me", {"bio": "taken over"}, follow=False)
    assert answer.status_code == 403
    assert await state(store) == before
    if len(cookie) <= 100:
        assert logged(log, "session.unknown")


async def test_a_session_of_another_store_is_worth_nothing(store: Store, browse: Visitor) -> None:
    """Cookies are stored as hashes of the store's own database: nothing is signed that another store could sign, too."""
    started = await join(store)
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("DELETE FROM sessions"))
    await store.cache._client.flushdb()
    browse.client.cookies.set(SESSION_COOKIE, started.token)
    assert (await browse.client.get("/api/v1/me")).status_code == 401


MORE = [
    {"role": "admin"}, {"roles": ["admin"]}, {"permissions": ["manage_people"]}, {"is_active": True}, {"id": "1"},
    {"email_verified_at": "2026-01-01T00:00:00Z"}, {"verified": True}, {"password_hash": "x"}, {"user_id": "1"},
    {"suspended_until": None}, {"badges": ["verified"]},
]  # fmt: skip


@pytest.mark.parametrize("more", MORE, ids=lambda more: next(iter(more)))
async def test_nobody_makes_themselves_anything_by_more_fields(
    store: Store, browse: Visitor, more: dict[str, Any]
) -> None:
    await browse.sign_up("ann")
    headers = {"x-csrf-token": browse.token}
    before = await state(store)
    refused = await browse.client.patch("/api/v1/me", json={"bio": "Hello.", **more}, headers=headers)
    assert refused.status_code == 400
    assert next(iter(more)) in refused.text
    assert await state(store) == before
    if "role" not in more:  # it is a field of signing up, where it names what people may choose
        joining = {"username": "ben", "email": "ben@example.com", "password": PASSWORD, **more}
        assert (await browse.client.post("/api/v1/accounts", json=joining, headers=headers)).status_code == 400
        assert await state(store) == before
    await browse.get("/me")
    fields = {name: str(value) for name, value in more.items()}
    await browse.post("/me", {"display_name": "Ann", "username": "ann", **fields})
    async with store.db.transaction(actor=SYSTEM) as tx:
        (row,) = await tx.all(text("SELECT email_verified_at, is_active, suspended_until FROM users"))
        assert dict(row) == {"email_verified_at": None, "is_active": True, "suspended_until": None}
        assert await tx.values(text("SELECT role FROM user_roles")) == ["buyer"]


@pytest.mark.parametrize("role", ["admin", "staff", "no-such-role", "seller; DROP TABLE users"])
async def test_nobody_signs_up_as_staff(store: Store, browse: Visitor, role: str) -> None:
    await browse.get("/sign-up")
    answer = await browse.sign_up("ann", role)
    assert answer.status_code == 422
    assert "This role cannot be chosen here." in text_of(answer.text)
    assert await state(store) is None or "ann" not in await state(store)


@pytest.mark.parametrize(
    "name",
    [
        "tеndai",
        "tendaі",
        "TENDAI",
        "tendal",
        "tenda1",
        "tendɑi",
        "ｔendai",
        "tendai\u200b",
        "adm1n",
        "аdmin",
        "s.u.p.p.o.r.t",
    ],
)
async def test_a_name_that_passes_for_anothers_is_refused(store: Store, browse: Visitor, name: str) -> None:
    """Cyrillic, full-width and other look-alike letters, digits for letters, what cannot be seen."""
    await join(store)
    before = await state(store)
    form = {"username": name, "email": "b@example.com", "password": PASSWORD}
    await browse.get("/sign-up")
    page = await browse.post("/sign-up", form)
    assert page.status_code == 422
    api = await browse.client.post("/api/v1/accounts", json=form, headers={"x-csrf-token": browse.token})
    assert (api.status_code, list(api.json()["errors"])) == (422, ["username"])
    assert await state(store) == before


async def test_ten_megabytes_of_bio_are_refused_at_every_door(store: Store, browse: Visitor) -> None:
    await browse.sign_up("ann")
    headers = {"x-csrf-token": browse.token}
    before, bio = await state(store), "x" * 10_000_000
    assert (await browse.client.patch("/api/v1/me", json={"bio": bio}, headers=headers)).status_code == 400
    page = await browse.client.post("/me", data={"bio": bio, "csrf_token": browse.token, "username": "ann"})
    assert page.status_code in {400, 413, 422}
    assert (await browse.client.patch("/api/v1/me", json={"bio": "x" * 20_000_000}, headers=headers)).status_code == 413
    assert await state(store) == before


@pytest.mark.parametrize(
    "email",
    ["a@example.com\r\nBcc: everybody@example.com", "a@example.com\nSubject: You won", "a@example.com%0aBcc:b@example.com",
     "Ann <a@example.com>", "a@example.com,b@example.com", "a@exam\u2028ple.com"],
)  # fmt: skip
async def test_no_address_writes_into_the_head_of_a_letter(store: Store, browse: Visitor, email: str) -> None:
    before = await state(store)
    await browse.get("/sign-up")
    form = {"username": "ann", "email": email, "password": PASSWORD, "display_name": "Ann"}
    assert (await browse.post("/sign-up", form)).status_code == 422
    assert await state(store) == before
    await browse.sign_up("ann")
    before = await state(store)
    assert (await browse.post("/me/email", {"email": email})).status_code == 422
    await browse.post("/forgot", {"login": email, "what": "reset"})
    assert [letter.subject for letter in await letters(store)] == ["Confirm your e-mail address for Market"]
    assert await state(store) == before


async def test_a_name_with_line_breaks_stays_out_of_the_head_of_a_letter(store: Store, browse: Visitor) -> None:
    form = {
        "username": "ann",
        "email": "ann@example.com",
        "password": PASSWORD,
        "display_name": "Ann\r\nBcc: b@example.com",
    }
    await browse.get("/sign-up")
    await browse.post("/sign-up", form)
    for letter in await letters(store):
        assert "\n" not in letter.subject + letter.to + letter.sender + letter.sender_name
        assert "Bcc:" not in letter.text.split("\n")


async def test_a_form_of_yesterdays_session_is_refused(store: Store, browse: Visitor) -> None:
    begun = now()
    with stopped_at(begun):
        await browse.sign_up("ann")
    before = await state(store)
    with stopped_at(begun + timedelta(days=31)):
        answer = await browse.post("/me", {"bio": "late"}, follow=False)
    assert answer.status_code == 403
    assert await state(store) == before


async def test_a_planted_form_cookie_does_not_open_a_persons_forms(store: Store, browse: Visitor) -> None:
    """Who can write a cookie for the domain still does not know the session that the token is bound to."""
    await browse.sign_up("ann")
    session = browse.client.cookies[SESSION_COOKIE]
    attacker = base64.urlsafe_b64encode(b"x" * 32).decode()
    browse.client.cookies.clear()
    browse.client.cookies.set(CSRF_COOKIE, attacker)
    await browse.get("/")  # as a visitor with that cookie: the token it gets is known to the attacker
    token = browse.token
    browse.client.cookies.set(SESSION_COOKIE, session)
    before = await state(store)
    answer = await browse.client.post("/me", data={"bio": "taken over", "csrf_token": token})
    assert answer.status_code == 403
    assert await state(store) == before


async def test_changes_from_one_address_are_counted_by_endpoint(store: Store, browse: Visitor) -> None:
    answer = await browse.post("/scheme", {"scheme": "dark", "next": "/"}, follow=False)
    assert answer.headers["ratelimit-policy"] == '"POST /scheme";q=1500;w=900'
    assert answer.headers["ratelimit"] == '"POST /scheme";r=1499;t=900'
    assert "ratelimit" not in (await browse.get("/")).headers
    key = next(k for k in await store.cache._client.keys("*rate_limit:*") if b"/scheme" in k)
    await store.cache._client.set(key, 1500, keepttl=True)
    answer = await browse.post("/scheme", {"scheme": "dark", "next": "/"}, follow=False)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= WINDOW_S
    assert (await browse.post("/forgot", {"login": "x"}, follow=False)).status_code == 303
