"""What a row of a source means: pure functions from a row as it came to a listing as the catalogue takes it.

Things are found under the names that feeds usually have for them, or where the source's settings say. Promises that whatever is in a
row, the answer is a listing or a `BadRow` that says in a sentence what is wrong.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from html import unescape
from typing import Any, Final
from urllib.parse import urljoin, urlsplit
from uuid import UUID

import msgspec

from tradepost.catalog.outside import content_hash
from tradepost.catalog.outside_types import OutsideImage, OutsideRow, OutsideStatus
from tradepost.core.text import one_line, paragraphs, slugify
from tradepost.sources.likeness import bands
from tradepost.sources.prices import read_price
from tradepost.sources.types import BadRow, Reading

# Where feeds of many makers keep things; the first that is there counts.
USUAL: Final[dict[str, tuple[str, ...]]] = {
    "external_id": ("external_id", "id", "externalId", "item_id", "itemId", "listing_id", "listingId", "offer_id", "ad_id", "guid",
                    "product_id", "productID", "sku", "url", "link", "loc"),
    "title": ("title", "name", "headline", "subject", "product_name"),
    "description": ("description", "body", "text", "summary", "content", "encoded", "details"),
    "price": ("price", "sale_price", "current_price", "price.amount", "price.value", "offers.price", "offers.0.price", "amount",
              "listing_price", "asking_price", "prices.0", "price_amount"),
    "compare_at": ("compare_at", "was_price", "old_price", "list_price", "regular_price", "original_price"),
    "currency": ("currency", "price_currency", "priceCurrency", "price.currency", "offers.priceCurrency", "offers.0.priceCurrency",
                 "currency_code", "currencyRaw"),
    "availability": ("availability", "status", "stock_status", "stock", "in_stock", "inStock", "offers.availability",
                     "offers.0.availability", "state"),
    "is_sold": ("is_sold", "sold", "isSold"),
    "is_deleted": ("is_deleted", "deleted", "isDeleted", "removed"),
    "condition": ("condition", "itemCondition", "offers.itemCondition"),
    "brand": ("brand.name", "brand", "manufacturer.name", "manufacturer", "make"),
    "sku": ("sku", "mpn", "model_number"),
    "category": ("category.name", "category", "product_type", "google_product_category", "categories", "category_name"),
    "subcategory": ("subcategory.name", "subcategory", "sub_category"),
    "url": ("url", "link.href", "link", "listing_url", "permalink", "href", "web_url", "product_url", "loc"),
    "images": ("images", "image", "image_urls", "pictures", "photos", "image_url", "imageUrl", "image_link", "picture", "photo",
               "enclosure.url", "thumbnail", "media"),
    "more_images": ("additional_image_link",),
    "seller_name": ("seller_name", "seller.name", "seller.display_name", "vendor.name", "user.name", "owner.name", "seller", "vendor", "author.name", "author"),
    "seller_id": ("seller_id", "seller.id", "user.id", "owner.id", "vendor.id", "user_id"),
    "place": ("place", "location.name", "location.city", "location", "city", "address.city", "location_text"),
    "lat": ("lat", "latitude", "location.lat", "location.latitude", "geo.latitude", "geo.lat", "coordinates.lat"),
    "lon": ("lon", "lng", "longitude", "location.lon", "location.lng", "location.longitude", "geo.longitude", "geo.lon", "coordinates.lng"),
    "listed_at": ("listed_at", "listed_date", "date_posted", "posted_at", "published_at", "pubDate", "published", "created_at", "date",
                  "datePosted", "updated"),
    "attributes": ("attributes", "metadata", "specs", "specifications", "properties", "additionalProperty"),
}  # fmt: skip
_MOST_ATTRIBUTES, _MOST_IMAGES, _MOST_KNOWN = 50, 12, 10_000
_PLAIN_URL: Final = re.compile(r"https?://[a-z0-9.-]+(?::\d{1,5})?(?:/[!-~]*[!\"$->@-~])?/?")
_TAG: Final = re.compile(r"<[^<>]{1,500}>")
_BREAK: Final = re.compile(r"<(?:br|/p|/div|/li|/h\d)\b[^<>]{0,100}>", re.IGNORECASE)
_OUT: Final = frozenset(
    [
        "outofstock",
        "unavailable",
        "soldout",
        "false",
        "no",
        "n",
        "0",
        "discontinued",
        "notavailable",
        "reserved",
        "pending",
    ]
)
_SOLD: Final = frozenset(("sold", "closed", "completed"))
_GONE: Final = frozenset(("deleted", "removed", "expired", "inactive", "withdrawn", "archived"))


class Bearings(msgspec.Struct, frozen=True, dict=True, kw_only=True):
    """What a store has that rows are understood by: its categories by slug and by name, conditions, kinds with their fields, places.

    `places`: label, latitude and longitude by lower-case name.
    """

    currency: str
    kinds: Mapping[str, Sequence[Mapping[str, Any]]]
    feed: str
    categories: Mapping[str, UUID]
    category_names: Mapping[str, UUID]
    conditions: Mapping[str, str] = {}
    places: Mapping[str, tuple[str, float | None, float | None]] = {}
    units: Mapping[str, str] = {}

    @cached_property
    def kind(self) -> str:
        """The kind that listings have where nothing says otherwise."""
        return next(iter(self.kinds))


class Reader:
    """Reads the rows of one source by its settings."""

    def __init__(self, settings: Reading, bearings: Bearings, base_url: str) -> None:
        self.settings = settings
        self.bearings = bearings
        self.base_url = base_url if base_url.startswith(("http://", "https://")) else ""
        self._paths = {
            name: _paths((settings.fields[name],) if name in settings.fields else usual)
            for name, usual in USUAL.items()
        }
        self._mark = hashlib.blake2b(msgspec.json.encode(settings), digest_size=8).digest()
        self._categories = {name.casefold(): slug for name, slug in settings.categories.items()}
        kind = settings.kind if settings.kind in bearings.kinds else bearings.kind
        self._kind = kind
        self._fields = {f["key"]: f for f in bearings.kinds[kind]}
        self._known: dict[tuple[str | None, str | None], UUID] = {}

    def raw_hash(self, data: Mapping[str, Any]) -> bytes:
        """Return a hash of a row as it came, under these settings."""
        return hashlib.blake2b(msgspec.json.encode(data), digest_size=16, key=self._mark).digest()

    def external_id(self, data: Mapping[str, Any]) -> str:
        """Return a row's id at its source. Raises `BadRow`."""
        found = _text(self._found(data, "external_id"))
        if not found:
            raise BadRow("It has no id.")
        if len(found) > 300:
            raise BadRow("Its id is longer than 300 characters.")
        return found

    def read(self, external_id: str, data: Mapping[str, Any]) -> OutsideRow:
        """Return the listing that a row is. Raises `BadRow`."""
        title = one_line(_unmarked(_text(self._found(data, "title"))))[:255]
        if not title:
            raise BadRow("It has no title.")
        status, in_stock = self._availability(data)
        code = _text(self._found(data, "currency"))
        minor, currency = self._price(data, "price", code)
        compare, _ = self._price(data, "compare_at", currency) if minor is not None else (None, "")
        place, lat, lon = self._place(data)
        attributes, condition = self._attributes(data)
        seller = {
            "name": _text(self._found(data, "seller_name"))[:100],
            "id": _text(self._found(data, "seller_id"))[:100],
        }
        row = OutsideRow(
            external_id=external_id, raw_hash=self.raw_hash(data), kind=self._kind,
            feed=self.settings.feed or self.bearings.feed, title=title,
            description=_prose(_text(self._found(data, "description"))), category_id=self._category(data),
            brand=one_line(_text(self._found(data, "brand")))[:100] or None, condition=condition, status=status,
            in_stock=in_stock and status == "active", price_minor=minor,
            compare_at_minor=compare if compare and minor is not None and compare > minor else None,
            currency=currency if minor is not None else None, unit=self.bearings.units.get(self._kind), place=place, lat=lat, lon=lon, attributes=attributes,
            url=self._url(_text(self._found(data, "url"))), seller={k: v for k, v in seller.items() if v} or None,
            listed_at=_moment(self._found(data, "listed_at")), images=self._images(data), bands=bands(title),
        )  # fmt: skip
        return msgspec.structs.replace(row, content_hash=content_hash(row))

    def _found(self, data: Mapping[str, Any], name: str) -> Any:
        for first, rest in self._paths[name]:
            value = data.get(first)
            if rest and value is not None:
                value = _at(value, rest)
            if value is not None and value != "":
                return value
        return None

    def _price(self, data: Mapping[str, Any], name: str, currency: str) -> tuple[int | None, str]:
        value = self._found(data, name)
        if isinstance(value, dict):
            value = value.get("amount") or value.get("value") or value.get("price")
        if isinstance(value, list):
            value = value[0] if value else None
        if value is None or isinstance(value, bool):
            return None, ""
        home = self.settings.currency or self.bearings.currency
        if isinstance(value, float) and not math.isfinite(value):
            raise BadRow("The price is not a number.")
        amount = read_price(
            value if isinstance(value, int | float) else _text(value), currency=currency or None, home=home,
            decimal=self.settings.decimal, minor_units=self.settings.minor_units,
        )  # fmt: skip
        if amount.minor is None and name == "price":
            raise BadRow(f"The price “{_text(value)[:60]}” has no amount in it, or one that is too large.")
        if not re.fullmatch("[A-Z]{3}", amount.currency):
            raise BadRow(f"The currency “{amount.currency[:20]}” is none.")
        return amount.minor, amount.currency

    def _availability(self, data: Mapping[str, Any]) -> tuple[OutsideStatus, bool]:
        if _is_true(self._found(data, "is_deleted")):
            return "removed", False
        if _is_true(self._found(data, "is_sold")):
            return "sold", False
        return read_availability(self._found(data, "availability"))

    def _category(self, data: Mapping[str, Any]) -> UUID:
        named = self._found(data, "subcategory"), self._found(data, "category")
        if not isinstance(named[0], str | None) or not isinstance(named[1], str | None):
            return self._category_of(named)
        known = self._known.get(named)
        if known is None:
            known = self._category_of(named)
            if len(self._known) < _MOST_KNOWN:
                self._known[named] = known
        return known

    def _category_of(self, named: Sequence[Any]) -> UUID:
        for name in _category_names(named):
            slug = self._categories.get(name.casefold())
            found = self.bearings.categories.get(slug or slugify(name)) or self.bearings.category_names.get(
                name.casefold()
            )
            if found is not None:
                return found
        fallback = self.bearings.categories.get(self.settings.category)
        if fallback is None:
            said = next(iter(_category_names(named)), "")
            raise BadRow(f"No category here is known as “{said[:60]}”." if said else "It has no category.")
        return fallback

    def _place(self, data: Mapping[str, Any]) -> tuple[str, float | None, float | None]:
        text = one_line(_text(self._found(data, "place")))[:255]
        lat, lon = _degrees(self._found(data, "lat"), 90), _degrees(self._found(data, "lon"), 180)
        places = self.bearings.places
        known = places.get(text.lower()) or places.get(text.split(",")[0].strip().lower()) if text else None
        if lat is None or lon is None:
            return known or (text, None, None)
        return (known[0] if known else text), lat, lon

    def _attributes(self, data: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
        kept: dict[str, Any] = {}
        for key, value in _pairs(self._found(data, "attributes")):
            if len(kept) == _MOST_ATTRIBUTES:
                break
            name = _attribute_name(key)
            typed = typed_attribute(self._fields.get(name), value)
            if typed is not None:
                kept.setdefault(name, typed)
        sku = one_line(_text(self._found(data, "sku")))[:100]
        if sku:
            kept.setdefault("sku", sku)
        said = (
            one_line(_text(self._found(data, "condition")))[:60]
            .removeprefix("https://schema.org/")
            .removeprefix("http://schema.org/")
        )
        condition = self.bearings.conditions.get(said.casefold()) if said else None
        if said and condition is None:
            typed = typed_attribute(self._fields.get("condition"), said.removesuffix("Condition"))
            if typed is not None:
                kept.setdefault("condition", typed)
        return kept, condition

    def _url(self, text: str) -> str | None:
        if _PLAIN_URL.fullmatch(text):
            return text[:2000]
        try:
            full = urljoin(self.base_url, text.strip()) if self.base_url and text else text.strip()
            parts = urlsplit(full)
        except ValueError:
            return None
        return full[:2000] if parts.scheme in {"http", "https"} and parts.netloc else None

    def _images(self, data: Mapping[str, Any]) -> tuple[OutsideImage, ...]:
        found: dict[str, OutsideImage] = {}
        for name in ("images", "more_images"):
            value = self._found(data, name)
            for one in value if isinstance(value, list) else [value]:
                image = self._image(one)
                if image is not None and len(found) < _MOST_IMAGES:
                    found.setdefault(image.url, image)
        return tuple(found.values())

    def _image(self, value: Any) -> OutsideImage | None:
        given = value if isinstance(value, dict) else {}
        text = (
            _text(next((given[k] for k in ("url", "src", "contentUrl", "href", "link") if given.get(k)), ""))
            if given
            else _text(value)
        )
        url = self._url(text) if text else None
        if url is None:
            return None
        width, height, size = (_whole(given.get(k)) for k in ("width", "height", "size"))
        form = _text(given.get("format") or given.get("type")).removeprefix("image/")[:10].lower() or _suffix(url)
        return OutsideImage(url, width, height, size if size is not None else _whole(given.get("bytes")), form or None)


def read_availability(value: Any) -> tuple[OutsideStatus, bool]:
    """Return what a word for availability means; nothing said is on offer."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "active", value > 0
    said = re.sub(r"[^a-z0-9]", "", _text(value).lower().rpartition("/")[2])
    if said in _SOLD:
        return "sold", False
    if said in _GONE:
        return "removed", False
    return "active", said not in _OUT


def typed_attribute(field: Mapping[str, Any] | None, value: Any) -> Any:
    """Return an attribute as its kind's field types it, as it is where the kind has no such field; None where it does not fit."""
    if isinstance(value, dict) or value is None or value == "":
        return None
    if isinstance(value, list):
        value = ", ".join(_text(v) for v in value[:20] if not isinstance(v, dict | list))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    kind = field["type"] if field else ""
    if kind == "number":
        return value if isinstance(value, int | float) and not isinstance(value, bool) else _number(str(value))
    if kind == "boolean":
        return (
            value
            if isinstance(value, bool)
            else {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(str(value).lower())
        )
    text = one_line(_unmarked(str(value)))[:200]
    if kind == "choice" and field:
        return next((c for c in field["choices"] if c.casefold() == text.casefold()), None)
    return value if isinstance(value, bool | int | float) and not kind else text or None


def _paths(given: Iterable[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return where things are in a row: the first step, and what is below it."""
    steps = [tuple(path.split(".")) for path in given if path]
    return tuple((path[0], path[1:]) for path in steps)


@lru_cache(maxsize=4096)
def _attribute_name(key: str) -> str:
    return slugify(key).replace("-", "_")[:60]


def _at(data: Any, path: Sequence[str]) -> Any:
    for step in path:
        if isinstance(data, dict):
            data = data.get(step)
        elif isinstance(data, list) and step.isdigit() and int(step) < len(data):
            data = data[int(step)]
        else:
            return None
    return data


def _text(value: Any) -> str:
    """Return a value as text; of a list the first, of an object what it calls itself."""
    if isinstance(value, str):
        return value.strip().replace("\x00", "")
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, list):
        return _text(value[0]) if value else ""
    if isinstance(value, dict):
        return _text(next((value[k] for k in ("name", "value", "text", "url", "#text") if value.get(k)), ""))
    return str(value)


def _is_true(value: Any) -> bool:
    return (
        value is True
        or (isinstance(value, int | float) and value == 1)
        or (isinstance(value, str) and value.strip().lower() in {"true", "yes", "1", "t"})
    )


def _unmarked(text: str) -> str:
    """Return text without HTML, as far as there is any."""
    if "<" in text:
        text = _TAG.sub(" ", text)
    return unescape(text) if "&" in text else text


def _prose(text: str) -> str:
    if "<" in text:
        text = re.sub(r"[ \t]*\n[ \t]*", "\n", _unmarked(_BREAK.sub("\n", text)))
    return paragraphs(_unmarked(text))[:20_000]


def _category_names(values: Iterable[Any]) -> Iterable[str]:
    """Yield category names, the narrowest first: the last of a path such as “Vehicles > Cars”."""
    for value in values:
        for one in reversed(value) if isinstance(value, list) else [value]:
            parts = [p.strip() for p in re.split(r"\s*[>»|]\s*|\s+/\s+", _unmarked(_text(one))) if p.strip()]
            yield from reversed(parts)


def _pairs(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        return ((str(k), v) for k, v in value.items())
    if isinstance(value, list):
        return (
            (_text(v.get("name") or v.get("key")), v.get("value"))
            for v in value
            if isinstance(v, dict) and (v.get("name") or v.get("key"))
        )
    return ()


def _number(text: str) -> int | float | None:
    found = re.search(r"-?\d[\d,  ]*(?:\.\d+)?", text)
    if found is None:
        return None
    number = float(re.sub(r"[,  ]", "", found[0]))
    return int(number) if number.is_integer() and abs(number) < 1e12 else number if abs(number) < 1e12 else None


def _whole(value: Any) -> int | None:
    found = (
        value if isinstance(value, int) and not isinstance(value, bool) else _number(_text(value)) if value else None
    )
    return int(found) if found is not None and 0 < found < 2_000_000_000 else None


def _degrees(value: Any, most: int) -> float | None:
    try:
        found = float(value if isinstance(value, int | float | str) else "nan")
    except ValueError:
        return None
    return found if math.isfinite(found) and -most <= found <= most else None


def _suffix(url: str) -> str:
    path = url.partition("://")[2].partition("/")[2].partition("?")[0].partition("#")[0]
    end = path.rpartition(".")[2].lower()
    return {"jpg": "jpeg"}.get(end, end) if end in {"jpg", "jpeg", "png", "webp", "gif", "avif"} else ""


def _moment(value: Any) -> datetime | None:
    """Return a moment written as ISO 8601, as in mail, or as seconds since 1970; without a zone it is UTC."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC) if 0 < value < 4e12 else None
    text = _text(value)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            found = parsedate_to_datetime(text)
        except (ValueError, TypeError):
            return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
