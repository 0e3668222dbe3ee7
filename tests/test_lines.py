"""Open lines: each moment is told at once and once to all who follow, and to who is too slow for that when they are ready again."""

import asyncio
from typing import Any

import msgspec
import pytest

from tradepost.core import live
from tradepost.core.live import Channel, Entry, Watch
from tradepost.web.live import EventStream, Socket, takes_nothing


class Tower:
    """One channel whose bells ring here only."""

    def __init__(self) -> None:
        self.written: list[Entry] = []
        self.channel = Channel(self.read, 0)

    async def read(self, after: int) -> list[Entry]:
        return self.written[after : after + live.MANY]

    async def join(self, *_: Any) -> Channel:
        self.channel.watchers += 1
        return self.channel

    def leave(self, *_: Any) -> None:
        self.channel.watchers -= 1

    def write(self, count: int = 1) -> None:
        """Have so many entries more, told as whoever writes them tells them."""
        for _ in range(count):
            self.written.append(Entry("message", {"n": len(self.written) + 1}, len(self.written) + 1))
            self.channel.give(self.written[-1:])

    def watch(self, after: int | None = 0) -> Watch:
        async def start() -> int:
            return len(self.written)

        return Watch(self, "t", self.read, after, start, None)  # type: ignore[arg-type]  # as far as a watch knows bells


class Wire:
    """The other side of a line: hands out a future for each text, as the server does for WebSockets, or takes it at once."""

    def __init__(self, *, is_quick: bool) -> None:
        self.is_quick = is_quick
        self.told: list[Any] = []
        self.under_way: list[asyncio.Future[None]] = []
        self.most_under_way = 0

    def send(self, message: dict[str, Any]) -> Any:
        self.told.append(message)
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.under_way.append(taken)
        self.most_under_way = max(self.most_under_way, sum(not f.done() for f in self.under_way))
        if self.is_quick:
            taken.set_result(None)
        return taken

    async def receive(self) -> Any:
        await asyncio.get_running_loop().create_future()

    def numbers(self) -> list[int]:
        """Return the numbers of what was told."""
        return [msgspec.json.decode(m["text"])["id"] for m in self.told if m.get("text", "").startswith('{"id"')]


async def settle() -> None:
    """Let everything that is ready run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def ended(*running: "asyncio.Task[None]") -> None:
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_who_is_slow_has_one_thing_under_way_and_gets_the_rest_in_order() -> None:
    tower, slow, quick = Tower(), Wire(is_quick=False), Wire(is_quick=True)
    tower.write(3)  # before anybody watched
    lines = [Socket(tower.watch(), takes_nothing), Socket(tower.watch(2), takes_nothing)]
    running = [
        asyncio.create_task(line.run(wire.receive, wire.send)) for line, wire in zip(lines, (slow, quick), strict=True)
    ]
    await settle()
    while slow.under_way and not slow.under_way[-1].done():  # what was missed comes one by one
        slow.under_way[-1].set_result(None)
        await settle()
    assert (slow.numbers(), quick.numbers()) == ([1, 2, 3], [3])
    tower.write(600)  # more than a channel keeps
    await settle()
    assert quick.numbers() == list(range(3, 604))
    assert slow.numbers() == [1, 2, 3, 4]
    while not slow.under_way[-1].done():
        slow.under_way[-1].set_result(None)
        await settle()
    assert slow.numbers() == list(range(1, 604))
    assert slow.most_under_way == 1
    tower.write()
    assert (slow.numbers()[-1], quick.numbers()[-1]) == (604, 604)  # at once, without a turn of anybody's task
    await ended(*running)
    assert (tower.channel.watchers, tower.channel.following) == (0, {})


async def test_a_moment_is_encoded_once_however_many_follow() -> None:
    tower, wires = Tower(), [Wire(is_quick=True) for _ in range(3)]
    running = [asyncio.create_task(EventStream(tower.watch()).run(wire.receive, wire.send)) for wire in wires]
    await settle()
    tower.write()
    assert [len(wire.told) for wire in wires] == [1, 1, 1]
    assert wires[0].told[0] is wires[1].told[0] is wires[2].told[0]
    assert wires[0].told[0]["body"] == b'id: 1\nevent: message\ndata: {"n":1}\n\n'
    await ended(*running)


async def test_where_many_follow_what_comes_meanwhile_is_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_MANY_FOLLOW", 2)
    monkeypatch.setattr(live, "_PAUSE_EACH_S", 0.01)
    tower, wires = Tower(), [Wire(is_quick=True) for _ in range(3)]
    running = [asyncio.create_task(EventStream(tower.watch()).run(wire.receive, wire.send)) for wire in wires]
    await settle()
    tower.write(4)
    assert [wire.told[0]["body"].count(b"event: message") for wire in wires] == [1, 1, 1]
    async with asyncio.timeout(10):
        while len(wires[2].told) < 2:  # noqa: ASYNC110  # until the pause is over
            await asyncio.sleep(0.005)
    assert [[m["body"].count(b"id: ") for m in wire.told] for wire in wires] == [[1, 3]] * 3
    await ended(*running)


async def test_a_line_whose_other_side_is_gone_ends_and_nobody_elses_does() -> None:
    tower, wire = Tower(), Wire(is_quick=True)

    def broken(_message: dict[str, Any]) -> Any:
        raise RuntimeError("transport closed")

    lost = asyncio.create_task(EventStream(tower.watch()).run(wire.receive, broken))
    kept = asyncio.create_task(EventStream(tower.watch()).run(wire.receive, wire.send))
    await settle()
    tower.write()
    await settle()
    assert (lost.done(), kept.done(), len(wire.told)) == (True, False, 1)
    await ended(kept)
    assert tower.channel.watchers == 0
