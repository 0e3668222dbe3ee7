"""Whether a sentence that a language model wrote says only what a tool returned in this turn.

Promises that no price, stock figure, discount, date, order number or link passes that no result of the turn holds in its own field:
a price must be an amount of money there, a stock figure a count of stock, an order number the number of an order, a link a link. What
somebody wrote into a title, a description or a review counts for none of these, however much it looks like one. Numbers of no such
kind ("a 15 inch screen") must stand somewhere in the results. It cannot judge words without a figure, and does not pretend to.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from tradepost.assistant.types import ToolResult

_WRITTEN: Final = frozenset(
    {"title", "titles", "description", "comment", "note", "seller", "text", "label", "ways", "summary", "name"}
)
_TITLES: Final = frozenset({"title", "titles", "name"})
_LINKS: Final = frozenset({"path", "link", "href", "outside_url"})
_STOCK: Final = frozenset({"available", "stock", "left", "in_stock_count"})
_WORDS: Final = {
    "zero": 0, "no": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18,
    "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_FACTORS: Final = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "dozen": 12}
_AS_WORDS: Final = r"\b(?:(?:a|an)\s+(?=hundred|thousand|million|dozen))?(?:%s)(?:[\s-]+(?:and\s+)?(?:%s))*\b" % (
    ("|".join([*_WORDS, *_FACTORS]),) * 2
)
_SPELLED = re.compile(_AS_WORDS, re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.,])[-+]?\d[\d.,'’\u00a0\u202f]*")
_LINK = re.compile(
    r"[a-z][a-z0-9+.-]*://[^\s)\]>\"'`]+|\]\(([^)\s]+)\)|[\w.+%-]+@[\w.-]*\w"
    r"|(?<![\w@.-])(?:\w(?:[\w-]*\w)?\.)+(?:xn--[\w-]+|[^\W\d_]{2,24})\b(?::\d+)?(?:[/?#][^\s)\]>\"'`]*)?"
    r"|(?<![\w/])/[a-z][\w/?=&%.+~-]*",
    re.IGNORECASE,
)
_ENDS_OF_LINK: Final = ".,;:!?/"
_CURRENCY: Final = (
    r"[$€£¥₹₽₩₺¢]|\b(?:usd|eur|gbp|tnd|zwl|zar|jpy|chf|dt|us\$|(?:us[\s-])?dollars?|euros?|pounds?|dinars?|cents?|yen|francs?"
    r"|dólar(?:es)?|pfund|libras?|dinare?s?|centimes?|céntimos?|centavos?|pence|franken|rand|yuan|евро|доллар\w*|рубл\w*"
    r"|دينار|دولار|يورو)\b"
)
_MONEY = re.compile(
    rf"(?:{_CURRENCY})\s*(\d[\d.,'’\u00a0\u202f]*)(?:\s*(?:{_CURRENCY})(?!\s*\d))?|(\d[\d.,'’\u00a0\u202f]*)\s*(?:{_CURRENCY})",
    re.IGNORECASE,
)
_PRICE_WORDS = re.compile(
    r"\b(?:costs?|costing|prices?|priced|pay|paying|charged?|totals?|subtotal|sum|fee|refund\w*|worth|save|saves|saving|reduced|discount\w*)\b",
    re.IGNORECASE,
)
_PERCENT = re.compile(r"(\d[\d.,]*)\s*(?:%|per\s?cent|percent)", re.IGNORECASE)
_STOCK_WORDS = re.compile(r"\b(?:left|in stock|available|remain\w*|on hand|units?|copies|pieces)\b", re.IGNORECASE)
_FREE = re.compile(r"\b(?:free|gratis|no charge|at no cost|for nothing|on the house)\b", re.IGNORECASE)
_BROUGHT = re.compile(r"\b(?:deliver\w*|shipp\w*|collect\w*|pick\w*|returns?|returning)\b", re.IGNORECASE)
_HALF = re.compile(r"\bhalf[\s-](?:the\s+)?(?:price|off)\b|\bhalf of (?:the|its) price\b", re.IGNORECASE)
_ONE_OF_MONEY = re.compile(rf"\b(?:an?|one)\s+(?:{_CURRENCY})", re.IGNORECASE)
_NAMES_MONEY = re.compile(_CURRENCY, re.IGNORECASE)
_SPELLED_AMOUNT = re.compile(rf"{_AS_WORDS}\W*(?:{_CURRENCY})", re.IGNORECASE)
_SPELLED_MONEY = re.compile(rf"^\W*(?:{_CURRENCY})", re.IGNORECASE)
_CODE = re.compile(
    r"\b(?=[A-Z0-9#-]*\d)#?[A-Z0-9]{1,8}(?:-[A-Z0-9]+)+\b|#[A-Z0-9-]{3,}|\b(?=\w*\d)(?=\w*[A-Z])[A-Z0-9]{5,}\b"
)
_PROMO = re.compile(r"\b(?:codes?|coupons?|vouchers?|promo\w*)\b", re.IGNORECASE)
_SPELLED_PERCENT = re.compile(r"^\W*(?:%|per\s?cent)", re.IGNORECASE)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH: Final = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATES: Final = (
    (re.compile(r"\b(\d{4})-(\d{1,2})-(\d{1,2})\b"), "ymd"),
    (re.compile(r"\b(\d{1,2})[./](\d{1,2})[./](\d{2,4})\b"), "num"),
    (re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}(?:,?\s+(\d{{4}}))?", re.IGNORECASE), "dmy"),
    (re.compile(rf"\b{_MONTH}\s+(\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+(\d{{4}}))?", re.IGNORECASE), "mdy"),
)
_DAY_WORDS = re.compile(
    r"\b(?:today|tonight|tomorrow|monday|tuesday|wednesday|thursday|friday|saturday|sunday|next week|this week|weekend)\b",
    re.IGNORECASE,
)
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CLOCK = re.compile(r"\b(\d{1,2})(?::(\d{2}))?\s*(am|pm)\b|\b(\d{1,2}):(\d{2})\b", re.IGNORECASE)
_LETTERS = re.compile(r"[^\W\d_]+")
_SHORTEST_PART, _LONGEST_WORD = 3, 40
_MARKER = re.compile(r"^\s*(?:\d{1,2}[.)]|[-*•])\s+")


class Evidence:
    """What the results of a turn hold, by what it is: only there may a figure of that kind come from."""

    def __init__(self, sources: Iterable[ToolResult], today: date | None = None, base_url: str = "") -> None:
        self.money: set[Decimal] = set()
        self.stock: set[Decimal] = set()
        self.numbers: set[Decimal] = set()
        self.percents: set[Decimal] = set()
        self.dates: set[date] = set()
        self.clocks: set[tuple[int, int]] = set()
        self.codes: set[str] = set()
        self.links: set[str] = set()
        self.titles: set[str] = set()
        self.own_words: set[str] = set()
        self.base_url = base_url.rstrip("/")
        self.words = ""
        self.today = today
        self.is_free = False
        self._texts: list[str] = []
        for source in sources:
            if source.result is not None:
                self._take(source.result, "", is_said=source.tool == "store_facts")
        self.words = "\n".join(self._texts).casefold()

    def _take(self, value: Any, field: str, *, is_said: bool) -> None:
        if isinstance(value, dict):
            if {"minor", "currency", "text"} <= value.keys():
                self._take_amount(value)
                return
            for name, inner in value.items():
                self._take(inner, name, is_said=is_said)
        elif isinstance(value, list | tuple):
            self.numbers.add(Decimal(len(value)))
            for inner in value:
                self._take(inner, field, is_said=is_said)
        elif isinstance(value, str):
            self._take_text(value, field, is_said=is_said)
        elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            number = Decimal(str(value))
            self.numbers.add(number)
            if field in _STOCK:
                self.stock.add(number)

    def _take_amount(self, value: dict[str, Any]) -> None:
        found = [
            number for number in map(as_number, _NUMBER.findall(_spaced(str(value["text"])))) if number is not None
        ]
        self.money.update(found)
        self.is_free = self.is_free or value["minor"] == 0

    def _take_text(self, text: str, field: str, *, is_said: bool) -> None:
        self._texts.append(text)
        if is_said or field not in _WRITTEN:
            self.own_words.update(_LETTERS.findall(text.casefold()))
        if field in _LINKS:
            self.links.add(text.rstrip("/"))
            return
        day = _iso(text)
        if day is not None:
            self.dates.add(day)
            return
        self.numbers.update(n for n in map(as_number, _NUMBER.findall(_spaced(text))) if n is not None)
        if field in _TITLES:
            self.titles.add(text.strip().casefold())
        if field in {"number", "sku", "promo_codes", "tracking"}:
            self.codes.add(_plain_code(text))
        if field in {"label", "window"} or is_said:  # of the store's own making
            self.dates.update(day for day, _ in _dates_in(text, self.today))
            self.clocks.update(_clocks_in(text))
        if is_said:
            self.links.update(link.casefold() for link in _links_in(text))
        if is_said or field == "ways":  # what the store itself says of its prices and rules
            self.money.update(n for n in map(as_number, _money_in(text)) if n is not None)
            self.percents.update(n for n in map(as_number, _PERCENT.findall(text)) if n is not None)
            self.is_free = self.is_free or bool(_FREE.search(text))


def holds(sentence: str, evidence: Evidence) -> bool:
    """Whether every figure, date, order number and link of a sentence stands in the results of the turn."""
    said = _MARKER.sub("", sentence)
    text = _without_titles(said, evidence)
    return (
        _links_hold(said, evidence)  # also those that stand in a name
        and (text := _LINK.sub(" ", text)) is not None
        and _dates_hold(text, evidence)
        and (text := _without_dates(text)) is not None
        and _codes_hold(text, evidence)
        and _figures_hold(_CODE.sub(" ", text), evidence)
        and _foreign_figures_hold(text, evidence)
    )


def verified(
    sentences: Sequence[str], sources: Iterable[ToolResult], today: date | None = None
) -> tuple[list[str], int]:
    """Return the sentences that hold, and how many did not."""
    evidence = Evidence(sources, today)
    kept = [sentence for sentence in sentences if holds(sentence, evidence)]
    return kept, len(sentences) - len(kept)


def _without_titles(text: str, evidence: Evidence) -> str:
    """Leave out what is quoted or set in bold and is the whole title of something in a result: a name may hold any number."""

    def shorten(found: re.Match[str]) -> str:
        inner = found[1] or found[2] or found[3]
        is_name = (
            inner.strip().casefold() in evidence.titles and not _MONEY.search(inner) and not _PERCENT.search(inner)
        )
        return " " if is_name else found[0]

    return re.sub(r"\*\*([^*]{2,120})\*\*|“([^”]{2,120})”|\"([^\"]{2,120})\"", shorten, text)


def _links_hold(text: str, evidence: Evidence) -> bool:
    """Whether every link is one of a result, by itself or at the store's own address. Another host with a path of ours is another link."""
    own = (evidence.base_url, evidence.base_url.partition("://")[2]) if evidence.base_url else ()
    known = evidence.links | {base + link for base in own for link in evidence.links if link.startswith("/")} | {*own}
    return all(link in known or link.casefold() in known for link in _links_in(text))


