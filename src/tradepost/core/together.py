"""Work of one kind that waits at the same moment, done in one go: one transaction, one round trip for all of it.

Promises that who comes first goes at once; that whatever comes while that is under way goes together as the next, in the order it came;
and that whoever hangs up meanwhile takes nobody else with them. Nothing is kept of an owner or a lane when nobody waits there. What is
done sees nothing of the request it is done for, so who works in a transaction of their own (`Database.is_joined`) does not ask here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

Owner = TypeVar("Owner")
Question = TypeVar("Question")
Answer = TypeVar("Answer")


class _Lane:
    """What waits in one place; `work` answers it."""

    __slots__ = ("waiting", "work")

    def __init__(self) -> None:
        self.waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self.work: asyncio.Task[None] | None = None


class Together(Generic[Owner, Question, Answer]):
    """Answers questions that wait at the same moment by one call of `do`, which returns an answer or an error for each of them.

    An error that `do` raises is everybody's answer.
    """

    def __init__(
        self, do: Callable[[Owner, list[Question]], Awaitable[list[Answer | Exception]]], *, most: int = 200
    ) -> None:
        self._do = do
        self._most = most
        self._lanes: WeakKeyDictionary[Owner, dict[Hashable, _Lane]] = WeakKeyDictionary()

    async def ask(self, owner: Owner, question: Question, lane: Hashable = None) -> Answer:
        """Wait for one's turn and return the answer; questions of two lanes do not wait for each other."""
        lanes = self._lanes.setdefault(owner, {})
        mine = lanes.setdefault(lane, _Lane())
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        mine.waiting.append((question, answer))
        if mine.work is None:
            mine.work = asyncio.get_running_loop().create_task(self._work(owner, lane), context=Context())
        return await answer

    async def _work(self, owner: Owner, lane: Hashable) -> None:
        mine = self._lanes[owner][lane]
        try:
            while mine.waiting:
                batch, mine.waiting = mine.waiting[: self._most], mine.waiting[self._most :]
                _give(batch, await self._answers(owner, [question for question, _ in batch]))
        finally:
            del self._lanes[owner][lane]
            _give(mine.waiting, [asyncio.CancelledError()] * len(mine.waiting))

    async def _answers(self, owner: Owner, questions: list[Question]) -> list[Answer | Exception]:
        try:
            return await self._do(owner, questions)
        except Exception as error:  # noqa: BLE001  # each of those who wait reports it
            return [error] * len(questions)


def _give(batch: list[tuple[Any, "asyncio.Future[Any]"]], answers: list[Any]) -> None:
    for (_, future), answer in zip(batch, answers, strict=True):
        if future.done():  # whoever asked has gone
            continue
        if isinstance(answer, asyncio.CancelledError):
            future.cancel()
        elif isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
