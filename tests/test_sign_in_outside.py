"""Signing in with Google, Apple and Facebook: what is believed of a provider, and whose account that opens."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import ECKey
from sqlalchemy import text

from tests.fake_provider import CLIENT, NEXT_KEY, SECRET, FakeProvider
from tests.loopback import serving
from tests.mail import letters, token_in
from tests.people import PASSWORD, join, visitor
from tests.visitor import Visitor, text_of
from tradepost.accounts import openid
from tradepost.accounts.openid import Provider
from tradepost.accounts.totp import code_at, step_of
from tradepost.accounts.types import (
    AccountClosed,
    AlreadyTaken,
    BadProvider,
    BadSignIn,
    Caller,
    LastWayIn,
    LinkSpent,
    NoSuchProvider,
    NotVouchedFor,
    OutsideEmailMissing,
    OutsideEmailTaken,
    ProveItAgain,
    ProviderAway,
    SecondStepNeeded,
    SignIn,
    StartedSession,
)
from tradepost.core.clock import now, stopped_at
from tradepost.core.database import SYSTEM
from tradepost.core.settings import AppleSettings, FacebookSettings, GoogleSettings, Settings
from tradepost.flows import second_step
from tradepost.flows.account_links import confirm_email
from tradepost.flows.manage_account import close_account
from tradepost.flows.sign_in import load_caller, sign_in
from tradepost.flows.sign_in_outside import Answer, begin, finish, offered, open_providers, unlink
from tradepost.flows.store import Store

Race = Callable[..., Awaitable[list[Any]]]
APPLE_KEY = ECKey.generate_key("P-256", private=True)


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    """Run a provider; the store takes it for all three."""
    made = FakeProvider()
    async with serving(made):
        yield made


@pytest.fixture
def installation(provider: FakeProvider) -> Settings:
    """Return settings that name the local provider."""
    there = {"client_id": CLIENT, "issuer": provider.base, "token_endpoint": f"{provider.base}/token"}
    pem = APPLE_KEY.as_pem(private=True).decode().replace("\n", "\\n")  # as it stands in a variable of the environment
    return Settings(
        stores=("market",), test_payments=True, google=GoogleSettings(**there, client_secret=SECRET),
        facebook=FacebookSettings(**there, client_secret=SECRET),
        apple=AppleSettings(**there, team_id="TEAM", key_id="KEY", private_key=pem),
    )  # fmt: skip


async def rows(store: Store, sql: str, **params: Any) -> list[dict[str, Any]]:
    async with store.db.transaction(actor=SYSTEM) as tx:
        return [dict(row) for row in await tx.all(text(sql), **params)]


async def come(
    store: Store, provider: FakeProvider, caller: Caller | None = None, code: str = "google", *, is_link: bool = False
) -> StartedSession | SecondStepNeeded | None:
    """Set out, agree at the provider, and come back."""
    caller = caller or visitor()
    address, carried = await begin(store, caller, code, "/saved", is_link=is_link)
    answer = answered(provider.agree(address))
    found, target = await finish(store, caller, code, carried, answer, "Firefox")
    assert target == "/saved"
    return found


def answered(brought: dict[str, str], **changes: str) -> Answer:
    brought = {**brought, **changes}
    return Answer(brought["code"], brought["state"], brought.get("error", ""), brought["iss"])


async def signed_in(store: Store, provider: FakeProvider, code: str = "google") -> StartedSession:
    found = await come(store, provider, code=code)
    assert isinstance(found, StartedSession)
    return found


async def proved_member(store: Store) -> StartedSession:
    """Join as Tendai with a password and a proved address."""
    started = await join(store)
    (letter,) = await letters(store, "verify_email")
    await confirm_email(store, visitor(), token_in(letter))
    return started


async def nobody_here(store: Store) -> bool:
    found = await rows(store, "SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM outside_logins) AS n")
    return bool(found[0]["n"] == 0)


async def test_who_comes_for_the_first_time_gets_an_account_and_comes_back_to_it(
    store: Store, provider: FakeProvider
) -> None:
    first = await signed_in(store, provider)
    assert (first.caller.username, first.caller.display_name) == ("tendai-moyo", "Tendai Moyo")
    (row,) = await rows(
        store,
        "SELECT email::text, email_verified_at IS NOT NULL AS proved, password_hash, "
        "(SELECT array_agg(role) FROM user_roles r WHERE r.user_id = u.id) AS roles FROM users u",
    )
    assert row == {"email": "tendai@example.com", "proved": True, "password_hash": None, "roles": ["buyer"]}
    again = await signed_in(store, provider)
    assert again.caller.user_id == first.caller.user_id
    (login,) = await rows(store, "SELECT provider, subject, email FROM outside_logins")
    assert login == {"provider": "google", "subject": "1234", "email": "tendai@example.com"}
    facts = await rows(store, "SELECT kind FROM events ORDER BY id")
    assert [f["kind"] for f in facts] == [
        "PersonSignedUp", "OutsideLoginTaken", "EmailConfirmed", "PersonSignedIn", "PersonSignedIn",
    ]  # fmt: skip
    assert provider.secrets_seen == [SECRET, SECRET]


async def test_nothing_of_the_provider_is_kept(store: Store, provider: FakeProvider) -> None:
    await signed_in(store, provider)
    whole = await rows(
        store, "SELECT to_jsonb(o)::text AS t FROM outside_logins o UNION ALL SELECT after::text FROM audit_log"
    )
    assert "not ours to keep" not in "".join(str(row["t"]) for row in whole)


@pytest.mark.parametrize(
    "lie",
    ["issuer", "audience", "audiences", "expired", "future", "nonce", "no nonce", "no subject", "blank subject", "number subject",
     "no expiry", "unsigned", "symmetric", "signature", "changed", "rubbish"],
)  # fmt: skip
async def test_a_token_that_is_not_for_us_now_opens_nothing(store: Store, provider: FakeProvider, lie: str) -> None:
    provider.wrong = lie
    with pytest.raises(NotVouchedFor):
        await come(store, provider)
    assert await nobody_here(store)
    provider.wrong = ""
    assert isinstance(await come(store, provider), StartedSession)


@pytest.mark.parametrize("fault", ["broken", "lost"])
@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys", "/token"])
async def test_a_provider_that_is_away_is_said_to_be(
    store: Store, provider: FakeProvider, path: str, fault: Any
) -> None:
    provider.fail(path, fault)
    if path == "/token" or fault == "lost":
        provider.fail(path, fault)
    with pytest.raises(ProviderAway):
        await come(store, provider)
    assert await nobody_here(store)


async def test_a_discovery_document_of_somebody_else_is_refused(store: Store, provider: FakeProvider) -> None:
    provider.wrong = "discovery"
    with pytest.raises(ProviderAway):
        await begin(store, visitor(), "google", "", is_link=False)


async def test_an_answer_counts_in_the_browser_that_set_out_only(store: Store, provider: FakeProvider) -> None:
    """The code of somebody's own sign-in, put into another's browser, would sign that one in as them."""
    mine, theirs = visitor(), visitor()
    address, carried = await begin(store, mine, "google", "", is_link=False)
    _, other = await begin(store, theirs, "google", "", is_link=False)
    brought = provider.agree(address)
    for journey in ("", "x", "é", other, carried[:-4] + "AAAA", carried + "A" * 5000):
        with pytest.raises((LinkSpent, NotVouchedFor)):
            await finish(store, theirs, "google", journey, answered(brought))
    assert await nobody_here(store)


async def test_a_code_is_good_with_its_own_verifier_only(store: Store, provider: FakeProvider) -> None:
    address, _ = await begin(store, visitor(), "google", "", is_link=False)
    stolen = provider.agree(address)["code"]
    mine = visitor()
    address, carried = await begin(store, mine, "google", "", is_link=False)
    brought = provider.agree(address)
    with pytest.raises(NotVouchedFor):
        await finish(store, mine, "google", carried, answered(brought, code=stolen))
    assert await nobody_here(store)


async def test_an_answer_is_good_once_for_ten_minutes_and_for_its_provider(
    store: Store, provider: FakeProvider
) -> None:
    begun, mine = now(), visitor()
    with stopped_at(begun):
        address, carried = await begin(store, mine, "google", "", is_link=False)
    brought = provider.agree(address)
    with stopped_at(begun + timedelta(minutes=10)), pytest.raises(LinkSpent):
        await finish(store, mine, "google", carried, answered(brought))
    with pytest.raises(LinkSpent):
        await finish(store, mine, "facebook", carried, answered(brought))
    for wrong in (
        {"state": "x"},
        {"state": ""},
        {"code": ""},
        {"error": "access_denied"},
        {"iss": "https://a.example"},
    ):
        with pytest.raises(NotVouchedFor):
            await finish(store, mine, "google", carried, answered(brought, **wrong))
    await finish(store, mine, "google", carried, answered(brought))
    with pytest.raises(NotVouchedFor):
        await finish(store, mine, "google", carried, answered(brought))
    assert len(await rows(store, "SELECT 1 FROM users")) == 1


async def test_new_keys_of_a_provider_are_found_and_not_asked_for_without_end(
    store: Store, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await signed_in(store, provider)
    provider.key = NEXT_KEY
    with pytest.raises(NotVouchedFor):  # less than a minute after it was asked
        await come(store, provider)
    assert [a.path for a in provider.asked].count("/keys") == 1
    monkeypatch.setattr(openid, "KEYS_ASKED_EVERY_S", -1)
    assert isinstance(await come(store, provider), StartedSession)
    assert [a.path for a in provider.asked].count("/keys") == 2
    assert [a.path for a in provider.asked].count("/.well-known/openid-configuration") == 1


async def test_two_proofs_of_one_address_are_one_account(store: Store, provider: FakeProvider) -> None:
    mine = await proved_member(store)
    provider.person["email"] = "TENDAI@example.com"
    found = await signed_in(store, provider)
    assert found.caller.user_id == mine.caller.user_id
    (letter,) = await letters(store, "security_changed")
    assert "Google" in letter.text
    assert (await sign_in(store, visitor(), SignIn(login="tendai", password=PASSWORD))).caller.is_signed_in


@pytest.mark.parametrize("proved_here", [True, False])
@pytest.mark.parametrize("said", [False, None, "false", 1, "yes"])
async def test_an_address_that_one_side_did_not_prove_joins_nothing(
    store: Store, provider: FakeProvider, proved_here: bool, said: object
) -> None:
    """Not the provider's: anybody can write any address there. Not ours: whoever made the account may wait for its owner."""
    mine = await proved_member(store) if proved_here else await join(store)
    provider.person["email_verified"] = said if proved_here else True
    with pytest.raises(OutsideEmailTaken):
        await come(store, provider)
    assert await rows(store, "SELECT 1 FROM outside_logins") == []
    assert (await load_caller(store, mine.token, "")).is_signed_in


