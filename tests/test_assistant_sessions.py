"""Talks with the assistant: kept, joined at sign-in, nobody else's, one question at a time, handed over, rated, forgotten."""

import asyncio
import io
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.fake_model import FakeModel, Round
from tests.loopback import serving
from tests.people import visitor
from tests.shop import Shop
from tests.test_after_sale import browser_of
from tests.visitor import Visitor, text_of
from tradepost.accounts.types import Caller, SignInFirst
from tradepost.app import create_app
from tradepost.assistant.talks import NoSuchTalk, StillAnswering
from tradepost.assistant.types import DialogueState, Reply, ToolResult
from tradepost.core.limits import TooOften
from tradepost.core.settings import AssistantSettings
from tradepost.flows import assistant_mind
from tradepost.flows.assistant_sessions import (
    Said,
    ask,
    current_talk,
    expire_talks_job,
    forget,
    hand_over,
    own_talks,
    rate,
    read_turns,
)
from tradepost.flows.conversations import read_thread
from tradepost.flows.insights import get_assistant_report, settle
from tradepost.flows.privacy import ask_for_export, fetch_export, make_export
from tradepost.flows.store import Store

OLDER = text("UPDATE assistant_talks SET expires_at = now() - interval '1 minute'")
GONE = text("DELETE FROM assistant_talks WHERE user_id = :user")


async def parrot(_store: Store, _caller: Caller, message: str, state: DialogueState) -> Reply:
    """Answer with what was said; understands nothing that begins with a question mark."""
    heard = msgspec.structs.replace(state, turns=state.turns + 1)
    used = ToolResult(tool="store_facts", arguments={}, result={"store": "Market", "items": []})
    return Reply(texts=(f"You said {message[:40]}.",), sources=(used,), state=heard, intents=("about",), is_understood=message[:1] != "?")  # fmt: skip


async def tell(shop: Shop, message: str, by: Caller | None = None, **options: Any) -> Said:
    return await ask(shop.store, by or shop.buyer, message, engine=parrot, **options)


def set_assistant(shop: Shop, **fields: Any) -> None:
    shop.store.installation = msgspec.structs.replace(shop.store.installation, assistant=AssistantSettings(**fields))


async def test_a_talk_is_kept_with_what_its_answers_rest_on(shop: Shop) -> None:
    first, second = await tell(shop, "hello"), await tell(shop, "and you?")
    assert (first.seq, second.seq, first.talk_id) == (1, 2, second.talk_id)
    talk, turns = await current_talk(shop.store, shop.buyer)
    assert talk is not None
    assert (talk.turns, [t.asked for t in turns]) == (2, ["hello", "and you?"])
    assert turns[0].reply.sources[0].tool == "store_facts"
    assert second.reply.state.turns == 2  # what was remembered came along


async def test_a_talk_is_nobody_elses(shop: Shop) -> None:
    said, stranger = await tell(shop, "my secret"), await shop.make.person()
    for nobody in (stranger, visitor()):
        for what in (
            read_turns(shop.store, nobody, said.talk_id), rate(shop.store, nobody, said.talk_id, 1, 1),
            forget(shop.store, nobody, said.talk_id), tell(shop, "go on", nobody, talk_id=said.talk_id),
        ):  # fmt: skip
            with pytest.raises(NoSuchTalk):
                await what
    with pytest.raises(NoSuchTalk):
        await hand_over(shop.store, stranger, said.talk_id)
    assert await own_talks(shop.store, stranger) == []
    assert await shop.rows("SELECT feedback FROM assistant_turns") == [(None,)]


async def test_one_question_at_a_time_and_a_failure_gives_the_talk_back(shop: Shop) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(store: Store, caller: Caller, message: str, state: DialogueState) -> Reply:
        begun.set()
        await may_end.wait()
        return await parrot(store, caller, message, state)

    async def broken(*_: Any) -> Reply:
        raise RuntimeError("the engine fell over")

    said = await tell(shop, "hello")
    answering = asyncio.create_task(ask(shop.store, shop.buyer, "yes", engine=slow))
    await begun.wait()
    with pytest.raises(StillAnswering):
        await tell(shop, "yes")
    may_end.set()
    assert (await answering).seq == 2
    with pytest.raises(RuntimeError):
        await ask(shop.store, shop.buyer, "x", engine=broken)
    assert (await tell(shop, "again")).seq == 3
    assert [t.asked for t in await read_turns(shop.store, shop.buyer, said.talk_id)] == ["hello", "yes", "again"]


async def test_a_flood_is_stopped_and_leaves_nothing(shop: Shop) -> None:
    set_assistant(shop, most_messages=3)
    seen = [await _outcome(tell(shop, f"message {n}")) for n in range(30)]
    assert seen == ["ok"] * 3 + ["TooOften"] * 27
    assert await shop.count("assistant_turns") == 3


