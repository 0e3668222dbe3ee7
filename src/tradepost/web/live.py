"""Lines that stay open for as long as somebody looks: server-sent events, and WebSockets that also listen.

Both tell the same entries and go on after the last number that was seen. A line ends by itself after some minutes and the browser
comes back with that number, so that whoever may no longer look is asked again; what comes in over a WebSocket asks each time.

Thousands are open at once: when the framework has asked who may look, it is done, and the outermost layer runs the line with
nothing else on its stack (`Line.begin` and `Line.run`), without a task, a timer or a generator of its own.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Protocol

import msgspec
import structlog

from tradepost.core.errors import DomainError, FieldErrors, Unavailable
from tradepost.core.live import Entry, Moment, Watch
from tradepost.web.errors import STATUS
from tradepost.web.typing import HttpConnection, HttpSocket

LONGEST_S: Final = 600.0
LONGEST_FRAME: Final = 20_000  # characters
LINE: Final = "tradepost_line"
_HEAD: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_QUIET: Final = b": \n\n"
_ALIVE: Final = '{"event":"alive"}'
_AGAIN, _TOO_LONG, _DEFECT, _REFUSED = (
    1012,
    1009,
    1011,
    4000,
)  # why a WebSocket is closed; 4000 and the status of a refusal
_log = structlog.get_logger("tradepost.http")


class Watching(Protocol):
    """Who watches something: entries of one moment together, none when it was quiet for a while."""

    def __aiter__(self) -> AsyncIterator[list[Entry]]: ...

    async def aclose(self) -> None:
        """Watch no more."""


class Line(ABC):
    """What server-sent events and WebSockets have in common: telling until it is time, or until the other side hangs up."""

    __slots__ = ("_hearing", "_is_gone", "_me", "_receive", "_send", "_sending", "_turn", "_until", "_watching")

    def __init__(self, watching: Watching) -> None:
        self._watching = watching
        self._is_gone = False
        self._hearing: asyncio.Future[Any] | None = None
        self._me: asyncio.Task[Any] | None = None
        self._send: Any = None
        self._receive: Any = None
        self._sending: asyncio.Future[Any] | None = None
        self._turn: asyncio.Future[None] | None = None
        self._until = 0.0

    async def __call__(self, scope: Any, _receive: Any, _send: Any) -> None:
        """Leave the answer to the outermost layer: an ASGI application as the framework wants one."""
        scope[LINE] = self

    async def run(self, receive: Any, send: Any) -> None:
        """Tell what happens until the other side hangs up, or it is time to be asked again."""
        self._receive, self._send, self._me = receive, send, asyncio.current_task()
        loop = asyncio.get_running_loop()
        self._until = loop.time() + LONGEST_S
        try:
            self._hear()
            if isinstance(self._watching, Watch):
                await self._follow(self._watching)
            else:
                async for entries in self._watching:
                    await self.tell(entries)
                    if loop.time() > self._until:
                        break
        except asyncio.CancelledError:
            if not self._is_gone or self._me is None:
                raise
            self._me.uncancel()
        except Unavailable:
            pass  # the browser comes back and reads on
        finally:
            self._stop_hearing()
            await self._watching.aclose()
        if not self._is_gone:
            self._is_gone = True
            await self.end()

    async def _follow(self, watch: Watch) -> None:
        """Tell what was missed, then each moment as it comes; again from the beginning when the other side was too slow for that."""
        loop = asyncio.get_running_loop()
        while True:
            while entries := await watch.missed():
                await self.tell(entries)
            if loop.time() > self._until:
                return
            self._turn = loop.create_future()
            watch.follow(self._tell_moment)
            await self._turn
            if self._sending is not None:
                await asyncio.wait((self._sending,))

    def _tell_moment(self, moment: Moment) -> bool:
        """Send a moment at once, without a turn of this line's task; say no while the one before is still on its way, or it is time."""
        message = self.message(moment) if self._sending is None or self._sending.done() else None
        if message is None or moment.at > self._until:
            self._take_turn()
            return False
        try:
            self._sending = _begun(self._send(message))
        except Exception:  # noqa: BLE001  # the server says in its own words that nobody is there any more
            self.hang_up()
        return True

    def _take_turn(self) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def _hear(self) -> None:
        """Have `_heard` called with the next thing that comes in; servers hand out futures, which need no task."""
        self._hearing = asyncio.ensure_future(self._receive())
        self._hearing.add_done_callback(self._heard)

    def _heard(self, coming: "asyncio.Future[Any]") -> None:
        if coming.cancelled():
            return
        if coming.exception() is not None or coming.result()["type"].endswith(".disconnect"):
            self.hang_up()
        else:
            self.take(coming.result())

    def _stop_hearing(self) -> None:
        if self._hearing is not None:
            self._hearing.remove_done_callback(self._heard)
            self._hearing.cancel()

    def hang_up(self) -> None:
        """End the line now: nobody is there any more, or is to be."""
        self._is_gone = True
        if self._me is not None:
            self._me.cancel()

    def take(self, _message: Any) -> None:
        """Take something that came in."""
        self._hear()

    @abstractmethod
    def message(self, moment: Moment) -> dict[str, Any] | None:
        """Return what says a moment at once, made once for all lines of a kind; None where it takes more than one."""

    @abstractmethod
    async def tell(self, entries: list[Entry]) -> None:
        """Send entries; none is a sign that the line is alive."""

    @abstractmethod
    async def end(self) -> None:
        """Say that it is time to come back."""


