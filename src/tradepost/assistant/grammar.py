"""What can be read off a sentence by its small words: limits of price, order of a list, which one, how many, sizes, days, order numbers.

The words are data (`languages/<language>/grammar.toml`), so that a language is added by a file. Pure functions: what a sentence is about
is looked up elsewhere, with the words that are left over here.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from tradepost.core.money import NotAnAmount, to_minor
from tradepost.core.settings import parse

LANGUAGES: Final = Path(__file__).parent / "languages"
_ORDER: Final = re.compile(
    r"#\s?([a-z0-9][a-z0-9-]{3,30})|\b([a-z]{1,4}-[a-z0-9-]{4,30})\b|\b([a-z]{1,3}\d{5,12})\b|\border(?: number| no\.?)?\s+#?([a-z]{0,4}-?\d[a-z0-9-]{2,30})\b",
    re.IGNORECASE,
)
_NOT_A_NUMBER: Final = re.compile(r"\d{1,4}|[a-z]{1,4}-?\d{1,3}|\d+-?[a-z]+", re.IGNORECASE)  # “usb-3”, “15-inch”
_NO_DIGIT: Final = re.compile(r"[a-z]{1,4}-[a-hjkmnp-tv-z]{8}", re.IGNORECASE)  # as one number in twelve comes out
_AFTER_ORDER: Final = re.compile(r"\border(?: number| no\.?)?\s+#?$", re.IGNORECASE)
_CODE: Final = re.compile(
    r"\b(?:code|coupon|voucher|promo)\b(?:\s+(?:code|is|called|named|card))*\s*[:“\"']?\s*([A-Za-z0-9][A-Za-z0-9_-]{2,30})",
    re.IGNORECASE,
)
_LOUD_CODE: Final = re.compile(r"\b(?=[A-Z0-9_-]*[A-Z])([A-Z0-9][A-Z0-9_-]{2,30})\b")
_AMOUNT: Final = r"(?:us\$|[$€£₦¥])?\s*(\d{1,9}(?:,\d{3})*(?:[.,]\d{1,2})?)\s?(k\b)?\s*(?:us\$|[$€£₦¥])?"
_ISO_DAY: Final = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")
_FARTHEST: Final = 20_000.0


class Grammar(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"both": "and"}):
    """The small words of a language; each field says in `languages/en/grammar.toml` what it is for."""

    name: str
    yes: tuple[str, ...]
    no: tuple[str, ...]
    politeness: tuple[str, ...]
    articles: tuple[str, ...]
    under: tuple[str, ...]
    over: tuple[str, ...]
    between: tuple[str, ...]
    both: tuple[str, ...]
    around: tuple[str, ...]
    currency: tuple[str, ...]
    size: tuple[str, ...]
    near: tuple[str, ...]
    within: tuple[str, ...]
    kilometres: tuple[str, ...]
    miles: tuple[str, ...]
    ordinals: dict[str, int]
    numbers: dict[str, int]
    ordinal_nouns: tuple[str, ...]
    cheapest: tuple[str, ...]
    dearest: tuple[str, ...]
    newest: tuple[str, ...]
    nearest: tuple[str, ...]
    rated: tuple[str, ...]
    popular: tuple[str, ...]
    in_stock: tuple[str, ...]
    pronouns: tuple[str, ...]
    colours: tuple[str, ...]
    letter_sizes: tuple[str, ...]
    clauses: tuple[str, ...]
    openers: tuple[str, ...]
    joints: tuple[str, ...]
    fillers: tuple[str, ...]
    search_openers: tuple[str, ...]
    carts: tuple[str, ...]
    everything: tuple[str, ...]
    last_order: tuple[str, ...]
    months: dict[str, int]
    weekdays: dict[str, int]
    days: dict[str, int]
    reasons: dict[str, tuple[str, ...]]
    return_reasons: dict[str, tuple[str, ...]]
    asks: dict[str, tuple[str, ...]]


class Slots(msgspec.Struct, frozen=True, kw_only=True):
    """What was read off a sentence. Prices in minor units; `ordinals` count from 1, -1 is the last. `rest`: the words left over.

    `places` are words after “in” or “near” that may name one. `numbers_of_orders` as typed, in capitals.
    """

    low: int | None = None
    high: int | None = None
    sort: str | None = None
    in_stock: bool = False
    quantity: Decimal | None = None
    ordinals: tuple[int, ...] = ()
    orders: tuple[str, ...] = ()
    code: str | None = None
    size: str | None = None
    colour: str | None = None
    places: tuple[str, ...] = ()
    radius_km: float | None = None
    day: date | None = None
    reason: str | None = None
    return_reason: str | None = None
    is_pronoun: bool = False
    is_everything: bool = False
    is_last_order: bool = False
    rest: str = ""


@lru_cache(maxsize=16)
def load_grammar(language: str) -> Grammar:
    """Return the grammar of a language. Raises `BadSettings`; a language without one has English's."""
    path = LANGUAGES / language / "grammar.toml"
    if not re.fullmatch(r"[a-z]{2,3}", language) or not path.exists():
        return load_grammar("en")
    return parse(path.read_text("utf-8"), str(path), Grammar)