async def _outcome(work: Any) -> str:
    try:
        await work
    except TooOften:
        return "TooOften"
    return "ok"


@pytest.mark.parametrize(
    "message",
    ["x" * 20_000, "\x00\x1b[31m\u202eevil\ufeff", "مرحبا привет 你好 hello", "   ", "<script>alert(1)</script>"],
)
async def test_odd_messages_are_kept_short_and_do_no_harm(shop: Shop, message: str) -> None:
    said = await tell(shop, message)
    (turn,) = await read_turns(shop.store, shop.buyer, said.talk_id)
    assert len(turn.asked) <= 2000
    assert "\x00" not in turn.asked
    assert await shop.count("orders") + await shop.count("cart_lines") == 0


async def test_a_person_takes_over_with_the_transcript(shop: Shop) -> None:
    helper = await shop.make.person("staff")
    said = await tell(shop, "I need a person")
    conversation = await hand_over(shop.store, shop.buyer, said.talk_id)
    thread = await read_thread(shop.store, helper, conversation)
    assert "I need a person" in thread.messages[0].body
    assert thread.messages[0].sender_id == shop.buyer.user_id
    assert await hand_over(shop.store, shop.buyer, said.talk_id) == conversation
    assert await shop.count("messages") == 1
    talk, _ = await current_talk(shop.store, shop.buyer)
    assert talk is not None
    assert talk.conversation_id == conversation


async def test_a_visitor_signs_in_before_a_person_takes_over(shop: Shop) -> None:
    guest = msgspec.structs.replace(visitor(), session=uuid4().bytes * 2)
    said = await tell(shop, "hello", guest)
    with pytest.raises(SignInFirst):
        await hand_over(shop.store, guest, said.talk_id)


async def test_talks_are_forgotten_when_asked_and_in_time(shop: Shop) -> None:
    await forget(shop.store, shop.buyer, (await tell(shop, "one")).talk_id)
    assert await shop.count("assistant_turns") == 0
    await tell(shop, "two")
    await shop.run(OLDER)
    assert (await current_talk(shop.store, shop.buyer))[0] is None
    await expire_talks_job(shop.store)
    assert await shop.count("assistant_talks") == 0


async def test_talks_are_in_a_persons_copy_and_go_with_them(shop: Shop) -> None:
    await tell(shop, "what I said")
    await tell(shop, "what another said", await shop.make.person())
    export_id = await ask_for_export(shop.store, shop.buyer)
    await make_export(shop.store, export_id)
    archive = zipfile.ZipFile(io.BytesIO(await fetch_export(shop.store, shop.buyer, export_id)))
    assert [turn["asked"] for turn in json.loads(archive.read("data/assistant_turns.json"))] == ["what I said"]
    await shop.run(GONE, user=shop.buyer.user_id)
    assert await shop.rows("SELECT asked FROM assistant_turns") == [("what another said",)]


async def test_what_was_not_understood_is_a_list_to_work_through(shop: Shop) -> None:
    for words in ("?Flux capacitor", "?flux capacitor", "fine", "?other"):
        said = await tell(shop, words)
    await rate(shop.store, shop.buyer, said.talk_id, 3, -1)
    await rate(shop.store, shop.buyer, said.talk_id, 1, 1)
    admin = await shop.make.person("admin")
    found = await get_assistant_report(shop.store, admin)
    assert [(q.asked, q.times, q.was_understood) for q in found.unanswered] == [
        ("?flux capacitor", 2, False), ("?other", 1, False), ("fine", 1, True)
    ]  # fmt: skip
    figures = found.figures
    assert (figures.talks, figures.turns, figures.understood, figures.helped, figures.not_helped) == (1, 4, 1, 1, 1)
    assert [(i.intent, i.turns) for i in found.intents] == [("about", 4)]
    assert await settle(shop.store, admin, "?FLUX capacitor") == 2
    assert [q.asked for q in (await get_assistant_report(shop.store, admin)).unanswered] == ["?other", "fine"]


@pytest_asyncio.fixture
async def fake() -> Any:
    """Serve a model that says what a test tells it to."""
    model = FakeModel()
    async with serving(model):
        yield model


async def test_a_model_speaks_and_the_engine_stands_in_for_it(shop: Shop, fake: FakeModel) -> None:
    set_assistant(shop, provider="openai", url=fake.base, model="m")
    fake.rounds = [
        Round("Hello, what are you looking for?"),
        Round("That costs $5.00."),
        Round("Half of an ans", breaks_off=True),
    ]
    heard: list[str] = []

    async def hear(sentence: str) -> None:
        heard.append(sentence)

    made = [(await tell(shop, words, on_sentence=hear)).made_by for words in ("hi", "how much?", "and now?")]
    assert made == ["model", "engine", "engine"]
    assert heard == ["Hello, what are you looking for?", "You said how much?.", "You said and now?."]
    assert [message["content"] for message in fake.bodies[1]["messages"][1:]] == [
        "hi",
        "Hello, what are you looking for?",
        "how much?",
    ]
    assert await shop.rows("SELECT tokens, withheld FROM assistant_turns ORDER BY seq") == [(120, 0), (120, 1), (0, 0)]


