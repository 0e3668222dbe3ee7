"""What the assistant answers about a person's orders: where they are, and what can still be done with them."""

import re
from typing import Any
from uuid import UUID

import msgspec

from tradepost.assistant.preset import store_texts
from tradepost.assistant.results import ListingFacts, OrderedItem, OrderFacts, Orders
from tradepost.assistant.types import Shown
from tradepost.core.postal import Address
from tradepost.flows.assistant_find import named, naming_words, options_in, wished_options
from tradepost.flows.assistant_talk import Said, Talk, options_text
from tradepost.flows.change_order import EXCHANGE, ITEMS_CHANGED


async def list_orders(talk: Talk, _said: Said) -> None:
    """Name the person's orders."""
    found: Orders | None = await talk.use("list_orders")
    if found is None:
        return
    talk.say("orders" if found.items else "orders_none")
    for one in found.items:
        talk.say("order_line", number=one.number, placed=talk.day(one.placed_on), titles=", ".join(one.titles), total=one.total.text,
                 state=one.state)  # fmt: skip
    if found.items:
        talk.offer("button_orders", href="/orders")
    elif not talk.caller.is_signed_in:
        talk.say("sign_in")
        talk.offer("button_sign_in", href="/sign-in")


async def _order(talk: Talk, said: Said) -> OrderFacts | None:
    """Return the order that is meant: by its number, the last one, the only one, or one that holds what was named. Asks else."""
    number = said.slots.orders[0] if said.slots.orders else None
    if number is None and not said.slots.is_last_order and not naming_words(talk, said) and said.slots.is_pronoun:
        number = talk.state.order_number
    if number is None:
        found: Orders | None = await talk.use("list_orders", limit=20)
        if found is None:
            return None
        if not found.items:
            talk.say("orders_none")
            if not talk.caller.is_signed_in:
                talk.say("sign_in")
                talk.offer("button_sign_in", href="/sign-in")
            return None
        number = _meant(talk, said, found)
        if number is None:
            talk.ask("number", said, "order_which")
            for one in found.items[:4]:
                talk.button(f"{one.number}: {', '.join(one.titles[:2])}", say=one.number)
            return None
    order: OrderFacts | None = await talk.use("order_status", is_quiet=True, number=number)
    if order is None:
        talk.say("order_unknown")
        return None
    talk.change(order_number=order.number)
    return order


def _meant(talk: Talk, said: Said, found: Orders) -> str | None:
    if said.slots.is_last_order or len(found.items) == 1:
        return found.items[0].number
    shown = tuple(Shown(UUID(int=n), " ".join(o.titles)) for n, o in enumerate(found.items))
    by_title = named(naming_words(talk, said), shown)
    if by_title is not None:
        return found.items[by_title.int].number
    if talk.state.order_number and any(o.number == talk.state.order_number for o in found.items):
        return talk.state.order_number
    still_open = [o for o in found.items if o.is_open]
    return still_open[0].number if len(still_open) == 1 and said.intent in {"order_status", "order_cancel"} else None


async def order_status(talk: Talk, said: Said) -> None:
    """Say where an order is."""
    order = await _order(talk, said)
    if order is None:
        return
    talk.say("order", number=order.number, placed=talk.day(order.placed_on), state=order.state, total=order.total.text)
    talk.say("order_items", items=_items(order.items))
    if order.tracking:
        talk.say("order_tracking", tracking=", ".join(order.tracking))
    if order.window:
        talk.say("order_window", window=order.window)
    if order.refunded:
        talk.say("order_refunded", refunded=order.refunded.text)
    talk.offer("button_page", href=order.link)


def _items(items: tuple[OrderedItem, ...]) -> str:
    return ", ".join(f"{i.quantity} × {i.title}{options_text(i.options)}" for i in items)


async def cancel(talk: Talk, said: Said) -> None:
    """Propose to call an order off, where that is still possible."""
    order = await _order(talk, said)
    if order is None:
        return
    if "cancelled" not in order.can:
        talk.say("cancel_no", number=order.number, state=order.state)
        return
    accepted = store_texts(talk.store.preset_folder, talk.mind.language).policy.cancel_reasons
    reason = said.slots.reason or ""
    if accepted and reason not in accepted:
        talk.ask("reason", said, "cancel_reason")
        for one in accepted:
            talk.button(one)
        return
    talk.propose("cancel_order", "cancel_ask", {"number": order.number, "reason": reason}, number=order.number,
                 items=_items(order.items), total=order.total.text)  # fmt: skip


async def give_back(talk: Talk, said: Said) -> None:
    """Propose to return items of a delivered order."""
    order = await _order(talk, said)
    if order is None:
        return
    if "return_items" not in order.can:
        talk.say("return_no", number=order.number, state=order.state)
        return
    left = tuple(i for i in order.items if i.returned < i.quantity)
    chosen = _lines(talk, said, left)
    if not chosen:
        talk.ask("item", said, "return_which", number=order.number, items=_items(left))
        for one in left[:5]:
            talk.button(one.title)
        return
    arguments: dict[str, Any] = {"number": order.number, "line_nos": [i.line_no for i in chosen]}
    arguments["reason"] = said.slots.return_reason or "other"
    talk.propose("return_items", "return_ask", arguments, number=order.number, items=_items(chosen))


def _lines(talk: Talk, said: Said, items: tuple[OrderedItem, ...]) -> tuple[OrderedItem, ...]:
    """Return which items are meant: those named, all of them, or the only one."""
    if len(items) == 1 or said.slots.is_everything:
        return items
    shown = tuple(Shown(UUID(int=n), f"{i.title} {' '.join(i.options.values())}") for n, i in enumerate(items))
    found = named(naming_words(talk, said), shown)
    return (items[found.int],) if found is not None else ()


