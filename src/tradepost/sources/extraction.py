"""What a page offers: what it says to machines (JSON-LD, microdata, RDFa, Open Graph, by `extruct`), then what it shows to people.

Promises a name, a price with its currency, availability, brand, SKU and pictures as far as the page has them, and for each where it
came from. Broken markup only means that less is found.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import msgspec
from w3lib.encoding import html_to_unicode

from tradepost.core.text import one_line
from tradepost.sources.mapping import read_availability
from tradepost.sources.prices import currency_code, parse_price
from tradepost.sources.visible import NAMED, Look, Seen, look_at

LARGEST_PAGE: Final = 8_000_000
_PRODUCTS: Final = frozenset(
    (
        "Product",
        "ProductGroup",
        "IndividualProduct",
        "ProductModel",
        "SomeProducts",
        "Vehicle",
        "Car",
        "Book",
        "Offer",
        "ProductCollection",
    )
)
_OFFERS: Final = ("offers", "offer", "hasOffer")
_EMBEDDED: Final = re.compile(
    r"""["'](?:price|currentPrice|salePrice|finalPrice|priceAmount|product_price|productPrice|displayPrice|buyNowPrice|price_amount|unitPrice|value)["']\s*:\s*["']?[^\d"'{}\[\]]{0,4}(\d[\d.,]{0,14})["']?""",
)
Origin = str


class Offer(msgspec.Struct, frozen=True):
    """A price with what belongs to it, as the page writes it."""

    amount: Decimal
    text: str
    currency: str
    availability: str
    origin: Origin


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What was found on a page. `currency_text` is the currency as the page writes it; `origins` say where each thing came from."""

    url: str
    name: str = ""
    description: str = ""
    price: Decimal | None = None
    currency: str = ""
    currency_text: str = ""
    availability: str = ""
    brand: str = ""
    sku: str = ""
    mpn: str = ""
    condition: str = ""
    category: str = ""
    images: tuple[str, ...] = ()
    origins: dict[str, Origin] = {}

    def as_row(self) -> dict[str, Any]:
        """Return what was found as the row of a feed."""
        row = {
            "url": self.url, "name": self.name, "description": self.description, "availability": self.availability, "brand": self.brand,
            "sku": self.sku, "condition": self.condition, "category": self.category, "images": list(self.images),
            "currency": self.currency, "price": None if self.price is None else format(self.price, "f"),
        }  # fmt: skip
        return {k: v for k, v in row.items() if v}


def decode_page(body: bytes, content_type: str = "") -> str:
    """Return a page's text: by its byte order mark, its header, its own declaration, or by what its bytes can be."""
    return str(html_to_unicode(content_type or None, body[:LARGEST_PAGE], auto_detect_fun=_detected)[1])


def _detected(body: bytes) -> str:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def extract_page(html: str, url: str, *, home: str = "") -> Page:
    """Return what a page offers. `home`: the currency that an ambiguous sign is of there."""
    from lxml import html as parser

    if not html.strip():
        return Page(url=url)
    tree = parser.fromstring(
        html.replace("\x00", "").encode("utf-8", "replace"),
        parser=parser.HTMLParser(encoding="utf-8", huge_tree=True, recover=True),
    )
    said = structured(html, url)
    meta = _metas(tree)
    products = list(_products(said))
    product = _main_product(products, meta, tree)
    name = _first_text(product.get("name")) or meta.get("og:title", "") or meta.get("twitter:title", "")
    offers = list(_offers_of(product, "data"))
    look = look_at(tree, name=name or _title(tree), supported=frozenset(_amounts(html)) | {o.amount for o in offers})
    offer = _chosen(offers, _meta_offer(meta), look)
    origins = {"name": "data" if product.get("name") else "shown", "price": offer.origin if offer else ""}
    currency_text = (offer.currency if offer else "") or (look.price.sign if look.price else "")
    return Page(
        url=_canonical(tree, url), name=one_line(name or look.title or _title(tree))[:255],
        description=_first_text(product.get("description")) or meta.get("og:description", "") or meta.get("description", ""),
        price=offer.amount if offer else None, currency=currency_code(currency_text, home), currency_text=currency_text,
        availability=_availability(offer, product, meta, look), brand=_brand(product, meta, tree), sku=_identity(product, meta, tree, url),
        mpn=_first_text(product.get("mpn")), condition=_short_type(_first_text(product.get("itemCondition"))),
        category=_first_text(product.get("category")), images=_images(product, meta, url), origins={k: v for k, v in origins.items() if v},
    )  # fmt: skip