def _links_in(text: str) -> list[str]:
    """Return links, addresses of mail and names of hosts, without what ends a sentence; “/kg” is none."""
    links = [(found[1] or found[0]).rstrip(_ENDS_OF_LINK) for found in _LINK.finditer(text)]
    return [
        link
        for link in links
        if link and not re.fullmatch(r"/(?:kg|km|h|day|piece|unit|month|week|year|l|m|g)", link, re.IGNORECASE)
    ]


def _dates_hold(text: str, evidence: Evidence) -> bool:
    for day, is_whole in _dates_in(text, evidence.today):
        if not any(
            day == known or (not is_whole and (day.month, day.day) == (known.month, known.day))
            for known in evidence.dates
        ):
            return False
    for clock in _clocks_in(text):
        if clock not in evidence.clocks:
            return False
    weekdays = {_WEEKDAYS[day.weekday()] for day in evidence.dates}
    for word in _DAY_WORDS.findall(text):
        if word.casefold() in evidence.words or word.casefold() in weekdays:
            continue
        if evidence.today is not None and word.casefold() in {"today", "tonight"} and evidence.today in evidence.dates:
            continue
        return False
    return True


def _codes_hold(text: str, evidence: Evidence) -> bool:
    is_promo = _PROMO.search(text) is not None
    return all(
        _plain_code(code) in evidence.codes or (not is_promo and _is_in_words(code, evidence))
        for code in (found[0] for found in _CODE.finditer(text))
    )


