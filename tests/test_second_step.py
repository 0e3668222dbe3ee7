"""The second step: an authenticator app, recovery codes, passkeys, and what staff may not do without one."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import cbor2
import msgspec
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import text
from webauthn.helpers import bytes_to_base64url

from tests.mail import letters
from tests.people import PASSWORD, join, join_as, visitor
from tests.visitor import Visitor, text_of
from tradepost.accounts.passkeys import options_to_add, options_to_sign_in
from tradepost.accounts.totp import as_address, as_text, code_at, matching_step, step_of
from tradepost.accounts.types import (
    Caller,
    LinkSpent,
    NoSuchPasskey,
    NotAllowed,
    PasskeyRefused,
    ProveItAgain,
    SecondStepNeeded,
    SignIn,
    StartedSession,
    TotpOn,
    WrongCode,
)
from tradepost.core.clock import now, stopped_at
from tradepost.core.database import SYSTEM
from tradepost.core.limits import TooOften
from tradepost.flows import second_step
from tradepost.flows.manage_people import list_people
from tradepost.flows.second_step import finish_by_code, sign_in_by_passkey, site_of
from tradepost.flows.sign_in import load_caller, sign_in
from tradepost.flows.store import Store

Race = Callable[..., Awaitable[list[Any]]]


@pytest_asyncio.fixture(autouse=True)
async def fresh_counters(store: Store) -> None:
    """Tests share a cache, and with it the counters."""
    await store.cache._client.flushdb()


async def rows(store: Store, sql: str, **params: Any) -> list[dict[str, Any]]:
    async with store.db.transaction(actor=SYSTEM) as tx:
        return [dict(row) for row in await tx.all(text(sql), **params)]


async def with_app(store: Store, username: str = "tendai") -> tuple[StartedSession, bytes, tuple[str, ...]]:
    """Sign somebody up who adds an authenticator app at once."""
    started = await join(store, username)
    secret = await second_step.offer_totp(store, started.caller)
    codes = await second_step.confirm_totp(store, started.caller, code_at(secret, step_of(now()) - 1))
    return started, secret, codes


async def first_step(store: Store, login: str = "tendai") -> str:
    """Show the right password, and return what the second step goes on from."""
    with pytest.raises(SecondStepNeeded) as needed:
        await sign_in(store, visitor(), SignIn(login=login, password=PASSWORD))
    assert needed.value.step not in repr(needed.value)
    return needed.value.step


@pytest.mark.parametrize(
    ("moment", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037"),
     (20000000000, "353130")],
)  # fmt: skip
def test_codes_are_those_of_the_standard(moment: int, code: str) -> None:
    """RFC 6238, appendix B, SHA-1; its codes have eight digits, ours the last six of them."""
    assert code_at(b"12345678901234567890", moment // 30) == code


def test_a_code_is_good_half_a_minute_early_or_late_and_once() -> None:
    secret, moment = b"12345678901234567890", now()
    today = step_of(moment)
    fits = [s - today for s in range(today - 3, today + 4) if matching_step(secret, code_at(secret, s), moment, None)]
    assert fits == [-1, 0, 1]
    assert matching_step(secret, code_at(secret, today), moment, today) is None
    assert as_text(secret).replace(" ", "") in as_address(secret, issuer="A & B", account="x:y")
    assert "A%20%26%20B:x%3Ay" in as_address(secret, issuer="A & B", account="x:y")


async def test_with_an_app_a_password_alone_does_not_do(store: Store) -> None:
    mine, secret, codes = await with_app(store)
    assert len(set(codes)) == 10
    step = await first_step(store)
    assert await rows(store, "SELECT count(*) AS n FROM sessions") == [{"n": 1}]
    started = await finish_by_code(store, visitor(), step, code_at(secret, step_of(now())))
    assert started.caller.user_id == mine.caller.user_id
    with pytest.raises(LinkSpent):
        await finish_by_code(store, visitor(), step, code_at(secret, step_of(now()) + 1))
    with pytest.raises(WrongCode):  # replayed
        await finish_by_code(store, visitor(), await first_step(store), code_at(secret, step_of(now())))
    facts = await rows(store, "SELECT kind FROM events WHERE kind IN ('SecondStepAdded', 'PersonSignedIn') ORDER BY id")
    assert [f["kind"] for f in facts] == ["SecondStepAdded", "PersonSignedIn"]
    assert [letter.subject for letter in await letters(store, "security_changed")] == [
        "An authenticator app was added at Market"
    ]


async def test_adding_an_app_signs_other_devices_out(store: Store) -> None:
    mine = await join(store)
    other = await sign_in(store, visitor(), SignIn(login="tendai", password=PASSWORD))
    secret = await second_step.offer_totp(store, mine.caller)
    await second_step.confirm_totp(store, mine.caller, code_at(secret, step_of(now())))
    assert not (await load_caller(store, other.token, "")).is_signed_in
    assert (await load_caller(store, mine.token, "")).has_second_step


async def test_an_app_counts_only_once_it_showed_a_code(store: Store) -> None:
    mine = await join(store)
    secret = await second_step.offer_totp(store, mine.caller)
    assert await second_step.offer_totp(store, mine.caller) == secret
    with pytest.raises(WrongCode):
        await second_step.confirm_totp(
            store, mine.caller, "000000" if code_at(secret, step_of(now())) != "000000" else "1"
        )
    assert isinstance(await sign_in(store, visitor(), SignIn(login="tendai", password=PASSWORD)), StartedSession)
    await second_step.confirm_totp(store, mine.caller, code_at(secret, step_of(now())))
    with pytest.raises(TotpOn):
        await second_step.offer_totp(store, mine.caller)
    (row,) = await rows(store, "SELECT secret_enc FROM totp_secrets")
    assert secret not in row["secret_enc"]
    assert secret.hex().encode() not in row["secret_enc"]


async def test_recovery_codes_let_in_once_each(store: Store, race: Race) -> None:
    _, _, codes = await with_app(store)
    steps = [await first_step(store)]
    assert (await finish_by_code(store, visitor(), steps[0], f" {codes[0].lower()} ")).caller.is_signed_in
    with pytest.raises(WrongCode):
        await finish_by_code(store, visitor(), await first_step(store), codes[0])
    step = await first_step(store)
    found = await race(*(finish_by_code(store, visitor(), step, codes[1]) for _ in range(3)))
    assert sum(isinstance(f, StartedSession) for f in found) == 1
    (fact,) = await rows(store, "SELECT data FROM events WHERE kind = 'RecoveryCodeUsed' ORDER BY id LIMIT 1")
    assert fact["data"]["left"] == 9
    assert codes[0].encode() not in b"".join(
        r["code_hash"] for r in await rows(store, "SELECT code_hash FROM recovery_codes")
    )


async def test_new_codes_void_the_old_ones(store: Store) -> None:
    mine, _, codes = await with_app(store)
    fresh = await second_step.new_recovery_codes(store, mine.caller)
    with pytest.raises(WrongCode):
        await finish_by_code(store, visitor(), await first_step(store), codes[0])
    assert (await finish_by_code(store, visitor(), await first_step(store), fresh[0])).caller.is_signed_in


async def test_codes_cannot_be_guessed(store: Store) -> None:
    _, secret, codes = await with_app(store)
    step = await first_step(store)
    await store.cache._client.flushdb()
    for n in range(second_step.TRIES):
        with pytest.raises(WrongCode):
            await finish_by_code(store, visitor(), step, "abcd-efgh-jkmn-pqrs" if n % 2 else "x" * 200)
    for right in (code_at(secret, step_of(now())), codes[0]):
        with pytest.raises(TooOften):
            await finish_by_code(store, visitor(), step, right)
    assert await rows(store, "SELECT count(*) AS n FROM recovery_codes WHERE used_at IS NOT NULL") == [{"n": 0}]


async def test_what_is_asked_between_the_steps_ends_after_ten_minutes(store: Store) -> None:
    begin = now()
    with stopped_at(begin):
        _, _, codes = await with_app(store)
        step = await first_step(store)
    with stopped_at(begin + timedelta(minutes=10)), pytest.raises(LinkSpent):
        await finish_by_code(store, visitor(), step, codes[0])


async def test_without_the_app_the_password_does_again(store: Store) -> None:
    mine, _, _ = await with_app(store)
    await second_step.remove_totp(store, mine.caller)
    assert isinstance(await sign_in(store, visitor(), SignIn(login="tendai", password=PASSWORD)), StartedSession)
    assert await rows(store, "SELECT count(*) AS n FROM recovery_codes") == [{"n": 0}]


async def test_changing_how_one_signs_in_takes_a_fresh_proof(store: Store) -> None:
    begin = now()
    with stopped_at(begin):
        mine, secret, _ = await with_app(store)
    with stopped_at(begin + timedelta(minutes=16)):
        caller = await load_caller(store, mine.token, "")
        for work in (second_step.remove_totp(store, caller), second_step.new_recovery_codes(store, caller)):
            with pytest.raises(ProveItAgain):
                await work
        await second_step.prove_by_code(store, caller, code_at(secret, step_of(now())))
        await second_step.remove_totp(store, await load_caller(store, mine.token, ""))
    with stopped_at(begin + timedelta(minutes=40)):
        await second_step.prove_by_password(store, await load_caller(store, mine.token, ""), PASSWORD)
        assert (await load_caller(store, mine.token, "")).proved_at == now()


async def test_a_store_may_ask_its_staff_for_a_second_step(store: Store) -> None:
    strict = replace(store, settings=msgspec.structs.replace(
        store.settings, security=msgspec.structs.replace(store.settings.security, second_step="staff")))  # fmt: skip
    started = await join_as(strict, "rudo", "admin")
    caller = await load_caller(strict, started.token, "")
    assert (caller.lacks_second_step, caller.permissions) == (True, {"buy", "review"})
    assert caller.actor.role == "person"
    with pytest.raises(NotAllowed):
        await list_people(strict, caller)
    secret = await second_step.offer_totp(strict, caller)
    await second_step.confirm_totp(strict, caller, code_at(secret, step_of(now())))
    caller = await load_caller(strict, started.token, "")
    assert caller.can("manage_people")
    assert (await list_people(strict, caller)).items
    buyer = await load_caller(strict, (await join(strict)).token, "")
    assert not buyer.lacks_second_step


class Device:
    """An authenticator in software: one P-256 key, as phones make them."""

    def __init__(self, origin: str = "http://market.localhost:8000", host: str = "market.localhost") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = sha256(str(id(self)).encode()).digest()
        self.origin, self.host, self.count = origin, host, 0

    def _client(self, kind: str, options: str) -> bytes:
        challenge = json.loads(options)["challenge"]
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}).encode()

    def _head(self, flags: int) -> bytes:
        return sha256(self.host.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def make(self, options: str, *, verified: bool = True) -> str:
        """Answer navigator.credentials.create()."""
        numbers = self.key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        data = (
            self._head(0x45 if verified else 0x41)
            + bytes(16)
            + len(self.id).to_bytes(2, "big")
            + self.id
            + cbor2.dumps(cose)
        )
        made = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._answer({"clientDataJSON": self._client("webauthn.create", options), "attestationObject": made})

    def sign(self, options: str, *, verified: bool = True, counts: bool = True) -> str:
        """Answer navigator.credentials.get()."""
        self.count += counts
        client, head = self._client("webauthn.get", options), self._head(0x05 if verified else 0x01)
        signature = self.key.sign(head + sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._answer({"clientDataJSON": client, "authenticatorData": head, "signature": signature})

    def _answer(self, response: dict[str, bytes]) -> str:
        name = bytes_to_base64url(self.id)
        encoded = {key: bytes_to_base64url(value) for key, value in response.items()}
        return json.dumps(
            {"id": name, "rawId": name, "type": "public-key", "response": encoded, "clientExtensionResults": {}}
        )


async def with_passkey(store: Store, username: str = "tendai") -> tuple[StartedSession, Device]:
    """Sign somebody up who adds a passkey at once."""
    started, device = await join(store, username), Device()
    await second_step.add_passkey(
        store, started.caller, device.make(options_to_add(site_of(store), started.caller, ())), "My  phone"
    )
    return started, device


async def test_a_passkey_signs_in_alone(store: Store) -> None:
    mine, device = await with_passkey(store)
    started = await sign_in_by_passkey(store, visitor(), device.sign(options_to_sign_in(site_of(store))))
    assert started.caller.user_id == mine.caller.user_id
    page = await second_step.security_page(store, mine.caller)
    assert [(key.name, key.last_used_at is not None) for key in page.passkeys] == [("My phone", True)]
    assert (page.steps.any, page.steps.codes_left) == (True, 10)


async def test_a_passkey_is_a_second_step(store: Store) -> None:
    _, device = await with_passkey(store)
    _, other = await with_passkey(store, "rudo")
    step = await first_step(store)
    with pytest.raises(PasskeyRefused):
        await sign_in_by_passkey(store, visitor(), other.sign(options_to_sign_in(site_of(store))), step=step)
    answer = device.sign(options_to_sign_in(site_of(store)))
    assert (await sign_in_by_passkey(store, visitor(), answer, step=step)).caller.username == "tendai"


async def test_an_answer_is_good_once_and_for_five_minutes(store: Store) -> None:
    _, device = await with_passkey(store)
    options = options_to_sign_in(site_of(store))
    await sign_in_by_passkey(store, visitor(), device.sign(options))
    with pytest.raises(PasskeyRefused):
        await sign_in_by_passkey(store, visitor(), device.sign(options))
    begin = now()
    with stopped_at(begin):
        options = options_to_sign_in(site_of(store))
    with stopped_at(begin + timedelta(minutes=5, seconds=1)), pytest.raises(PasskeyRefused):
        await sign_in_by_passkey(store, visitor(), device.sign(options))


@pytest.mark.parametrize(
    "fault", ["origin", "host", "unverified", "copied", "other key", "removed", "challenge", "junk", "long"]
)
async def test_a_wrong_answer_of_a_passkey_is_refused(store: Store, fault: str) -> None:
    mine, device = await with_passkey(store)
    options = options_to_sign_in(site_of(store))
    await sign_in_by_passkey(store, visitor(), device.sign(options_to_sign_in(site_of(store))))
    verified = fault != "unverified"
    if fault == "origin":
        device.origin = "http://market.evil.example"
    elif fault == "host":
        device.host = "evil.example"
    elif fault == "copied":
        device.count = 0
    elif fault == "other key":
        device.key = ec.generate_private_key(ec.SECP256R1())
    elif fault == "removed":
        await second_step.remove_passkey(store, mine.caller, device.id.hex())
    elif fault == "challenge":
        options = json.dumps({"challenge": bytes_to_base64url(b"x" * 56)})
    answer = device.sign(options, verified=verified, counts=fault != "copied")
    answers = {
        "junk": ["", "{}", "[]", "null", '{"id": 1}', '{"response": {"clientDataJSON": "e30"}}', "\x00", answer[:-40]],
        "long": ["x" * 20_001],
    }
    before = await rows(store, "SELECT count(*) AS n FROM sessions")
    for given in answers.get(fault, [answer]):
        with pytest.raises(PasskeyRefused):
            await sign_in_by_passkey(store, visitor(), given)
    assert await rows(store, "SELECT count(*) AS n FROM sessions") == before


async def test_a_passkey_is_added_for_oneself_only(store: Store) -> None:
    mine, hers, device = await join(store), await join(store, "rudo"), Device()
    options = options_to_add(site_of(store), mine.caller, ())
    with pytest.raises(PasskeyRefused):
        await second_step.add_passkey(store, hers.caller, device.make(options), "stolen")
    with pytest.raises(PasskeyRefused):
        await second_step.add_passkey(store, mine.caller, device.make(options, verified=False), "unverified")
    fresh = options_to_add(site_of(store), mine.caller, ())
    await second_step.add_passkey(store, mine.caller, device.make(fresh), "")
    with pytest.raises(PasskeyRefused):  # the same key again, for somebody else
        await second_step.add_passkey(
            store, hers.caller, device.make(options_to_add(site_of(store), hers.caller, ())), "mine"
        )
    for name in ("", "zz", "00", "ff" * 32):
        with pytest.raises(NoSuchPasskey):
            await second_step.remove_passkey(store, mine.caller, name)
    with pytest.raises(NoSuchPasskey):
        await second_step.remove_passkey(store, hers.caller, device.id.hex())
    assert len(await rows(store, "SELECT 1 FROM passkeys")) == 1


async def test_second_steps_on_pages_without_scripts(browse: Visitor, store: Store) -> None:
    await browse.sign_up("tendai")
    shown = await browse.get("/me/security/app")
    assert 'class="qr__drawing"' in shown.text
    (row,) = await rows(store, "SELECT secret_enc FROM totp_secrets")
    secret = bytes.fromhex(store.keys.decrypt(row["secret_enc"], "totp_secrets.secret"))
    assert as_text(secret) in shown.text
    assert (await browse.post("/me/security/app", {"code": "12"})).status_code == 422
    codes = await browse.post("/me/security/app", {"code": code_at(secret, step_of(now()) - 1)})
    assert codes.text.count("<li><code>") == 10
    await browse.post("/sign-out")
    asked = await browse.post("/sign-in", {"login": "tendai", "password": "a-walnut-tree-in-may", "next": "/orders"})
    assert "One more step" in text_of(asked.text)
    step = asked.text.split('name="step" value="')[1].split('"')[0]
    wrong = await browse.post("/sign-in/second-step", {"step": step, "next": "/orders", "code": "000 00"})
    assert (wrong.status_code, "This code is not right" in wrong.text) == (422, True)
    done = await browse.post(
        "/sign-in/second-step", {"step": step, "next": "/orders", "code": code_at(secret, step_of(now()))}
    )
    assert done.url.path == "/orders"
    assert "Sign out" in (await browse.get("/me/security")).text


async def test_the_api_takes_the_code_along(browse: Visitor, store: Store) -> None:
    _, secret, _ = await with_app(store)
    await browse.get("/")
    headers = {"x-csrf-token": browse.token}
    body = {"login": "tendai", "password": PASSWORD}
    refused = await browse.client.post("/api/v1/sessions", json=body, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "SecondStepNeeded")
    assert "session" not in refused.headers.get("set-cookie", "")
    body["code"] = code_at(secret, step_of(now()))
    assert (await browse.client.post("/api/v1/sessions", json=body, headers=headers)).status_code == 201


async def test_a_proof_is_asked_again_on_pages(browse: Visitor, store: Store) -> None:
    await browse.sign_up("tendai")
    await rows(store, "UPDATE sessions SET data = '{}' RETURNING 1")
    await store.cache._client.flushdb()
    asked = await browse.get("/me/security/app")
    assert asked.url.path == "/me/confirm"
    assert (await browse.post("/me/confirm", {"password": "wrong", "next": "/me/security/app"})).status_code == 422
    done = await browse.post("/me/confirm", {"password": "a-walnut-tree-in-may", "next": "//evil.example"})
    assert done.url.path == "/me/security"
    assert (await browse.get("/me/security/app")).url.path == "/me/security/app"
    assert Caller().proved_at is None
