"""Check that a preset keeps its contract: shapes, references between its files, pictures, prices, processes.

    python tools/check_preset.py tese            # or several; without a name, every preset there is
    python tools/check_preset.py tese --counts   # also how many of each

Prints one line for each problem and exits with 1 when there is any. Hints (taste, things that may come later) do not fail.
"""

import argparse
import csv
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import msgspec
from babel import Locale
from PIL import Image

from preset_contract import PLACE_COLUMNS, Listing, ListingKind, Person, Process, Review, StoreFile, Unit, Variant

PRESETS = Path(__file__).resolve().parent.parent / "src/tradepost/presets"
EXPONENTS = {"JPY": 0, "KRW": 0, "TND": 3, "BHD": 3, "KWD": 3}
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
CODE = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
DURATION = re.compile(r"P(?=.)(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+S)?)?")
LISTINGS_AT_LEAST = 60
PICTURES_AT_MOST_KB = 2500
NOT_AN_ADDRESS = ("example.com", "example.org", "example.net")

T = TypeVar("T")


@dataclass
class Findings:
    """What is wrong (problems) and what is merely doubtful (hints)."""

    problems: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    def need(self, true: object, problem: str) -> bool:
        """Record the problem unless the first argument is true; say whether it was."""
        if not true:
            self.problems.append(problem)
        return bool(true)

    def prefer(self, true: object, hint: str) -> None:
        """Record a hint unless the first argument is true."""
        if not true:
            self.hints.append(hint)

    def unique(self, values: Iterable[str], what: str) -> None:
        """Record every value that comes twice."""
        for value, times in Counter(values).items():
            self.need(times == 1, f"{what} {value!r} comes {times} times")


@dataclass
class Preset:
    """A preset's files, read. A file that could not be read is empty, and a problem says so."""

    folder: Path
    store: StoreFile
    processes: list[Process]
    people: list[Person]
    listings: list[Listing]
    reviews: list[Review]
    places: list[dict[str, str]]

    @property
    def exponent(self) -> int:
        """Decimal places of the store's currency."""
        return EXPONENTS.get(self.store.store.currency, 2)


def read_preset(folder: Path, findings: Findings) -> Preset | None:
    """Read everything; without a readable store.toml there is nothing to check."""
    store = _read_toml(folder / "store.toml", StoreFile, findings)
    if store is None:
        return None
    processes = [_read_toml(path, Process, findings) for path in sorted((folder / "processes").glob("*.toml"))]
    sample = folder / "sample"
    return Preset(
        folder,
        store,
        [process for process in processes if process is not None],
        _read_lines(sample / "people.jsonl", Person, findings),
        _read_lines(sample / "listings.jsonl", Listing, findings),
        _read_lines(sample / "reviews.jsonl", Review, findings),
        _read_places(sample / "places.csv", findings),
    )


def _read_toml(path: Path, shape: type[T], findings: Findings) -> T | None:
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), shape)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        findings.need(False, f"{path.name}: {error}")
        return None


def _read_lines(path: Path, shape: type[T], findings: Findings) -> list[T]:
    if not findings.need(path.is_file(), f"sample/{path.name} is missing"):
        return []
    read = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            read.append(msgspec.json.decode(line, type=shape))
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            findings.need(False, f"sample/{path.name}:{number}: {error}")
    return read


def _read_places(path: Path, findings: Findings) -> list[dict[str, str]]:
    if not findings.need(path.is_file(), "sample/places.csv is missing"):
        return []
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        findings.need(
            reader.fieldnames == PLACE_COLUMNS, f"sample/places.csv: columns must be {','.join(PLACE_COLUMNS)}"
        )
        return list(reader)