async def test_an_address_that_the_provider_did_not_prove_is_asked_by_letter(
    store: Store, provider: FakeProvider
) -> None:
    del provider.person["email_verified"]
    await signed_in(store, provider, "facebook")
    (letter,) = await letters(store, "verify_email", "tendai@example.com")
    assert await rows(store, "SELECT email_verified_at FROM users") == [{"email_verified_at": None}]
    await confirm_email(store, visitor(), token_in(letter))
    assert (await rows(store, "SELECT email_verified_at FROM users"))[0]["email_verified_at"] is not None


@pytest.mark.parametrize("email", [None, "", "x\r\nBcc: all@example.com", "not an address", 7])
async def test_somebody_without_a_usable_address_makes_an_account_here_first(
    store: Store, provider: FakeProvider, email: object
) -> None:
    provider.person["email"] = email
    with pytest.raises(OutsideEmailMissing):
        await come(store, provider)
    assert await nobody_here(store)
    mine = await join(store)
    assert await come(store, provider, mine.caller, is_link=True) is None
    assert (await signed_in(store, provider)).caller.user_id == mine.caller.user_id


async def test_a_name_there_is_tidied_or_left_out(store: Store, provider: FakeProvider) -> None:
    provider.person["name"] = "\u202eevil\r\n\x00"
    found = await signed_in(store, provider)
    assert (found.caller.username, found.caller.display_name) == ("evil", "evil")


