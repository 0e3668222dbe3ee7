"""Reading a query: words, phrases, what is not wanted, prices, sizes and distances; and mending misspelled words."""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from math import log

import msgspec

from tradepost.core.money import to_minor
from tradepost.core.text import edit_distance, one_line
from tradepost.search.types import Understood

LONGEST_QUERY = 200
MOST_WORDS = 12

_CURRENCY = r"(?:us\$|[$€£¥₦]|usd|eur|gbp|ngn|zwg|jpy|dollars?|euros?|pounds?)?"
_AMOUNT = r"(\d{1,9}(?:[.,]\d{1,2})?)"
_MONEY = rf"{_CURRENCY}\s*{_AMOUNT}\s*{_CURRENCY}"
_BETWEEN = re.compile(rf"\bbetween\s+{_MONEY}\s+and\s+{_MONEY}(?!\w)", re.IGNORECASE)
_UNDER = re.compile(
    rf"(?<!\w)(?:under|below|less than|cheaper than|up to|at most|max(?:imum)?)\s+{_MONEY}(?![\w%])", re.IGNORECASE
)
_OVER = re.compile(rf"(?<!\w)(?:over|above|more than|at least|from|min(?:imum)?)\s+{_MONEY}(?![\w%])", re.IGNORECASE)
_WITHIN = re.compile(
    r"(?<!\w)(?:within\s+)?(\d{1,5}(?:[.,]\d)?)\s*(km|kilomet(?:er|re)s?|mi|miles?)(?:\s+(?:of|from)\s+me|\s+away)?(?!\w)",
    re.IGNORECASE,
)
_NEAR_ME = re.compile(r"(?<!\w)(?:near(?:by| me)|close to me|around here)(?!\w)", re.IGNORECASE)
_IN_STOCK = re.compile(r"(?<!\w)in stock(?!\w)", re.IGNORECASE)
_PART = re.compile(r'(?P<minus>(?<!\S)-)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+))')
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_METRES = {"k": 1000.0, "m": 1609.344}


class Words(msgspec.Struct, frozen=True):
    """A query taken apart. `tidy` is it as shown back; `phrases` and `without` are as typed, `last_is_open` while typing."""

    tidy: str
    words: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    understood: Understood = msgspec.field(default_factory=Understood)


def tidy_query(query: str) -> str:
    """Return a query as it can be stored and shown: one line, nothing invisible, at most 200 characters."""
    return one_line(_UNPRINTABLE.sub(" ", query[: 4 * LONGEST_QUERY]))[:LONGEST_QUERY].strip()


def read_query(query: str, *, currency: str, choices: Mapping[str, Iterable[str]] | None = None) -> Words:
    """Take a query apart. `choices` are the store's attribute keys with their values, so that “size 42” is understood.

    Never fails: what cannot be understood is a word, what has no letter or digit is nothing.
    """
    tidy = tidy_query(query)
    left, found = _take_prices(tidy, currency)
    left, found = _take_places(left, found)
    left, found = _take_attributes(left, found, choices or {})
    words: list[str] = []
    phrases: list[str] = []
    without: list[str] = []
    for part in _PART.finditer(left):
        text = part["phrase"] if part["phrase"] is not None else part["word"]
        pieces = _pieces(text)
        if not pieces:
            continue
        if part["minus"]:
            without.append(" ".join(pieces))
        elif part["phrase"] is not None and len(pieces) > 1:
            phrases.append(" ".join(pieces))
            words.extend(pieces)
        else:
            words.extend(pieces)
    understood = msgspec.structs.replace(found, without=tuple(without[:MOST_WORDS]))
    return Words(tidy, tuple(dict.fromkeys(words))[:MOST_WORDS], tuple(phrases[:4]), understood)


