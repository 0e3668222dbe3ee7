"""What is said in a conversation: a turn, a reply, and what the assistant remembers between them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from tradepost.core.errors import Invalid, Refused

LONGEST_MESSAGE = 2000
"""Letters of a message that are read; what is longer is answered with a request to be brief."""


@dataclass(eq=False)
class ChooseOption(Invalid):
    """{title} comes in several options; please choose {names}."""

    title: str
    names: str
    field: str | None = "options"


@dataclass(eq=False)
class NoSuchOption(Invalid):
    """{title} does not come in {wanted}."""

    title: str
    wanted: str
    field: str | None = "options"


@dataclass(eq=False)
class ReasonNotAccepted(Invalid):
    """An order can be called off for one of these reasons: {accepted}."""

    accepted: str
    field: str | None = "reason"


@dataclass(eq=False)
class NoSuchTool(Invalid):
    """There is no tool “{tool}”."""

    tool: str
    field: str | None = "tool"


@dataclass(eq=False)
class BadArguments(Invalid):
    """The tool {tool} cannot be called like that: {problem}"""

    tool: str
    problem: str
    field: str | None = "arguments"


class NotConfirmed(Refused):
    """That changes something, so it takes a confirmation first."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A listing beside a reply; every field is as the tool returned it."""

    listing_id: UUID
    title: str
    path: str
    price: str
    in_stock: bool
    image_id: UUID | None = None
    note: str = ""


class Button(msgspec.Struct, frozen=True, kw_only=True):
    """Something to press: it says `say` for the person, or goes to `href`."""

    label: str
    say: str = ""
    href: str = ""


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that was used in a turn, with what it was given and what it returned, as JSON has it; `error`: why it was refused."""

    tool: str
    arguments: dict[str, Any]
    result: dict[str, Any] | None = None
    error: str | None = None


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A change that waits for the person's yes. `summary` says what it will do."""

    tool: str
    arguments: dict[str, Any]
    summary: str


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What was last looked for, as far as it goes on: “cheaper ones” changes this. Prices in minor units."""

    words: str = ""
    category: str | None = None
    brand: str | None = None
    min_minor: int | None = None
    max_minor: int | None = None
    options: dict[str, str] = {}
    place: str | None = None
    radius_km: float | None = None
    in_stock: bool = False
    sort: str = "best"


class Shown(msgspec.Struct, frozen=True):
    """A listing that the person sees in the conversation, in this order."""

    listing_id: UUID
    title: str
    price_minor: int | None = None


class DialogueState(msgspec.Struct, frozen=True, kw_only=True):
    """All that is remembered from one turn to the next: plain data, to be kept as JSON with the session.

    `asked` names what the assistant asked back last (“number”, “options”, “reason” …), `on_hold` what goes on once it is answered.
    `misses`: how many turns in a row were not understood.
    """

    language: str = "en"
    wish: Wish | None = None
    shown: tuple[Shown, ...] = ()
    chosen: UUID | None = None
    order_number: str | None = None
    pending: Pending | None = None
    asked: str | None = None
    on_hold: dict[str, Any] = {}
    misses: int = 0
    turns: int = 0


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What was said, and what was known before it."""

    message: str
    state: DialogueState = DialogueState()


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. `texts` are its sentences in order; every number in them comes from one of `sources`.

    `intents` are what was understood, `is_understood` whether anything was; `hands_over` asks for a person to take over. `state` is to
    be handed back with the next turn.
    """

    texts: tuple[str, ...]
    cards: tuple[Card, ...] = ()
    buttons: tuple[Button, ...] = ()
    sources: tuple[ToolResult, ...] = ()
    pending: Pending | None = None
    state: DialogueState = DialogueState()
    intents: tuple[str, ...] = ()
    is_understood: bool = True
    hands_over: bool = False

    @property
    def text(self) -> str:
        """The whole answer in one piece."""
        return "\n".join(self.texts)
