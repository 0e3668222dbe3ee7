"""A language model, as far as the assistant knows one: it is given what was said and what tools there are, and answers piece by piece."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, Protocol

import msgspec

from tradepost.core.errors import Unavailable


class ModelAway(Unavailable):
    """The language model does not answer as it should at the moment."""


class ModelTool(msgspec.Struct, frozen=True):
    """A tool that the model may ask for, with the JSON Schema of its arguments."""

    name: str
    description: str
    schema: dict[str, Any]


class Call(msgspec.Struct, frozen=True):
    """A wish of the model's for a tool."""

    id: str
    name: str
    arguments: dict[str, Any]


class Said(msgspec.Struct, frozen=True):
    """Something that was said: by the person, by the model with what it asked for, or the result of a call."""

    role: Literal["person", "model", "tool"]
    text: str
    calls: tuple[Call, ...] = ()
    call_id: str = ""


class Piece(msgspec.Struct, frozen=True):
    """A piece of an answer: some text, a whole call, or how many tokens it took."""

    text: str = ""
    call: Call | None = None
    tokens: int = 0


class ChatModel(Protocol):
    """A model that talks and asks for tools."""

    def reply(
        self, system: str, said: Sequence[Said], tools: Sequence[ModelTool], most_tokens: int
    ) -> AsyncIterator[Piece]:
        """Yield the model's next answer as it comes. Raises `ModelAway`, also where it breaks off."""
        ...
