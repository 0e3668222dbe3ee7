"""Endpoints that speak Anthropic's messages."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from tradepost.assistant.adapters.sse import call_of, events, well_formed
from tradepost.assistant.ports import ModelAway, ModelTool, Piece, Said
from tradepost.core.settings import AssistantSettings

_PUBLIC: Final = "https://api.anthropic.com/v1"
_VERSION: Final = "2023-06-01"


class AnthropicMessages:
    """A model at `<url>/messages`."""

    def __init__(self, settings: AssistantSettings) -> None:
        self._settings = settings

    async def reply(
        self, system: str, said: Sequence[Said], tools: Sequence[ModelTool], most_tokens: int
    ) -> AsyncIterator[Piece]:
        """Yield the model's next answer as it comes. Raises `ModelAway`, also where it breaks off."""
        settings = self._settings
        body = {
            "model": settings.model, "stream": True, "max_tokens": most_tokens, "system": system, "messages": _messages(said),
            "tools": [{"name": t.name, "description": t.description, "input_schema": t.schema} for t in tools],
        }  # fmt: skip
        headers = {"x-api-key": settings.api_key, "anthropic-version": _VERSION}
        url = f"{(settings.url or _PUBLIC).rstrip('/')}/messages"
        call: dict[str, str] | None = None
        is_finished = False
        with well_formed():
            async for event in events(url, headers, body, settings.timeout_ms / 1000):
                kind = event.get("type") if isinstance(event, dict) else None
                if kind is None or kind == "error":
                    raise ModelAway
                is_finished = is_finished or kind == "message_stop"
                if kind == "content_block_start" and event["content_block"].get("type") == "tool_use":
                    call = {"id": event["content_block"]["id"], "name": event["content_block"]["name"], "arguments": ""}
                elif kind == "content_block_delta":
                    text = event["delta"].get("text", "")
                    if text:
                        yield Piece(text=str(text))
                    elif call is not None:
                        call["arguments"] += event["delta"].get("partial_json", "")
                elif kind == "content_block_stop" and call is not None:
                    yield Piece(call=call_of(call["id"], call["name"], call["arguments"]))
                    call = None
                elif kind in {"message_start", "message_delta"} and (tokens := _tokens(event)):
                    yield Piece(tokens=tokens)
        if not is_finished:
            raise ModelAway


def _tokens(event: dict[str, Any]) -> int:
    """Return what an event adds to the count: what was read at the start, what was written at the end."""
    if event["type"] == "message_start":
        return int(((event.get("message") or {}).get("usage") or {}).get("input_tokens") or 0)
    return int((event.get("usage") or {}).get("output_tokens") or 0)


def _messages(said: Sequence[Said]) -> list[dict[str, Any]]:
    """Return what was said in turns of the two sides; results of calls are the person's, several of them one turn."""
    made: list[dict[str, Any]] = []
    for one in said:
        role = "assistant" if one.role == "model" else "user"
        parts: list[dict[str, Any]] = []
        if one.role == "tool":
            parts.append({"type": "tool_result", "tool_use_id": one.call_id, "content": one.text})
        elif one.text:
            parts.append({"type": "text", "text": one.text})
        parts += [{"type": "tool_use", "id": c.id, "name": c.name, "input": c.arguments} for c in one.calls]
        if made and made[-1]["role"] == role:
            made[-1]["content"] += parts
        else:
            made.append({"role": role, "content": parts})
    return made