def structured(html: str, url: str) -> dict[str, list[dict[str, Any]]]:
    """Return what a page says to machines, by syntax; RDFa only where nothing else names a product, because reading it is slow."""
    import extruct

    logging.getLogger("extruct").setLevel(logging.CRITICAL)
    logging.getLogger("rdflib").setLevel(logging.CRITICAL)
    syntaxes = ["json-ld", "microdata", "opengraph"]
    found: dict[str, list[dict[str, Any]]] = extruct.extract(
        html, base_url=url, syntaxes=syntaxes, uniform=True, errors="ignore"
    )
    if "typeof=" in html and not any(_products(found)):
        graph = extruct.extract(html, base_url=url, syntaxes=["rdfa"], uniform=True, errors="ignore").get("rdfa") or []
        found["rdfa"] = _joined(graph)
    return found


def _joined(graph: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the nodes of an RDFa graph with short names, each holding the nodes that it points to."""
    nodes = [{_short_type(k) if "/" in k else k: v for k, v in node.items()} for node in graph]
    by_id = {str(node.get("@id")): node for node in nodes}

    def whole(value: Any) -> Any:
        if isinstance(value, list):
            return [whole(v) for v in value]
        if isinstance(value, dict) and set(value) == {"@id"} and str(value["@id"]).startswith("_:"):
            return {k: v for k, v in by_id.get(str(value["@id"]), {}).items() if k != "@id"}
        return value

    return [{k: whole(v) for k, v in node.items()} for node in nodes]


def _nodes(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    if depth > 12:
        return
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            if isinstance(inner, dict | list):
                yield from _nodes(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner, depth + 1)


def _types(node: Mapping[str, Any]) -> set[str]:
    kinds = node.get("@type") or ()
    return {_short_type(str(k)) for k in (kinds if isinstance(kinds, list) else [kinds])}


def _short_type(text: str) -> str:
    return re.split(r"[/#:]", text.strip().rstrip("/"))[-1] if text else ""


def _products(said: Mapping[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    for syntax in ("json-ld", "microdata", "rdfa"):
        for node in _nodes(said.get(syntax) or []):
            if _types(node) & _PRODUCTS - {"Offer"} or (node.get("name") and any(node.get(k) for k in _OFFERS)):
                yield node


def _main_product(products: list[dict[str, Any]], meta: Mapping[str, str], tree: Any) -> dict[str, Any]:
    """Return the product a page is about: the one called as the page is, before those that have a price, before the first."""
    if not products:
        return {}
    wanted = _words(meta.get("og:title", "") + " " + _title(tree) + " " + " ".join(_heading(tree)))

    def worth(item: tuple[int, dict[str, Any]]) -> tuple[float, bool, int]:
        n, product = item
        words = _words(_first_text(product.get("name")))
        return (round(len(words & wanted) / len(words), 1) if words else 0.0, any(_offers_of(product, "")), -n)

    best = max(enumerate(products), key=worth)[1]
    same = [
        p
        for p in products
        if p is not best and _words(_first_text(p.get("name"))) == _words(_first_text(best.get("name")))
    ]
    merged = dict(best)
    for other in same:
        for key, value in other.items():
            if not merged.get(key):
                merged[key] = value
    return merged


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def _first_text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list):
        return next((t for v in value if (t := _first_text(v))), "")
    if isinstance(value, dict):
        return next((t for k in ("@value", "name", "value", "@id") if (t := _first_text(value.get(k)))), "")
    return ""


def _offers_of(product: Mapping[str, Any], origin: Origin) -> Iterator[Offer]:
    for key in _OFFERS:
        for node in _nodes(product.get(key) or []):
            yield from _offer(node, origin)
    if "price" in product:
        yield from _offer(product, origin)


def _offer(node: Mapping[str, Any], origin: Origin) -> Iterator[Offer]:
    if any("Unit" in k for k in _types(node)):
        return
    for key in ("price", "lowPrice"):
        text = _first_text(node.get(key))
        amount = read_amount(text)
        if amount is not None:
            currency = _first_text(node.get("priceCurrency")) or (parse_price(text).currency or "")
            yield Offer(amount, text, currency, _first_text(node.get("availability")), origin)
            return


def read_amount(text: str) -> Decimal | None:
    """Return the amount that data for machines says; a plain number has its point where machines have it."""
    text = text.strip()
    if not text or len(text) > 200:
        return None
    if re.fullmatch(r"\d{1,12}(\.\d+)?", text):
        found: Decimal | None = Decimal(text)
    else:
        found = parse_price(text).amount
    return found if found is not None and found > 0 else None


def _metas(tree: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for meta in tree.iter("meta"):
        key = meta.get("property") or meta.get("name") or meta.get("itemprop")
        content = (meta.get("content") or "").strip()
        if key and content:
            found.setdefault(key.strip().lower(), content)
    return found


def _meta_offer(meta: Mapping[str, str]) -> Offer | None:
    for prefix in ("product:sale_price", "product:price", "og:price", "product:original_price"):
        amount = read_amount(meta.get(f"{prefix}:amount", ""))
        if amount is not None:
            return Offer(
                amount,
                meta[f"{prefix}:amount"],
                meta.get(f"{prefix}:currency", ""),
                meta.get("product:availability", meta.get("og:availability", "")),
                "meta",
            )
    amount = read_amount(meta.get("twitter:data1", "")) if NAMED.search(meta.get("twitter:label1", "")) else None
    if amount is not None:
        return Offer(amount, meta["twitter:data1"], parse_price(meta["twitter:data1"]).currency or "", "", "meta")
    return None


_CERTAIN: Final = 9.0


def _chosen(offers: list[Offer], meta: Offer | None, look: Look) -> Offer | None:
    """Return the price that counts: what data says, where the page does not plainly show another of the prices it says."""
    said = [*offers, *([meta] if meta else [])]
    shown = look.price
    if not said:
        return _shown_offer(shown) if shown is not None and shown.weight >= _LEAST else None
    amounts = {o.amount for o in said}
    if shown is not None and len(amounts) > 1:
        match = next((o for o in said if o.amount == shown.amount), None)
        if match is not None:
            return match
    first = said[0]
    if meta is not None and meta.amount == first.amount:
        return first
    if (
        shown is not None
        and shown.amount != first.amount
        and shown.weight >= _CERTAIN + 2
        and shown.amount not in amounts
    ):
        return Offer(shown.amount, shown.text, first.currency or shown.sign, first.availability, "shown")
    return first


_LEAST: Final = 3.0


def _shown_offer(shown: Seen) -> Offer:
    return Offer(shown.amount, shown.text, shown.sign, "", "shown")


def _amounts(html: str) -> Iterable[Decimal]:
    """Yield the amounts that scripts of a page call prices."""
    for text in _EMBEDDED.findall(html)[:300]:
        amount = read_amount(text.rstrip(".,"))
        if amount is not None:
            yield amount


def _availability(offer: Offer | None, product: Mapping[str, Any], meta: Mapping[str, str], look: Look) -> str:
    said = (offer.availability if offer else "") or next(
        (o.availability for o in _offers_of(product, "") if o.availability), ""
    )
    said = said or meta.get("product:availability", "") or meta.get("og:availability", "")
    if not said:
        for node in _nodes([product.get(k) or [] for k in _OFFERS]):
            said = said or _first_text(node.get("availability"))
    if said:
        status, in_stock = read_availability(said)
        return "InStock" if status == "active" and in_stock else "OutOfStock"
    if look.is_out and not (look.can_buy and offer):
        return "OutOfStock"
    return "InStock" if offer or look.can_buy else "OutOfStock"


def _brand(product: Mapping[str, Any], meta: Mapping[str, str], tree: Any) -> str:
    for value in (
        product.get("brand"),
        product.get("manufacturer"),
        meta.get("product:brand"),
        meta.get("og:brand"),
        meta.get("brand"),
    ):
        found = one_line(_first_text(value))
        if found and not found.startswith("http") and len(found) <= 100:
            return found
    return _labelled(tree, _BRAND_LABEL) or _marked(tree, "brand")


_BRAND_LABEL: Final = re.compile(
    r"^\s*(?:brand(?: name)?|marke|marque|marca|marka|značka|merk|märke|mærke|merke|tuotemerkki|бренд|производитель|manufacturer|hersteller|fabricant|producent|"
    r"produttore|fabricante|producător|výrobce|výrobca|gyártó|品牌|メーカー|מותג|יצרן)\s*:?\s*$",
    re.IGNORECASE,
)
_SKU_LABEL: Final = re.compile(
    r"^\s*(?:sku|item (?:no\.?|number|#|code)|product (?:code|id|no\.?)|asin|article(?: no\.?| number)?|artikel(?:nummer|-nr\.?|nr\.?)|référence|ref\.?|réf\.?|"
    r"código|codigo|codice|kod(?: produktu)?|kód|šifra|artikul|артикул|код(?: товара)?|cod produs|商品編號|貨號|מק\"?ט)\s*[:#]?\s*$",
    re.IGNORECASE,
)
_MODEL_LABEL: Final = re.compile(
    r"^\s*(?:model|modell|modèle|modelo|modello|item model number|isbn(?:-?1[03])?|ean)\s*[:#]?\s*$", re.IGNORECASE
)


def _identity(product: Mapping[str, Any], meta: Mapping[str, str], tree: Any, url: str) -> str:
    """Return the seller's own number of a product: as data, beside its label, in the page's address, or that of its model."""
    for key in ("sku", "productID"):
        found = one_line(_first_text(product.get(key)))
        if found and len(found) <= 100:
            return found.removeprefix("sku:").strip()
    for node in _nodes([product.get(k) or [] for k in _OFFERS]):
        found = one_line(_first_text(node.get("sku")))
        if found:
            return found
    for key in ("product:retailer_item_id", "product:sku", "sku", "productid"):
        if meta.get(key):
            return meta[key]
    return _labelled(tree, _SKU_LABEL) or _number_of(url) or _labelled(tree, _MODEL_LABEL)


def _number_of(url: str) -> str:
    """Return the part of an address that looks like a number of goods: letters and digits, five digits at least."""
    parts = [p for segment in urlsplit(url).path.split("/")[-3:] for p in re.findall(r"[A-Za-z0-9]{6,20}", segment)]
    return max((p for p in parts if sum(c.isdigit() for c in p) >= 5), key=len, default="")


def _labelled(tree: Any, label: re.Pattern[str]) -> str:
    """Return what stands beside a label: the next cell, term or part of the same line."""
    for element in tree.iter("th", "td", "dt", "span", "b", "strong", "div", "li", "p", "label"):
        text = element.text or ""
        if not text or len(text) > 40 or not label.match(text):
            continue
        for value in (element.tail, _following(element), _following(element.getparent())):
            found = one_line(value or "").lstrip(":‎ ").strip()
            if found and len(found) <= 80:
                return found
    return ""


def _following(element: Any) -> str:
    after = element.getnext() if element is not None else None
    return " ".join("".join(after.itertext()).split())[:200] if after is not None and isinstance(after.tag, str) else ""


def _marked(tree: Any, word: str) -> str:
    """Return the short text of an element that calls itself by a word: itemprop, id or class."""
    for element in tree.iter("a", "span", "div", "p", "h2", "h3"):
        marks = (
            f"{element.get('itemprop') or ''} {element.get('id') or ''} {element.get('class') or ''}".lower().split()
        )
        if any(
            mark == word or mark in {f"product-{word}", f"product_{word}", f"{word}-name", f"product__{word}"}
            for mark in marks
        ):
            text = one_line("".join(element.itertext()))
            if 1 < len(text) <= 50:
                return text.rpartition(":")[2].strip() or text
    return ""


def _heading(tree: Any) -> list[str]:
    return [" ".join("".join(h.itertext()).split()) for h in list(tree.iter("h1"))[:3]]


def _title(tree: Any) -> str:
    found = tree.find(".//title")
    return one_line(found.text or "") if found is not None else ""


def _canonical(tree: Any, url: str) -> str:
    for link in tree.iter("link"):
        if (link.get("rel") or "").lower() == "canonical" and link.get("href"):
            full = urljoin(url, link.get("href").strip())
            return full if full.startswith(("http://", "https://")) else url
    return url


def _images(product: Mapping[str, Any], meta: Mapping[str, str], url: str) -> tuple[str, ...]:
    found: list[str] = []
    given = product.get("image") or []
    for value in given if isinstance(given, list) else [given]:
        text = (
            value
            if isinstance(value, str)
            else next((str(value[k]) for k in ("url", "contentUrl", "@id") if value.get(k)), "")
            if isinstance(value, dict)
            else ""
        )
        if text:
            found.append(urljoin(url, text.strip()))
    if not found and meta.get("og:image"):
        found.append(urljoin(url, meta["og:image"]))
    return tuple(dict.fromkeys(f for f in found if f.startswith(("http://", "https://"))))[:12]
