"""Whoever sends slowly is let go, and whoever waits for an answer is not."""

import asyncio
from typing import Any

import msgspec
import pytest

from tradepost.app import create_app
from tradepost.flows.store import Store
from tradepost.web import slow_bodies
from tradepost.web.slow_bodies import TooSlow, in_time

PART = {"type": "http.request", "body": b"x", "more_body": True}
LAST = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have patience run out at once."""
    monkeypatch.setattr(slow_bodies, "LONGEST_PAUSE_S", 0.0)


async def never() -> Any:
    await asyncio.Event().wait()


@pytest.mark.usefixtures("pauses")
async def test_a_body_that_pauses_is_refused() -> None:
    with pytest.raises(TooSlow):
        await in_time(never)()


async def test_a_body_in_many_small_parts_has_a_limit_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_bodies, "LONGEST_BODY_S", 0.0)

    async def trickle() -> Any:
        await asyncio.sleep(0)
        return PART

    with pytest.raises(TooSlow):
        await in_time(trickle)()


async def test_time_that_we_take_ourselves_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 0.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: moment)
    parts = [PART, PART, LAST]

    async def receive() -> Any:
        return parts.pop(0)

    read = in_time(receive)
    for wanted in (PART, PART, LAST):
        assert await read() == wanted
        moment += 10 * slow_bodies.LONGEST_BODY_S  # a batch is written meanwhile


async def test_after_its_body_a_request_may_last(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [PART, LAST, GONE]

    async def receive() -> Any:
        return messages.pop(0)

    read = in_time(receive)
    assert [await read(), await read()] == [PART, LAST]
    monkeypatch.setattr(slow_bodies, "LONGEST_PAUSE_S", -1.0)
    assert await read() == GONE


@pytest.mark.usefixtures("pauses")
async def test_the_slow_are_told(store: Store) -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"host", b"market.localhost"), (b"content-type", b"application/json"), (b"content-length", b"90")]
    scope = {
        "type": "http", "method": "POST", "path": "/api/v1/cart/lines", "raw_path": b"/api/v1/cart/lines", "query_string": b"",
        "headers": headers, "scheme": "http", "server": ("127.0.0.1", 80), "client": ("192.0.2.7", 1), "http_version": "1.1",
        "root_path": "",
    }  # fmt: skip
    await create_app({store.code: store})(scope, never, send)
    assert sent[0]["status"] == 408
    assert msgspec.json.decode(sent[1]["body"])["code"] == "TooSlow"
