"""Letters with links: proving an address, changing it, a new password, signing in once, coming back."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.mail import do_jobs, letters, link_in, token_in
from tests.people import PASSWORD, join, join_as, visitor
from tests.visitor import Visitor, text_of
from tradepost.accounts.types import (
    AccountClosed,
    BadSignIn,
    Caller,
    EditProfile,
    EmailTaken,
    LinkSpent,
    ProveItAgain,
    SignIn,
    SignInFirst,
    SignUp,
    StartedSession,
)
from tradepost.core.clock import now, stopped_at
from tradepost.core.database import ANYBODY, SYSTEM
from tradepost.core.errors import FieldErrors
from tradepost.core.limits import TooOften
from tradepost.flows import account_links
from tradepost.flows.account_links import ask_email_change, ask_link, confirm_email, reset_password, sign_in_by_link
from tradepost.flows.manage_account import close_account, edit_profile
from tradepost.flows.manage_people import deactivate_person
from tradepost.flows.sign_in import load_caller, sign_in
from tradepost.flows.sign_up import sign_up
from tradepost.flows.store import Store

Race = Callable[..., Awaitable[list[Any]]]
NEW = "rain on a tin roof"
NEW_ADDRESS = "new@example.org"


@pytest_asyncio.fixture(autouse=True)
async def fresh_counters(store: Store) -> None:
    """Tests share a cache, and with it the counters of those they all write to."""
    await store.cache._client.flushdb()


async def rows(store: Store, sql: str, **params: Any) -> list[dict[str, Any]]:
    async with store.db.transaction(actor=SYSTEM) as tx:
        return [dict(row) for row in await tx.all(text(sql), **params)]


async def person(store: Store, username: str = "tendai") -> dict[str, Any]:
    sql = "SELECT email::text, email_verified_at IS NOT NULL AS verified, is_active, password_hash FROM users WHERE username = :u"
    return (await rows(store, sql, u=username))[0]


async def verified(store: Store, username: str = "tendai") -> StartedSession:
    started = await join(store, username)
    (letter,) = await letters(store, "verify_email", f"{username}@example.com")
    await confirm_email(store, visitor(), token_in(letter))
    return started


async def test_sign_up_asks_the_address_to_confirm(store: Store) -> None:
    await join(store)
    (letter,) = await letters(store)
    assert (letter.to, letter.subject) == ("tendai@example.com", "Confirm your e-mail address for Market")
    assert (letter.sender, letter.sender_name) == ("hello@market.localhost", "Market")
    assert "Hello tendai," in letter.text
    assert (await person(store))["verified"] is False
    await confirm_email(store, visitor(), token_in(letter))
    assert (await person(store))["verified"] is True
    with pytest.raises(LinkSpent):
        await confirm_email(store, visitor(), token_in(letter))
    facts = await rows(store, "SELECT kind FROM events ORDER BY id")
    assert [f["kind"] for f in facts] == ["PersonSignedUp", "EmailConfirmed"]


async def test_a_sign_up_that_fails_sends_nothing(store: Store) -> None:
    await join(store)
    with pytest.raises(FieldErrors):
        await sign_up(store, visitor(), SignUp(username="tendai", email="other@example.com", password=PASSWORD))
    assert len(await letters(store)) == 1
    assert len(await rows(store, "SELECT 1 FROM mails")) == 1


async def test_letters_wait_encrypted_and_only_jobs_read_them(store: Store) -> None:
    mine = await join(store)
    (mail,) = await rows(store, "SELECT letter_enc, state FROM mails")
    assert b"tendai" not in mail["letter_enc"]
    assert mail["state"] == "queued"
    for actor in (ANYBODY, mine.caller.actor):
        async with store.db.transaction(actor=actor) as tx:
            assert await tx.all(text("SELECT 1 FROM mails")) == []
    (job,) = await rows(store, "SELECT payload FROM pgqueuer WHERE entrypoint = 'notifications.send_mail'")
    assert b"tendai" not in job["payload"]


@pytest.mark.parametrize("login", ["tendai", "TENDAI@example.com", " tendai@example.com "])
async def test_new_password_by_letter(store: Store, login: str) -> None:
    mine = await verified(store)
    await ask_link(store, visitor(), login, "reset")
    (letter,) = await letters(store, "reset_password", "tendai@example.com")
    await reset_password(store, visitor(), token_in(letter), NEW)
    assert not (await load_caller(store, mine.token, "")).is_signed_in
    with pytest.raises(BadSignIn):
        await sign_in(store, visitor(), SignIn(login="tendai", password=PASSWORD))
    assert (await sign_in(store, visitor(), SignIn(login="tendai", password=NEW))).caller.is_signed_in
    with pytest.raises(LinkSpent):
        await reset_password(store, visitor(), token_in(letter), "another sentence here")
    assert len(await letters(store, "security_changed")) == 1


async def test_nobody_learns_who_has_an_account(store: Store) -> None:
    """What happens while they wait is the same: one job, whose words are encrypted."""
    await verified(store)
    seen = []
    for login in ("tendai@example.com", "nobody@example.com", "nobody"):
        await ask_link(store, visitor(), login, "reset")
        jobs = await rows(store, "SELECT payload FROM pgqueuer WHERE entrypoint = 'accounts.send_link'")
        assert len(jobs) == 1
        assert login.encode() not in jobs[0]["payload"]
        await do_jobs(store)
        seen.append(len(await letters(store, "reset_password")))
    assert seen == [1, 1, 1]


async def test_a_weak_new_password_leaves_the_link_good(store: Store) -> None:
    await verified(store)
    await ask_link(store, visitor(), "tendai", "reset")
    (letter,) = await letters(store, "reset_password")
    before = await person(store)
    for weak in ("short", "tendai12345", "password123", "trustno1trustno1"):
        with pytest.raises(FieldErrors):
            await reset_password(store, visitor(), token_in(letter), weak)
    assert await person(store) == before
    await reset_password(store, visitor(), token_in(letter), NEW)


async def test_a_reset_of_an_unproved_account_closes_every_door_left_open(store: Store) -> None:
    """Somebody signs up with another's address, adds ways in, and waits; the owner of the address takes the account over."""
    squatter = await join(store, "tendai")
    user = squatter.caller.user_id
    for sql in (
        "INSERT INTO passkeys (credential_id, user_id, public_key, name) VALUES ('\\x01', :u, '\\x02', 'Mine') RETURNING 1",
        "INSERT INTO totp_secrets (user_id, secret_enc, confirmed_at) VALUES (:u, '\\x01', now()) RETURNING 1",
        "INSERT INTO outside_logins (provider, subject, user_id) VALUES ('google', '1', :u) RETURNING 1",
        "INSERT INTO tokens (user_id, token_hash, kind, expires_at) VALUES (:u, '\\x03', 'api', now() + interval '1 day') RETURNING 1",
    ):
        await rows(store, sql, u=user)
    await ask_link(store, visitor(), "tendai@example.com", "reset")
    (letter,) = await letters(store, "reset_password")
    await reset_password(store, visitor(), token_in(letter), NEW)
    left = """SELECT (SELECT count(*) FROM passkeys) + (SELECT count(*) FROM totp_secrets) + (SELECT count(*) FROM outside_logins)
              + (SELECT count(*) FROM tokens WHERE kind = 'api' AND revoked_at IS NULL) AS n"""
    assert await rows(store, left) == [{"n": 0}]
    assert (await person(store))["verified"] is True