async def swap(talk: Talk, said: Said) -> None:
    """Propose another option of something ordered: before it is packed a change, after it arrived an exchange."""
    order = await _order(talk, said)
    if order is None:
        return
    tool = "exchange_items" if EXCHANGE in order.can else "change_order_items" if ITEMS_CHANGED in order.can else ""
    if not tool:
        talk.say("items_no" if said.intent == "order_items" else "exchange_no", number=order.number, state=order.state)
        return
    chosen = _lines(
        talk, msgspec.structs.replace(said, slots=msgspec.structs.replace(said.slots, is_everything=False)), order.items
    )
    if len(chosen) != 1:
        talk.ask("item", said, "exchange_which", number=order.number, items=_items(order.items))
        for one in order.items[:5]:
            talk.button(one.title)
        return
    (line,) = chosen
    facts: ListingFacts | None = await talk.use("get_listing", listing_id=str(line.listing_id))
    if facts is None:
        return
    meant = {
        **options_in(facts, said.text),
        **wished_options(facts, [w for w in (said.slots.size, said.slots.colour) if w]),
    }
    wanted = {**line.options, **meant}
    option = next((o for o in facts.options_in_stock if o.options == wanted and o.variant_id != line.variant_id), None)
    if option is None:
        left = [options_text(o.options, form="list") for o in facts.options_in_stock if o.variant_id != line.variant_id]
        talk.ask("options", said, "exchange_for", title=facts.title, options="; ".join(left[:8]))
        return
    arguments = {"number": order.number, "items": [{"line_no": line.line_no, "variant_id": option.variant_id}]}
    talk.propose(tool, "exchange_ask" if tool == "exchange_items" else "items_ask", arguments, title=facts.title,
                 number=order.number, options=options_text(option.options, form="list"), price=option.price.text)  # fmt: skip


async def change_address(talk: Talk, said: Said) -> None:
    """Propose another address for an order that is not packed, or for all orders from now on."""
    order: OrderFacts | None = None
    if said.intent == "order_address":
        order = await _order(talk, said)
        if order is None:
            return
        if not _is_unpacked(order):
            talk.say("address_no", number=order.number, state=order.state)
            return
    elif not talk.caller.is_signed_in:
        talk.say("sign_in")
        talk.offer("button_sign_in", href="/sign-in")
        return
    address = _address(talk, said.text)
    if address is None:
        talk.ask("address", said, "address_which")
        return
    lines = ", ".join(address.lines)
    given: dict[str, Any] = {"address": msgspec.to_builtins(address)}
    if order is None:
        talk.propose("change_own_address", "address_ask_own", given, address=lines)
    else:
        talk.propose(
            "change_order_address", "address_ask", {**given, "number": order.number}, number=order.number, address=lines
        )


def _is_unpacked(order: OrderFacts) -> bool:
    return "cancelled" in order.can or order.state_code == ITEMS_CHANGED


def _address(talk: Talk, text: str) -> Address | None:
    """Return the address that the last line of a text gives: street, town, region and postcode, country, parted by commas."""
    last = text.rsplit("\n", 1)[-1]
    after = re.split(r"\bto\b\s+(?=[^,]*,[^,]*,)", last, maxsplit=1, flags=re.IGNORECASE)[-1]
    parts = [part.strip(" .") for part in after.split(",") if part.strip(" .")]
    if len(parts) < 3:
        return None
    country = talk.store.settings.store.country
    if re.fullmatch(r"[A-Z]{2}", parts[-1]) and len(parts) > 3:
        country = parts.pop()
    ending = re.fullmatch(r"(?P<region>[^\d]*?)\s*(?P<code>[A-Z]{0,2}\d[\w -]{2,9})?", parts[-1])
    street, town = (parts[:-2], parts[-2]) if ending and len(parts) > 2 else (parts[:-1], parts[-1])
    try:
        return msgspec.convert(
            {"name": talk.caller.display_name or "-", "line1": street[0], "line2": ", ".join(street[1:]), "city": town,
             "region": ending["region"] if ending else "", "postcode": (ending["code"] or "") if ending else "", "country": country},
            Address,
        )  # fmt: skip
    except msgspec.ValidationError:
        return None


async def change_payment(talk: Talk, said: Said) -> None:
    """Propose to have an order that is not packed paid another way."""
    order = await _order(talk, said)
    if order is None:
        return
    if not _is_unpacked(order):
        talk.say("address_no", number=order.number, state=order.state)
        return
    lines = said.text.split("\n")
    if len(lines) < 2:
        talk.ask("payment", said, "payment_which")
        return
    talk.propose("change_order_payment", "payment_ask", {"number": order.number, "settle_by": lines[-1][:80]},
                 number=order.number, settle_by=lines[-1][:80])  # fmt: skip


def say_done(talk: Talk, tool: str, result: Any) -> None:
    """Say what came of a change of an order."""
    if tool == "cancel_order":
        talk.say("cancelled", number=result.number)
        if result.refunded:
            talk.say("order_refunded", refunded=result.refunded.text)
    elif tool == "return_items":
        talk.say("returned", number=result.number)
    elif tool == "exchange_items":
        talk.say("exchanged", number=result.number)
    elif tool == "change_own_address":
        talk.say("address_done_own", address=", ".join(result.lines))
        return
    else:
        talk.say("items_changed", number=result.number)
    talk.offer("button_page", href=result.link)
