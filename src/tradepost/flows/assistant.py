"""A conversation with the shopping assistant, without a language model: one message in, one reply out.

Promises that every number in a reply comes from a tool result of the same turn, that nothing is changed before the person said yes to a
question that says what will be done, and that a tool is only ever used with the caller's own rights. What a listing or a review says is
shown, never obeyed: intents are read off the person's message alone.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from tradepost.accounts.types import Caller
from tradepost.assistant.classifier import NONE, Guess
from tradepost.assistant.grammar import Slots, clauses, has_any, is_answer, read_slots
from tradepost.assistant.preset import store_texts
from tradepost.assistant.results import Found
from tradepost.assistant.types import LONGEST_MESSAGE, DialogueState, Reply
from tradepost.core.text import is_plain, one_line
from tradepost.flows import assistant_after as after
from tradepost.flows import assistant_find as find
from tradepost.flows import assistant_purchase as purchase
from tradepost.flows.assistant_mind import open_mind, vector_of
from tradepost.flows.assistant_talk import Said, Talk
from tradepost.flows.plan_delivery import today_of
from tradepost.flows.store import Store

MOST_WISHES: Final = 4
_CERTAIN, _LIKELY, _LONGEST_NAME = 0.9, 0.5, 8
_OWN_POINTING: Final = frozenset({"cart_add", "cart_remove", "cart_change", "compare", "similar"})
_REFINED: Final = frozenset({"search", "refine", "details", "browse", "cheaper", NONE})
Handler = Callable[[Talk, Said], Awaitable[None]]
HANDLERS: Final[dict[str, Handler]] = {
    "search": find.search, "refine": find.refine, "browse": find.categories, "details": find.details, "compare": find.compare,
    "similar": find.similar, "cheaper": find.cheaper, "dearer": find.dearer, "more": find.more,
    "cart_show": purchase.show_cart, "cart_add": purchase.add_to_cart, "cart_change": purchase.change_cart,
    "cart_remove": purchase.remove_from_cart, "promo": purchase.promo, "checkout": purchase.checkout,
    "order_list": after.list_orders, "order_status": after.order_status, "order_cancel": after.cancel,
    "order_return": after.give_back, "order_exchange": after.swap, "order_items": after.swap, "order_address": after.change_address, "address": after.change_address,
    "order_payment": after.change_payment, "windows": purchase.windows, "cake": purchase.made_to_order,
    "alert_keep": purchase.keep_alert, "alert_list": purchase.list_alerts,
    **dict.fromkeys(("hours", "delivery", "returns", "payment", "contact", "place", "about"), purchase.about_store),
}  # fmt: skip
_ORDER: Final = re.compile(r"#?\b(?=[A-Z0-9-]*\d)[A-Z]{1,4}-?[A-Z0-9-]{5,30}\b", re.IGNORECASE)
_SMALL_TALK: Final = frozenset({"greet", "thanks", "bye", "help", "bot"})
_ORDER_TOOLS: Final = frozenset({
    "cancel_order", "return_items", "exchange_items", "change_order_items", "change_order_address", "change_order_payment",
    "change_own_address",
})  # fmt: skip
# Intents that a sentence about nothing in particular may be changed into: what was asked back decides what an answer is.
_GOES_ON: Final = {
    "number",
    "options",
    "reason",
    "line",
    "quantity",
    "code",
    "words",
    "item",
    "which",
    "address",
    "payment",
}


async def answer(store: Store, caller: Caller, message: str, state: DialogueState) -> Reply:
    """Answer one message of a conversation. `state` is that of the reply before; nothing is kept here.

    What was refused is said in the reply; only what is broken is raised.
    """
    mind = await open_mind(store, state.language)
    talk = Talk(store, caller, mind, state)
    text = one_line(message) if is_plain(message) else ""
    if len(message) > LONGEST_MESSAGE:
        talk.is_understood = False
        talk.say("too_long")
    elif not re.search(r"\w", text):
        talk.say("empty")
    else:
        await _answer(talk, _in_own_words(talk, text))
    return talk.reply()


def _in_own_words(talk: Talk, text: str) -> str:
    """Return a message with other words for the store's own replaced by them: “trainers” are “sneakers” here."""
    words = store_texts(talk.store.preset_folder, talk.mind.language).words
    if not words:
        return text
    names = "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True))
    return re.sub(rf"(?<!\w)(?:{names})(?!\w)", lambda found: words[found[0].lower()], text, flags=re.IGNORECASE)


