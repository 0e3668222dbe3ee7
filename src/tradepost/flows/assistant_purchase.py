"""What the assistant answers about the cart, about deliveries, kept searches and the store itself."""

from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from tradepost.assistant.results import (
    Alerts,
    CartFacts,
    CartItem,
    CheckoutStart,
    ListingFacts,
    MadeToOrder,
    StoreFacts,
    Windows,
)
from tradepost.assistant.spelling import tokens
from tradepost.assistant.types import Shown
from tradepost.core.money import plain_number, to_major
from tradepost.flows.assistant_find import named, naming_words, options_in, target, wished_options
from tradepost.flows.assistant_talk import Said, Talk, options_text

_TOPICS: Final = {"hours", "delivery", "returns", "payment", "contact", "place", "about"}


async def show_cart(talk: Talk, _said: Said) -> None:
    """Say what is in the cart."""
    cart = await _filled_cart(talk)
    if cart is None:
        return
    talk.say("cart")
    for item in cart.items[:10]:
        talk.say(
            "cart_line",
            quantity=item.quantity,
            title=item.title,
            options=options_text(item.options),
            total=item.total.text,
        )
        if item.stock in {"short", "gone"}:
            talk.say("cart_problem", title=item.title)
    talk.say("cart_subtotal", subtotal=cart.subtotal.text)
    talk.change(shown=tuple(Shown(i.listing_id, i.title, i.unit_price.minor) for i in cart.items), chosen=None)
    talk.offer("button_cart", href=cart.link)
    talk.offer("button_checkout", say=talk.word("button_checkout"))


async def add_to_cart(talk: Talk, said: Said) -> None:
    """Propose to put something in the cart; ask for what is missing first."""
    facts = await target(talk, said)
    if facts is None:
        return
    talk.choose(facts)
    if facts.is_made_to_order:
        await _made_to_order(talk, facts)
        return
    if facts.outside_url or not facts.options:
        talk.say("details_outside" if facts.outside_url else "stock_no", title=facts.title)
        talk.offer("button_page", href=facts.path)
        return
    given = {**_wished(talk, facts), **options_in(facts, said.text), **wished_options(facts, _words_of(said))}
    fitting = [o for o in facts.options if all(o.options.get(k) == v for k, v in given.items())]
    if not fitting:
        talk.say("no_option", title=facts.title, wanted=", ".join(given.values()))
        return
    in_stock = [o for o in fitting if o.in_stock]
    if not in_stock:
        talk.say("stock_no", title=f"{facts.title}{options_text(given)}")
        talk.offer("button_keep", say=talk.word("say_keep", words=facts.title))
        return
    if len(in_stock) > 1:
        _ask_option(talk, said, facts, [o.options for o in in_stock], given)
        return
    (option,) = in_stock
    quantity = said.slots.quantity or option.step
    talk.propose(
        "add_to_cart", "add_ask",
        {"listing_id": facts.listing_id, "variant_id": option.variant_id, "quantity": str(quantity)},
        quantity=plain_number(quantity), title=facts.title, options=options_text(option.options), price=option.price.text,
    )  # fmt: skip


def _wished(talk: Talk, facts: ListingFacts) -> dict[str, str]:
    wish = talk.state.wish
    return wished_options(facts, wish.options.values()) if wish else {}


def _words_of(said: Said) -> list[str]:
    sizes = {"small": "S", "medium": "M", "large": "L"}
    found = [w for w in (said.slots.size, said.slots.colour) if w]
    found += [sizes[w] for w in found if w in sizes]
    return found + [w.upper() for w in tokens(said.text) if w in {"s", "m", "l", "xs", "xl", "xxl"}]


def _ask_option(
    talk: Talk, said: Said, facts: ListingFacts, options: list[dict[str, str]], given: dict[str, str]
) -> None:
    open_names = [n for n in facts.choices if n not in given and len({o.get(n) for o in options}) > 1]
    held = msgspec.structs.replace(said, text=" ".join([said.text, *given.values()]))
    talk.ask("options", held, "which_option", title=facts.title, names=" / ".join(open_names))
    for name in open_names:
        values = [v for v in facts.choices[name] if any(o.get(name) == v for o in options)]
        talk.say("option_values", name=name.capitalize(), values=", ".join(values))
        for value in values[:4] if len(open_names) == 1 else ():
            talk.button(value)