def number(text: str, what: str, findings: Findings, least: str = "0", places: int = 3) -> Decimal | None:
    """The decimal a text stands for, when it is one in range with at most that many places."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        findings.need(False, f"{what}: {text!r} is not a decimal")
        return None
    exponent = value.as_tuple().exponent
    fits = value.is_finite() and isinstance(exponent, int) and -exponent <= places and value >= Decimal(least)
    return (
        value
        if findings.need(fits, f"{what}: {text!r} must be at least {least} with at most {places} decimal places")
        else None
    )


def check_store(preset: Preset, findings: Findings) -> None:
    """store.toml: codes, references inside the file, values a shop can live with."""
    file, store = preset.store, preset.store.store
    findings.need(store.code == preset.folder.name, f"store.code {store.code!r} is not the folder's name")
    findings.need(store.currency in store.currencies, "store.currency is not among store.currencies")
    findings.need(
        re.fullmatch(r"[A-Z]{2}", store.country), f"store.country {store.country!r} is not two capital letters"
    )
    findings.need(
        re.fullmatch(r"[A-Z]{1,4}", store.order_prefix),
        f"store.order_prefix {store.order_prefix!r} is not one to four capital letters",
    )
    findings.need(
        store.place in {place["name"] for place in preset.places}, f"store.place {store.place!r} is not in places.csv"
    )
    findings.prefer(
        50 <= len(store.description) <= 200,
        f"store.description has {len(store.description)} characters; 50 to 200 suit a search result",
    )
    try:
        Locale.parse(store.locale)
        ZoneInfo(store.timezone)
    except (ValueError, LookupError) as error:
        findings.need(False, f"store.locale or store.timezone: {error}")
    for name, text in msgspec.structs.asdict(file.copy).items():
        findings.need(text.strip(), f"copy.{name} is empty")
    for what, codes in (
        ("role", [role.code for role in file.roles]),
        ("feed", [feed.code for feed in file.feeds]),
        ("condition", [condition.code for condition in file.conditions]),
        ("unit", [unit.code for unit in file.units]),
        ("shipping", [method.code for method in file.shipping]),
        ("kind", [kind.code for kind in file.kinds]),
    ):
        findings.unique(codes, what)
        for code in codes:
            findings.need(CODE.fullmatch(code), f"{what} code {code!r} has letters other than a-z, 0-9, _ or -")
    findings.need(any(role.default for role in file.roles), "no role has default = true")
    findings.need(file.feeds, "there is no feed")
    findings.need(file.shipping, "there is no way of shipping")
    findings.need(file.payments.gateways, "payments.gateways is empty")
    findings.need(any("staff" in role.permissions for role in file.roles), "no role has the permission 'staff'")
    check_money_settings(preset, findings)
    check_categories(preset, findings)
    check_kinds(file.kinds, {unit.code for unit in file.units}, findings)
    check_home(preset, findings)
    check_sign_ins(preset, findings)


def check_money_settings(preset: Preset, findings: Findings) -> None:
    """Taxes, shipping prices, commission and unit steps are decimals; what they refer to exists."""
    file = preset.store
    slugs = {category.slug for category in file.categories}
    for rate in file.tax.rates:
        number(rate.percent, f"tax rate {rate.name!r}", findings)
        findings.need(
            rate.category is None or rate.category in slugs, f"tax rate {rate.name!r}: no category {rate.category!r}"
        )
    for method in file.shipping:
        number(method.price, f"shipping {method.code!r} price", findings, places=preset.exponent)
        if method.free_from is not None:
            number(method.free_from, f"shipping {method.code!r} free_from", findings, places=preset.exponent)
    number(file.payments.commission, "payments.commission", findings)
    for unit in file.units:
        number(unit.step, f"unit {unit.code!r} step", findings, least="0.001")


def check_categories(preset: Preset, findings: Findings) -> None:
    """The tree: slugs, parents that exist, no circle, one emoji each."""
    categories = preset.store.categories
    parents = {category.slug: category.parent for category in categories}
    findings.unique([category.slug for category in categories], "category")
    for category in categories:
        findings.need(SLUG.fullmatch(category.slug), f"category {category.slug!r} is not a slug")
        findings.need(category.description.strip(), f"category {category.slug!r} has no description")
        plain = category.emoji.replace("\ufe0f", "")
        findings.need(
            plain and not plain.isascii() and (len(plain) == 1 or "\u200d" in plain),
            f"category {category.slug!r}: {category.emoji!r} is not one emoji",
        )
        seen = {category.slug}
        above = category.parent
        while above is not None:
            if not findings.need(
                above in parents and above not in seen,
                f"category {category.slug!r}: parent {above!r} is missing or above itself",
            ):
                break
            seen.add(above)
            above = parents[above]


def check_kinds(kinds: list[ListingKind], units: set[str], findings: Findings) -> None:
    """Kinds: the default unit exists, a choice has choices and only a choice has."""
    for kind in kinds:
        findings.need(kind.default_unit in units, f"kind {kind.code!r}: no unit {kind.default_unit!r}")
        findings.unique([entry.key for entry in kind.fields], f"kind {kind.code!r}: field")
        for entry in kind.fields:
            findings.need(CODE.fullmatch(entry.key), f"kind {kind.code!r}: field key {entry.key!r}")
            findings.need(
                (entry.type == "choice") == bool(entry.choices),
                f"kind {kind.code!r}: field {entry.key!r}: choices belong to type choice",
            )


def check_home(preset: Preset, findings: Findings) -> None:
    """The home page's sections refer to feeds, categories and kinds that exist."""
    file = preset.store
    slugs, feeds = {category.slug for category in file.categories}, {feed.code for feed in file.feeds}
    kinds = {kind.code for kind in file.kinds}
    findings.need(any(section.kind == "hero" for section in file.home), "home has no hero")
    for i, section in enumerate(file.home, 1):
        for what, value, known in (
            ("category", section.category, slugs),
            ("feed", section.feed, feeds),
            ("kind_code", section.kind_code, kinds),
        ):
            findings.need(value is None or value in known, f"home section {i}: no {what} {value!r}")
        findings.need(section.kind != "listings" or section.limit, f"home section {i}: listings need a limit")