async def test_signing_in_by_letter_works_once(store: Store, race: Race) -> None:
    await verified(store)
    await ask_link(store, visitor(), "tendai", "sign_in")
    (letter,) = await letters(store, "sign_in_link")
    found = await race(*(sign_in_by_link(store, visitor(), token_in(letter)) for _ in range(4)))
    assert sorted(type(f).__name__ for f in found) == ["LinkSpent", "LinkSpent", "LinkSpent", "StartedSession"]


@pytest.mark.parametrize(
    ("kind", "letter", "lasts"),
    [("reset", "reset_password", timedelta(hours=1)), ("sign_in", "sign_in_link", timedelta(minutes=15))],
)
async def test_links_end_with_their_time_and_with_the_next_one(
    store: Store, kind: Any, letter: str, lasts: timedelta
) -> None:
    await verified(store)
    begin = now()

    async def use(secret: str) -> Any:
        if kind == "reset":
            return await reset_password(store, visitor(), secret, NEW)
        return await sign_in_by_link(store, visitor(), secret)

    with stopped_at(begin):
        await ask_link(store, visitor(), "tendai", kind)
        await do_jobs(store)
        await ask_link(store, visitor(), "tendai", kind)
        first, second = await letters(store, letter)
    with stopped_at(begin + lasts - timedelta(seconds=1)), pytest.raises(LinkSpent):
        await use(token_in(first))
    with stopped_at(begin + lasts), pytest.raises(LinkSpent):
        await use(token_in(second))
    with stopped_at(begin + lasts - timedelta(seconds=1)):
        await use(token_in(second))