async def _made_to_order(talk: Talk, facts: ListingFacts) -> None:
    found: MadeToOrder | None = await talk.use("made_to_order_options", listing_id=str(facts.listing_id))
    if found is None:
        return
    if not found.questions:
        talk.say("not_made", title=facts.title)
        return
    talk.say("made_to_order", title=facts.title)
    for question in found.questions[:8]:
        if question.choices:
            talk.say("made_question", title=question.title, choices=", ".join(question.choices))
        else:
            talk.say("made_free", title=question.title)
    talk.offer("button_page", href=facts.path)


async def made_to_order(talk: Talk, said: Said) -> None:
    """Say what may be chosen of something that is made to order."""
    facts = await target(talk, said)
    if facts is not None:
        talk.choose(facts)
        await _made_to_order(talk, facts)


async def _line(talk: Talk, said: Said, cart: CartFacts) -> CartItem | None:
    """Return the line of the cart that is meant."""
    shown = tuple(Shown(UUID(int=n), f"{i.title} {' '.join(i.options.values())}") for n, i in enumerate(cart.items))
    for ordinal in said.slots.ordinals:
        place = ordinal - 1 if ordinal > 0 else len(shown) + ordinal
        if 0 <= place < len(shown):
            return cart.items[place]
    found = named(naming_words(talk, said), shown)
    if found is not None:
        return cart.items[found.int]
    if not naming_words(talk, said):
        chosen = [i for i in cart.items if i.listing_id == talk.state.chosen]
        if len(chosen) == 1 or len(cart.items) == 1:
            return (chosen or list(cart.items))[0]
    return None


async def _filled_cart(talk: Talk) -> CartFacts | None:
    """Return the cart, or None where there is none to read or nothing in it, which is said."""
    cart: CartFacts | None = await talk.use("read_cart")
    if cart is not None and not cart.items:
        talk.say("cart_empty")
        return None
    return cart


async def change_cart(talk: Talk, said: Said) -> None:
    """Propose another quantity of something in the cart."""
    cart = await _filled_cart(talk)
    if cart is None:
        return
    line = await _line(talk, said, cart)
    if line is None:
        talk.ask("line", said, "which_line")
        return
    spelt = [
        n for w, n in talk.mind.grammar.numbers.items() if w in tokens(said.text)
    ]  # “make it one”: elsewhere one is no number
    quantity = said.slots.quantity or (Decimal(spelt[0]) if len(spelt) == 1 else None)
    if quantity is None:
        talk.ask("quantity", said, "how_many", title=line.title)
        return
    talk.propose("change_cart", "change_ask", {"line_no": line.line_no, "quantity": str(quantity)},
                 quantity=plain_number(quantity), title=line.title)  # fmt: skip


async def remove_from_cart(talk: Talk, said: Said) -> None:
    """Propose to take something, or everything, out of the cart."""
    cart = await _filled_cart(talk)
    if cart is None:
        return
    line = await _line(talk, said, cart)
    chosen = [line] if line else list(cart.items) if said.slots.is_everything else []
    if not chosen:
        talk.say("not_in_cart")
        talk.ask("line", said, "which_line")
        return
    talk.propose("remove_from_cart", "remove_ask", {"line_nos": [i.line_no for i in chosen]},
                 titles=", ".join(i.title for i in chosen))  # fmt: skip


async def promo(talk: Talk, said: Said) -> None:
    """Propose to put a promo code on the cart."""
    if said.slots.code is None:
        talk.ask("code", said, "promo_which")
        return
    talk.propose("use_promo_code", "promo_ask", {"code": said.slots.code}, code=said.slots.code)