def _is_in_words(code: str, evidence: Evidence) -> bool:
    """Whether something that looks like a code is one word of a result, and not in the form of an order's number."""
    return "-" not in code and "#" not in code and code.casefold() in evidence.words


@cache
def _number_words() -> frozenset[str]:
    """Return how numbers are spelled in languages whose figures cannot be read here."""
    lines = msgspec.toml.decode((Path(__file__).parent / "number_words.toml").read_bytes(), type=dict[str, str])
    return frozenset(word for words in lines.values() for word in words.split())


@lru_cache(maxsize=4096)
def _is_number_word(word: str) -> bool:
    """Whether a word is such a number, or put together of several: “dreihundertzwölf”."""
    if word in _number_words():
        return True
    return any(
        word[:cut] in _number_words() and _is_number_word(word[cut:])
        for cut in range(_SHORTEST_PART, len(word) - _SHORTEST_PART + 1)
    )


def _foreign_figures_hold(text: str, evidence: Evidence) -> bool:
    """Whether numbers that are spelled in other languages stand in a result word for word, not in what somebody wrote there."""
    words = _LETTERS.findall(text.casefold())
    return all(word in evidence.own_words for word in words if len(word) < _LONGEST_WORD and _is_number_word(word))


def _figures_hold(text: str, evidence: Evidence) -> bool:
    if _HALF.search(text) or (_FREE.search(text) and not (evidence.is_free and _BROUGHT.search(text))):
        return False
    if any(as_number(found) not in evidence.percents for found in _PERCENT.findall(text)):
        return False
    if any(_SPELLED_PERCENT.match(text[found.end() :]) for found in _SPELLED.finditer(text)):
        return set(spelled(text)) <= evidence.percents
    rest = _PERCENT.sub(" ", text)
    prices = [as_number(found) for found in _money_in(rest)]
    left = _MONEY.sub(" ", rest)
    if any(price not in evidence.money for price in prices) or not _spelled_money_holds(left, evidence):
        return False
    numbers = {as_number(found) for found in _NUMBER.findall(left)} | set(spelled(left))
    if _PRICE_WORDS.search(left) and not prices:
        return numbers <= evidence.money | evidence.percents
    return numbers <= (evidence.stock if _STOCK_WORDS.search(left) else evidence.numbers)


