"""Columns that every table spells the same way: keys, money, times, geo points, encrypted values.

Owns the mapping of our conventions (`*_id`, `*_at`, `*_minor`) to PostgreSQL types; knows no table.
"""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, ForeignKey, LargeBinary, Numeric, Text, text
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.types import CHAR, UserDefinedType

Timestamp = DateTime(timezone=True)
Quantity = Numeric(12, 3)


class GeoPoint(UserDefinedType[Any]):
    """A point on the sphere: the domain `geo_point` of the migrations. Read it with geo_lat() and geo_lon()."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the domain's name for DDL."""
        return "geo_point"


class CaseInsensitive(UserDefinedType[str]):
    """Text that is unique and compared without regard to case: the extension type `citext`."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name for DDL."""
        return "citext"


class Vector(UserDefinedType[Any]):
    """A vector of the extension `vector`."""

    cache_ok = True

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name and size for DDL."""
        return f"vector({self.dimensions})"


def key(name: str = "id") -> Column[Any]:
    """Return the primary key of an aggregate: a time-ordered UUID made by the database unless given."""
    return Column(name, UUID, primary_key=True, server_default=text("uuidv7()"))


def reference(
    name: str, target: str, *, nullable: bool = False, on_delete: str = "RESTRICT", primary_key: bool = False
) -> Column[Any]:
    """Return a foreign key column to a UUID key."""
    return Column(name, UUID, ForeignKey(target, ondelete=on_delete), nullable=nullable, primary_key=primary_key)


def moment(name: str, *, nullable: bool = False, default_now: bool = False) -> Column[Any]:
    """Return an aware point in time."""
    return Column(name, Timestamp, nullable=nullable, server_default=text("now()") if default_now else None)


def created() -> Column[Any]:
    """Return the moment the row was made, set by the database."""
    return moment("created_at", default_now=True)


def updated() -> Column[Any]:
    """Return the moment of the last change; the trigger `touch_updated_at` keeps it (migrations)."""
    return moment("updated_at", default_now=True)


def minor(name: str, *, nullable: bool = False, default: int | None = None) -> Column[Any]:
    """Return an amount in minor units of the row's currency."""
    return Column(name, BigInteger, nullable=nullable, server_default=None if default is None else str(default))


def currency(*, nullable: bool = False) -> Column[Any]:
    """Return an ISO 4217 currency code."""
    return Column("currency", CHAR(3), nullable=nullable)


def encrypted(name: str, *, nullable: bool = True) -> Column[Any]:
    """Return a value that core/crypto encrypted: key id, nonce and ciphertext in one."""
    return Column(name, LargeBinary, nullable=nullable)


def one_of(column: str, *values: str, name: str | None = None) -> CheckConstraint:
    """Return a CHECK that holds a text column to a fixed set of values."""
    quoted = ", ".join(f"'{v}'" for v in values)
    return CheckConstraint(f"{column} IN ({quoted})", name=name or f"{column}_known")


def at_most(column: str, length: int) -> CheckConstraint:
    """Return a CHECK that limits a text column to so many characters."""
    return CheckConstraint(f"char_length({column}) <= {length}", name=f"{column}_length")


def words(name: str, *, nullable: bool = False, default: str | None = None) -> Column[Any]:
    """Return a text column."""
    return Column(name, Text, nullable=nullable, server_default=default)
