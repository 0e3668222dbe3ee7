"""Work that waits at the same moment is done in one go, in order, and one who hangs up takes nobody with them."""

import asyncio
from contextvars import ContextVar

from tradepost.core.together import Together

WHO: ContextVar[str] = ContextVar("who", default="nobody")


class Desk:
    """Somewhere questions come to; remembers what came together."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()


async def _answer(desk: Desk, questions: list[int]) -> list[int | Exception]:
    desk.batches.append(questions)
    assert WHO.get() == "nobody"  # nothing of the request it is done for
    await desk.open.wait()
    if 13 in questions and len(questions) == 1:
        raise RuntimeError("all of it")
    return [ValueError(str(n)) if n == 7 else n * 10 for n in questions]


async def test_what_waits_meanwhile_goes_together_as_the_next() -> None:
    desk, together = Desk(), Together(_answer, most=3)
    WHO.set("somebody")
    first = asyncio.create_task(together.ask(desk, 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.create_task(together.ask(desk, n)) for n in (2, 7, 3, 4)]
    gone = asyncio.create_task(together.ask(desk, 5))
    await asyncio.sleep(0)
    gone.cancel()
    desk.open.set()
    answers = await asyncio.gather(first, *rest, gone, return_exceptions=True)
    assert desk.batches == [[1], [2, 7, 3], [4, 5]]
    assert answers[:2] == [10, 20]
    assert isinstance(answers[2], ValueError)
    assert answers[3:5] == [30, 40]
    assert isinstance(answers[5], asyncio.CancelledError)


async def test_lanes_do_not_wait_for_each_other_and_errors_are_everybodys() -> None:
    desk, together = Desk(), Together(_answer)
    asked = [asyncio.create_task(together.ask(desk, n, lane=n)) for n in (1, 13, 2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert desk.batches == [[1], [13], [2]]
    desk.open.set()
    one, none, two = await asyncio.gather(*asked, return_exceptions=True)
    assert (one, two) == (10, 20)
    assert isinstance(none, RuntimeError)
    assert await together.ask(desk, 3) == 30  # and goes on


async def test_nothing_is_kept_of_who_asked() -> None:
    desk, together = Desk(), Together(_answer)
    desk.open.set()
    assert await together.ask(desk, 1) == 10
    assert dict(together._lanes) == {desk: {}}
    del desk
    assert not dict(together._lanes)
