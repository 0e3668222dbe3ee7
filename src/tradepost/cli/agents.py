"""`tradepost mcp`: a store's tools for an agent that starts programs, by standard input and output."""

from typing import Any, Final

import anyio

_LAST_ANSWER_S: Final = 60.0


async def bridge(address: str, token: str) -> None:
    """Pass on what an agent writes to a store's `/api/mcp`, and what that answers, until the agent closes its end."""
    from mcp.client.streamable_http import streamable_http_client  # late: heavy, and of this command only
    from mcp.server.stdio import stdio_server
    from mcp.shared._httpx_utils import create_mcp_http_client

    headers = {"authorization": f"Bearer {token}"} if token else {}
    url = f"{address.rstrip('/')}/api/mcp"
    async with (
        create_mcp_http_client(headers=headers) as client,
        stdio_server() as (asked, told),
        streamable_http_client(url, http_client=client) as (answers, questions, _),
    ):
        await pump(asked, questions, answers, told)


async def pump(asked: Any, questions: Any, answers: Any, told: Any) -> None:
    """Pass messages on both ways until `asked` ends and every question has its answer."""
    waiting: set[Any] = set()
    answered = anyio.Event()

    async def answer() -> None:
        nonlocal answered
        async for message in answers:
            if isinstance(message, Exception):
                continue  # a line that is no message
            await told.send(message)
            waiting.discard(getattr(message.message.root, "id", None))
            answered.set()
            answered = anyio.Event()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(answer)
        async for message in asked:
            if isinstance(message, Exception):
                continue  # as above
            root = message.message.root
            if getattr(root, "method", None) and getattr(root, "id", None) is not None:
                waiting.add(root.id)
            await questions.send(message)
        with anyio.move_on_after(_LAST_ANSWER_S):
            while waiting:
                await answered.wait()
        tasks.cancel_scope.cancel()