@pytest.mark.parametrize("secret", ["", "x", "x" * 43, "x" * 5000, "\x00", "' OR 1=1 --", "é"])
async def test_links_made_up_do_nothing(store: Store, secret: str) -> None:
    await join(store)
    before = await person(store)
    for work in (
        confirm_email(store, visitor(), secret), reset_password(store, visitor(), secret, NEW), sign_in_by_link(store, visitor(), secret),
        account_links.agree_to_change(store, visitor(), secret), account_links.reopen_account(store, visitor(), secret),
    ):  # fmt: skip
        with pytest.raises(LinkSpent):
            await work
    assert await person(store) == before


async def test_a_link_of_one_kind_is_no_other(store: Store) -> None:
    await join(store)
    (letter,) = await letters(store, "verify_email")
    for work in (
        reset_password(store, visitor(), token_in(letter), NEW), sign_in_by_link(store, visitor(), token_in(letter)),
        account_links.agree_to_change(store, visitor(), token_in(letter)),
    ):  # fmt: skip
        with pytest.raises(LinkSpent):
            await work


async def test_letters_are_not_sent_without_end(store: Store) -> None:
    await verified(store)
    for _ in range(account_links.LETTERS_TO_ACCOUNT):
        await ask_link(store, visitor(), "tendai", "reset")
    with pytest.raises(TooOften):
        await ask_link(store, visitor(), "TENDAI", "sign_in")
    who = visitor()
    for n in range(account_links.LETTERS_FROM_ADDRESS):
        await ask_link(store, who, f"somebody{n}", "reset")
    with pytest.raises(TooOften):
        await ask_link(store, who, "somebody-else", "reset")


@pytest.mark.parametrize("order", [("change_old", "change_new"), ("change_new", "change_old")])
async def test_a_new_address_needs_a_yes_of_both(store: Store, order: tuple[str, str]) -> None:
    mine = await verified(store)
    await ask_email_change(store, mine.caller, NEW_ADDRESS)
    (old,), (new,) = await letters(store, "change_old"), await letters(store, "change_new")
    assert (old.to, new.to) == ("tendai@example.com", NEW_ADDRESS)
    assert NEW_ADDRESS in old.text
    secrets = {"change_old": token_in(old), "change_new": token_in(new)}
    assert await account_links.agree_to_change(store, visitor(), secrets[order[0]]) is False
    assert (await person(store))["email"] == "tendai@example.com"
    assert await account_links.awaited_email(store, mine.caller) == NEW_ADDRESS
    assert await account_links.agree_to_change(store, visitor(), secrets[order[1]]) is True
    assert {k: (await person(store))[k] for k in ("email", "verified")} == {"email": NEW_ADDRESS, "verified": True}
    assert await account_links.awaited_email(store, mine.caller) is None
    (told,) = await letters(store, "email_changed")
    assert told.to == "tendai@example.com"