async def _answer(talk: Talk, text: str) -> None:
    grammar, pending = talk.mind.grammar, talk.state.pending
    if pending is not None:
        talk.change(pending=None)
        if is_answer(text, grammar.yes):
            talk.intend("yes")
            await _carry_out(talk, pending.tool, pending.arguments)
            return
        if is_answer(text, grammar.no):
            talk.intend("no")
            talk.say("dropped")
            return
        corrected = await _corrected(talk, text, pending.tool, pending.arguments)
        if corrected:
            return
    elif is_answer(text, grammar.no) or is_answer(text, grammar.yes):
        is_no = is_answer(text, grammar.no)
        talk.change(asked=None, on_hold={})
        talk.intend("no" if is_no else "yes")
        talk.say("dropped" if is_no else "nothing_waiting")
        return
    if talk.state.asked in _GOES_ON and await _goes_on(talk, text):
        return
    talk.change(asked=None, on_hold={})
    text = _without_opening(text, grammar.no)
    for part in clauses(text, grammar)[:MOST_WISHES]:
        await _wish(talk, part)


def _without_opening(text: str, words: tuple[str, ...]) -> str:
    """Return what goes on after an opening “no, ”."""
    opening = "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True) if len(w) > 1)
    rest = re.sub(rf"^(?:{opening})\s*[,.!]\s*(?=\S)", "", text, flags=re.IGNORECASE)
    return rest or text


async def _carry_out(talk: Talk, tool: str, arguments: dict[str, Any]) -> None:
    """Do what the person said yes to."""
    result = await talk.use(tool, **arguments)
    if result is None:
        return
    if tool in _ORDER_TOOLS:
        after.say_done(talk, tool, result)
    else:
        purchase.say_done(talk, tool, result)


async def _corrected(talk: Talk, text: str, tool: str, arguments: dict[str, Any]) -> bool:
    """Take “no, two of them” or “in blue” as a correction of what was about to be put in the cart."""
    slots = _slots(talk, _without_opening(text, talk.mind.grammar.no))
    is_small = not slots.rest or not _strange_words(talk, slots)
    if tool != "add_to_cart" or not is_small or not (slots.quantity or slots.size or slots.colour or slots.rest):
        return False
    held = msgspec.structs.replace(slots, rest="", quantity=slots.quantity or _quantity(arguments))
    talk.intend("cart_add")
    await purchase.add_to_cart(talk, Said(text, held, "cart_add"))
    return True


def _quantity(arguments: dict[str, Any]) -> Any:
    return msgspec.convert(arguments.get("quantity", "1"), Slots.__annotations__["quantity"], strict=False)


def _strange_words(talk: Talk, slots: Slots) -> list[str]:
    """Return the words left over that are neither a colour nor a number nor a no."""
    grammar = talk.mind.grammar
    known = {
        *grammar.colours,
        *grammar.numbers,
        *grammar.no,
        *grammar.yes,
        *grammar.pronouns,
        "make",
        "rather",
        "instead",
        "only",
        "color",
        "colour",
    }
    return [w for w in slots.rest.split() if w not in known]


def _slots(talk: Talk, text: str) -> Slots:
    return read_slots(text, talk.mind.grammar, currency=talk.store.currency, today=today_of(talk.store))


async def _goes_on(talk: Talk, text: str) -> bool:
    """Take a message as the answer to what was asked back; return whether it is one."""
    asked, held = talk.state.asked, talk.state.on_hold
    before = msgspec.convert(held["slots"], Slots)
    new = _slots(talk, text)
    guess = await _surest(talk, text)
    is_new_wish = (
        guess.is_believed
        and guess.likely > 0.8
        and guess.intent not in {held["intent"], "search", "details", "refine", NONE}
    )
    joined = _join(before, new)
    fits = {
        "number": bool(new.orders or new.ordinals or new.is_last_order or new.rest), "reason": bool(new.reason),
        "quantity": new.quantity is not None, "code": new.code is not None or len(text.split()) == 1,
        "options": True, "which": True, "line": True, "words": bool(new.rest), "item": True, "address": text.count(",") >= 2, "payment": True,
    }[asked or ""]  # fmt: skip
    if (is_new_wish and not (asked in {"options", "item", "number"} and not guess.likely > 0.9)) or not fits:
        return False
    if asked == "code" and joined.code is None:
        joined = msgspec.structs.replace(joined, code=text.strip(" .!").upper()[:50])
    if asked == "options":
        joined = msgspec.structs.replace(joined, rest="", ordinals=(), sort=None)
    if asked in {"number", "item", "line", "which", "words"} and new.rest:
        joined = msgspec.structs.replace(joined, rest=new.rest)
    talk.change(asked=None, on_hold={})
    intent = str(held["intent"])
    talk.intend(intent)
    await HANDLERS[intent](talk, Said(f"{held['text']}\n{text}", joined, intent))
    return True


