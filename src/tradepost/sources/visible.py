"""What a product's page shows to people, for pages that do not say it to machines as well, or say it twice differently.

A price is where somebody who buys looks for it: below the product's name, beside the button that buys, in an element that calls
itself a price, and not crossed out, not in a row of other products. Each candidate is weighed by such signs, which are those of web
pages in general; nothing here knows a single site.
"""

import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import msgspec

from tradepost.sources.prices import SIGNS, parse_price

_LONGEST: Final = 60
_SIGN: Final = "|".join(
    sorted((re.escape(s) for s in SIGNS if len(s) > 1 or not (s.isascii() and s.isalpha())), key=len, reverse=True)
)
_CODES: Final = (
    "USD|EUR|GBP|CHF|AUD|CAD|NZD|JPY|CNY|INR|BRL|ARS|CLP|MXN|COP|PEN|UYU|PLN|CZK|HUF|RON|BGN|HRK|RSD|UAH|RUB|KZT|TRY|ILS|AED|SAR|EGP|"
    "ZAR|NGN|KES|GHS|ZWL|TND|MAD|SEK|NOK|DKK|ISK|KRW|THB|VND|IDR|MYR|PHP|SGD|HKD|TWD|PKR|BDT|LKR"
)
_AMOUNT: Final = (
    r"\d{1,3}(?:[ \u00a0\u202f.,'’]\d{3})*(?:[.,]\d{1,3}|[.,][-–—]{1,2})?|\d+(?:[.,]\d{1,3}|[.,][-–—]{1,2})?"
)
_MONEY: Final = re.compile(
    rf"(?:(?:{_SIGN}|\b(?:{_CODES}|Rs|Lei|R)\b\.?)\s*:?\s*(?:{_AMOUNT}))|(?:(?:{_AMOUNT})\s*(?:{_SIGN}|(?:{_CODES}|lei|Lei|kr|Kr|zl|p)\b))"
)
_NUMBER: Final = re.compile(rf"(?<![\w.,])(?:{_AMOUNT})(?![\w%])")
NAMED: Final = re.compile(
    r"price|prix|preis|precio|preco|prezzo|cena|cijena|pris\b|hinta|ár\b|amount|цена|fiyat|harga|kaina|tarif",
    re.IGNORECASE,
)
_NOW: Final = re.compile(
    r"our|current|final|sale|now|special|deal|offer|main|actual|today|buybox|buy-box|to-?pay|primary|product-?price|detail|selling|new-?price|discounted|promo",
    re.IGNORECASE,
)
_THEN: Final = re.compile(
    r"old|was\b|was[-_]|list-?price|listprice|regular|before|strike|original|msrp|rrp|cross|through|previous|retail|reference|compare|usual|basis|savings?|youpay|you-?save|discount-?(?:amount|percent)|antes|ancien|alter?-?preis|uvp|statt",
    re.IGNORECASE,
)
_OTHER: Final = re.compile(
    r"ship|deliver|freight|install?ment|month|per-?unit|unit-?price|priceper|price-per|coupon|point|subtotal|mini-?cart|basket|used|related|similar|recommend|carousel|slider|swiper|also|sponsor|accessor|bundle|bought|upsell|cross-?sell|viewed|history|footer|nav|menu|filter|facet|range|wishlist|compar|tooltip|modal|popup|warranty|insurance|financ|credit|loan|refurb|swatch|threshold|minimum|tax|vat|deposit|fee|review|comment|banner|ticker|suggest|teaser|gift-?card|protection|warehouse|olp|seller-?list|other-?sellers|ad-|ads-|advert",
    re.IGNORECASE,
)
_BUY: Final = re.compile(
    r"add[ _-]?to[ _-]?(?:cart|bag|basket|trolley)|buy[ _-]?now|\bbuy\b|warenkorb|panier|acheter|carrello|acquista|carrito|comprar|carrinho|"
    r"sacola|koszyk|košík|kosar|kosár|košar|kupi|coș|cos\b|корзин|купить|кошик|ostoskori|indkøb|köp|handlekurv|winkel|sepet|satın|"
    r"購物車|购物车|加入|カート|장바구니|הוסף|סל|arabayı|addtocart|add2cart|place bid|order now|pre-?order",
    re.IGNORECASE,
)
_OUT_OF_STOCK: Final = re.compile(
    r"out[ -]of[ -]stock|sold[ -]out|currently unavailable|no longer available|not available|nicht (?:auf lager|verfügbar)|derzeit nicht|"
    r"ausverkauft|rupture de stock|actuellement indisponible|indisponible|non disponibile|esaurito|agotado|no disponible|sin stock|"
    r"esgotado|indispon[ií]vel|niedostępn|vyprodáno|není skladem|nedostupn|elfogyott|nincs készleten|indisponibil|stoc epuizat|"
    r"нет в наличии|немає в наявності|slutsåld|udsolgt|utsolgt|loppu|uitverkocht|tükendi|stokta yok|售完|缺貨|缺货|完售|在庫切れ|품절|אזל",
    re.IGNORECASE,
)
_SKIPPED: Final = frozenset(
    ("script", "style", "noscript", "template", "svg", "head", "iframe", "option", "select", "textarea")
)
_STRUCK: Final = frozenset(("del", "s", "strike"))