def check_sign_ins(preset: Preset, findings: Findings) -> None:
    """Those whom `make demo` names exist and have that role."""
    roles = {person.username: person.roles for person in preset.people}
    for sign_in in preset.store.sample.sign_ins:
        has = roles.get(sign_in.username, [])
        findings.need(
            sign_in.role in has, f"sample sign-in {sign_in.username!r}: no such person with role {sign_in.role!r}"
        )
    findings.need(len(preset.store.sample.password) >= 8, "sample.password is shorter than 8 characters")


def check_processes(preset: Preset, findings: Findings) -> None:
    """Every process file; purchase is there and starts the orders."""
    names = [process.name for process in preset.processes]
    findings.need("purchase" in names, "processes/purchase.toml is missing or its name is not 'purchase'")
    findings.unique(names, "process")
    for process in preset.processes:
        check_process(process, findings)


def check_process(process: Process, findings: Findings) -> None:
    """Transitions join states that exist, every state can be reached, only final states are ends, money held is let go."""
    where = f"process {process.name!r}"
    states = {state.code: state for state in process.states}
    findings.unique([state.code for state in process.states], f"{where}: state")
    if not findings.need(process.initial in states, f"{where}: no initial state {process.initial!r}"):
        return
    for move in process.transitions:
        step = f"{where}: {move.from_} → {move.to}"
        findings.need(move.from_ in states and move.to in states, f"{step}: no such state")
        findings.need(move.by, f"{step}: nobody may make it")
        findings.need(
            move.timer is None or DURATION.fullmatch(move.timer),
            f"{step}: timer {move.timer!r} is not like PT30M or P2D",
        )
        findings.need(move.timer is None or "system" in move.by, f'{step}: a timer needs by = ["system"]')
    findings.unique([f"{move.from_} → {move.to}" for move in process.transitions], f"{where}: move")
    reached, fresh = set[str](), {process.initial}
    while fresh:
        reached |= fresh
        fresh = {move.to for move in process.transitions if move.from_ in reached} - reached
    left = {move.from_ for move in process.transitions}
    for code, state in states.items():
        findings.need(code in reached, f"{where}: state {code!r} cannot be reached")
        findings.need(state.final != (code in left), f"{where}: state {code!r} is final and has moves, or neither")
        findings.need(not (state.final and state.open), f"{where}: state {code!r} is final and open")
    effects = {effect for move in process.transitions for effect in move.effects}
    if "hold_money" in effects:
        findings.need(
            {"release_money", "refund_payment"} <= effects,
            f"{where}: money is held and never released or never refunded",
        )


def check_people(preset: Preset, findings: Findings) -> None:
    """People: unique names and addresses that cannot be anyone's, roles and places that exist."""
    roles = {role.code for role in preset.store.roles}
    places = {place["name"] for place in preset.places}
    findings.unique([person.username.lower() for person in preset.people], "username")
    findings.unique([person.email.lower() for person in preset.people], "e-mail")
    for person in preset.people:
        who = f"person {person.username!r}"
        findings.need(re.fullmatch(r"[a-z0-9][a-z0-9_.-]{2,29}", person.username), f"{who}: 3 to 30 of a-z, 0-9, _ . -")
        findings.need(
            person.email.endswith(tuple(f"@{host}" for host in NOT_AN_ADDRESS)),
            f"{who}: {person.email!r} is not at example.com",
        )
        findings.need(person.display_name.strip(), f"{who}: no display_name")
        findings.need(person.place in places, f"{who}: place {person.place!r} is not in places.csv")
        findings.need(person.roles and set(person.roles) <= roles, f"{who}: roles {person.roles}")