async def test_yes_to_one_new_address_is_not_yes_to_another(store: Store) -> None:
    mine = await verified(store)
    await ask_email_change(store, mine.caller, NEW_ADDRESS)
    (old,) = await letters(store, "change_old")
    assert await account_links.agree_to_change(store, visitor(), token_in(old)) is False
    await ask_email_change(store, mine.caller, "thief@example.net")
    thief = (await letters(store, "change_new", "thief@example.net"))[0]
    assert await account_links.agree_to_change(store, visitor(), token_in(thief)) is False
    assert (await person(store))["email"] == "tendai@example.com"


async def test_an_address_never_proved_is_not_asked(store: Store) -> None:
    mine = await join(store)
    await ask_email_change(store, mine.caller, NEW_ADDRESS)
    assert await letters(store, "change_old") == []
    (new,) = await letters(store, "change_new")
    assert await account_links.agree_to_change(store, visitor(), token_in(new)) is True
    assert (await person(store))["email"] == NEW_ADDRESS


async def test_an_address_that_is_taken_is_refused_to_its_reader_only(store: Store) -> None:
    mine = await join(store)
    await join(store, "rudo")
    await ask_email_change(store, mine.caller, "rudo@example.com")
    (new,) = await letters(store, "change_new")
    with pytest.raises(EmailTaken):
        await account_links.agree_to_change(store, visitor(), token_in(new))
    assert (await person(store))["email"] == "tendai@example.com"


async def test_a_new_address_takes_a_fresh_proof(store: Store) -> None:
    begin = now()
    with stopped_at(begin):
        mine = await join(store)
    with stopped_at(begin + timedelta(minutes=16)), pytest.raises(ProveItAgain):
        await ask_email_change(store, mine.caller, NEW_ADDRESS)
    assert await letters(store, "change_new") == []


@pytest.mark.parametrize(
    "email", ["a@b.example\r\nBcc: x@example.com", "a@b.example\nSubject: hi", "a b@example.com", "@", "a@b", "a@b.example\x00",
              "<a@b.example>", "a@b.example, c@d.example", "\"a\n\"@b.example"],
)  # fmt: skip
async def test_an_address_cannot_become_a_header(store: Store, email: str) -> None:
    mine = await join(store)
    with pytest.raises(FieldErrors):
        await ask_email_change(store, mine.caller, email)
    with pytest.raises(FieldErrors):
        await sign_up(store, visitor(), SignUp(username="rudo", email=email, password=PASSWORD))
    assert len(await rows(store, "SELECT 1 FROM mails")) == 1


async def test_a_closed_account_comes_back_by_its_letter(store: Store) -> None:
    mine = await join(store)
    await close_account(store, mine.caller, PASSWORD)
    (letter,) = await letters(store, "account_closed")
    with pytest.raises(AccountClosed):
        await sign_in(store, visitor(), SignIn(login="tendai", password=PASSWORD))
    begin = now()
    with stopped_at(begin + timedelta(days=14)), pytest.raises(LinkSpent):
        await account_links.reopen_account(store, visitor(), token_in(letter))
    await account_links.reopen_account(store, visitor(), token_in(letter))
    assert (await sign_in(store, visitor(), SignIn(login="tendai", password=PASSWORD))).caller.is_signed_in


async def test_whom_others_shut_out_does_not_come_back_by_a_letter(store: Store) -> None:
    admin = (await join_as(store, "rudo", "admin")).caller
    mine = await join(store)
    await close_account(store, mine.caller, PASSWORD)
    (letter,) = await letters(store, "account_closed")
    assert mine.caller.user_id is not None
    await deactivate_person(store, admin, mine.caller.user_id)
    with pytest.raises(LinkSpent):
        await account_links.reopen_account(store, visitor(), token_in(letter))
    assert (await person(store))["is_active"] is False