@lru_cache(maxsize=1024)
def _any_of(words: tuple[str, ...]) -> str:
    return "(?:" + "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True)) + ")"


@lru_cache(maxsize=1024)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w'])({_any_of(words)})(?![\w'])")


def has_any(text: str, words: Iterable[str]) -> bool:
    """Whether one of the words or phrases stands in a text of small letters."""
    return _pattern(tuple(words)).search(text) is not None


def is_answer(text: str, words: Sequence[str]) -> bool:
    """Whether a whole message is one of these answers, such as yes."""
    return re.sub(r"[.!,\s]+", " ", text.lower()).strip() in words


class _Reader:
    """Takes what it understands out of a sentence, one thing after another."""

    def __init__(self, text: str, grammar: Grammar) -> None:
        self.text = " " + " ".join(text.split()) + " "
        self.grammar = grammar

    def take(self, pattern: "re.Pattern[str] | str", instead: str = " ") -> re.Match[str] | None:
        found = (
            re.compile(pattern, re.IGNORECASE).search(self.text)
            if isinstance(pattern, str)
            else pattern.search(self.text)
        )
        if found is not None:
            self.text = f"{self.text[: found.start()]}{instead}{self.text[found.end() :]}"
        return found

    def word(self, words: Iterable[str]) -> str | None:
        chosen = tuple(words)
        found = self.take(re.compile(_pattern(chosen).pattern, re.IGNORECASE)) if chosen else None
        return found[1].lower() if found else None


def read_slots(text: str, grammar: Grammar, *, currency: str, today: date) -> Slots:
    """Return what can be read off a sentence. Never fails: what is not understood stays in `rest`."""
    reader = _Reader(text, grammar)
    lowered = text.lower()
    orders = _orders(reader)
    code = _code(reader, text)
    radius = _radius(reader)
    low, high = _prices(reader, currency)
    sort = _sort(reader)
    in_stock = reader.word(grammar.in_stock) is not None
    is_last_order = reader.word(grammar.last_order) is not None
    ordinals = _ordinals(reader)
    size = _size(reader)
    places = _places(reader)
    day = _day(reader, today)
    quantity = _quantity(reader)
    colour = next((c for c in grammar.colours if re.search(rf"\b{c}\b", lowered)), None)
    return Slots(
        low=low, high=high, sort=sort, in_stock=in_stock, quantity=quantity, ordinals=ordinals, orders=orders, code=code, size=size,
        colour=colour, places=places, radius_km=radius, day=day, reason=_reason(lowered, grammar.reasons),
        return_reason=_reason(lowered, grammar.return_reasons), is_pronoun=has_any(lowered, grammar.pronouns),
        is_everything=has_any(lowered, grammar.everything), is_last_order=is_last_order, rest=_rest(reader),
    )  # fmt: skip


