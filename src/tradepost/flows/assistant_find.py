"""What the assistant answers about the goods: finding, refining, looking closer, comparing."""

import re
from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

import msgspec

from tradepost.assistant.grammar import has_any
from tradepost.assistant.results import Categories, Comparison, Found, Hit, ListingFacts
from tradepost.assistant.spelling import tokens
from tradepost.assistant.types import Shown, Wish
from tradepost.catalog.listing_pages import category_tree, find_place
from tradepost.core.money import to_major
from tradepost.core.text import edit_distance
from tradepost.flows.assistant_talk import Said, Talk

_LOOKED_INTO: Final = 3
_NAMED: Final = 0.5  # the share of words that must stand in a title
_LONGEST_DESCRIPTION: Final = 240


async def search(talk: Talk, said: Said) -> None:
    """Find what is wished for."""
    await _find(talk, await _wish(talk, said, Wish()))


async def refine(talk: Talk, said: Said) -> None:
    """Change the last wish by what is said now: a price, a colour, a size, a place, an order."""
    before = talk.state.wish or Wish()
    found = await _wish(talk, said, before)
    if said.slots.rest and found.words != before.words:
        joined = f"{before.words} {found.words}".strip()
        found = msgspec.structs.replace(found, words=joined)
    await _find(talk, found)


async def cheaper(talk: Talk, said: Said) -> None:
    """Show what costs less than what is shown."""
    await _by_price(talk, said, is_dearer=False)


async def dearer(talk: Talk, said: Said) -> None:
    """Show what costs more than what is shown."""
    await _by_price(talk, said, is_dearer=True)


async def _by_price(talk: Talk, said: Said, *, is_dearer: bool) -> None:
    wish = talk.state.wish
    prices = [s.price_minor for s in talk.state.shown if s.price_minor is not None]
    chosen = next((s.price_minor for s in talk.state.shown if s.listing_id == talk.state.chosen), None)
    if wish is None or not prices:
        await search(talk, said)
        return
    wish = await _wish(talk, msgspec.structs.replace(said, slots=msgspec.structs.replace(said.slots, rest="")), wish)
    if is_dearer:
        wish = msgspec.structs.replace(wish, min_minor=(chosen or min(prices)) + 1, max_minor=None, sort="dearest")
    else:
        wish = msgspec.structs.replace(wish, max_minor=(chosen or max(prices)) - 1, min_minor=None, sort="cheapest")
    await _find(talk, wish, nothing="found_nothing" if is_dearer else "found_cheaper_nothing")


async def more(talk: Talk, said: Said) -> None:
    """Show more of the last wish."""
    wish = talk.state.wish
    if wish is None:
        await categories(talk, said)
        return
    seen = {s.listing_id for s in talk.state.shown}
    found: Found | None = await talk.use("search_listings", **_arguments(talk, wish), limit=12)
    if found is None:
        return
    rest = tuple(item for item in found.items if item.listing_id not in seen)[:5]
    if not rest:
        talk.say("found_no_more")
        return
    talk.say("found", **{"for": _for(talk, wish)})
    talk.show(rest)


async def _wish(talk: Talk, said: Said, before: Wish) -> Wish:
    """Return the wish as it is after a sentence."""
    slots = said.slots
    words, category = slots.rest, before.category
    place = await _place(talk, slots.places)
    if place:
        words = _without(words, [*place.lower().split(), *talk.mind.grammar.near])
    options = dict(before.options)
    if slots.colour:
        options["color"] = slots.colour
    if slots.size:
        options["size"] = slots.size
    if words:
        category = await _category(talk, words)
        words = "" if category else words
    elif before.words or before.category:
        words = before.words
    return Wish(
        words=words, category=category, brand=before.brand, min_minor=before.min_minor if slots.low is None else slots.low,
        max_minor=before.max_minor if slots.high is None else slots.high, options=options, place=place or before.place,
        radius_km=slots.radius_km or before.radius_km, in_stock=slots.in_stock or before.in_stock, sort=slots.sort or before.sort,
    )  # fmt: skip


async def _place(talk: Talk, candidates: Iterable[str]) -> str | None:
    if not talk.store.settings.features.distance:
        return None
    grammar = talk.mind.grammar
    passed = {*grammar.colours, *grammar.months, *grammar.weekdays, *grammar.articles}
    for candidate in candidates:
        words = candidate.split()
        for count in range(min(3, len(words)), 0, -1):
            name = " ".join(words[:count])
            if words[0].lower() not in passed and await find_place(talk.store.db, name):
                return name
    return None


