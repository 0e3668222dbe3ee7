"""What people are told and by which ways: at once or gathered, not in quiet hours, once each, and no longer when they say so."""

import asyncio
import hashlib
import hmac
import json
import random
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import text

from tests.factories import Factory
from tests.loopback import Answer, Asked, Loopback, serving
from tests.mail import letters
from tests.visitor import Visitor, text_of
from tradepost.accounts.types import Caller
from tradepost.alerts.criteria import Criteria
from tradepost.alerts.service import change_alert, keep_alert
from tradepost.alerts.types import Telling
from tradepost.core.database import SYSTEM
from tradepost.core.errors import FieldErrors
from tradepost.core.settings import HttpSettings, Settings
from tradepost.flows.conversations import About, begin, mark_read
from tradepost.flows.match_alerts import file_alerts, match_waiting
from tradepost.flows.notices import read_notices
from tradepost.flows.send_notices import send_due, send_outside
from tradepost.flows.store import Store
from tradepost.flows.tell_matches import send_digests
from tradepost.flows.tell_people import tell_of_messages, tell_of_order
from tradepost.messaging.events import MessageSent
from tradepost.messaging.types import Draft
from tradepost.notifications import push, ways
from tradepost.notifications.adapters.smtp import as_message
from tradepost.notifications.notices import News, tell_each
from tradepost.notifications.preferences import Times, read_preferences, set_frequencies, set_times
from tradepost.notifications.sending import TRIES
from tradepost.orders.events import OrderMoved

CONFIRMED = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def installation() -> Settings:
    """Return settings under which people's own programs may be on this machine."""
    return Settings(stores=("market",), test_payments=True, http=HttpSettings(reachable=("127.0.0.0/8",)))


class Program(Loopback):
    """Somebody's own program, or a push service: keeps what it was told, and answers as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 204
        self.killed: asyncio.Task[int] | None = None
        self.chance = random.Random(5)  # noqa: S311  # no secret

    async def answer(self, asked: Asked) -> Answer:
        del asked
        if self.killed is not None and self.chance.random() < 0.1:
            self.killed.cancel()
        return Answer(self.status, b"")

    @property
    def ids(self) -> list[str]:
        return [json.loads(asked.body)["id"] for asked in self.asked]


class Waiting(Program):
    """A program that answers nothing until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()

    async def answer(self, asked: Asked) -> Answer:
        await self.may.wait()
        return await super().answer(asked)


async def alert(store: Store, who: Caller, name: str, telling: Telling | None = None, **asked: Any) -> UUID:
    """Keep an alert, as filed."""
    async with store.db.transaction(actor=who.actor) as tx:
        alert_id = await keep_alert(tx, who, Criteria(**asked), name, telling or Telling())
    await file_alerts(store, [alert_id])
    return alert_id


async def run(store: Store, sql: str, **params: Any) -> int:
    """Change something behind the store's back."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        return await tx.run(text(sql), **params)


async def rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    """Return what a query finds."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        return [tuple(row) for row in await tx.all(text(sql))]


async def titles(store: Store, who: Caller) -> list[str]:
    """Return what somebody was told, the latest first."""
    return [n.title for n in (await read_notices(store, who)).items]


