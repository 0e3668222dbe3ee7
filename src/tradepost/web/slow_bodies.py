"""Bodies that come too slowly: whoever sends one byte a minute keeps nothing of ours for long.

Counted is only how long we wait for what is sent, not what we do with it meanwhile; a long body has the time that a slow line takes for
it. Headers have the server's own limit of thirty seconds. Answers that stay open are not bodies and have no limit here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from litestar.exceptions import HTTPException
from litestar.status_codes import HTTP_408_REQUEST_TIMEOUT

LONGEST_PAUSE_S = 20.0
LONGEST_BODY_S = 300.0  # the largest picture over a slow telephone
SLOWEST_BYTES_S = 10_000.0  # what a longer body must come with

Receive = Callable[[], Awaitable[Any]]


class TooSlow(HTTPException):
    """The request did not arrive in time."""

    status_code = HTTP_408_REQUEST_TIMEOUT
    detail = "What you sent did not arrive in time; please try again."


def in_time(receive: Receive) -> Receive:
    """Return a `receive` that raises `TooSlow` where a body pauses or takes too long; what comes after the body may take forever."""
    clock = asyncio.get_running_loop().time
    left = LONGEST_BODY_S
    is_whole = False

    async def hurried() -> Any:
        nonlocal is_whole, left
        if is_whole:
            return await receive()
        asked = clock()
        try:
            message = await asyncio.wait_for(receive(), min(LONGEST_PAUSE_S, left))
        except TimeoutError:
            raise TooSlow from None
        left += len(message.get("body", b"")) / SLOWEST_BYTES_S - (clock() - asked)
        is_whole = not message.get("more_body", False)
        return message

    return hurried
