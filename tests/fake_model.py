"""A language model for tests, on loopback: says what it is told to say, in either of the two protocols, a few letters at a time."""

import json
from dataclasses import dataclass, field
from typing import Any

from tests.loopback import Answer, Asked, Loopback

_SIZE = 7  # letters in a piece


@dataclass
class Round:
    """One answer of the model: what it says, and the tools it asks for. `breaks_off`: the stream ends before the answer does. `events`: sent as they are."""

    text: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    breaks_off: bool = False
    events: list[Any] | None = None


class FakeModel(Loopback):
    """Serves `/chat/completions` and `/messages`. `rounds` are its next answers; with none left it says nothing."""

    slowness = 60.0

    def __init__(self) -> None:
        super().__init__()
        self.rounds: list[Round] = []

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What it was sent, in order."""
        return [json.loads(asked.body) for asked in self.asked]

    async def answer(self, asked: Asked) -> Answer:
        """Return its next answer as server-sent events."""
        said = self.rounds.pop(0) if self.rounds else Round()
        events = _openai(said) if asked.path == "/chat/completions" else _anthropic(said)
        events = events if said.events is None else said.events
        if said.breaks_off:
            events = events[: len(events) // 2]
        body = "".join(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n" for event in events)
        return Answer(200, body.encode(), {"content-type": "text/event-stream"})


def _pieces(text: str) -> list[str]:
    return [text[n : n + _SIZE] for n in range(0, len(text), _SIZE)]


def _openai(said: Round) -> list[Any]:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    events: list[Any] = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({"content": piece}) for piece in _pieces(said.text)]
    for n, (name, arguments) in enumerate(said.calls):
        events.append(
            chunk(
                {
                    "tool_calls": [
                        {"index": n, "id": f"c{n}", "type": "function", "function": {"name": name, "arguments": ""}}
                    ]
                }
            )
        )
        events += [
            chunk({"tool_calls": [{"index": n, "function": {"arguments": piece}}]})
            for piece in _pieces(json.dumps(arguments))
        ]
    events.append(chunk({}, "tool_calls" if said.calls else "stop"))
    events.append({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}})
    return [*events, "[DONE]"]


def _anthropic(said: Round) -> list[Any]:
    events: list[Any] = [{"type": "message_start", "message": {"usage": {"input_tokens": 100, "output_tokens": 1}}}]
    if said.text:
        events.append({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
        events += [
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            for piece in _pieces(said.text)
        ]
        events.append({"type": "content_block_stop", "index": 0})
    for n, (name, arguments) in enumerate(said.calls, 1):
        events.append(
            {
                "type": "content_block_start",
                "index": n,
                "content_block": {"type": "tool_use", "id": f"c{n}", "name": name, "input": {}},
            }
        )
        events += [
            {"type": "content_block_delta", "index": n, "delta": {"type": "input_json_delta", "partial_json": piece}}
            for piece in _pieces(json.dumps(arguments))
        ]
        events.append({"type": "content_block_stop", "index": n})
    events.append({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 20}})
    return [*events, {"type": "message_stop"}]