async def told(store: Store, who: Caller, count: int) -> None:
    """Tell somebody so many things."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        news = [
            News(user_id=who.check_signed_in(), subject_id=UUID(int=n), title=f"Thing {n}", path="/")
            for n in range(count)
        ]
        await tell_each(tx, "order", news)


async def without_letters(store: Store, make: Factory) -> Caller:
    """Make somebody who wants no letters about orders."""
    ann = await make.person()
    async with store.db.transaction(actor=ann.actor) as tx:
        await set_frequencies(tx, ann, {"orders": {"email": "off"}})
    return ann


async def test_finds_are_told_in_the_store_and_in_one_letter(store: Store, make: Factory) -> None:
    seller, ann = await make.person("seller"), await make.person(email_verified_at=CONFIRMED)
    mine = await alert(store, ann, "Bread", words=("sourdough",))
    await alert(store, ann, "Cheap", words=("sourdough",), max_minor=500)  # finds the same: told once
    for n in (1, 2):
        await make.listing(seller, f"Sourdough {n}", price=400)
    await match_waiting(store)
    assert sorted(await titles(store, ann)) == ["New: Sourdough 1", "New: Sourdough 2"]
    await send_due(store)
    await send_due(store)
    (letter,) = await letters(store, "notices")
    assert letter.subject == "2 things are new at Market"
    assert "Sourdough 1" in letter.text
    assert "$4.00 · for “Bread”" in letter.html
    assert await rows(store, "SELECT DISTINCT state, tries FROM deliveries") == [("sent", 1)]
    assert await rows(store, "SELECT count(*) FROM alert_matches WHERE notified_at IS NULL") == [(0,)]
    assert mine


async def test_letter_can_be_stopped_by_one_click_and_started_again(
    store: Store, make: Factory, browse: Visitor
) -> None:
    seller, ann = await make.person("seller"), await make.person(email_verified_at=CONFIRMED)
    mine = await alert(store, ann, "Bread", words=("sourdough",))
    await make.listing(seller, "Sourdough")
    await match_waiting(store)
    await send_due(store)
    (letter,) = await letters(store, "notices")
    message = as_message(letter, UUID(int=1))
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert f"List-Unsubscribe: <{letter.unsubscribe}>\r\n".encode() in message.as_bytes()
    path = message["List-Unsubscribe"].strip("<>").removeprefix(store.base_url)
    answer = await browse.client.post(path, data={"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200
    settings = f"SELECT notification_settings ->> 'email' FROM alerts WHERE id = '{mine}'"
    assert await rows(store, settings) == [("false",)]
    page = path.removeprefix("/api")
    assert page in letter.text
    assert "No more letters about this alert" in text_of((await browse.get(page)).text)
    answer = await browse.post(page, {"again": "yes"})
    assert await rows(store, settings) == [("true",)]
    await browse.post(page)
    assert await rows(store, settings) == [("false",)]
    assert (await browse.client.post(path[:-3] + "abc")).status_code == 404
    assert (await browse.get("/unsubscribe/x")).status_code == 404


async def test_digest_gathers_until_its_hour(store: Store, make: Factory) -> None:
    seller, ann = await make.person("seller"), await make.person(email_verified_at=CONFIRMED)
    await alert(store, ann, "Bread", Telling(frequency="daily"), words=("sourdough",))
    for n in (1, 2, 3):
        await make.listing(seller, f"Sourdough {n}")
        await match_waiting(store)
    await send_digests(store)
    assert await titles(store, ann) == []
    await run(store, "UPDATE alerts SET digest_at = now() - interval '1 minute' WHERE digest_at IS NOT NULL")
    await send_digests(store)
    await send_digests(store)
    assert await titles(store, ann) == ["3 new for “Bread”"]
    await send_due(store)
    (letter,) = await letters(store, "notices")
    assert letter.subject == "3 new for “Bread”"
    assert await rows(store, "SELECT digest_at FROM alerts") == [(None,)]


async def test_what_has_gathered_is_told_when_its_alert_is_saved(store: Store, make: Factory) -> None:
    seller, ann = await make.person("seller"), await make.person()
    mine = await alert(store, ann, "Bread", Telling(frequency="weekly"), words=("sourdough",))
    await make.listing(seller, "Sourdough")
    await match_waiting(store)
    async with store.db.transaction(actor=ann.actor) as tx:
        await change_alert(tx, ann, mine, telling=Telling(frequency="daily"))
    await send_digests(store)
    assert len(await titles(store, ann)) == 1
    async with store.db.transaction(actor=ann.actor) as tx:
        await change_alert(tx, ann, mine, telling=Telling(frequency="weekly"))
    assert await rows(store, "SELECT digest_at FROM alerts") == [(None,)]


async def test_alert_for_everything_is_taken_and_told_in_a_digest(store: Store, make: Factory) -> None:
    seller, ann = await make.person("seller"), await make.person(email_verified_at=CONFIRMED)
    await alert(store, ann, "All", min_minor=0)
    await make.listing(seller, "Anything")
    await match_waiting(store)
    assert await titles(store, ann) == []
    assert await rows(store, "SELECT is_broad, digest_at > now() FROM alerts") == [(True, True)]


@pytest.mark.parametrize(
    ("often", "at", "due"),
    [
        ("instant", "2026-11-21T12:00Z", "2026-11-21T12:00Z"),
        ("instant", "2026-11-21T20:30Z", "2026-11-22T05:00Z"),  # 22:30 in Harare, quiet until 7
        ("instant", "2026-11-21T04:59Z", "2026-11-21T05:00Z"),
        ("hourly", "2026-11-21T12:10Z", "2026-11-21T13:00Z"),
        ("hourly", "2026-11-21T19:30Z", "2026-11-22T05:00Z"),
        ("daily", "2026-11-21T05:59Z", "2026-11-21T06:00Z"),
        ("daily", "2026-11-21T06:00Z", "2026-11-22T06:00Z"),
        ("weekly", "2026-11-21T12:00Z", "2026-11-23T06:00Z"),  # a Saturday; Monday at 8
    ],
)
async def test_quiet_hours_and_digests_are_in_the_persons_time(store: Store, often: str, at: str, due: str) -> None:
    found = await store.db.read(
        text("SELECT notice_due(:often, 'Africa/Harare', CAST('22:00' AS time), CAST('07:00' AS time), 8, :at)"),
        often=often, at=datetime.fromisoformat(at),
    )  # fmt: skip
    assert found[0][0] == datetime.fromisoformat(due)


async def test_preferences_hold_over_the_usual(store: Store, make: Factory) -> None:
    ann, ben = await make.person(), await make.person()
    async with store.db.transaction(actor=ann.actor) as tx:
        await set_frequencies(tx, ann, {"orders": {"email": "off"}})
        await set_times(tx, ann, Times(digest_hour=9))
        assert (await read_preferences(tx, ann)).frequencies["orders"] == {
            "email": "off",
            "push": "instant",
            "webhook": "instant",
        }
        with pytest.raises(FieldErrors):
            await set_times(tx, ann, Times(quiet_from=datetime(2026, 1, 1, 22, tzinfo=UTC).time()))
    await told(store, ann, 1)
    await told(store, ben, 1)
    assert await rows(store, "SELECT user_id FROM deliveries") == [(ben.user_id,)]


async def test_orders_and_messages_use_the_same_centre(store: Store, make: Factory) -> None:
    ann, seller = await make.person(), await make.person("seller")
    assert ann.user_id
    fact = OrderMoved(UUID(int=1), "MK-1", ann.user_id, (UUID(int=9),), "pending", "paid", None, ("buyer",))
    await tell_of_order(store, fact)
    await tell_of_order(store, fact)
    assert await titles(store, ann) == ["Order MK-1: paid"]
    await run(store, "UPDATE users SET created_at = now() - interval '1 year'")  # the new may not write at once
    listing = await make.listing(seller, "Lamp")
    sent = await begin(store, ann, About(listing_id=listing), Draft(body="Is it still there?"))
    assert seller.user_id
    written = MessageSent(sent.conversation_id, sent.seq, ann.user_id, (seller.user_id,))
    await tell_of_messages(store, written)
    await tell_of_messages(store, written)
    assert await titles(store, seller) == ["Buyer1 wrote to you"]
    await mark_read(store, seller, sent.conversation_id, sent.seq)
    await run(store, "DELETE FROM notices")
    await tell_of_messages(store, written)
    assert await titles(store, seller) == []  # who has read it is told nothing


async def hook(store: Store, who: Caller, url: str) -> str:
    """Have somebody's program told."""
    async with store.db.transaction(actor=who.actor) as tx:
        return await ways.set_hook(tx, store.keys, who, url)