class EventStream(Line):
    """Server-sent events."""

    __slots__ = ()

    async def begin(self, send: Any) -> None:
        """Send the head of the answer."""
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEAD)})
        await send({"type": "http.response.body", "body": b"retry: 1000\n\n", "more_body": True})

    def message(self, moment: Moment) -> dict[str, Any] | None:
        """Return a moment as events."""
        found: dict[str, Any] | None = moment.made.get(EventStream)
        if found is None:
            found = moment.made[EventStream] = _events(moment.entries)
        return found

    async def tell(self, entries: list[Entry]) -> None:
        """Send entries as events."""
        await self._send(_events(entries))

    async def end(self) -> None:
        """End the answer; the browser asks again."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _events(entries: list[Entry]) -> dict[str, Any]:
    data = entries[0].event if len(entries) == 1 else b"".join([e.event for e in entries]) or _QUIET
    return {"type": "http.response.body", "body": data, "more_body": True}


def _begun(sending: Any) -> "asyncio.Future[Any] | None":
    """Return what is to be waited for before the next is sent, None where a server takes what is sent at once."""
    if asyncio.isfuture(sending) or asyncio.iscoroutine(sending):
        return asyncio.ensure_future(sending)
    next(sending, None)
    return None


Take = Callable[[bytes], Awaitable[Entry | None]]
"""Does what a text that came in asks for, and returns what to answer. Raises domain errors."""


class Socket(Line):
    """A WebSocket: tells entries as JSON objects, and does what comes in one after the other."""

    __slots__ = ("_doing", "_take")

    def __init__(self, watching: Watching, take: Take) -> None:
        super().__init__(watching)
        self._take = take
        self._doing: asyncio.Task[None] | None = None

    async def begin(self, receive: Any, send: Any) -> None:
        """Take the call."""
        await receive()
        await send({"type": "websocket.accept"})

    def message(self, moment: Moment) -> dict[str, Any] | None:
        """Return a moment of one entry as a text, or of none as the sign that the line is alive."""
        if len(moment.entries) > 1:
            return None
        found: dict[str, Any] | None = moment.made.get(Socket)
        if found is None:
            text = moment.entries[0].frame if moment.entries else _ALIVE
            found = moment.made[Socket] = {"type": "websocket.send", "text": text}
        return found

    async def tell(self, entries: list[Entry]) -> None:
        """Send entries, each as a text of its own."""
        for entry in entries:
            await self._send({"type": "websocket.send", "text": entry.frame})
        if not entries:
            await self._send({"type": "websocket.send", "text": _ALIVE})

    async def end(self) -> None:
        """Close; the browser comes back."""
        await self._send({"type": "websocket.close", "code": _AGAIN, "reason": ""})

    async def _hang_up_on(self, code: int) -> None:
        if not self._is_gone:
            await self._send({"type": "websocket.close", "code": code, "reason": ""})
            self.hang_up()

    def take(self, message: Any) -> None:
        """Do what a text asks for; the next is heard when that is done."""
        self._doing = asyncio.create_task(self._do(message))

    async def _do(self, message: Any) -> None:
        said = message.get("text")
        if said is None or len(said) > LONGEST_FRAME:
            await self._hang_up_on(_TOO_LONG)
            return
        try:
            answer = await self._take(said.encode("utf-8", "replace"))
        except DomainError as error:
            answer = refusal(error)
        except Exception as error:  # noqa: BLE001  # as the framework does for requests: told, written down, and the line ends
            _log.error("unforeseen_error", exc_info=error)
            await self._hang_up_on(_DEFECT)
            return
        if self._is_gone:
            return
        if answer is not None:
            await self._send({"type": "websocket.send", "text": answer.frame})
        self._hear()


class Refusal:
    """A WebSocket that is told why it gets nothing, and closed: browsers hide everything about one that is not taken."""

    def __init__(self, error: DomainError) -> None:
        self._error = error

    async def begin(self, receive: Any, send: Any) -> None:
        """Take the call."""
        await receive()
        await send({"type": "websocket.accept"})

    async def run(self, _receive: Any, send: Any) -> None:
        """Say why, and close."""
        await send({"type": "websocket.send", "text": refusal(self._error).frame})
        await send({"type": "websocket.close", "code": _REFUSED + STATUS[self._error.kind], "reason": self._error.code})


def refusal(error: DomainError, **more: Any) -> Entry:
    """Return what a WebSocket is told about a domain error: its stable code, its words, and which fields it is about."""
    fields = {"errors": error.errors} if isinstance(error, FieldErrors) else {}
    return Entry("error", {"code": error.code, "message": error.message, **fields, **more})


async def answer_call(socket: HttpSocket, open_line: Awaitable[Socket]) -> None:
    """Have the outermost layer run a WebSocket, or refuse it."""
    try:
        socket.scope[LINE] = await open_line  # type: ignore[typeddict-unknown-key]  # our own key
    except DomainError as error:
        socket.scope[LINE] = Refusal(error)  # type: ignore[typeddict-unknown-key]  # our own key


def last_event_id(connection: HttpConnection, given: int | None = None) -> int | None:
    """Return the number after which a line goes on: the browser's own word, or the one in the address."""
    said = connection.headers.get("last-event-id", "")
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 10 else given


def understood(said: bytes, kinds: Any) -> Any:
    """Return what came in over a WebSocket as one of these tagged Structs. Raises `FieldErrors`."""
    try:
        return msgspec.json.decode(said, type=kinds)
    except msgspec.DecodeError as error:
        raise FieldErrors({"": str(error)[:200]}) from None


async def takes_nothing(_said: bytes) -> Entry | None:
    """Refuse whatever is said over a line that only tells. Raises `FieldErrors`."""
    raise FieldErrors({"": "There is nothing to say here."})
