"""Server-sent events: an answer that stays open for as long as somebody looks.

A stream ends by itself after some minutes and the browser comes back with the last number it saw, so that whoever may no longer look
is asked again.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Final

from tradepost.core.errors import Unavailable
from tradepost.web.typing import HttpRequest

LONGEST_S: Final = 600.0
_HEAD: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_QUIET: Final = b": \n\n"


class EventStream:
    """An ASGI answer made of encoded events; an empty one shows that the line is alive."""

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        self._events = events

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        """Send events until they end, the visitor leaves, or it is time to be asked again."""
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEAD)})
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_hung_up(receive))
        try:
            await asyncio.wait({sending, leaving}, timeout=LONGEST_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
        if not leaving.done() or leaving.cancelled():
            with suppress(OSError, RuntimeError):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Any) -> None:
        async with aclosing(self._events) as events:
            await send({"type": "http.response.body", "body": b"retry: 1000\n\n", "more_body": True})
            with suppress(Unavailable):  # the browser comes back and reads on
                async for event in events:
                    await send({"type": "http.response.body", "body": event or _QUIET, "more_body": True})


async def _hung_up(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def last_event_id(request: HttpRequest, given: int | None = None) -> int | None:
    """Return the number after which a stream goes on: the browser's own word, or the one in the address."""
    said = request.headers.get("last-event-id", "")
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 10 else given