async def test_program_gets_what_the_store_signed(store: Store, make: Factory) -> None:
    ann, program = await without_letters(store, make), Program()
    async with serving(program):
        secret = await hook(store, ann, program.base + "/in")
        await told(store, ann, 1)
        program.fail("/in", "broken")
        await send_due(store)
        ((state, tries, error),) = await rows(store, "SELECT state, tries, error FROM deliveries")
        assert (state, tries, error) == ("pending", 1, "it answers 500")
        assert await rows(store, "SELECT due_at > now() + interval '50 seconds' FROM deliveries") == [(True,)]
        await run(store, "UPDATE deliveries SET due_at = now()")
        await send_due(store)
    asked = program.asked[-1]
    at, mac = (part.partition("=")[2] for part in asked.headers["tradepost-signature"].split(","))
    assert mac == hmac.new(secret.encode(), f"{at}.".encode() + asked.body, hashlib.sha256).hexdigest()
    assert json.loads(asked.body)["title"] == "Thing 0"
    assert len(set(program.ids)) == 1
    assert asked.headers["tradepost-id"] == program.ids[0]
    assert await rows(store, "SELECT state FROM deliveries") == [("sent",)]
    assert await rows(store, "SELECT failures, error FROM notice_hooks") == [(0, None)]


async def test_private_addresses_are_not_called_and_tries_end(store: Store, make: Factory) -> None:
    ann = await without_letters(store, make)
    await hook(store, ann, "http://10.0.0.1/in")
    await told(store, ann, 1)
    for _ in range(TRIES):
        await run(store, "UPDATE deliveries SET due_at = now()")
        await send_due(store)
    ((state, error),) = await rows(store, "SELECT state, error FROM deliveries")
    assert state == "failed"
    assert "not a public address" in error


