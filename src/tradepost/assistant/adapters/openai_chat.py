"""Endpoints that speak OpenAI's chat completions: the service itself, and most servers for models of one's own."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec

from tradepost.assistant.adapters.sse import call_of, events, well_formed
from tradepost.assistant.ports import ModelAway, ModelTool, Piece, Said
from tradepost.core.settings import AssistantSettings

_PUBLIC: Final = "https://api.openai.com/v1"


class OpenAIChat:
    """A model at `<url>/chat/completions`."""

    def __init__(self, settings: AssistantSettings) -> None:
        self._settings = settings

    async def reply(
        self, system: str, said: Sequence[Said], tools: Sequence[ModelTool], most_tokens: int
    ) -> AsyncIterator[Piece]:
        """Yield the model's next answer as it comes. Raises `ModelAway`, also where it breaks off."""
        settings = self._settings
        body = {
            "model": settings.model, "stream": True, "stream_options": {"include_usage": True}, "max_tokens": most_tokens,
            "messages": [{"role": "system", "content": system}, *map(_message, said)],
            "tools": [{"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.schema}} for t in tools],
        }  # fmt: skip
        headers = {"authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        url = f"{(settings.url or _PUBLIC).rstrip('/')}/chat/completions"
        wanted: dict[int, dict[str, str]] = {}
        is_finished = False
        with well_formed():
            async for event in events(url, headers, body, settings.timeout_ms / 1000):
                if event == "[DONE]":
                    is_finished = True
                    continue
                piece, is_over = _read(event, wanted)
                is_finished = is_finished or is_over
                if piece is not None:
                    yield piece
        if not is_finished:
            raise ModelAway
        for call in wanted.values():
            yield Piece(call=call_of(call["id"], call["name"], call["arguments"]))


def _read(event: Any, wanted: dict[int, dict[str, str]]) -> tuple[Piece | None, bool]:
    """Return what an event adds, and whether the answer is over; parts of calls are put together in `wanted`."""
    if not isinstance(event, dict) or "error" in event:
        raise ModelAway
    tokens = int((event.get("usage") or {}).get("total_tokens") or 0)
    choices = event.get("choices") or []
    if not choices:
        return (Piece(tokens=tokens) if tokens else None), False
    delta = choices[0].get("delta") or {}
    for part in delta.get("tool_calls") or ():
        call = wanted.setdefault(int(part.get("index") or 0), {"id": "", "name": "", "arguments": ""})
        call["id"] = part.get("id") or call["id"]
        function = part.get("function") or {}
        call["name"] += function.get("name") or ""
        call["arguments"] += function.get("arguments") or ""
    text = delta.get("content") or ""
    is_over = choices[0].get("finish_reason") is not None
    return (Piece(text=str(text), tokens=tokens) if text or tokens else None), is_over


def _message(one: Said) -> dict[str, Any]:
    if one.role == "tool":
        return {"role": "tool", "tool_call_id": one.call_id, "content": one.text}
    if one.role == "person":
        return {"role": "user", "content": one.text}
    made: dict[str, Any] = {"role": "assistant", "content": one.text or None}
    if one.calls:
        made["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": msgspec.json.encode(c.arguments).decode()}}
            for c in one.calls
        ]  # fmt: skip
    return made