def _orders(reader: _Reader) -> tuple[str, ...]:
    found: dict[str, None] = {}

    def keep(match: re.Match[str]) -> str:
        number = next(part for part in match.groups() if part)
        named = _AFTER_ORDER.search(reader.text[: match.start()]) is not None
        if _NOT_A_NUMBER.fullmatch(number) or not (
            any(c.isdigit() for c in number) or (_NO_DIGIT.fullmatch(number) and (named or number.isupper()))
        ):
            return match[0]
        found[number.upper()] = None
        return " "

    reader.text = _ORDER.sub(keep, reader.text)
    return tuple(found)


def _code(reader: _Reader, text: str) -> str | None:
    named = _CODE.search(text)
    if named and named[1].lower() not in {"please", "for", "from", "to", "on", "off", "that", "code"}:
        reader.take(re.escape(named[1]))
        return named[1].upper()
    loud = _LOUD_CODE.search(text) if text != text.upper() else None
    return loud[1] if loud and has_any(text.lower(), ("code", "coupon", "voucher", "promo", "discount")) else None


def _minor(digits: str, thousand: str | None, currency: str) -> int | None:
    plain = digits.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", digits) else digits.replace(",", ".")
    try:
        return to_minor(Decimal(plain) * (1000 if thousand else 1), currency)
    except (NotAnAmount, InvalidOperation):
        return None


def _prices(reader: _Reader, currency: str) -> tuple[int | None, int | None]:
    g = reader.grammar
    coin = rf"(?:\s*{_any_of(g.currency)})?"
    amount = rf"{_AMOUNT}{coin}(?![\w%])"
    between = reader.take(rf"(?<!\w){_any_of(g.between)}\s+{_AMOUNT}{coin}\s*{_any_of(g.both)}\s*{amount}")
    if between:
        pair = sorted(
            v
            for v in (_minor(between[1], between[2], currency), _minor(between[3], between[4], currency))
            if v is not None
        )
        return (pair[0], pair[-1]) if pair else (None, None)
    low = high = None
    under = reader.take(rf"(?<!\w){_any_of(g.under)}\s+{amount}")
    if under:
        high = _minor(under[1], under[2], currency)
    over = reader.take(rf"(?<!\w){_any_of(g.over)}\s+{amount}")
    if over:
        low = _minor(over[1], over[2], currency)
    around = reader.take(rf"(?<!\w){_any_of(g.around)}\s+(?=[$€£₦¥]|[\d.,]+\s*{_any_of(g.currency)}){amount}")
    middle = _minor(around[1], around[2], currency) if around else None
    if middle is not None:
        low, high = middle * 3 // 4, middle * 5 // 4
    return low, high


def _radius(reader: _Reader) -> float | None:
    g = reader.grammar
    found = reader.take(
        rf"(?<!\w)(?:{_any_of(g.within)}\s+)?(\d{{1,5}}(?:\.\d+)?)\s*({_any_of(g.kilometres)}|{_any_of(g.miles)})(?!\w)(?:\s+(?:of|from))?",
        " near ",
    )
    if not found:
        return None
    factor = 1.609344 if found[2].lower() in g.miles else 1.0
    return min(max(float(found[1]) * factor, 0.1), _FARTHEST)


def _sort(reader: _Reader) -> str | None:
    g = reader.grammar
    for sort, words in (
        ("dearest", g.dearest),
        ("cheapest", g.cheapest),
        ("newest", g.newest),
        ("nearest", g.nearest),
        ("rated", g.rated),
        ("popular", g.popular),
    ):
        if reader.word(words):
            return sort
    return None


def _ordinals(reader: _Reader) -> tuple[int, ...]:
    g = reader.grammar
    found = []
    nouns = _any_of(g.ordinal_nouns)
    two = reader.take(r"(?<!\w)(?:the\s+)?first\s+(two|three|four|[2-4])(?!\w)")
    if two:
        return tuple(range(1, {"two": 2, "three": 3, "four": 4}.get(two[1].lower(), 0) + 1 or int(two[1]) + 1))
    while match := reader.take(rf"(?<!\w)(?:the\s+)?({_any_of(tuple(g.ordinals))})(?:\s+{nouns})?(?!\w)"):
        found.append(g.ordinals[match[1].lower()])
    while match := reader.take(rf"(?<!\w)(?:number|no\.|option|#)\s*(\d|{_any_of(tuple(g.numbers))})(?!\w)"):
        found.append(int(match[1]) if match[1].isdigit() else g.numbers[match[1].lower()])
    return tuple(dict.fromkeys(found))