async def test_killed_workers_lose_nothing(store: Store, make: Factory) -> None:
    ann, program = await make.person(), Program()
    async with serving(program):
        await hook(store, ann, program.base)
        await told(store, ann, 120)
        killed = 0
        while (
            await rows(store, "SELECT count(*) FROM deliveries WHERE state = 'pending' AND channel = 'webhook'")
        ) != [(0,)]:
            program.killed = asyncio.create_task(send_outside(store))
            (outcome,) = await asyncio.gather(program.killed, return_exceptions=True)
            killed += isinstance(outcome, asyncio.CancelledError)
            await run(store, "UPDATE deliveries SET due_at = now() WHERE state = 'pending'")  # two minutes later
        program.killed = None
    assert killed > 2
    assert len(set(program.ids)) == 120
    await send_due(store)
    (letter,) = await letters(store, "notices")
    assert letter.subject.startswith("120 things")


async def test_a_program_that_takes_long_delays_nobody_else(store: Store, make: Factory) -> None:
    ann, ben, cleo = (
        await without_letters(store, make),
        await without_letters(store, make),
        await without_letters(store, make),
    )
    slow, quick = Waiting(), Program()
    async with serving(slow), serving(quick):
        await hook(store, ann, slow.base)
        await told(store, ann, 60)
        await hook(store, ben, quick.base)
        await told(store, ben, 9)
        await run(
            store, "UPDATE deliveries SET due_at = due_at - interval '1 minute' WHERE user_id = :ann", ann=ann.user_id
        )
        await hook(store, cleo, "http://10.0.0.1/in")
        await told(store, cleo, 1)
        sending = asyncio.create_task(send_due(store))
        async with asyncio.timeout(30):
            while len(quick.asked) < 9:  # noqa: ASYNC110  # told by requests that come in
                await asyncio.sleep(0.01)
        assert len(slow.asked) < 20
        slow.may.set()
        await sending
    assert len({json.loads(asked.body)["id"] for asked in slow.asked}) == 60
    assert await rows(store, "SELECT state, count(*) FROM deliveries GROUP BY 1 ORDER BY 1") == [
        ("pending", 1),
        ("sent", 69),
    ]