def _join(before: Slots, new: Slots) -> Slots:
    """Return what was read off both messages; the later one wins."""
    empty = Slots()
    changed = {
        n: getattr(new, n) for n in Slots.__struct_fields__ if getattr(new, n) != getattr(empty, n) and n != "rest"
    }
    return msgspec.structs.replace(before, **changed)


async def _wish(talk: Talk, text: str) -> None:
    slots = _slots(talk, text)
    guess = await _surest(talk, text)
    intent = _decide(talk, text, slots, guess)
    if intent == "unsure" and await _has(talk, slots):
        intent = "search"
    talk.intend(intent)
    handler = HANDLERS.get(intent)
    if handler is not None:
        await handler(talk, Said(text, slots, intent))
    elif intent in _SMALL_TALK:
        talk.say(intent, store=talk.store.settings.store.name)
    elif intent == "person":
        talk.hands_over = True
        talk.say("person")
    elif intent == NONE:
        talk.is_understood = False
        talk.say("cannot")
    else:
        talk.is_understood = False
        talk.say("unsure")


async def _surest(talk: Talk, text: str) -> Guess:
    plain = _ORDER.sub("12345", text)  # an order's number tells nothing of what is wanted
    sentence = talk.mind.spelling.tidy(plain)
    guesses = talk.mind.classifier.guess(sentence, await vector_of(talk.store, talk.mind, sentence))
    return guesses[0] if guesses else Guess(NONE, 0.0, is_believed=False)


def _decide(talk: Talk, text: str, slots: Slots, guess: Guess) -> str:
    """Return what is meant: by rule where a rule can tell, else what the classifier believes, else what the words point to."""
    pointed = _about_shown(talk, slots, guess)
    if pointed:
        return pointed
    if has_any(text.lower(), talk.mind.grammar.carts) and guess.intent == "search":
        return "cart_add"
    is_certain = guess.is_believed and guess.likely > _CERTAIN
    if _is_bare(text, slots) and guess.intent not in _SMALL_TALK and not is_certain:
        return "search"
    if guess.is_believed and guess.intent != NONE:
        return guess.intent
    return _by_words(talk, text, slots, guess)


def _about_shown(talk: Talk, slots: Slots, guess: Guess) -> str | None:
    """Return what a bare “the second one”, “in blue” or “under 50” means of what is shown."""
    if not talk.state.shown or _strange_words(talk, slots) or guess.intent in _OWN_POINTING:
        return None
    if (slots.ordinals or slots.sort in {"cheapest", "dearest"}) and guess.intent not in {
        "cheaper",
        "dearer",
        "order_status",
    }:
        return "details"
    limits = (slots.low, slots.high, slots.colour, slots.size, slots.radius_km, slots.sort)
    is_limited = any(limit is not None for limit in limits) or slots.places or slots.in_stock
    return "refine" if talk.state.wish is not None and is_limited and guess.intent in _REFINED else None


def _by_words(talk: Talk, text: str, slots: Slots, guess: Guess) -> str:
    """Return what is meant by a sentence that is like no example: a search where its words are the shop's own."""
    words = [w for w in slots.rest.split() if w not in talk.mind.grammar.fillers]
    own = sum(w in talk.mind.words or w.rstrip("s") in talk.mind.words for w in words)
    asks = has_any(text.lower(), talk.mind.grammar.search_openers)
    if words and own == len(words) <= 6 and (asks or guess.intent != NONE or own == len(text.split())):
        return "search"
    if guess.intent == NONE and (guess.is_believed or guess.likely > _LIKELY):
        return NONE
    if asks and words and own:
        return "search"
    return (
        guess.intent
        if guess.intent in {"search", "browse", "alert_keep"} and not asks and guess.likely > _LIKELY
        else "unsure"
    )


def _is_bare(text: str, slots: Slots) -> bool:
    """Whether a message is nothing but the name of a thing: “chocolate cake”."""
    words = re.sub(r"[^\w\s'&/.-]", " ", text.lower()).strip(" .").split()
    return 0 < len(words) <= 4 and slots.rest.split() == words


async def _has(talk: Talk, slots: Slots) -> bool:
    """Whether the shop has what a sentence names that was not understood."""
    if not 0 < len(slots.rest.split()) <= _LONGEST_NAME:
        return False
    found: Found | None = await talk.use("search_listings", query=slots.rest[:200], limit=5)
    if found is None or not found.items or found.corrected:
        return False
    return not found.is_relaxed or any(find.is_called(slots.rest, item) for item in found.items)