async def _category(talk: Talk, words: str) -> str | None:
    """Return the category that goes by just these words."""
    wanted = _stems(words.replace("&", " ").split())
    tree = await category_tree(talk.store.db)
    for category in tree.rows:
        names = (category.name, category.slug.replace("-", " "))
        if any(wanted == _stems(name.lower().replace("&", " ").split()) for name in names):
            return category.slug
    return None


def _stems(words: Iterable[str]) -> set[str]:
    return {w.lower().rstrip("s") for w in words if w.isalnum()}


def _without(words: str, taken: Iterable[str]) -> str:
    gone = set(taken)
    return " ".join(w for w in words.split() if w not in gone)


def _arguments(talk: Talk, wish: Wish) -> dict[str, Any]:
    currency = talk.store.currency
    low, high = (None if p is None else str(to_major(p, currency)) for p in (wish.min_minor, wish.max_minor))
    words = wish.words
    colour = wish.options.get("color")
    if colour and colour not in words.split():
        words = f"{colour} {words}".strip()
    wanted = {
        "query": words[:200], "category": wish.category, "min_price": low, "max_price": high, "in_stock": wish.in_stock,
        "place": wish.place, "radius_km": wish.radius_km, "sort": "nearest" if wish.place and wish.sort == "best" and not words else wish.sort,
    }  # fmt: skip
    return {name: value for name, value in wanted.items() if value not in (None, False, "")}


def _for(talk: Talk, wish: Wish) -> str:
    words = wish.words or (wish.category or "").replace("-", " ")
    return talk.word("word_for", words=words) if words else ""


async def _find(talk: Talk, wish: Wish, nothing: str = "found_nothing") -> None:
    found: Found | None = await talk.use("search_listings", **_arguments(talk, wish))
    if found is None:
        return
    is_far = found.is_relaxed and not any(is_called(wish.words, item) for item in found.items)
    if not found.items or is_far:
        found = await _mended(talk, wish) or found
    if not found.items and nothing == "found_nothing" and await _at_other_prices(talk, wish):
        return
    if not found.items:
        if nothing == "found_nothing":
            talk.say("found_nothing", **{"for": _for(talk, wish)})
            talk.offer("button_keep", say=talk.word("say_keep", words=wish.words or wish.category))
        else:
            talk.say(nothing)
        talk.change(wish=wish if nothing == "found_nothing" else talk.state.wish)
        return
    if found.corrected:
        talk.say("found_corrected", corrected=found.corrected)
    if found.is_relaxed and is_far:
        talk.say("found_relaxed")
    elif len(found.items) == 1:
        (item,) = found.items
        at = talk.word("word_at", price=talk.price(item)) if item.price else ""
        talk.say(
            "found_one",
            title=item.title,
            price=at,
            stock=talk.word("word_in_stock" if item.in_stock else "word_sold_out"),
        )
    else:
        talk.say("found", **{"for": _for(talk, wish)})
    talk.show(found.items)
    best = closest(wish.words, found.items)
    talk.change(wish=wish, chosen=best.listing_id if len(found.items) == 1 or is_called(wish.words, best) else None)
    await _say_options(talk, wish, found)
    if found.is_more:
        talk.say("found_more")
        talk.offer("button_all", href=found.link)


async def _at_other_prices(talk: Talk, wish: Wish) -> bool:
    """Show what is wished for at the prices nearest to the wished one; False where there is none of it at any price."""
    if wish.max_minor is None and wish.min_minor is None:
        return False
    by_price = "cheapest" if wish.max_minor is not None else "dearest"
    free = msgspec.structs.replace(wish, min_minor=None, max_minor=None, sort=by_price)
    found: Found | None = await talk.use("search_listings", **_arguments(talk, free), limit=3)
    if found is None or not found.items or found.is_relaxed:
        return False
    talk.say("found_at_other_prices", **{"for": _for(talk, wish)})
    talk.show(found.items)
    talk.change(wish=wish, chosen=found.items[0].listing_id if len(found.items) == 1 else None)
    return True


async def _mended(talk: Talk, wish: Wish) -> Found | None:
    """Search once more with misspelled words mended, where the store's own words did not help."""
    words = " ".join(talk.mind.spelling.mend(w) for w in wish.words.split())
    if words == wish.words:
        return None
    found: Found | None = await talk.use(
        "search_listings", **_arguments(talk, msgspec.structs.replace(wish, words=words))
    )
    return msgspec.structs.replace(found, corrected=words) if found and found.items and not found.is_relaxed else None