_IS_NUMBER: Final = re.compile(_AMOUNT)
_SIGN_ONLY: Final = re.compile(rf"\s*(?:{_SIGN}|{_CODES}|lei|Lei|kr)\s*")
_BEFORE: Final = re.compile(
    r"\b(?:was|before|list price|rrp|msrp|regular|old|start(?:ing|s)?|estimate|from|instead|save|off|up to|statt|bisher|uvp|avant|antes|prima|"
    r"piv|původně|było|staré|vorher|ab)\b|滿額|起",
    re.IGNORECASE,
)
_FONT: Final = re.compile(r"font(?:-size)?:[^;]*?(\d{2})(?:\.\d+)?px")


class Seen(msgspec.Struct, frozen=True):
    """A price as it stands on a page, with the weight that speaks for it."""

    text: str
    amount: Decimal
    sign: str
    weight: float


class Look(msgspec.Struct, frozen=True):
    """What a page shows: its heading, its price, whether it says that the thing is not to be had."""

    title: str
    price: Seen | None
    amounts: frozenset[Decimal]
    is_out: bool
    can_buy: bool


def look_at(tree: Any, *, name: str = "", supported: frozenset[Decimal] = frozenset()) -> Look:
    """Return what a parsed page shows. `name` is what the page calls the product; `supported` are amounts that it says elsewhere."""
    walk = _Walk(tree, name)
    seen = walk.prices(supported)
    price = max(seen, key=lambda s: s.weight, default=None)
    shown = frozenset(s.amount for s in seen if s.weight > 0)
    return Look(walk.title, price, shown, walk.is_out(), bool(walk.buttons))


class _Spot(msgspec.Struct, frozen=True):
    """An element in the order of the page."""

    at: int
    element: Any
    text: str


