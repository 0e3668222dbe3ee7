"""Addresses as other systems write them in JSON, read as ours: the names of the parts differ, what they mean does not."""

from collections.abc import Mapping
from typing import Any, Final

from tradepost.core.postal import Address

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("name", "full_name", "recipient", "contact_name"),
    "line1": ("line1", "address1", "address_line1", "address_line_1", "street", "street1", "street_address", "address"),
    "line2": ("line2", "address2", "address_line2", "address_line_2", "street2", "apartment"),
    "city": ("city", "town", "village", "locality"),
    "region": ("region", "state", "province", "county"),
    "postcode": ("postcode", "zip", "zip_code", "zipcode", "postal_code"),
    "phone": ("phone", "phone_number", "telephone"),
}
_LENGTHS: Final = {"postcode": 20, "phone": 40}
_COUNTRIES: Final = {
    "USA": "US", "UNITED STATES": "US", "UNITED STATES OF AMERICA": "US", "ZIMBABWE": "ZW", "TUNISIA": "TN", "TUNISIE": "TN",
    "UNITED KINGDOM": "GB", "UK": "GB", "FRANCE": "FR", "GERMANY": "DE", "CANADA": "CA", "SOUTH AFRICA": "ZA",
}  # fmt: skip


def as_address(given: Mapping[str, Any], home: str) -> Address | None:
    """Return an address, or None where it has no street or no town. `home`: the country of those that name none we know."""
    known = {str(key).lower().replace(" ", "_"): value for key, value in given.items()}
    parts = {
        part: next((str(known[n]).strip() for n in names if isinstance(known.get(n), str | int)), "")[: _LENGTHS.get(part, 120)]
        for part, names in _NAMES.items()
    }  # fmt: skip
    if not parts["name"]:
        parts["name"] = " ".join(str(known[n]) for n in ("first_name", "last_name") if isinstance(known.get(n), str))[
            :120
        ]
    if not parts["line1"] or not parts["city"]:
        return None
    country = str(known.get("country_code") or known.get("country") or "").strip().upper()
    country = _COUNTRIES.get(country, country)
    return Address(country=country if len(country) == 2 and country.isascii() and country.isalpha() else home, **parts)