async def test_what_nobody_foresaw_is_put_off_and_the_rest_is_sent(
    store: Store, make: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, ben = await without_letters(store, make), await without_letters(store, make)
    async with serving(program := Program()):
        secrets = [await hook(store, who, program.base) for who in (ann, ben)]
        for who in (ann, ben):
            await told(store, who, 1)
        sign = ways.signature

        def fail(secret: str, body: bytes, at: int) -> str:
            return sign(secret, body, at) if secret != secrets[0] else str(1 / 0)

        monkeypatch.setattr("tradepost.notifications.ways.signature", fail)
        await send_due(store)
    assert len(program.asked) == 1
    assert await rows(store, "SELECT state, tries, error FROM deliveries ORDER BY state") == [
        ("pending", 1, "something unexpected went wrong"), ("sent", 1, None)
    ]  # fmt: skip


RFC_8291 = {
    "as_private": "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw",
    "salt": "DGv6ra1nlYgDCS1FRnbzlw",
    "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    "message": "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A"
    "_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
}


def test_push_is_encrypted_as_the_standard_has_it() -> None:
    key = ec.derive_private_key(int.from_bytes(push.decode(RFC_8291["as_private"]), "big"), ec.SECP256R1())
    to = push.Subscription(endpoint="https://push.example.net/x", p256dh=RFC_8291["p256dh"], auth=RFC_8291["auth"])
    sealed = push.encrypt(b"When I grow up, I want to be a watermelon", to, salt=push.decode(RFC_8291["salt"]), key=key)
    assert push.encode(sealed) == RFC_8291["message"]


async def test_browser_is_pushed_to_until_it_is_gone(store: Store, make: Factory) -> None:
    ann, service = await without_letters(store, make), Program()
    async with serving(service):
        given = push.Subscription(endpoint=service.base + "/push", p256dh=RFC_8291["p256dh"], auth=RFC_8291["auth"])
        async with store.db.transaction(actor=SYSTEM) as tx:
            await ways.add_browser(tx, store.keys, ann, given, "Firefox on Linux")
            await ways.add_browser(tx, store.keys, ann, given, "Firefox on Linux")
            assert len(await ways.list_browsers(tx, ann)) == 1
            bad = push.Subscription(endpoint="https://x.example/1", p256dh="x" * 87, auth=RFC_8291["auth"])
            with pytest.raises(push.NotASubscription):
                await ways.add_browser(tx, store.keys, ann, bad, "")
        await told(store, ann, 1)
        service.status = 201
        await send_due(store)
        service.status = 410
        await run(store, "UPDATE deliveries SET state = 'pending', due_at = now()")
        await send_due(store)
    first = service.asked[0]
    assert first.headers["content-encoding"] == "aes128gcm"
    assert first.headers["authorization"].startswith("vapid t=")
    assert first.headers["topic"] == service.asked[1].headers["topic"]
    assert await rows(store, "SELECT count(*) FROM push_subscriptions") == [(0,)]


async def test_finds_go_to_confirmed_addresses_only(store: Store, make: Factory) -> None:
    seller, ann, ben = await make.person("seller"), await make.person(), await make.person(email_verified_at=CONFIRMED)
    for who in (ann, ben):
        await alert(store, who, "Bread", words=("sourdough",))
    await make.listing(seller, "Sourdough")
    await match_waiting(store)
    assert await titles(store, ann) == ["New: Sourdough"]
    assert await rows(store, "SELECT user_id FROM deliveries") == [(ben.user_id,)]
    await run(store, "UPDATE users SET email_verified_at = NULL")  # they change their address before it is sent
    await send_due(store)
    assert await letters(store, "notices") == []
    assert await rows(store, "SELECT state, error FROM deliveries") == [("failed", "no address")]


async def test_ten_browsers_are_kept(store: Store, make: Factory) -> None:
    ann = await make.person()
    async with store.db.transaction(actor=SYSTEM) as tx:
        for n in range(ways.MOST_BROWSERS + 1):
            place = f"https://push.example.net/{n}"
            given = push.Subscription(endpoint=place, p256dh=RFC_8291["p256dh"], auth=RFC_8291["auth"])
            await ways.add_browser(tx, store.keys, ann, given, f"Browser {n}")
        labels = [one.label for one in await ways.list_browsers(tx, ann)]
    assert labels == [f"Browser {n}" for n in range(10, 0, -1)]


async def test_pages_of_alerts_work_without_scripts(store: Store, browse: Visitor, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller, "Sourdough, old", price=300)
    await browse.sign_up("ann")
    form = {
        "name": "Bread",
        "query": "sourdough -rye",
        "max_price": "5.00",
        "frequency": "instant",
        "email": "1",
        "condition.new": "1",
    }
    preview = await browse.post("/me/searches/new", {**form, "condition.new": "", "action": "preview"})
    assert "Last week it would have found 1." in text_of(preview.text)
    bad = await browse.post("/me/searches/new", {**form, "min_price": "9", "category": "nowhere"})
    assert bad.status_code == 422
    assert "The lowest price is above the highest." in bad.text
    assert "There is no nowhere." in bad.text
    assert "told at once" in text_of((await browse.post("/me/searches/new", form)).text)
    ((alert_id, criteria),) = await rows(store, "SELECT id, criteria FROM alerts")
    assert criteria == {"conditions": ["new"], "max_minor": 500}
    edited = await browse.post(
        f"/me/searches/{alert_id}/edit", {**form, "frequency": "weekly", "condition.new": "", "condition.good": ""}
    )
    assert "told weekly" in text_of(edited.text)
    await file_alerts(store, [alert_id])
    await make.listing(seller, "Sourdough, new", price=400)
    await match_waiting(store)
    inbox = await browse.get("/me/matches?show=unread")
    assert "Sourdough, new" in inbox.text
    assert "Sourdough, old" not in inbox.text
    ((listing_id,),) = await rows(store, "SELECT listing_id FROM alert_matches")
    await browse.post(f"/me/matches/{alert_id}/{listing_id}", {"action": "save"})
    assert "Sourdough, new" in (await browse.get("/me/matches?show=saved")).text
    assert await rows(store, "SELECT is_saved, is_read FROM alert_matches") == [(True, True)]
    await browse.post(f"/me/searches/{alert_id}/pause", {"active": ""})
    assert "Resting" in (await browse.get("/me/searches")).text


async def test_settings_page_and_api_say_the_same(store: Store, browse: Visitor) -> None:
    await browse.sign_up("ann")
    page = await browse.post(
        "/me/notices", {"orders.email": "daily", "quiet_from": "22:00", "quiet_to": "07:00", "digest_hour": "6"}
    )
    assert "Noted." in page.text
    found = (await browse.client.get("/api/v1/me/notices")).json()
    assert found["frequencies"]["orders"]["email"] == "daily"
    assert found["times"] == {"quiet_from": "22:00:00", "quiet_to": "07:00:00", "digest_hour": 6}
    refused = await browse.post("/me/notices", {"quiet_from": "22:00"})
    assert refused.status_code == 422
    secret = await browse.post("/me/notices/hook", {"url": "https://example.org/hook"})
    assert "whsec_" in secret.text
    assert "whsec_" not in (await browse.get("/me/notices")).text
    ways_known = (await browse.client.get("/api/v1/me/notices/ways")).json()
    assert ways_known["hook"]["url"] == "https://example.org/hook"
    assert len(push.decode(ways_known["push_key"])) == 65
    for bad in ("http://localhost/x", "http://10.0.0.1/", "ftp://x.example", "http://a@b.example"):
        await browse.post("/me/notices/hook", {"url": bad})
    assert (await browse.client.get("/api/v1/me/notices/ways")).json()["hook"]["url"] == "https://example.org/hook"


async def test_schema_is_published_and_bad_criteria_name_their_field(browse: Visitor) -> None:
    await browse.sign_up("ann")
    schema = (await browse.client.get("/api/v1/alerts/schema")).json()
    assert "price_drop_percent" in str(schema)
    headers = {"x-csrf-token": browse.token}
    for criteria, field in (
        ({"radius_m": 30_000_000, "near": [0, 0]}, "radius_m"),
        ({"max_minor": "ask"}, "max_minor"),
        ({"colour": "red"}, "colour"),
        ({"words": ["x"], "sources": ["nowhere"]}, "sources"),
    ):
        answer = await browse.client.post(
            "/api/v1/me/searches", json={"name": "x", "criteria": criteria}, headers=headers
        )
        assert answer.status_code in {400, 422}
        assert field in answer.text