class _Walk:
    """One pass over a page: candidates for its price, where its heading is, where one buys."""

    def __init__(self, tree: Any, name: str) -> None:
        self.title = ""
        self.title_at: int | None = None
        self.buttons: list[int] = []
        self.spots: list[_Spot] = []
        self._name = frozenset(_plain(name).split())
        self._shown: list[tuple[int, str]] = []
        self._heading_rank = 0.0
        self._rows: dict[Any, bool] = {}
        body = tree.find(".//body")
        self.size = 0
        if body is not None:
            self._visit(body)

    def _visit(self, root: Any) -> None:
        stack: list[tuple[Any, bool]] = [(root, False)]
        while stack:
            element, _ = stack.pop()
            if not isinstance(element.tag, str) or element.tag in _SKIPPED or _is_hidden(element):
                continue
            self.size += 1
            self._note(element)
            stack += [(child, False) for child in reversed(element)]

    def _note(self, element: Any) -> None:
        at = self.size
        if element.tag in {"h1", "h2"}:
            self._note_heading(element, at)
        if (
            element.tag in {"button", "a", "input"}
            or "btn" in (element.get("class") or "")
            or "button" in (element.get("class") or "")
        ):
            said = " ".join(
                filter(
                    None,
                    (
                        _short_text(element),
                        element.get("value"),
                        element.get("id"),
                        element.get("name"),
                        element.get("title"),
                    ),
                )
            )
            if len(said) < 200 and _BUY.search(said):
                self.buttons.append(at)
        own = (element.text or "").strip()
        if own and len(own) < 300:
            self._shown.append((at, own))
        text = _price_text(element)
        if text and element.tag != "sup" and _IS_NUMBER.fullmatch(text):
            text = _with_neighbours(element, text)
        if text and (_MONEY.search(text) or (NAMED.search(_marks(element)) and _NUMBER.search(text))):
            if self.spots and _is_inside(element, self.spots[-1].element):
                if (
                    len(_MONEY.findall(self.spots[-1].text)) > 1
                    or not _MONEY.search(self.spots[-1].text)
                    or _MONEY.search(text)
                ):
                    self.spots[-1] = _Spot(at, element, text)
            else:
                self.spots.append(_Spot(at, element, text))

    def _note_heading(self, element: Any, at: int) -> None:
        text = " ".join("".join(element.itertext()).split())
        if not text or len(text) > 400:
            return
        plain = _plain(text)
        words = set(plain.split())
        shared = len(words & self._name) / len(words) if words else 0.0
        rank = (4.0 * shared if len(words) > 1 or shared == 1.0 else 0.0) + (1.0 if element.tag == "h1" else 0.0)
        if rank > self._heading_rank:
            self.title, self.title_at, self._heading_rank = text, at, rank

    def prices(self, supported: frozenset[Decimal]) -> list[Seen]:
        """Return every price on the page with its weight, which grows with how often its amount is shown."""
        found = [seen for spot in self.spots if (seen := self._weighed(spot, supported)) is not None]
        times = Counter(seen.amount for seen in found if seen.weight > 0)
        return [msgspec.structs.replace(s, weight=s.weight + min(times[s.amount], 4) * 0.5) for s in found]

    def _weighed(self, spot: _Spot, supported: frozenset[Decimal]) -> Seen | None:
        price = parse_price(spot.text)
        if price.amount is None or price.amount <= 0:
            return None
        money = _MONEY.search(spot.text)
        weight = 3.0 if money else 0.0
        weight -= 0.1 * max(0, len(spot.text) - (len(money[0]) if money else 0) - 8)
        weight -= 3.0 if _BEFORE.search(spot.text) else 0.0
        weight += _size(spot.element)
        weight += self._named(spot.element) + self._placed(spot.at)
        weight += 3.0 if price.amount in supported else 0.0
        return Seen(spot.text, price.amount, price.currency or "", weight)

    def _named(self, element: Any) -> float:
        weight, above = 0.0, element
        own = True
        for level in range(10):
            if above is None or not isinstance(above.tag, str) or above.tag in {"body", "html"}:
                break
            marks = _marks(above)
            if level < 4 and NAMED.search(marks):
                weight += 3.0 if own else 0.8
                own = False
                weight += 1.0 if _NOW.search(marks) else 0.0
            if level < 4 and (
                above.tag in _STRUCK or "line-through" in (above.get("style") or "") or _THEN.search(marks)
            ):
                weight -= 4.0
            if _OTHER.search(marks):
                weight -= 3.0 if level < 4 else 1.5
            if self._is_one_of_many(above):
                weight -= 3.0
            if above.tag in {"footer", "nav", "aside", "header"}:
                weight -= 3.0
            above = above.getparent()
        if element.get("itemprop") == "price" or (above is not None and element.get("data-price")):
            weight += 2.0
        return weight

    def _placed(self, at: int) -> float:
        weight = 0.0
        if self.title_at is not None:
            away = at - self.title_at
            weight += 3.0 - min(3.0, away / 100) if away >= 0 else 1.5 - min(4.0, -away / 60)
        else:
            weight += 1.0 - 2.0 * at / max(1, self.size)
        if self.buttons:
            nearest = min(abs(at - b) for b in self.buttons)
            weight += max(0.0, 1.5 - nearest / 80)
        return weight

    def _is_one_of_many(self, element: Any) -> bool:
        """Whether an element stands among several of its kind that are links with prices: a row of other products."""
        above = element.getparent()
        if above is None or len(above) < 3 or element.tag not in {"li", "td", "article", "div", "a"}:
            return False
        known = self._rows.get(above)
        if known is None:
            priced = [e for e in above if isinstance(e.tag, str) and _has_link(e) and _MONEY.search(_short_text(e))]
            known = self._rows[above] = len(priced) >= 3
        return known

    def is_out(self) -> bool:
        """Whether the page says, near the product, that it is not to be had."""
        start = self.title_at or 0
        return any(
            _OUT_OF_STOCK.search(text) for at, text in self._shown if start - 5 <= at <= start + 400 and len(text) < 120
        )


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().lower()


