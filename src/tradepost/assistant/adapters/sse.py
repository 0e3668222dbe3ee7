"""Posting to a model's endpoint and reading its server-sent events, with bounds on size and on silence."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx
import msgspec

from tradepost.assistant.ports import Call, ModelAway

_MOST_BYTES: Final = 2_000_000
_LONGEST_LINE: Final = 200_000


async def events(url: str, headers: dict[str, str], body: dict[str, Any], timeout_s: float) -> AsyncIterator[Any]:
    """Yield the data of each event as JSON; `[DONE]` is yielded as it is. Raises `ModelAway`."""
    got = 0
    try:
        async with (
            httpx.AsyncClient(timeout=timeout_s, trust_env=False, follow_redirects=False) as client,
            client.stream("POST", url, headers=headers, json=body) as answer,
        ):
            if answer.status_code != 200:
                raise ModelAway
            async for line in answer.aiter_lines():
                got += len(line)
                if got > _MOST_BYTES or len(line) > _LONGEST_LINE:
                    raise ModelAway
                if line.startswith("data:"):
                    data = line[5:].strip()
                    yield data if data == "[DONE]" else msgspec.json.decode(data)
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError) as error:
        raise ModelAway from error


@contextmanager
def well_formed() -> Iterator[None]:
    """Read events in here. Raises `ModelAway` where one is not of the form that the protocol says."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ModelAway from error


def call_of(call_id: str, name: str, written: str) -> Call:
    """Return a call whose arguments came as JSON text, piece by piece. Raises `ModelAway` for what is none."""
    try:
        return Call(str(call_id), str(name), msgspec.json.decode(written or "{}", type=dict[str, Any]))
    except msgspec.MsgspecError as error:
        raise ModelAway from error