async def _say_options(talk: Talk, wish: Wish, found: Found) -> None:
    """Say for the first few what they cost in the wished size and colour, or that they do not come in it."""
    if not wish.options:
        return
    for item in found.items[:_LOOKED_INTO]:
        facts: ListingFacts | None = await talk.use("get_listing", is_quiet=True, listing_id=str(item.listing_id))
        if facts is None or not facts.choices:
            continue
        chosen = wished_options(facts, wish.options.values())
        if len(chosen) < len(wish.options):
            continue
        fitting = [o for o in facts.options if all(o.options.get(k) == v for k, v in chosen.items())]
        best = min(fitting, key=lambda o: (not o.in_stock, o.price.minor), default=None)
        if best is None:
            talk.say("no_option", title=facts.title, wanted=", ".join(chosen.values()))
            continue
        stock = talk.word("word_in_stock" if best.in_stock else "word_sold_out")
        talk.say(
            "has_option", title=facts.title, options=", ".join(chosen.values()), price=best.price.text, stock=stock
        )


def wished_options(facts: ListingFacts, values: Iterable[str]) -> dict[str, str]:
    """Return which of a listing's options are meant by some words: {"size": "M"}."""
    meant: dict[str, str] = {}
    for value in values:
        for name, known in facts.choices.items():
            exact = next((k for k in known if k.casefold() == value.casefold()), None)
            if exact is not None:
                meant.setdefault(name, exact)
                break
    return meant


def options_in(facts: ListingFacts, text: str) -> dict[str, str]:
    """Return the options that a sentence names, the longest names first: “256gb black” of a phone."""
    lowered = " " + " ".join(tokens(text)) + " "
    plain = " " + text.casefold() + " "
    found: dict[str, str] = {}
    every = [(name, value) for name, values in facts.choices.items() for value in values]
    for name, value in sorted(every, key=lambda pair: -len(pair[1])):
        spelt = " ".join(tokens(value))
        is_there = bool(spelt) and (f" {spelt} " in lowered or f" {value.casefold()} " in plain)
        if name not in found and is_there:
            found[name] = value
            lowered = lowered.replace(f" {spelt} ", " ", 1)
    return found


def naming_words(talk: Talk, said: Said) -> str:
    """Return the words that may name a thing: without those that ask, order or send back."""
    grammar = talk.mind.grammar
    passed = {*grammar.fillers, *grammar.pronouns, *(grammar.colours if talk.state.chosen or talk.state.shown else ())}
    return " ".join(w for w in said.slots.rest.split() if w not in passed)


async def target(talk: Talk, said: Said, *, finds: bool = True) -> ListingFacts | None:
    """Return the listing that a sentence is about: by its place in the list, by “it”, by its name, or by a search. Asks where it is unclear."""
    shown = talk.state.shown
    chosen = _pointed_at(said, shown)
    words = naming_words(talk, said)
    if chosen is None:
        chosen = named(words, shown)
    if chosen is None and not words:
        chosen = talk.state.chosen or (shown[0].listing_id if len(shown) == 1 else None)
    if chosen is None and words and finds:
        found: Found | None = await talk.use("search_listings", query=words[:200], limit=5)
        if found is not None and found.items:
            exact = named(words, tuple(Shown(i.listing_id, i.title) for i in found.items))
            called = [hit for hit in found.items if is_called(words, hit) and is_closest(words, hit)]
            if exact is None and len(called) == 1:
                exact = called[0].listing_id
            if exact or (len(found.items) == 1 and not found.is_relaxed):
                chosen = exact or found.items[0].listing_id
            else:
                talk.show(found.items)
    if chosen is None:
        chosen = talk.state.chosen or (shown[0].listing_id if len(shown) == 1 else None)
    if chosen is None:
        talk.ask("which", said, "which")
        for one in talk.state.shown[:4]:
            talk.button(one.title)
        return None
    facts: ListingFacts | None = await talk.use("get_listing", listing_id=str(chosen))
    return facts


def _pointed_at(said: Said, shown: tuple[Shown, ...]) -> UUID | None:
    for ordinal in said.slots.ordinals:
        place = ordinal - 1 if ordinal > 0 else len(shown) + ordinal
        if 0 <= place < len(shown):
            return shown[place].listing_id
    priced = [s for s in shown if s.price_minor is not None]
    if said.slots.sort in {"cheapest", "dearest"} and priced:
        pick = min if said.slots.sort == "cheapest" else max
        return pick(priced, key=lambda s: s.price_minor or 0).listing_id
    return None