def check_places(preset: Preset, findings: Findings) -> None:
    """Places: one name each (people and listings refer by it), on the globe."""
    findings.unique([place["name"] for place in preset.places], "place")
    for place in preset.places:
        where = f"place {place['name']!r}"
        findings.need(re.fullmatch(r"[A-Z]{2}", place["country"]), f"{where}: country {place['country']!r}")
        lat, lon = (
            number(place["lat"], f"{where}: lat", findings, "-90", 8),
            number(place["lon"], f"{where}: lon", findings, "-180", 8),
        )
        findings.need(lat is None or lat <= 90, f"{where}: lat {lat}")
        findings.need(lon is None or lon <= 180, f"{where}: lon {lon}")
        findings.need(
            not place["population"] or place["population"].isdigit(), f"{where}: population {place['population']!r}"
        )


def check_listings(preset: Preset, findings: Findings) -> None:
    """Every listing on its own and the set as a whole."""
    listings = preset.listings
    findings.need(
        len(listings) >= LISTINGS_AT_LEAST, f"{len(listings)} listings; at least {LISTINGS_AT_LEAST} are wanted"
    )
    findings.unique([listing.key for listing in listings], "listing key")
    findings.unique([listing.title.casefold() for listing in listings], "listing title")
    findings.unique([listing.description for listing in listings], "listing description")
    findings.unique([variant.sku for listing in listings for variant in listing.variants if variant.sku], "SKU")
    findings.unique(
        [f"{listing.source}/{listing.external_id}" for listing in listings if listing.source], "outside listing"
    )
    used = {listing.category for listing in listings}
    for slug in _leaves(preset) - used:
        findings.prefer(False, f"category {slug!r} has no listing")
    for listing in listings:
        check_listing(preset, listing, findings)
        for variant in listing.variants:
            check_variant(preset, listing, variant, findings)


def _leaves(preset: Preset) -> set[str]:
    slugs = {category.slug for category in preset.store.categories}
    return slugs - {category.parent for category in preset.store.categories if category.parent}


def check_listing(preset: Preset, listing: Listing, findings: Findings) -> None:
    """Words, references, seller or source, pictures."""
    where = f"listing {listing.key!r}"
    file = preset.store
    findings.need(SLUG.fullmatch(listing.key), f"{where}: the key is not a slug")
    title = listing.title
    findings.need(
        3 <= len(title) <= 120 and title == title.strip() and any(map(str.isalpha, title)),
        f"{where}: title {title!r} cannot stand as a picture's text",
    )
    findings.need(title.upper() != title, f"{where}: title in capitals")
    sentences = len(re.findall(r"[.!?…](?:\s|$)", listing.description))
    findings.need(
        2 <= sentences <= 6 and len(listing.description) >= 60,
        f"{where}: description has {sentences} sentences; 2 to 5 are wanted",
    )
    findings.need(
        listing.category in _leaves(preset), f"{where}: category {listing.category!r} is not a leaf of the tree"
    )
    findings.need(
        listing.kind in {kind.code for kind in file.kinds}, f"{where}: kind {listing.kind!r} is not in store.toml"
    )
    findings.need(listing.feed in {feed.code for feed in file.feeds}, f"{where}: feed {listing.feed!r}")
    findings.need(
        listing.condition is None or listing.condition in {c.code for c in file.conditions},
        f"{where}: condition {listing.condition!r}",
    )
    findings.need(
        listing.place in {place["name"] for place in preset.places},
        f"{where}: place {listing.place!r} is not in places.csv",
    )
    findings.need(
        listing.published_days_ago >= 0 and 0 <= listing.likes <= listing.views,
        f"{where}: days, views and likes must make sense",
    )
    findings.need(
        listing.is_customizable == bool(listing.configuration_schema),
        f"{where}: is_customizable needs a configuration_schema and only then",
    )
    findings.need(listing.variants, f"{where}: no variant")
    findings.unique([str(sorted(variant.options.items())) for variant in listing.variants], f"{where}: options")
    findings.need(listing.images, f"{where}: no picture")
    findings.unique(listing.images, f"{where}: picture")
    for image in listing.images:
        findings.need((preset.folder / "sample/images" / image).is_file(), f"{where}: sample/images/{image} is missing")
    check_origin(preset, listing, where, findings)
    check_attributes(preset, listing, where, findings)