async def test_the_page_works_without_scripts_and_the_talk_comes_along_at_sign_in(shop: Shop) -> None:
    await shop.goods("Claw hammer", price=1900, stock=5)
    transport = httpx.ASGITransport(app=create_app({shop.store.code: shop.store}), client=(visitor().address, 40_000))
    browser = Visitor(httpx.AsyncClient(transport=transport, base_url="http://market.localhost"))
    assert 'action="/assistant"' in (await browser.get("/assistant")).text
    shown = await browser.post("/assistant", {"message": "do you have a claw hammer?"})
    assert "do you have a claw hammer?" in shown.text
    assert "Claw hammer" in shown.text
    assert "$19.00" in shown.text
    await browser.sign_up("tendai")
    assert "do you have a claw hammer?" in (await browser.get("/assistant")).text
    assert await shop.rows("SELECT user_id IS NOT NULL, session_hash FROM assistant_talks") == [(True, None)]
    (talk,) = await shop.rows("SELECT id FROM assistant_talks")
    await browser.post("/assistant/rate", {"talk": str(talk[0]), "seq": "1", "helped": "0"})
    assert await shop.rows("SELECT feedback FROM assistant_turns") == [(-1,)]
    await browser.post("/assistant/forget", {"talk": str(talk[0])})
    assert await shop.count("assistant_talks") == 0


async def test_the_panel_hears_the_answer_sentence_by_sentence(shop: Shop) -> None:
    await shop.goods("Claw hammer", price=1900, stock=5)
    buyer = await browser_of(shop, shop.buyer)
    await buyer.get("/assistant")
    answer = await buyer.client.post(
        "/assistant", data={"csrf_token": buyer.token, "say": "do you have a claw hammer?"}, headers={"x-live": "1"}
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [part.split("\n", 1) for part in answer.text.strip().split("\n\n")]
    assert [name for name, _ in events][-1] == "event: turn"
    assert next(name for name, _ in events) == "event: sentence"
    turn = json.loads(events[-1][1].removeprefix("data: "))
    assert "$19.00" in turn["html"]
    assert "do you have a claw hammer?" in text_of((await buyer.get("/assistant/panel")).text)


async def test_the_panel_hears_that_something_broke(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(*_: Any, **__: Any) -> Said:
        raise RuntimeError("secret")

    monkeypatch.setattr("tradepost.web.assistant.ask", break_down)
    buyer = await browser_of(shop, shop.buyer)
    await buyer.get("/assistant")
    answer = await buyer.client.post(
        "/assistant", data={"csrf_token": buyer.token, "say": "hello"}, headers={"x-live": "1"}
    )
    assert answer.text.startswith("event: problem\n")
    assert "secret" not in answer.text


async def test_the_pages_and_the_api_of_talks(shop: Shop) -> None:
    admin = await browser_of(shop, await shop.make.person("admin"))
    said = await tell(shop, "?flux")
    assert "flux" in (await admin.get("/office/assistant")).text
    assert "flux" in (await admin.get(f"/office/assistant/{said.talk_id}")).text
    assert await shop.count("audit_log", "action = 'look' AND table_name = 'assistant_talks'") == 1
    assert "Off the list" in (await admin.post("/office/assistant/settle", {"asked": "?flux"})).text
    assert (await admin.get(f"/api/v1/assistant/talks/{said.talk_id}")).status_code == 404
    buyer = await browser_of(shop, shop.buyer)
    turns = (await buyer.get(f"/api/v1/assistant/talks/{said.talk_id}")).json()
    assert [turn["asked"] for turn in turns] == ["?flux"]
    assert len((await buyer.get("/api/v1/assistant/tools")).json()) >= 15
    assert UUID((await buyer.get("/api/v1/assistant/talks")).json()[0]["id"]) == said.talk_id
    assert (await buyer.get(f"/office/assistant/{said.talk_id}")).status_code == 403


async def test_the_classifier_is_taught_once_before_anybody_asks(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[Path] = []

    async def teach(_settings: object, _examples: object, path: Path, _mark: str) -> None:
        taught.append(path)
        await asyncio.to_thread(path.touch)

    monkeypatch.setattr(assistant_mind, "teach", teach)
    monkeypatch.setattr(assistant_mind, "open_embedder", lambda _: SimpleNamespace(model="m"))
    monkeypatch.setattr(assistant_mind, "_model_path", lambda _, mark: tmp_path / mark)
    await asyncio.gather(*(assistant_mind.teach_ahead(shop.store) for _ in range(3)))
    assert len(taught) == 1