@pytest.mark.parametrize(
    ("name", "email", "expected"),
    [("Admin", "tendai@example.com", "tendai"), ("", "a@example.com", "member"), ("Мария", "support@example.com", "member"),
     ("T", "rain.maker@example.com", "rain-maker"), ("x" * 300, "y@example.com", "x" * 40)],
)  # fmt: skip
async def test_usernames_are_made_of_what_is_known_and_pass_for_nobody(
    store: Store, provider: FakeProvider, name: str, email: str, expected: str
) -> None:
    provider.person |= {"name": name, "email": email}
    assert (await signed_in(store, provider)).caller.username.startswith(expected)


async def test_a_name_that_somebody_has_gets_digits(store: Store, provider: FakeProvider) -> None:
    await join(store, "tendai-moyo")
    await join(store, "tendai")
    provider.person["email"] = "tendai@elsewhere.example"
    name = (await signed_in(store, provider)).caller.username
    assert name.startswith("tendai-moyo")
    assert name.removeprefix("tendai-moyo").isdigit()


async def test_two_at_once_make_one_account(store: Store, provider: FakeProvider, race: Race) -> None:
    found = await race(*(come(store, provider) for _ in range(3)))
    assert {f.caller.user_id for f in found if isinstance(f, StartedSession)} == {
        (await rows(store, "SELECT id FROM users"))[0]["id"]
    }
    assert len(await rows(store, "SELECT 1 FROM users")) == 1