def check_origin(preset: Preset, listing: Listing, where: str, findings: Findings) -> None:
    """A seller who may sell, or a source with what an outside listing needs; never both."""
    findings.need((listing.seller is None) != (listing.source is None), f"{where}: a seller or a source, one of them")
    if listing.seller is not None:
        may_sell = {role.code for role in preset.store.roles if "sell" in role.permissions}
        sellers = {person.username for person in preset.people if may_sell & set(person.roles)}
        findings.need(listing.seller in sellers, f"{where}: seller {listing.seller!r} is nobody who may sell")
    if listing.source is not None:
        findings.need(preset.store.features.outside_listings, f"{where}: features.outside_listings is off")
        findings.need(
            listing.external_id and listing.outside_url and listing.outside_seller,
            f"{where}: external_id, outside_url and outside_seller are needed",
        )


def check_attributes(preset: Preset, listing: Listing, where: str, findings: Findings) -> None:
    """Attributes are fields of the listing's kind, of the right type, with the required ones there."""
    kinds = {kind.code: kind for kind in preset.store.kinds}
    if listing.kind not in kinds:
        return
    known = {entry.key: entry for entry in kinds[listing.kind].fields}
    for entry in known.values():
        findings.need(
            not entry.required or entry.key in listing.attributes, f"{where}: attribute {entry.key!r} is required"
        )
    for key, value in listing.attributes.items():
        if not findings.need(key in known, f"{where}: attribute {key!r} is not a field of kind {listing.kind!r}"):
            continue
        entry = known[key]
        fits = {
            "text": isinstance(value, str) and bool(value.strip()),
            "number": isinstance(value, int | float) and not isinstance(value, bool),
            "boolean": isinstance(value, bool),
            "choice": value in entry.choices,
        }[entry.type]
        findings.need(
            fits,
            f"{where}: attribute {key!r} = {value!r} is not {entry.type}"
            + (f" of {entry.choices}" if entry.choices else ""),
        )


def check_variant(preset: Preset, listing: Listing, variant: Variant, findings: Findings) -> None:
    """Unit, step, stock and prices."""
    where = f"listing {listing.key!r}, variant {variant.sku or variant.options}"
    units: dict[str, Unit] = {unit.code: unit for unit in preset.store.units}
    price = number(variant.price, f"{where}: price", findings, least="0.001", places=preset.exponent)
    if variant.compare_at is not None:
        compare = number(variant.compare_at, f"{where}: compare_at", findings, places=preset.exponent)
        findings.need(
            price is None or compare is None or compare > price, f"{where}: compare_at is not above the price"
        )
    step = number(variant.sale_step, f"{where}: sale_step", findings, least="0.001")
    if findings.need(variant.unit in units, f"{where}: unit {variant.unit!r}") and step:
        findings.need(
            step % Decimal(units[variant.unit].step) == 0,
            f"{where}: sale_step {step} is no multiple of the unit's step {units[variant.unit].step}",
        )
    if variant.on_hand is not None:
        on_hand = number(variant.on_hand, f"{where}: on_hand", findings)
        findings.need(
            on_hand is None or not step or on_hand % step == 0,
            f"{where}: on_hand {variant.on_hand} is no multiple of sale_step {step}",
        )
    findings.need(
        listing.kind != "service" or variant.on_hand is None, f"{where}: a service has no stock (on_hand null)"
    )