def _marks(element: Any) -> str:
    return " ".join(
        filter(
            None,
            (
                element.get("class"),
                element.get("id"),
                element.get("itemprop"),
                element.get("data-testid"),
                element.get("data-test"),
            ),
        )
    )


def _is_hidden(element: Any) -> bool:
    style = (element.get("style") or "").replace(" ", "").lower()
    return "display:none" in style or element.get("hidden") is not None


def _short_text(element: Any) -> str:
    parts, size = [], 0
    for part in element.itertext():
        parts.append(part)
        size += len(part)
        if size > 200:
            break
    return " ".join(" ".join(parts).split())


def _is_inside(element: Any, other: Any) -> bool:
    return any(above is other for above in element.iterancestors())


def _price_text(element: Any) -> str:
    """Return an element's text where it is short enough for a price; cents that stand raised beside the rest get their point."""
    parts: list[str] = []
    size = 0
    for part in _parts(element):
        parts.append(part)
        size += len(part)
        if size > _LONGEST:
            return ""
    text = " ".join("".join(parts).split())
    return text if any(c.isdigit() for c in text) else ""


_CENTS: Final = re.compile(r"fraction|cents?\b|decimal|sup\b", re.IGNORECASE)


def _parts(element: Any) -> Iterator[str]:
    for node in element.iter():
        if not isinstance(node.tag, str) or node.tag in _SKIPPED:
            if node is not element and node.tail:
                yield node.tail
            continue
        text = " ".join((node.text or "").split())
        if (
            node is not element
            and text.isdigit()
            and len(text) == 2
            and (node.tag == "sup" or _CENTS.search(_marks(node)))
        ):
            yield "." + text
        elif node.text:
            yield node.text
        if node is not element and node.tail:
            yield node.tail


def _has_link(element: Any) -> bool:
    return element.tag == "a" or element.find(".//a[@href]") is not None


def _size(element: Any) -> float:
    """Return what speaks for an element because it stands out: large letters, said in place."""
    found = _FONT.search((element.get("style") or "").lower())
    return 1.5 if found and int(found[1]) >= 20 else 0.5 if element.tag in {"strong", "b", "h2", "h3"} else 0.0


def _with_neighbours(element: Any, text: str) -> str:
    """Return a bare number with the currency that stands beside it, in an element of its own or none."""
    after = element.tail or ""
    following = element.getnext()
    if not after.strip() and following is not None and isinstance(following.tag, str):
        after = _short_text(following)
    above, earlier = element.getparent(), element.getprevious()
    before = (earlier.tail or "") if earlier is not None else (above.text or "") if above is not None else ""
    if not before.strip() and earlier is not None and isinstance(earlier.tag, str):
        before = _short_text(earlier)
    for side, joined in ((after[:8], f"{text} {after.strip()[:8]}"), (before[-8:], f"{before.strip()[-8:]} {text}")):
        if side.strip() and _SIGN_ONLY.fullmatch(side[:8]):
            return joined
    return text
