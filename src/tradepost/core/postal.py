"""A postal address as people write it: for orders, address books and tax rules.

Owns the fields and their limits. It does not check that a place exists.
"""

from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from tradepost.core.errors import Invalid

Line = Annotated[str, Meta(max_length=120)]


@dataclass(eq=False)
class AddressIncomplete(Invalid):
    """Please fill in {label}."""

    label: str
    field: str | None = None


class Address(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where something goes, and whom to ring there. `country` is an ISO 3166 code of two letters."""

    name: Line
    line1: Line
    line2: Line = ""
    city: Line = ""
    region: Line = ""
    postcode: Annotated[str, Meta(max_length=20)] = ""
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$")]
    phone: Annotated[str, Meta(max_length=40)] = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """The address as it goes on a parcel, without empty lines."""
        town = " ".join(part for part in (self.postcode, self.city) if part)
        return tuple(part for part in (self.name, self.line1, self.line2, town, self.region, self.country) if part)

    @property
    def district(self) -> "Address":
        """The town alone: what those may know who do not deliver there yet."""
        return Address(name="", line1="", city=self.city, region=self.region, country=self.country)

    def check(self, prefix: str = "shipping_address") -> None:
        """Raise `AddressIncomplete` where a name, a street or a town is missing."""
        for field, label in (("name", "the name"), ("line1", "the street or farm"), ("city", "the town or village")):
            if not getattr(self, field).strip():
                raise AddressIncomplete(label, f"{prefix}.{field}")