def _spelled_money_holds(text: str, evidence: Evidence) -> bool:
    """Whether amounts written as words are amounts of the results; those of more than one word for the coins hold in no case.

    Nor does a currency without an amount that can be read: it may be spelled in a language that is not known here.
    """
    numbers = spelled(text)
    if _ONE_OF_MONEY.search(text) and (numbers or Decimal(1) not in evidence.money):
        return False
    if _NAMES_MONEY.search(_ONE_OF_MONEY.sub(" ", _SPELLED_AMOUNT.sub(" ", text))):
        return False
    is_money = any(_SPELLED_MONEY.match(text[found.end() :]) for found in _SPELLED.finditer(text))
    return not is_money or (
        all(n in evidence.money for n in numbers) and not re.search(r"\bcents?\b", text, re.IGNORECASE)
    )


def spelled(text: str) -> list[Decimal]:
    """Return the numbers that are written as words; “one” and “no” alone are no figures."""
    found = []
    for match in _SPELLED.finditer(text):
        words = [w for w in re.split(r"[\s-]+", match[0].casefold()) if w not in {"and", "a", "an"}]
        if len(words) == 1 and words[0] in {"one", "no"}:
            continue
        whole = part = 0
        for word in words:
            if word in _FACTORS:
                part = max(part, 1) * _FACTORS[word]
                whole, part = (whole + part, 0) if _FACTORS[word] >= 1_000 else (whole, part)
            else:
                part += _WORDS[word]
        found.append(Decimal(whole + part))
    return found