async def test_the_second_step_is_asked_for_however_one_comes(store: Store, provider: FakeProvider) -> None:
    mine = await proved_member(store)
    secret = await second_step.offer_totp(store, mine.caller)
    await second_step.confirm_totp(store, mine.caller, code_at(secret, step_of(now())))
    needed = await come(store, provider)
    assert isinstance(needed, SecondStepNeeded)
    with stopped_at(now() + timedelta(seconds=60)):
        code = code_at(secret, step_of(now()))
        started = await second_step.finish_by_code(store, visitor(), needed.step, code)
    assert started.caller.user_id == mine.caller.user_id


async def test_a_closed_account_stays_closed(store: Store, provider: FakeProvider) -> None:
    mine = await proved_member(store)
    await come(store, provider)
    await close_account(store, mine.caller, PASSWORD)
    with pytest.raises(AccountClosed):
        await come(store, provider)


async def test_adding_and_removing_a_way_in(store: Store, provider: FakeProvider) -> None:
    mine = await join(store)  # an address that is not proved: the person says so themselves
    provider.person["email"] = "quite@another.example"
    assert await come(store, provider, mine.caller, is_link=True) is None
    assert (await signed_in(store, provider)).caller.user_id == mine.caller.user_id
    with pytest.raises(AlreadyTaken):
        await come(store, provider, mine.caller, is_link=True)
    provider.person["sub"] = "another there"
    with pytest.raises(AlreadyTaken):
        await come(store, provider, mine.caller, is_link=True)
    assert await unlink(store, mine.caller, "google") is True
    assert await unlink(store, mine.caller, "google") is False
    assert len(await letters(store, "security_changed")) == 2
    kinds = [
        f["kind"] for f in await rows(store, "SELECT kind FROM events WHERE kind LIKE 'OutsideLogin%' ORDER BY id")
    ]
    assert kinds == ["OutsideLoginTaken", "OutsideLoginWithdrawn"]


async def test_a_sign_in_is_one_persons(store: Store, provider: FakeProvider) -> None:
    ann, ben = await join(store, "ann"), await join(store, "ben")
    await come(store, provider, ann.caller, is_link=True)
    with pytest.raises(AlreadyTaken):
        await come(store, provider, ben.caller, is_link=True)
    assert [r["user_id"] for r in await rows(store, "SELECT user_id FROM outside_logins")] == [ann.caller.user_id]