def named(words: str, shown: Iterable[Shown]) -> UUID | None:
    """Return the listing that words name: most of them stand in its title. Of several the one they say most of; None for a tie."""
    wanted = [w for w in tokens(words) if len(w) > 1]
    if not wanted:
        return None
    scored = sorted(
        ((_share(wanted, s.title), 1 / (len(tokens(s.title)) or 1), -n, s) for n, s in enumerate(shown)),
        key=lambda t: t[:3],
        reverse=True,
    )
    if not scored or scored[0][0] < _NAMED:
        return None
    if len(scored) > 1 and scored[1][:2] == scored[0][:2]:
        return None
    return scored[0][3].listing_id


def _share(wanted: list[str], title: str) -> float:
    known = tokens(title)
    hits = sum(
        any(w == k or (len(w) > 3 and edit_distance(w.rstrip("s"), k.rstrip("s")) <= 1) for k in known) for w in wanted
    )
    return hits / len(wanted)


async def details(talk: Talk, said: Said) -> None:
    """Tell about one listing: what was asked of it, or what matters most."""
    facts = await target(talk, said)
    if facts is None:
        return
    talk.choose(facts)
    if not _answered(talk, facts, said.text.lower()):
        _describe(talk, facts)
    if facts.is_made_to_order:
        talk.say("details_made")
    if facts.outside_url:
        talk.say("details_outside")
    talk.offer("button_page", href=facts.path)


def _answered(talk: Talk, facts: ListingFacts, text: str) -> bool:
    """Answer what was asked of a listing, where it can be told what that was."""
    asks = talk.mind.grammar.asks
    meant = options_in(facts, text)
    label = next((label for label in facts.attributes if label.lower() in text), None)
    name = next((n for n in facts.choices if n.lower() in text or n.lower().replace("color", "colour") in text), None)
    if has_any(text, asks["count"]):
        talk.say("details_count", title=facts.title, count=facts.option_count, available=facts.option_count_in_stock)
    elif meant:
        _say_option(talk, facts, meant)
    elif label:
        talk.say("attribute", label=label, value=facts.attributes[label])
    elif name:
        talk.say("details_choices", name=name.capitalize(), values=", ".join(facts.choices[name]))
    elif has_any(text, asks["price"]) and facts.price:
        _say_price(talk, facts)
    elif has_any(text, asks["stock"]):
        _say_stock(talk, facts)
    elif has_any(text, asks["reviews"]):
        _say_rating(talk, facts)
    elif has_any(text, asks["seller"]) and facts.seller:
        place = talk.word("word_in", place=facts.place) if facts.place else ""
        talk.say("details_seller", seller=facts.seller, place=place)
    else:
        return False
    return True


def _say_option(talk: Talk, facts: ListingFacts, meant: dict[str, str]) -> None:
    fitting = [o for o in facts.options if all(o.options.get(k) == v for k, v in meant.items())]
    best = min(fitting, key=lambda o: (not o.in_stock, o.price.minor), default=None)
    if best is None:
        talk.say("no_option", title=facts.title, wanted=", ".join(meant.values()))
        return
    left = talk.word("word_left", available=best.available) if best.in_stock and best.available is not None else ""
    stock = talk.word("word_in_stock" if best.in_stock else "word_sold_out") + left
    talk.say("has_option", title=facts.title, options=", ".join(meant.values()), price=best.price.text, stock=stock)


def _say_price(talk: Talk, facts: ListingFacts) -> None:
    if facts.price and facts.price_to:
        talk.say("price_range", title=facts.title, price=facts.price.text, price_to=facts.price_to.text)
    elif facts.price:
        talk.say("price_of", title=facts.title, price=facts.price.text)


def _say_stock(talk: Talk, facts: ListingFacts) -> None:
    one = facts.options[0] if len(facts.options) == 1 else None
    count = talk.word("word_left", available=one.available) if one and one.available is not None else ""
    talk.say(
        "stock_yes" if facts.in_stock else "stock_no", title=facts.title, **({"count": count} if facts.in_stock else {})
    )


def _say_rating(talk: Talk, facts: ListingFacts) -> None:
    if facts.rating is None:
        talk.say("details_no_rating")
    else:
        talk.say("details_rating", rating=facts.rating, best=talk.word("word_best"), reviews=facts.reviews)