def _pieces(text: str) -> list[str]:
    """Return the words in a piece of text without blanks, as the database's parser would part them."""
    parts = re.split(r"[^\w.,'’+]+|_", text.lower())
    return [word[:60] for part in parts if (word := part.strip(".,'’+")) and re.search(r"\w", word)]


def _take_prices(text: str, currency: str) -> tuple[str, Understood]:
    low = high = None
    between = _BETWEEN.search(text)
    if between:
        low, high = _minor(between[1], currency), _minor(between[2], currency)
        text = _without(text, between)
    under = _UNDER.search(text)
    if under:
        high, text = _minor(under[1], currency), _without(text, under)
    over = _OVER.search(text)
    if over:
        low, text = _minor(over[1], currency), _without(text, over)
    if low is not None and high is not None and low > high:
        low, high = high, low
    return text, Understood(min_minor=low, max_minor=high)


def _take_places(text: str, found: Understood) -> tuple[str, Understood]:
    radius = found.radius_m
    within = _WITHIN.search(text)
    if within:
        radius = float(within[1].replace(",", ".")) * _METRES[within[2][0].lower()]
        text = _without(text, within)
    near, stock = _NEAR_ME.search(text), None
    if near:
        text = _without(text, near)
    stock = _IN_STOCK.search(text)
    if stock:
        text = _without(text, stock)
    near_me = near is not None or within is not None
    return text, msgspec.structs.replace(found, radius_m=radius or None, near_me=near_me, in_stock=stock is not None)


def _take_attributes(text: str, found: Understood, choices: Mapping[str, Iterable[str]]) -> tuple[str, Understood]:
    """Understand “size 42”: the name of an attribute followed by one of its values."""
    taken: dict[str, tuple[str, ...]] = {}
    for key, values in choices.items():
        named = re.search(rf"(?<!\w){re.escape(key.replace('_', ' '))}\s*[:=]?\s+(?P<rest>.+)$", text, re.IGNORECASE)
        if named is None:
            continue
        rest = named["rest"].lower()
        fitting = [v for v in values if rest == v.lower() or rest.startswith(v.lower() + " ")]
        if fitting:
            value = max(fitting, key=len)
            taken[key] = (value,)
            text = (text[: named.start()] + named["rest"][len(value) :]).strip()
    return text, msgspec.structs.replace(found, attributes=taken)


def _without(text: str, found: re.Match[str]) -> str:
    return f"{text[: found.start()]} {text[found.end() :]}".strip()


def _minor(amount: str, currency: str) -> int | None:
    try:
        return to_minor(Decimal(amount.replace(",", ".")), currency)
    except (ValueError, InvalidOperation, ArithmeticError):
        return None


def allowed_edits(word: str) -> int:
    """Return how many mistakes a word of this length may hold and still be mended; words with digits are codes and hold one."""
    if len(word) < 3:
        return 0
    if any(c.isdigit() for c in word):
        return 1 if len(word) >= 5 else 0
    return 1 if len(word) <= 5 else 2


def best_correction(word: str, candidates: Iterable[tuple[str, int]]) -> str | None:
    """Return the known word that was most likely meant, or None. Candidates are words with how many documents have them.

    Fewer mistakes win, then the commoner word: a mistake weighs as much as an eight-hundredfold count. Letters are left out
    twice as often as they are added or changed (half of 292 misspellings in SymSpell's list), and least often at the start.
    """
    limit = allowed_edits(word)
    has_digit = any(c.isdigit() for c in word)
    best: tuple[float, str] | None = None
    for candidate, documents in candidates:
        distance = edit_distance(word, candidate, limit + 1)
        if distance == 0 or distance > limit or (candidate.isdigit() and not has_digit) or len(candidate) < 3:
            continue
        cost = (
            2.0 * distance
            - 0.3 * log(max(documents, 1))
            - 0.5 * (len(candidate) > len(word))
            + 0.5 * (candidate[0] != word[0])
        )
        if best is None or cost < best[0]:
            best = cost, candidate
    return best[1] if best else None