async def checkout(talk: Talk, _said: Said) -> None:
    """Say what the cart comes to and lead to the page where it is ordered."""
    start: CheckoutStart | None = await talk.use("start_checkout")
    if start is None:
        return
    if not start.cart.items:
        talk.say("cart_empty")
        return
    talk.say("checkout", total=start.total.text)
    if start.ways:
        talk.say("checkout_ways", ways="; ".join(start.ways))
    talk.offer("button_checkout", href=start.link)


async def windows(talk: Talk, said: Said) -> None:
    """Say when something could be delivered."""
    chosen = talk.state.chosen
    found: Windows | None = await talk.use("delivery_windows", listing_id=str(chosen) if chosen else None)
    if found is None:
        return
    if not found.delivers:
        talk.say("windows_not")
        return
    on_day = [w for w in found.items if w.on == said.slots.day]
    labels = ", ".join(w.label for w in (on_day or found.items)[:5])
    if not found.items:
        await about_store(talk, msgspec.structs.replace(said, intent="delivery"))
        talk.say("windows_none")
    elif said.slots.day is None:
        talk.say("windows", windows=labels)
    else:
        talk.say("windows_day" if on_day else "windows_none_day", windows=labels)


async def keep_alert(talk: Talk, said: Said) -> None:
    """Propose to keep a search."""
    slots, wish = said.slots, talk.state.wish
    words = slots.rest or (wish.words if wish else "")
    category = None if slots.rest or not wish else wish.category
    if not words and not category:
        talk.ask("words", said, "alert_what")
        return
    if not talk.caller.is_signed_in:
        talk.say("sign_in")
        talk.offer("button_sign_in", href="/sign-in")
        return
    low = slots.low if slots.low is not None or not wish or slots.rest else wish.min_minor
    high = slots.high if slots.high is not None or not wish or slots.rest else wish.max_minor
    wanted: dict[str, Any] = {"query": words, "category": category}
    wanted |= {
        k: str(to_major(v, talk.store.currency)) for k, v in (("min_price", low), ("max_price", high)) if v is not None
    }
    name = words or (category or "").replace("-", " ")
    talk.propose("keep_alert", "alert_ask", {**{k: v for k, v in wanted.items() if v}, "name": name[:80]}, name=name)


async def list_alerts(talk: Talk, _said: Said) -> None:
    """Say which searches are kept."""
    found: Alerts | None = await talk.use("list_alerts")
    if found is None:
        return
    talk.say("alerts" if found.items else "alerts_none")
    for one in found.items[:10]:
        talk.say("alert_line", name=one.name, new=f"{one.new}+" if one.is_more else one.new)


async def about_store(talk: Talk, said: Said) -> None:
    """Say what the store says about itself."""
    topic = said.intent if said.intent in _TOPICS else "all"
    found: StoreFacts | None = await talk.use("store_facts", topic=topic)
    if found is None:
        return
    for fact in found.items:
        talk.say("fact", text=fact.text)
        if fact.link:
            talk.offer("button_page", href=fact.link)
    if not found.items:
        talk.say("fact_none")
        talk.offer("button_person", say=talk.word("button_person"))


def say_done(talk: Talk, tool: str, result: Any) -> None:
    """Say what came of a change that the person said yes to."""
    if tool == "add_to_cart":
        talk.say("added", subtotal=result.subtotal.text)
        talk.offer("button_cart", href=result.link)
        talk.offer("button_checkout", say=talk.word("button_checkout"))
    elif tool == "change_cart":
        talk.say("changed", subtotal=result.subtotal.text)
    elif tool == "remove_from_cart":
        talk.say("removed")
        talk.say("cart_subtotal" if result.items else "cart_empty", subtotal=result.subtotal.text)
    elif tool == "use_promo_code":
        if result.promo_codes:
            discount = result.discount.text if result.discount else ""
            talk.say("promo_done", codes=", ".join(result.promo_codes), discount=discount)
        else:
            talk.say("promo_removed")
    elif tool == "keep_alert":
        talk.say("alert_kept", name=result.name)