def _size(reader: _Reader) -> str | None:
    g = reader.grammar
    named = reader.take(rf"(?<!\w){_any_of(g.size)}\s+(\d{{1,3}}(?:\.5)?|{_any_of(g.letter_sizes)})(?!\w)")
    if named:
        return named[1].lower()
    letters = tuple(w for w in g.letter_sizes if len(w) > 1 and w != "small")
    return reader.word(letters)


def _places(reader: _Reader) -> tuple[str, ...]:
    near = re.compile(rf"(?<!\w){_any_of(reader.grammar.near)}\s+((?:[^\W\d_]+[.'-]?\s?){{1,3}})", re.IGNORECASE)
    return tuple(match[1].strip() for match in near.finditer(reader.text))


def _day(reader: _Reader, today: date) -> date | None:
    g = reader.grammar
    iso = reader.take(_ISO_DAY)
    if iso:
        try:
            return date(int(iso[1]), int(iso[2]), int(iso[3]))
        except ValueError:
            return None
    word = reader.word(tuple(g.days))
    if word:
        return today + timedelta(days=g.days[word])
    weekday = reader.take(rf"(?<!\w)(?:next\s+|this\s+|on\s+)?({_any_of(tuple(g.weekdays))})s?(?!\w)")
    if weekday:
        return today + timedelta(days=(g.weekdays[weekday[1].lower()] - today.weekday() - 1) % 7 + 1)
    months = _any_of(tuple(g.months))
    named = reader.take(
        rf"(?<!\w)(?:(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({months})|({months})\s+(\d{{1,2}})(?:st|nd|rd|th)?)(?!\w)"
    )
    return _named_day(named, today, g) if named else None


def _named_day(found: re.Match[str], today: date, grammar: Grammar) -> date | None:
    month = grammar.months[(found[2] or found[3]).lower()]
    try:
        day = date(today.year, month, int(found[1] or found[4]))
    except ValueError:
        return None
    return day if day >= today else day.replace(year=day.year + 1) if (day.month, day.day) != (2, 29) else None


def _quantity(reader: _Reader) -> Decimal | None:
    g = reader.grammar
    found = reader.take(
        r"(?<![\w.-])(\d{1,5}(?:\.\d{1,3})?)\s*(?:x\b|×|kg\b|kilos?\b|pieces?\b|of\b|times\b)?(?![\w%.-])"
    )
    if found:
        return Decimal(found[1])
    spelt = reader.take(
        rf"(?<!\w)({_any_of(tuple(w for w in g.numbers if w != 'one'))})(?:\s+(?:of|kilos?|pieces?))?(?![\w-])"
    )
    return Decimal(g.numbers[spelt[1].lower()]) if spelt else None


def _reason(text: str, reasons: dict[str, tuple[str, ...]]) -> str | None:
    return next((name for name, words in reasons.items() if has_any(text, words)), None)


def _rest(reader: _Reader) -> str:
    """Return the words that a thing may be called by: without politeness and without small words at the edges."""
    text = re.sub(r"[^\w\s'&/.-]", " ", reader.text.lower())
    text = re.sub(r"(?<!\d)\.|\.(?!\d)", " ", text)
    small = set(reader.grammar.articles)
    found = _pattern(reader.grammar.politeness).sub(" ", text)
    words = [w for w in found.split() if w not in small and w.strip("-'/")]
    return " ".join(words)


def clauses(text: str, grammar: Grammar) -> list[str]:
    """Part a sentence where another wish begins: after a full stop, or after “and” before a word that opens a wish."""
    openers = _any_of(grammar.openers)
    parts = re.split(
        rf"(?<=[.!?;])\s+(?=\S)|\s*,?\s+{_any_of(grammar.clauses)}\s+(?={openers}\b)|,\s+(?={openers}\b)",
        text,
        flags=re.IGNORECASE,
    )
    return [part.strip() for part in parts if part and part.strip(" .,!?;")]