async def test_adding_takes_a_fresh_proof_and_the_same_person(store: Store, provider: FakeProvider) -> None:
    begun = now()
    with stopped_at(begun):
        mine = await join(store)
    with stopped_at(begun + timedelta(minutes=16)):
        for work in (begin(store, mine.caller, "google", "", is_link=True), unlink(store, mine.caller, "google")):
            with pytest.raises(ProveItAgain):
                await work
    mine, other = await join(store, "ann"), await join(store, "ben")
    address, carried = await begin(store, mine.caller, "google", "", is_link=True)
    with pytest.raises(LinkSpent):
        await finish(store, other.caller, "google", carried, answered(provider.agree(address)))
    assert await rows(store, "SELECT 1 FROM outside_logins") == []


async def test_the_last_way_in_stays(store: Store, provider: FakeProvider) -> None:
    provider.person["email_verified"] = False
    mine = await signed_in(store, provider)
    with pytest.raises(LastWayIn):
        await unlink(store, mine.caller, "google")
    assert (await signed_in(store, provider)).caller.user_id == mine.caller.user_id
    provider.person["sub"] = "at the other"
    await come(store, provider, mine.caller, "facebook", is_link=True)
    assert await unlink(store, mine.caller, "google") is True


async def test_no_password_opens_an_account_that_has_none(store: Store, provider: FakeProvider) -> None:
    await signed_in(store, provider)
    for password in ("", "None", PASSWORD):
        with pytest.raises(BadSignIn):
            await sign_in(store, visitor(), SignIn(login="tendai-moyo", password=password))


async def test_apple_is_shown_a_secret_that_our_key_signed(store: Store, provider: FakeProvider) -> None:
    provider.person["email_verified"] = "true"  # as Apple writes it
    address, _ = await begin(store, visitor(), "apple", "", is_link=False)
    asked = {k: v[0] for k, v in parse_qs(urlsplit(address).query).items()}
    assert (asked["response_mode"], asked["scope"]) == ("form_post", "openid email name")
    await signed_in(store, provider, "apple")
    found = jwt.decode(provider.secrets_seen[-1], APPLE_KEY, algorithms=["ES256"])
    assert found.header["kid"] == "KEY"
    assert (found.claims["iss"], found.claims["sub"], found.claims["aud"]) == ("TEAM", CLIENT, provider.base)
    assert found.claims["exp"] - found.claims["iat"] == 300
    assert (await rows(store, "SELECT email_verified_at FROM users"))[0]["email_verified_at"] is not None


@pytest.mark.parametrize(
    ("issuer", "is_fine"),
    [("https://id.example", True), ("http://127.0.0.1:99", True), ("http://id.example", False), ("", False),
     ("file:///etc/passwd", False), ("http://127.0.0.1.example", False)],
)  # fmt: skip
def test_a_provider_is_reached_encrypted_or_on_this_machine(issuer: str, is_fine: bool) -> None:
    if is_fine:
        Provider("google", "Google", GoogleSettings(client_id="x", issuer=issuer), {})
    else:
        with pytest.raises(BadProvider):
            Provider("google", "Google", GoogleSettings(client_id="x", issuer=issuer), {})


async def test_by_the_pages_there_and_back(store: Store, provider: FakeProvider, browse: Visitor) -> None:
    page = await browse.get("/sign-in?next=/saved")
    assert [name for name in ("Google", "Apple", "Facebook") if f"Continue with {name}" in text_of(page.text)] == [
        "Google", "Apple", "Facebook",
    ]  # fmt: skip
    assert "/sign-in/with/google?next=/saved" in page.text
    away = await browse.get("/sign-in/with/google?next=/saved", follow=False)
    assert away.status_code == 303
    (kept,) = [c for c in away.headers.get_list("set-cookie") if c.startswith("outside=")]
    assert "HttpOnly" in kept
    assert "SameSite=lax" in kept
    brought = provider.agree(away.headers["location"])
    back = await browse.get("/sign-in/with/google/back?" + urlencode(brought), follow=False)
    assert back.headers["location"] == "/saved"
    security = await browse.get("/me/security")
    assert "tendai@example.com, used" in text_of(security.text)
    assert "You have none" in text_of(security.text)
    removed = await browse.post("/me/security/with/google/remove")
    assert "Google opens your account no longer." in text_of(removed.text)


