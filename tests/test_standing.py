"""Proving a telephone number, and what people may offer before the store knows them."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.factories import Factory
from tests.loopback import Answer, Asked, Loopback, serving
from tests.mail import do_jobs, letters
from tests.people import join, join_as
from tests.visitor import Visitor, text_of
from tradepost.accounts.types import Caller, EditProfile, NotByToken, WrongCode
from tradepost.catalog.limits import OfferLimit, PriceLimit
from tradepost.core.clock import now, stopped_at
from tradepost.core.database import SYSTEM
from tradepost.core.errors import FieldErrors
from tradepost.core.limits import TooOften
from tradepost.core.settings import SmsSettings
from tradepost.flows import offering, prove_phone
from tradepost.flows.manage_account import edit_profile, own_profile
from tradepost.flows.store import Store
from tradepost.notifications.adapters.texting import HttpMessenger
from tradepost.notifications.types import MessengerAway

Race = Callable[..., Awaitable[list[Any]]]
NUMBER = "+263771234567"


@pytest_asyncio.fixture(autouse=True)
async def fresh_counters(store: Store) -> None:
    """Tests share a cache, and with it the counters of those they all write to."""
    await store.cache._client.flushdb()


async def rows(store: Store, sql: str, **params: Any) -> list[dict[str, Any]]:
    async with store.db.transaction(actor=SYSTEM) as tx:
        return [dict(row) for row in await tx.all(text(sql), **params)]


async def with_number(store: Store, username: str = "tendai", number: str = NUMBER) -> Caller:
    caller = (await join(store, username)).caller
    await edit_profile(store, caller, EditProfile(phone=number))
    return caller


async def code_sent(store: Store, caller: Caller) -> str:
    await prove_phone.ask_code(store, caller)
    message = (await letters(store, "text"))[-1]
    found = re.match(r"(\d{6}) is your code for Market\.", message.text)
    assert found
    return found[1]


async def is_proved(store: Store, caller: Caller) -> bool:
    return (await own_profile(store, caller)).phone_verified_at is not None


async def test_a_code_by_text_message_proves_a_number_once(store: Store) -> None:
    me = await with_number(store)
    code = await code_sent(store, me)
    (message,) = await letters(store, "text")
    assert message.to == NUMBER
    with pytest.raises(WrongCode):
        await prove_phone.confirm_code(store, me, str((int(code) + 1) % 10**6).zfill(6))
    await prove_phone.confirm_code(store, me, f" {code[:3]} {code[3:]} ")
    assert await is_proved(store, me)
    with pytest.raises(WrongCode):
        await prove_phone.confirm_code(store, me, code)
    with pytest.raises(FieldErrors):
        await prove_phone.ask_code(store, me)
    facts = await rows(store, "SELECT kind FROM events WHERE kind = 'PhoneConfirmed'")
    assert len(facts) == 1


async def test_neither_number_nor_code_waits_in_the_clear(store: Store) -> None:
    me = await with_number(store)
    await prove_phone.ask_code(store, me)
    (job,) = await rows(store, "SELECT payload FROM pgqueuer WHERE entrypoint = 'notifications.send_text'")
    assert b"263771234567" not in job["payload"]
    assert b"is your code" not in job["payload"]
    await do_jobs(store)
    (mail,) = await rows(store, "SELECT letter_enc, state FROM mails WHERE kind = 'text'")
    assert (mail["state"], b"2637" in mail["letter_enc"]) == ("kept", False)


async def test_a_code_is_for_one_person_one_number_and_ten_minutes(store: Store) -> None:
    me, other = await with_number(store), await with_number(store, "other", "+263771111111")
    code = await code_sent(store, me)
    with pytest.raises(WrongCode):
        await prove_phone.confirm_code(store, other, code)
    with stopped_at(now() + timedelta(minutes=11)), pytest.raises(WrongCode):
        await prove_phone.confirm_code(store, me, code)
    await edit_profile(store, me, EditProfile(phone="+263772222222"))
    with pytest.raises(WrongCode):
        await prove_phone.confirm_code(store, me, code)
    assert not await is_proved(store, me)


async def test_another_number_is_another_proof(store: Store) -> None:
    me = await with_number(store)
    await prove_phone.confirm_code(store, me, await code_sent(store, me))
    await edit_profile(store, me, EditProfile(phone="+263 77 123 4567", bio="The same, written with spaces."))
    assert await is_proved(store, me)
    await edit_profile(store, me, EditProfile(phone="+263772222222"))
    assert not await is_proved(store, me)
    await edit_profile(store, me, EditProfile(phone=None))
    with pytest.raises(FieldErrors):
        await prove_phone.ask_code(store, me)


async def test_codes_can_neither_be_guessed_nor_sent_without_end(store: Store, race: Race) -> None:
    me = await with_number(store)
    code = await code_sent(store, me)
    for _ in range(prove_phone.TRIES):
        with pytest.raises(WrongCode):
            await prove_phone.confirm_code(store, me, "no digits")
    with pytest.raises(TooOften):
        await prove_phone.confirm_code(store, me, code)
    found = await race(*(prove_phone.ask_code(store, me) for _ in range(4)))
    assert [type(f) for f in found].count(TooOften) == 2
    assert len(await rows(store, "SELECT 1 FROM tokens WHERE kind = 'phone'")) == 1
    program = msgspec.structs.replace(me, scopes=frozenset())
    for work in (prove_phone.ask_code(store, program), prove_phone.confirm_code(store, program, code)):
        with pytest.raises(NotByToken):
            await work


async def test_by_the_pages(store: Store, browse: Visitor) -> None:
    await browse.sign_up("ann")
    page = await browse.get("/me/verification")
    assert "Telephone Not given" in text_of(page.text)
    assert "Send a code" not in text_of(page.text)  # no service, no demo
    await browse.post("/me", {"username": "ann", "display_name": "Ann", "phone": NUMBER})
    page = await browse.post("/me/phone", {"code": "000000"})
    assert page.status_code == 422
    assert "This code is not right" in page.text or not prove_phone.can_prove(store)
    await browse.post("/me/phone/code")
    code = (await letters(store, "text"))[-1].text[:6]
    said = await browse.post("/me/phone", {"code": code})
    assert "Thank you, your number is confirmed." in text_of(said.text)


class Texts(Loopback):
    """A service for text messages that answers as it is told."""

    status = 200

    async def answer(self, asked: Asked) -> Answer:
        assert asked.method == "POST"
        return Answer(self.status, b"{}", {"content-type": "application/json"})


@pytest_asyncio.fixture
async def texts() -> AsyncIterator[Texts]:
    service = Texts()
    async with serving(service):
        yield service


async def test_messages_leave_through_the_operators_service(store: Store, texts: Texts) -> None:
    open_store = replace(store, messenger=HttpMessenger(SmsSettings(url=f"{texts.base}/send", key="sesame")))
    assert prove_phone.can_prove(open_store)
    me = await with_number(store)
    await prove_phone.ask_code(store, me)
    texts.status = 503
    (job,) = await rows(store, "SELECT payload FROM pgqueuer WHERE entrypoint = 'notifications.send_text'")
    assert job["payload"]
    with pytest.raises(MessengerAway):
        await do_jobs(open_store)
    await store.cache._client.flushdb()
    for status in (200, 422):  # a number that is refused for good is not tried for ever
        texts.status = status
        await prove_phone.ask_code(store, me)
        await do_jobs(open_store)
    sent = [msgspec.json.decode(asked.body) for asked in texts.asked]
    assert {(asked.path, asked.headers["authorization"]) for asked in texts.asked} == {("/send", "Bearer sesame")}
    assert [one["to"] for one in sent] == [NUMBER] * 3
    assert await rows(store, "SELECT 1 FROM mails WHERE kind = 'text'") == []


def limited(store: Store, **limits: Any) -> Store:
    security = msgspec.structs.replace(store.settings.security, **limits)
    return replace(store, settings=msgspec.structs.replace(store.settings, security=security))


async def offer(store: Store, make: Factory, seller: Caller, title: str, price: int = 1000) -> Any:
    listing = await make.listing(seller, title, category="tools", price=price)
    await rows(store, "UPDATE listings SET status = 'draft' WHERE id = :id RETURNING id", id=listing)
    async with store.db.transaction(actor=seller.actor) as tx:
        await offering.publish(tx, store, seller, listing)
    return listing


async def on_offer(store: Store) -> int:
    return int((await rows(store, "SELECT count(*) AS n FROM listings WHERE status = 'active'"))[0]["n"])


async def test_who_proved_nothing_offers_little_and_who_is_verified_as_much_as_they_like(
    store: Store, make: Factory
) -> None:
    store = limited(store, listings_unconfirmed=1, listings_unverified=2)
    seller = (await join_as(store, "tendai", "seller")).caller
    await offer(store, make, seller, "One")
    with pytest.raises(OfferLimit, match="as many as we let people have"):
        await offer(store, make, seller, "Two")
    assert await on_offer(store) == 1
    await edit_profile(store, seller, EditProfile(phone=NUMBER))
    await prove_phone.confirm_code(store, seller, await code_sent(store, seller))
    second = await offer(store, make, seller, "Two")
    async with store.db.transaction(actor=seller.actor) as tx:
        await offering.publish(tx, store, seller, second)  # again changes nothing
    with pytest.raises(OfferLimit, match="show who you are"):
        await offer(store, make, seller, "Three")
    await rows(
        store,
        "INSERT INTO verifications (user_id, kind, status, data_enc, decided_at) VALUES (:u, 'government_id', 'verified', '', now()) RETURNING id",
        u=seller.user_id,
    )
    await offer(store, make, seller, "Three")
    assert await on_offer(store) == 3


async def test_dear_things_take_a_face_also_when_the_price_is_raised_later(store: Store, make: Factory) -> None:
    store = limited(store, price_unverified=Decimal(500))
    seller = (await join_as(store, "tendai", "seller")).caller
    with pytest.raises(PriceLimit, match="500 USD"):
        await offer(store, make, seller, "Gold", price=50_001)
    cheap = await offer(store, make, seller, "Copper", price=50_000)
    await rows(
        store,
        "UPDATE prices p SET amount_minor = 50001 FROM variants v WHERE v.id = p.variant_id AND v.listing_id = :l RETURNING 1",
        l=cheap,
    )
    async with store.db.transaction(actor=seller.actor) as tx:
        with pytest.raises(PriceLimit):
            await offering.check_limits(tx, store, seller, cheap)


async def test_of_two_listings_at_once_one_finds_room(store: Store, make: Factory, race: Race) -> None:
    store = limited(store, listings_unconfirmed=1)
    seller = (await join_as(store, "tendai", "seller")).caller
    found = await race(*(offer(store, make, seller, name) for name in ("One", "Two", "Three")))
    assert [type(f) for f in found].count(OfferLimit) == 2
    assert await on_offer(store) == 1


async def test_without_limits_in_the_preset_nobody_is_asked(store: Store, make: Factory) -> None:
    seller = (await join_as(store, "tendai", "seller")).caller
    for n in range(3):
        await offer(store, make, seller, f"Thing {n}", price=10_000_000)
    assert await on_offer(store) == 3