async def test_pages_of_links_do_nothing_before_the_button(browse: Visitor, store: Store) -> None:
    """Programs that look into mail open every link."""
    await browse.sign_up("tendai")
    (letter,) = await letters(store, "verify_email")
    for _ in range(2):
        shown = await browse.get(link_in(letter))
        assert shown.status_code == 200
        assert shown.headers["cache-control"] == "no-store"
        assert shown.headers["referrer-policy"] == "no-referrer"
    assert (await person(store))["verified"] is False
    answer = await browse.post("/link/email", {"token": token_in(letter)})
    assert "your address is confirmed" in text_of(answer.text)
    assert (await person(store))["verified"] is True
    assert (await browse.get(link_in(letter))).status_code == 403


async def test_forgotten_password_from_page_to_page(browse: Visitor, store: Store) -> None:
    await verified(store)
    for login in ("tendai", "nobody"):
        answer = await browse.post("/forgot", {"login": login, "what": "reset"})
        assert "If there is such an account" in text_of(answer.text)
    (letter,) = await letters(store, "reset_password")
    assert "tendai" in text_of((await browse.get(link_in(letter))).text)
    refused = await browse.post("/link/reset", {"token": token_in(letter), "new": "short"})
    assert refused.status_code == 422
    assert "At least 10 characters" in refused.text
    answer = await browse.post("/link/reset", {"token": token_in(letter), "new": NEW})
    assert "Please sign in with it" in text_of(answer.text)
    assert "Sign out" in (await browse.post("/sign-in", {"login": "tendai", "password": NEW})).text


async def test_mailbox_is_the_demos_only(browse: Visitor, store: Store) -> None:
    await browse.sign_up("tendai")
    (mail,) = await rows(store, "SELECT id FROM mails")
    for path in ("/mailbox", f"/mailbox/{mail['id']}", f"/mailbox/{mail['id']}/letter"):
        assert (await browse.get(path)).status_code == 404
    object.__setattr__(store, "is_demo", True)
    assert "Confirm your e-mail address" in (await browse.get("/mailbox")).text
    assert f"/mailbox/{mail['id']}/letter" in (await browse.get(f"/mailbox/{mail['id']}")).text
    shown = await browse.get(f"/mailbox/{mail['id']}/letter")
    assert "sandbox" in shown.headers["content-security-policy"]
    assert len(shown.headers.get_list("content-security-policy")) == 1


async def test_a_new_username_is_free_in_every_spelling(store: Store) -> None:
    mine, _ = await join(store, "tendai"), await join(store, "ludo_1")
    for name in ("LUDO_1", "ludo-l", "1udo_1", "admin", "adm1n", "market", "тendai", "a", "x" * 65, "ludo_1\n"):
        with pytest.raises(FieldErrors):
            await edit_profile(store, mine.caller, EditProfile(username=name))
    assert (await edit_profile(store, mine.caller, EditProfile(username="Tendai"))).username == "Tendai"
    assert (await edit_profile(store, mine.caller, EditProfile(username="farai"))).username == "farai"
    assert (await load_caller(store, mine.token, "")).username == "farai"


async def test_nobody_asks_for_another_confirmation_without_signing_in(store: Store) -> None:
    mine = await join(store)
    await account_links.ask_confirmation(store, mine.caller)
    first, second = await letters(store, "verify_email")
    with pytest.raises(LinkSpent):
        await confirm_email(store, visitor(), token_in(first))
    await confirm_email(store, visitor(), token_in(second))
    await account_links.ask_confirmation(store, mine.caller)
    assert len(await letters(store, "verify_email")) == 2
    with pytest.raises(SignInFirst):
        await account_links.ask_confirmation(store, Caller())