async def test_apples_form_becomes_a_link_and_does_nothing_itself(
    store: Store, provider: FakeProvider, browse: Visitor
) -> None:
    away = await browse.get("/sign-in/with/apple", follow=False)
    brought = provider.agree(away.headers["location"])
    form = await browse.client.post(
        "/sign-in/with/apple/back", data={**brought, "user": "{}"}, headers={"origin": provider.base, "cookie": ""}
    )
    assert form.status_code == 303
    assert await nobody_here(store)
    assert form.headers["location"].startswith("/sign-in/with/apple/back?code=")
    page = await browse.get(form.headers["location"])
    assert "Welcome back, Tendai Moyo." in text_of(page.text)


async def test_pages_say_what_went_wrong_and_lead_nowhere_else(
    store: Store, provider: FakeProvider, browse: Visitor
) -> None:
    assert (await browse.get("/sign-in/with/google/back?code=x&state=y", follow=False)).headers[
        "location"
    ] == "/sign-in"
    away = await browse.get("/sign-in/with/google?next=//evil.example", follow=False)
    provider.wrong = "signature"
    brought = provider.agree(away.headers["location"])
    page = await browse.get("/sign-in/with/google/back?" + urlencode(brought))
    assert "Google did not confirm who you are." in text_of(page.text)
    provider.wrong = ""
    away = await browse.get("/sign-in/with/google?next=//evil.example", follow=False)
    brought = provider.agree(away.headers["location"])
    back = await browse.get("/sign-in/with/google/back?" + urlencode(brought), follow=False)
    assert back.headers["location"] == "/"
    assert (await browse.get("/sign-in/with/nobody")).status_code == 404


async def test_after_a_quarter_of_an_hour_adding_goes_by_a_proof_and_back(
    store: Store, provider: FakeProvider, browse: Visitor
) -> None:
    begun = now()
    with stopped_at(begun):
        await browse.sign_up("ann")
    with stopped_at(begun + timedelta(minutes=16)):
        page = await browse.get("/me/security")
        link = re.search(r"/sign-in/with/google\?link=[0-9a-f]+", page.text)
        assert link
        asked = await browse.get(link[0], follow=False)
        assert asked.headers["location"] == f"/me/confirm?next={quote(link[0])}"


async def test_no_other_site_begins_to_add_a_way_in(store: Store, provider: FakeProvider, browse: Visitor) -> None:
    """Who is signed in over there as somebody else would let that one in here."""
    await browse.sign_up("ann")
    for made_up in ("true", "1", "0" * 80, browse.token[:-1] + ("1" if browse.token[-1] == "0" else "0")):
        answer = await browse.get(f"/sign-in/with/google?link={made_up}", follow=False)
        assert (answer.status_code, "location" in answer.headers) == (403, False)
    away = await browse.get(f"/sign-in/with/google?link={browse.token}", follow=False)
    await browse.get("/sign-in/with/google/back?" + urlencode(provider.agree(away.headers["location"])))
    assert [row["provider"] for row in await rows(store, "SELECT provider FROM outside_logins")] == ["google"]


async def test_who_signs_in_elsewhere_proves_it_there_again(
    store: Store, provider: FakeProvider, browse: Visitor
) -> None:
    away = await browse.get("/sign-in/with/google", follow=False)
    await browse.get("/sign-in/with/google/back?" + urlencode(provider.agree(away.headers["location"])))
    page = await browse.get("/me/confirm?next=/me/security/app")
    assert "/sign-in/with/google?next=/me/security/app" in page.text
    assert "Continue with Facebook" not in text_of(page.text)


async def test_without_settings_nothing_is_offered(store: Store) -> None:
    bare = replace(store, providers=open_providers(Settings(stores=("market",)), "market"))
    assert offered(bare) == ()
    with pytest.raises(NoSuchProvider):
        await begin(bare, visitor(), "google", "", is_link=False)
