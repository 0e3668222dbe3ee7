"""What the rest of the product knows of address books."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.core.errors import Conflict, Invalid, NotFound
from tradepost.core.postal import Address, Line


class NoSuchAddress(NotFound):
    """There is no such address in your address book."""


class TooManyAddresses(Conflict):
    """An address book holds 20 addresses; please remove one first."""


@dataclass(eq=False)
class WrongPin(Invalid):
    """That is not the PIN of this order. The buyer finds it on the order's page; a picture will do as well."""

    field: str | None = "pin"


@dataclass(eq=False)
class ProofNeeded(Invalid):
    """Ask for the PIN, or take a picture of where you leave it."""

    field: str | None = "pin"


class SavedAddress(msgspec.Struct, frozen=True):
    """An address of somebody's address book; `label` is what they call it."""

    id: UUID
    label: str
    is_default: bool
    address: Address
    updated_at: datetime


class AddressDraft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address as somebody writes it into their address book. `country` is an ISO 3166 code of two letters."""

    label: Annotated[str, Meta(max_length=60)] = ""
    name: Line
    line1: Line
    line2: Line = ""
    city: Line
    region: Line = ""
    postcode: Annotated[str, Meta(max_length=20)] = ""
    country: Annotated[str, Meta(max_length=2)]
    phone: Annotated[str, Meta(max_length=40)] = ""
    is_default: bool = False