def as_number(text: str) -> Decimal | None:
    """Return a number however it groups its digits: 1,234.50 and 1.234,50 and 1 234,5 are one each."""
    digits = re.sub(r"['’\u00a0\u202f ]", "", text).rstrip(".,").lstrip("+")
    comma, dot = digits.rfind(","), digits.rfind(".")
    if comma >= 0 and dot >= 0:
        digits = digits.replace(",", "") if dot > comma else digits.replace(".", "").replace(",", ".")
    elif comma >= 0:
        is_group = re.fullmatch(r"-?\d{1,3}(?:,\d{3})+", digits) is not None
        digits = digits.replace(",", "" if is_group else ".")
    elif digits.count(".") > 1:
        digits = digits.replace(".", "")
    try:
        return Decimal(digits)
    except InvalidOperation:
        return None


def _money_in(text: str) -> list[str]:
    return [first or second for first, second in _MONEY.findall(text)]


def _spaced(text: str) -> str:
    """Set letters apart from digits, so that “$46.75” and “16GB” hold numbers."""
    return re.sub(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|[$€£¥₹()/x×]", " ", text)


def _plain_code(text: str) -> str:
    return text.strip().lstrip("#").casefold()


def _iso(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:10]) if re.match(r"\d{4}-\d{2}-\d{2}(?:$|T)", text) else None
    except ValueError:
        return None


def _dates_in(text: str, today: date | None) -> list[tuple[date, bool]]:
    """Return the dates of a text, each with whether it names its year."""
    found = []
    for pattern, form in _DATES:
        for match in pattern.finditer(text):
            found += [pair for pair in (_date_of(match, form, today),) if pair is not None]
    return found


def _date_of(match: re.Match[str], form: str, today: date | None) -> tuple[date, bool] | None:
    year = str((today or date(2000, 1, 1)).year)
    if form == "ymd":
        parts, is_whole = (match[1], match[2], match[3]), True
    elif form == "num":
        parts, is_whole = (match[3] if len(match[3]) == 4 else f"20{match[3][-2:]}", match[2], match[1]), True
    else:
        day, month = (match[1], match[2]) if form == "dmy" else (match[2], match[1])
        parts, is_whole = (match[3] or year, str(_MONTHS.index(month[:3].casefold()) + 1), day), bool(match[3])
    try:
        return date(*(int(part) for part in parts)), is_whole
    except ValueError:
        return date.min, True  # no day of any calendar: nothing stands for it


def _without_dates(text: str) -> str:
    for pattern, _ in _DATES:
        text = pattern.sub(" ", text)
    return _CLOCK.sub(" ", text)


def _clocks_in(text: str) -> list[tuple[int, int]]:
    found = []
    for hour, minute, half, plain_hour, plain_minute in _CLOCK.findall(text):
        if half:
            found.append((int(hour) % 12 + (12 if half.casefold() == "pm" else 0), int(minute or 0)))
        else:
            found.append((int(plain_hour), int(plain_minute)))
    return found