def check_reviews(preset: Preset, findings: Findings) -> None:
    """Reviews: of what exists, by someone else than its seller, once, after it was published."""
    listings = {listing.key: listing for listing in preset.listings}
    people = {person.username for person in preset.people}
    findings.unique([f"{review.listing} by {review.by}" for review in preset.reviews], "review")
    findings.unique([review.comment for review in preset.reviews], "review comment")
    for review in preset.reviews:
        where = f"review of {review.listing!r} by {review.by!r}"
        findings.need(review.by in people, f"{where}: no such person")
        findings.need(1 <= review.rating <= 5 and review.comment.strip(), f"{where}: rating 1 to 5 and a comment")
        if findings.need(review.listing in listings, f"{where}: no such listing"):
            listing = listings[review.listing]
            findings.need(review.by != listing.seller, f"{where}: by its own seller")
            findings.need(
                0 <= review.days_ago <= listing.published_days_ago,
                f"{where}: {review.days_ago} days ago, but published {listing.published_days_ago} days ago",
            )


def check_pictures(preset: Preset, findings: Findings) -> None:
    """Pictures: WebP of 1000 pixels across, light, each one used."""
    paths = sorted((preset.folder / "sample/images").glob("*"))
    used = Counter(image for listing in preset.listings for image in listing.images)
    first = Counter(listing.images[0] for listing in preset.listings if listing.images)
    for path in paths:
        findings.need(path.name in used, f"sample/images/{path.name} is used by no listing")
        findings.prefer(
            first[path.name] <= 1, f"sample/images/{path.name} is the main picture of {first[path.name]} listings"
        )
        with Image.open(path) as image:
            findings.need(
                image.format == "WEBP" and image.width == 1000,
                f"sample/images/{path.name}: {image.format}, {image.width} pixels across",
            )
    weight = sum(path.stat().st_size for path in paths) / 1000
    findings.need(weight <= PICTURES_AT_MOST_KB, f"the pictures weigh {weight:.0f} kB; at most {PICTURES_AT_MOST_KB}")
    licences = preset.folder / "sample/LICENCES.md"
    text = licences.read_text(encoding="utf-8") if licences.is_file() else ""
    findings.need(
        "fluent-emoji" in text and "GeoNames" in text, "sample/LICENCES.md must name fluent-emoji and GeoNames"
    )


def check_theme(preset: Preset, findings: Findings) -> None:
    """Logo and icon stand alone: no fonts, scripts or other files."""
    findings.prefer((preset.folder / "theme/theme.css").is_file(), "theme/theme.css is missing")
    for name in ("logo.svg", "favicon.svg"):
        path = preset.folder / "theme" / name
        if not findings.need(path.is_file(), f"theme/{name} is missing"):
            continue
        try:
            root = ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - our own file
        except ET.ParseError as error:
            findings.need(False, f"theme/{name}: {error}")
            continue
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        for tag in tags & {"text", "script", "image", "foreignObject"}:
            findings.need(False, f"theme/{name} has <{tag}>, which does not work in a picture")
        findings.need("viewBox" in root.attrib, f"theme/{name} has no viewBox")


def counts(preset: Preset) -> dict[str, Any]:
    """How much of everything there is, for a look."""
    return {
        "listings": dict(Counter(listing.kind for listing in preset.listings)),
        "categories": dict(Counter(listing.category for listing in preset.listings).most_common()),
        "sellers": dict(Counter(listing.seller or listing.source for listing in preset.listings).most_common()),
        "people": len(preset.people),
        "reviews": len(preset.reviews),
        "ratings": dict(sorted(Counter(review.rating for review in preset.reviews).items())),
        "places": len(preset.places),
    }


def check(folder: Path, *, with_counts: bool = False) -> Findings:
    """Check one preset."""
    findings = Findings()
    preset = read_preset(folder, findings)
    if preset is not None:
        for part in (
            check_store,
            check_processes,
            check_places,
            check_people,
            check_listings,
            check_reviews,
            check_pictures,
            check_theme,
        ):
            part(preset, findings)
        if with_counts:
            for what, value in counts(preset).items():
                print(f"{folder.name}: {what}: {value}")
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description="Check presets against their contract.")
    parser.add_argument("stores", nargs="*")
    parser.add_argument("--counts", action="store_true")
    options = parser.parse_args()
    names = options.stores or sorted(path.parent.name for path in PRESETS.glob("*/store.toml"))
    failed = False
    for name in names:
        findings = check(PRESETS / name, with_counts=options.counts)
        for problem in findings.problems:
            print(f"{name}: {problem}")
        for hint in findings.hints:
            print(f"{name}: hint: {hint}")
        print(f"{name}: {len(findings.problems)} problems, {len(findings.hints)} hints")
        failed = failed or bool(findings.problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
