"""One turn under way: the tools used in it, and the reply as it grows. Everything a reply says passes through here."""

from typing import Any, Literal
from uuid import UUID

import msgspec

from tradepost.accounts.types import Caller, SignInFirst
from tradepost.assistant.grammar import Slots
from tradepost.assistant.results import Hit, ListingFacts, as_source
from tradepost.assistant.types import Button, Card, DialogueState, Pending, Reply, Shown, ToolResult
from tradepost.assistant.wording import day_text
from tradepost.core.errors import DomainError, Unavailable
from tradepost.flows.assistant_mind import Mind
from tradepost.flows.assistant_tools import TOOLS
from tradepost.flows.store import Store

MOST_TEXTS, MOST_CARDS = 24, 12


class Said(msgspec.Struct, frozen=True):
    """One wish of a message: its words, what was read off them, and the intent."""

    text: str
    slots: Slots
    intent: str


class Talk:
    """A turn: `state` changes as it goes on; `reply` puts the answer together."""

    def __init__(self, store: Store, caller: Caller, mind: Mind, state: DialogueState) -> None:
        self.store, self.caller, self.mind, self.state = store, caller, mind, state
        self.sources: list[ToolResult] = []
        self.hands_over = False
        self.is_understood = True
        self._texts: list[str] = []
        self._cards: dict[UUID, Card] = {}
        self._buttons: list[Button] = []
        self._intents: list[str] = []

    @property
    def locale(self) -> str:
        """The locale of the store."""
        return self.store.settings.store.locale

    async def use(self, tool: str, *, is_quiet: bool = False, **arguments: Any) -> Any:
        """Use a tool as the caller; return its result, or None where it was refused, which is said unless `is_quiet`."""
        known = TOOLS[tool]
        try:
            result = await known.run(self.store, self.caller, known.read(arguments))
        except DomainError as error:
            self._note(tool, arguments, error=error.message)
            if not is_quiet:
                self._refused(error)
            return None
        self._note(tool, arguments, result=result)
        return result

    def _note(
        self, tool: str, arguments: dict[str, Any], result: msgspec.Struct | None = None, error: str | None = None
    ) -> None:
        given: dict[str, Any] = msgspec.to_builtins(arguments)
        made = as_source(result) if result is not None else None
        self.sources.append(ToolResult(tool=tool, arguments=given, result=made, error=error))

    def _refused(self, error: DomainError) -> None:
        if isinstance(error, SignInFirst):
            self.say("sign_in")
            self.offer("button_sign_in", href="/sign-in")
        elif isinstance(error, Unavailable):
            self.say("unavailable")
        else:
            self.say("refused", problem=error.message)

    def say(self, phrase: str, **values: Any) -> None:
        """Add a sentence, unless it was just said: two wishes in one message may meet the same answer."""
        said = self.word(phrase, **values)
        if len(self._texts) < MOST_TEXTS and self._texts[-1:] != [said]:
            self._texts.append(said)

    def word(self, phrase: str, **values: Any) -> str:
        """Return a phrase, to be a part of a sentence."""
        return self.mind.speech.say(phrase, **values)

    def offer(self, phrase: str, *, say: str = "", href: str = "") -> None:
        """Add a button."""
        self.button(self.word(phrase), say=say, href=href)

    def button(self, label: str, *, say: str = "", href: str = "") -> None:
        """Add a button with a label of its own."""
        made = Button(label=label, say=say or ("" if href else label), href=href)
        if made not in self._buttons and len(self._buttons) < 8:
            self._buttons.append(made)

    def change(self, **fields: Any) -> None:
        """Remember something for the next turn."""
        self.state = msgspec.structs.replace(self.state, **fields)

    def intend(self, intent: str) -> None:
        """Note what was understood."""
        self._intents.append(intent)

    def show(self, items: tuple[Hit, ...]) -> None:
        """Put listings beside the reply and remember their order."""
        for item in items:
            self._cards[item.listing_id] = Card(
                listing_id=item.listing_id, title=item.title, path=item.path, price=self.price(item), in_stock=item.in_stock,
                image_id=item.image_id, note=item.place,
            )  # fmt: skip
        shown = tuple(Shown(i.listing_id, i.title, i.price.minor if i.price else None) for i in items)
        self.change(shown=shown, chosen=items[0].listing_id if len(items) == 1 else None)

    def choose(self, facts: ListingFacts) -> None:
        """Put one listing beside the reply; it is what “it” means from now on. What was shown before stays in its order."""
        if len(self._cards) < MOST_CARDS:
            self._cards[facts.listing_id] = Card(
                listing_id=facts.listing_id, title=facts.title, path=facts.path, price=self.price(facts), in_stock=facts.in_stock,
                image_id=facts.image_id,
            )  # fmt: skip
        price = facts.price.minor if facts.price else None
        known = any(s.listing_id == facts.listing_id for s in self.state.shown)
        self.change(
            chosen=facts.listing_id,
            shown=self.state.shown if known else (Shown(facts.listing_id, facts.title, price),),
        )

    def price(self, of: Hit | ListingFacts) -> str:
        """Return a price in words, a range where options differ, "" where there is none."""
        if of.price is None:
            return ""
        return self.word("word_to", price=of.price.text, price_to=of.price_to.text) if of.price_to else of.price.text

    def day(self, day: Any) -> str:
        """Return a day in words."""
        return day_text(self.locale, day)

    def propose(self, tool: str, question: str, arguments: dict[str, Any], **values: Any) -> None:
        """Ask for a yes before something is changed."""
        summary = self.word(question, **values)
        given: dict[str, Any] = msgspec.to_builtins(arguments)
        self._texts.append(summary)
        self.change(pending=Pending(tool=tool, arguments=given, summary=summary), asked=None, on_hold={})
        self.offer("button_yes", say=self.mind.grammar.yes[0])
        self.offer("button_no", say=self.mind.grammar.no[0])

    def ask(self, what: str, said: Said, phrase: str, **values: Any) -> None:
        """Ask back; the next turn's answer goes on with the same wish."""
        self.say(phrase, **values)
        slots: dict[str, Any] = msgspec.to_builtins(said.slots)
        self.change(asked=what, on_hold={"intent": said.intent, "text": said.text, "slots": slots})

    def reply(self) -> Reply:
        """Return the whole answer."""
        pending = self.state.pending
        misses = 0 if self.is_understood else self.state.misses + 1
        if misses >= 2:
            self.offer("button_person", say=self.word("button_person"))
        self.change(misses=misses, turns=self.state.turns + 1)
        return Reply(
            texts=tuple(self._texts), cards=tuple(self._cards.values())[:MOST_CARDS], buttons=tuple(self._buttons),
            sources=tuple(self.sources), pending=pending, state=self.state, intents=tuple(self._intents),
            is_understood=self.is_understood, hands_over=self.hands_over,
        )  # fmt: skip


def options_text(options: dict[str, str], *, form: Literal["brackets", "list"] = "brackets") -> str:
    """Return chosen options in words: “ (blue, M)”."""
    text = ", ".join(str(v) for v in options.values())
    return f" ({text})" if text and form == "brackets" else text
