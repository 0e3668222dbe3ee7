"""Checks of a preset's sample data: people, places, listings, reviews, pictures."""

import re
from collections import Counter

from PIL import Image

from preset_contract import Findings, Listing, Preset, Variant, number
from preset_rules import SLUG

LISTINGS_AT_LEAST = 60
PICTURES_AT_MOST_KB = 2500
NOT_AN_ADDRESS = ("example.com", "example.org", "example.net")


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
    for slug in preset.leaves - used:
        findings.prefer(False, f"category {slug!r} has no listing")
    for listing in listings:
        check_listing(preset, listing, findings)
        for variant in listing.variants:
            check_variant(preset, listing, variant, findings)


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
        listing.category in preset.leaves, f"{where}: category {listing.category!r} is not a leaf of the tree"
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
        known = {source.code for source in preset.store.sources}
        findings.need(listing.source in known, f"{where}: source {listing.source!r} is not one of {sorted(known)}")
        complete = listing.external_id and listing.outside_url and listing.outside_seller
        findings.need(complete, f"{where}: external_id, outside_url and outside_seller are needed")


def check_attributes(preset: Preset, listing: Listing, where: str, findings: Findings) -> None:
    """Attributes are fields of the listing's kind and category, of the right type, with the required ones there."""
    kinds = {kind.code: kind for kind in preset.store.kinds}
    if listing.kind not in kinds:
        return
    parents = {category.slug: category.parent for category in preset.store.categories}
    path = {listing.category, parents.get(listing.category)}
    known = {e.key: e for e in kinds[listing.kind].fields if not e.categories or path & set(e.categories)}
    for entry in known.values():
        findings.need(
            not entry.required or entry.key in listing.attributes, f"{where}: attribute {entry.key!r} is required"
        )
    for key, value in listing.attributes.items():
        if not findings.need(
            key in known, f"{where}: attribute {key!r} is not a field of kind {listing.kind!r} in {listing.category!r}"
        ):
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
    units = {unit.code: unit for unit in preset.store.units}
    price = number(variant.price, f"{where}: price", findings, least="0.001", places=preset.exponent)
    if variant.compare_at is not None:
        compare = number(variant.compare_at, f"{where}: compare_at", findings, places=preset.exponent)
        findings.need(
            price is None or compare is None or compare > price, f"{where}: compare_at is not above the price"
        )
    step = number(variant.sale_step, f"{where}: sale_step", findings, least="0.001")
    if findings.need(variant.unit in units, f"{where}: unit {variant.unit!r}") and step:
        findings.need(
            step % units[variant.unit].step == 0,
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


def check_price_history(preset: Preset, findings: Findings) -> None:
    """Past prices: of listings there are, older first, none before the listing was published."""
    listings = {listing.key: listing for listing in preset.listings}
    before: dict[str, float] = {}
    for point in preset.price_history:
        where = f"price history of {point.listing!r}, {point.days_ago} days ago"
        number(point.price, f"{where}: price", findings, places=preset.exponent)
        findings.need(
            point.days_ago < before.get(point.listing, float("inf")), f"{where}: not newer than the line before"
        )
        before[point.listing] = point.days_ago
        if findings.need(point.listing in listings, f"{where}: no such listing"):
            published = listings[point.listing].published_days_ago
            findings.need(point.days_ago <= published, f"{where}: published only {published} days ago")


def check_alerts(preset: Preset, findings: Findings) -> None:
    """Saved searches: of people there are, with criteria."""
    people = {person.username for person in preset.people}
    findings.unique([f"{alert.username}: {alert.name}" for alert in preset.alerts], "alert")
    for alert in preset.alerts:
        findings.need(alert.username in people, f"alert {alert.name!r}: no person {alert.username!r}")
        findings.need(
            alert.name.strip() and alert.criteria, f"alert {alert.name!r} of {alert.username!r}: no name or no criteria"
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
