"""Tables of delivery."""

from sqlalchemy import Boolean, Column, Index, Table, text

from tradepost.core.columns import at_most, created, encrypted, key, reference, updated, words
from tradepost.core.database import metadata

addresses = Table(
    "addresses",
    metadata,
    key(),
    reference("user_id", "users.id", on_delete="CASCADE"),
    words("label", default=""),
    encrypted("address_enc", nullable=False),
    Column("is_default", Boolean, nullable=False, server_default="false"),
    created(),
    updated(),
    at_most("label", 60),
    Index("uq_addresses_default", "user_id", unique=True, postgresql_where=text("is_default")),
    Index("ix_addresses_user_id", "user_id"),
    comment="A person's address book; the address itself is encrypted.",
)