def _describe(talk: Talk, facts: ListingFacts) -> None:
    brand = talk.word("word_by", brand=facts.brand) if facts.brand else ""
    stock = talk.word("word_in_stock" if facts.in_stock else "word_sold_out")
    talk.say("details", title=facts.title, brand=brand, price=talk.price(facts), stock=stock)
    for name, values in list(facts.choices.items())[:4]:
        talk.say("details_choices", name=name.capitalize(), values=", ".join(values))
    if facts.attributes:
        said = "; ".join(f"{label}: {value}" for label, value in list(facts.attributes.items())[:5])
        talk.say("details_attributes", attributes=said)
    _say_rating(talk, facts)


async def compare(talk: Talk, said: Said) -> None:
    """Put two to four listings side by side."""
    shown = talk.state.shown
    places = [n - 1 if n > 0 else len(shown) + n for n in said.slots.ordinals]
    ids = [shown[p].listing_id for p in places if 0 <= p < len(shown)]
    if len(ids) < 2 and said.slots.rest:
        ids = await _named_pair(talk, said) or ids
    if len(ids) < 2 and len(shown) >= 2:
        ids = [s.listing_id for s in shown[: min(len(shown), 3)]]
    if len(ids) < 2:
        talk.say("compare_which")
        return
    found: Comparison | None = await talk.use("compare_listings", listing_ids=[str(i) for i in ids[:4]])
    if found is None:
        return
    for one in found.listings:
        talk.say(
            "compare_price",
            title=one.title,
            price=talk.price(one),
            stock=talk.word("word_in_stock" if one.in_stock else "word_sold_out"),
        )
    for difference in found.differences[:6]:
        talk.say("compare_difference", name=difference.name, values=" / ".join(v or "–" for v in difference.values))
    priced = [one for one in found.listings if one.price]
    if len(priced) > 1:
        cheapest = min(priced, key=lambda one: one.price.minor if one.price else 0)
        talk.say("compare_cheapest", title=cheapest.title)


async def _named_pair(talk: Talk, said: Said) -> list[UUID]:
    """Find the things of “compare the laptop with the tablet”: each is searched by its own words."""
    grammar = talk.mind.grammar
    passed = {*grammar.fillers, *grammar.articles, *grammar.pronouns}
    parts = re.split(rf"\s+(?:{'|'.join(re.escape(w) for w in grammar.joints)})\s+|,", said.text.lower())
    halves = [" ".join(w for w in tokens(part) if w not in passed) for part in parts]
    halves = [half for half in halves if half]
    if len(halves) < 2:
        return []
    found = []
    for half in halves[:3]:
        hits: Found | None = await talk.use("search_listings", query=half[:200], limit=8)
        if hits and hits.items:
            found.append(closest(half, hits.items).listing_id)
    return list(dict.fromkeys(found))


def is_called(words: str, hit: Hit) -> bool:
    """Whether every word stands in a listing's title."""
    wanted = [w for w in tokens(words) if len(w) > 1]
    return bool(wanted) and _share(wanted, hit.title) == 1


def closest(words: str, hits: tuple[Hit, ...]) -> Hit:
    """Return the hit that words are a name of, else the first."""
    return next((hit for hit in hits if is_closest(words, hit)), hits[0])


def is_closest(words: str, hit: Hit) -> bool:
    """Whether a title ends with these words: a “laptop” is what is called a laptop, not a sleeve for one."""
    wanted = [w.rstrip("s") for w in tokens(words)]
    called = [w.rstrip("s") for w in tokens(re.split(r"[,:(]", hit.title)[0])]
    return bool(wanted) and called[-len(wanted) :] == wanted


async def similar(talk: Talk, said: Said) -> None:
    """Show what is most like a listing."""
    facts = await target(talk, said)
    if facts is None:
        return
    found: Found | None = await talk.use("similar_listings", listing_id=str(facts.listing_id))
    if found is None:
        return
    talk.say("similar" if found.items else "similar_nothing", title=facts.title)
    if found.items:
        talk.show(found.items)


async def categories(talk: Talk, _said: Said) -> None:
    """Name the categories."""
    found: Categories | None = await talk.use("list_categories")
    if found is None:
        return
    talk.say("categories", names=", ".join(c.name for c in found.items))
    for one in found.items[:6]:
        talk.button(one.name)
